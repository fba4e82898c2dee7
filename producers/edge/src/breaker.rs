use std::time::{Duration, Instant};

use tidings_service::lifecycle::Backoff;

/// Opens after some failures in a row; lets one question through when its
/// time is over, and closes when that one is answered.
pub(crate) struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
    backoff: Backoff,
}

impl Breaker {
    const FAILURES: u32 = 3;

    pub(crate) fn new() -> Self {
        let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));
        Self {
            failures: 0,
            open_until: None,
            backoff,
        }
    }

    pub(crate) fn may_ask(&mut self, now: Instant) -> bool {
        match self.open_until {
            Some(until) if now < until => false,
            Some(_) => {
                // This question is the probe; the others wait for its result.
                self.open_until = Some(now + self.backoff.next_wait());
                true
            }
            None => true,
        }
    }

    pub(crate) fn succeeded(&mut self) {
        if self.failures > 0 {
            *self = Self::new();
        }
    }

    /// Whether it is open now.
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures == Self::FAILURES {
            self.open_until = Some(now + self.backoff.next_wait());
        }
        self.open_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_breaker_opens_lets_one_through_and_closes() {
        let (mut breaker, start) = (Breaker::new(), Instant::now());
        assert!(!breaker.failed(start) && !breaker.failed(start));
        assert!(breaker.may_ask(start));
        assert!(breaker.failed(start));
        assert!(!breaker.may_ask(start));
        let later = start + Duration::from_secs(1);
        assert!(breaker.may_ask(later), "the probe");
        assert!(!breaker.may_ask(later), "not another");
        breaker.succeeded();
        assert!(breaker.may_ask(later));
    }
}
