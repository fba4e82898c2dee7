use std::time::Duration;

use tidings_service::lifecycle::Backoff;
use tokio::time::Instant;

/// Opens after some failures in a row; lets one question through when its
/// time is over, and closes when that one is answered.
pub(crate) struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
    backoff: Backoff,
}

impl Breaker {
    const FAILURES: u32 = 3;

    /// `first` and `longest` are how long it stays open.
    pub(crate) fn new([first, longest]: [Duration; 2]) -> Self {
        let backoff = Backoff::new(first, longest);
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
        self.failures = 0;
        self.open_until = None;
        self.backoff.reset();
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
    use crate::config::ViewWaits;

    #[test]
    fn the_breaker_opens_lets_one_through_and_closes() {
        let waits = ViewWaits::default().rest;
        let (mut breaker, start) = (Breaker::new(waits), Instant::now());
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
