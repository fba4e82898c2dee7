use std::time::Duration;

use tidings_views::generation::Generation;

/// How a rebuild gets on.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The generation it is about.
    pub generation: Generation,
    /// What it is at.
    pub phase: Phase,
    /// Records applied.
    pub applied: i64,
    /// Records there are, now.
    pub total: i64,
    /// Records a second, lately.
    pub rate: f64,
}

/// What a rebuild is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Filling the generation.
    Building,
    /// Looking at it.
    Checking,
    /// Waiting until those who keep the view keep it as well.
    HandingOver,
}

impl Progress {
    /// How long it will take from here at this rate; none: it cannot be said.
    #[must_use]
    pub fn eta(&self) -> Option<Duration> {
        let left = (self.total - self.applied).max(0) as f64;
        if left == 0.0 {
            return Some(Duration::ZERO);
        }
        Duration::try_from_secs_f64(left / self.rate).ok()
    }
}

/// How many records a second, over the last few looks.
#[derive(Debug, Default)]
pub(super) struct Rate {
    looks: std::collections::VecDeque<(f64, i64)>,
}

impl Rate {
    const LOOKS: usize = 20;

    /// Takes a look, so many seconds after the start.
    pub(super) fn look(&mut self, at: f64, applied: i64) -> f64 {
        self.looks.push_back((at, applied));
        if self.looks.len() > Self::LOOKS {
            self.looks.pop_front();
        }
        let Some((first_at, first)) = self.looks.front() else {
            return 0.0;
        };
        let seconds = at - first_at;
        if seconds <= 0.0 {
            return 0.0;
        }
        (applied - first) as f64 / seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_looks() {
        let mut rate = Rate::default();
        assert_eq!(rate.look(0.0, 0), 0.0);
        assert_eq!(rate.look(1.0, 100), 100.0);
        for second in 2..60_u32 {
            rate.look(second.into(), 100 + i64::from(second) * 10);
        }
        assert_eq!(rate.look(60.0, 700), 10.0);
    }

    #[test]
    fn a_rebuild_that_stands_still_has_no_end() {
        let mut progress = Progress {
            generation: Generation(2),
            phase: Phase::Building,
            applied: 50,
            total: 150,
            rate: 10.0,
        };
        assert_eq!(progress.eta(), Some(Duration::from_secs(10)));
        progress.rate = 0.0;
        assert_eq!(progress.eta(), None);
        progress.applied = 150;
        assert_eq!(progress.eta(), Some(Duration::ZERO));
    }
}
