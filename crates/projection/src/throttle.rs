use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A limit of records a second, shared by all clones.
#[derive(Clone, Debug)]
pub struct Throttle {
    a_second: u32,
    /// When what was admitted so far is paid for.
    free: Arc<Mutex<Instant>>,
}

impl Throttle {
    /// At most so many records a second; none is taken for one.
    #[must_use]
    pub fn new(records_a_second: u32) -> Self {
        Self {
            a_second: records_a_second.max(1),
            free: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// How long to wait before so many records.
    #[must_use]
    pub fn admit(&self, records: usize) -> Duration {
        self.admit_at(records, Instant::now())
    }

    fn admit_at(&self, records: usize, now: Instant) -> Duration {
        let mut free = self.free.lock();
        // What was not used is not saved up.
        let starts = (*free).max(now);
        let takes = Duration::from_secs_f64(records as f64 / f64::from(self.a_second));
        *free = starts + takes;
        starts - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_so_many_a_second_and_saves_nothing_up() {
        let throttle = Throttle::new(100);
        let other = throttle.clone();
        let start = Instant::now() + Duration::from_secs(10);
        assert_eq!(throttle.admit_at(50, start), Duration::ZERO);
        assert_eq!(other.admit_at(200, start), Duration::from_millis(500));
        assert_eq!(throttle.admit_at(1, start), Duration::from_millis(2_500));
        let later = start + Duration::from_secs(60);
        assert_eq!(throttle.admit_at(100, later), Duration::ZERO);
        assert_eq!(throttle.admit_at(100, later), Duration::from_secs(1));
    }
}
