use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidings_domain::Code;
use tidings_service::lifecycle::Backoff;
use tidings_views::history::{HistoryReader, StoreError};

use crate::metrics::Metrics;

/// The history view, kept at arm's length: every question has a time limit and
/// a second try, and while it keeps failing it is not asked at all.
pub(crate) struct View {
    reader: Arc<dyn HistoryReader>,
    timeout: Duration,
    breaker: Mutex<Breaker>,
    metrics: Arc<Metrics>,
}

/// The view cannot answer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history view is unavailable")]
pub(crate) struct Unavailable;

impl From<Unavailable> for Code {
    fn from(Unavailable: Unavailable) -> Self {
        Self::Unavailable
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

impl View {
    pub(crate) fn new(
        reader: Arc<dyn HistoryReader>,
        timeout: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            reader,
            timeout,
            breaker: Mutex::new(Breaker::new()),
            metrics,
        }
    }

    /// Asks a question, which may be asked twice.
    pub(crate) async fn ask<'a, T>(
        &'a self,
        question: impl Fn(&'a dyn HistoryReader) -> Answer<'a, T>,
    ) -> Result<T, Unavailable> {
        if !self.breaker.lock().may_ask(Instant::now()) {
            return Err(Unavailable);
        }
        let mut wait = Backoff::new(Duration::from_millis(50), Duration::from_millis(50));
        let asked = async {
            match question(&*self.reader).await {
                Err(StoreError::Transient(_) | StoreError::Saturated(_)) => {
                    tokio::time::sleep(wait.next_wait()).await;
                    question(&*self.reader).await
                }
                answer => answer,
            }
        };
        let error = match tokio::time::timeout(self.timeout, asked).await {
            Ok(Ok(answer)) => {
                self.breaker.lock().succeeded();
                self.metrics.view_open.set(0.0);
                return Ok(answer);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} ms", self.timeout.as_millis()),
        };
        self.metrics.view_failures.increment(1);
        if self.breaker.lock().failed(Instant::now()) {
            self.metrics.view_open.set(1.0);
            tracing::warn!(%error, "the history view keeps failing and is left alone for a while");
        } else {
            tracing::debug!(%error, "the history view failed");
        }
        Err(Unavailable)
    }
}

/// Opens after some failures in a row; lets one question through when its
/// time is over, and closes when that one is answered.
struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
    backoff: Backoff,
}

impl Breaker {
    const FAILURES: u32 = 3;

    fn new() -> Self {
        let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));
        Self {
            failures: 0,
            open_until: None,
            backoff,
        }
    }

    fn may_ask(&mut self, now: Instant) -> bool {
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

    fn succeeded(&mut self) {
        if self.failures > 0 {
            *self = Self::new();
        }
    }

    /// Whether it is open now.
    fn failed(&mut self, now: Instant) -> bool {
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
