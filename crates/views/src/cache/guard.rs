use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{CacheReader, Fill, Key, LookUp};
use crate::StoreError;

/// After how many failures in a row the cache is left alone.
const FAILURES: u32 = 3;
/// For how long, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The cache, kept at arm's length: each question has a time limit, and while
/// it keeps failing it is not asked at all.
pub(super) struct Guard {
    cache: Arc<dyn CacheReader>,
    limit: Duration,
    state: Mutex<State>,
}

struct State {
    failures: u32,
    /// Until when it is left alone, and for how long the next time.
    open_until: Option<Instant>,
    pause: Duration,
}

impl Guard {
    pub(super) fn new(cache: Arc<dyn CacheReader>, limit: Duration) -> Self {
        metrics::gauge!("tidings_cache_breaker_open").set(0.0);
        Self {
            cache,
            limit,
            state: Mutex::new(State {
                failures: 0,
                open_until: None,
                pause: FIRST_PAUSE,
            }),
        }
    }

    /// None where it does not answer.
    pub(super) async fn look_up(&self, keys: &[Key]) -> Option<LookUp> {
        self.ask(self.cache.look_up(keys)).await
    }

    pub(super) async fn fill(&self, fills: &[Fill]) -> Option<usize> {
        self.ask(self.cache.fill(fills)).await
    }

    async fn ask<T>(&self, question: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
        if !self.may_ask(Instant::now()) {
            return None;
        }
        match tokio::time::timeout(self.limit, question).await {
            Ok(Ok(answer)) => {
                self.worked();
                Some(answer)
            }
            Ok(Err(error)) => {
                self.failed(&error);
                None
            }
            Err(_) => {
                self.failed(&"no answer in time");
                None
            }
        }
    }

    fn may_ask(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        match state.open_until {
            Some(until) if now < until => false,
            Some(_) => {
                // This question is the probe; the others wait for its result.
                state.open_until = Some(now + state.pause);
                state.pause = (state.pause * 2).min(LONGEST_PAUSE);
                true
            }
            None => true,
        }
    }

    fn worked(&self) {
        let mut state = self.state.lock();
        if state.open_until.take().is_some() {
            metrics::gauge!("tidings_cache_breaker_open").set(0.0);
            tracing::info!("the cache answers again");
        }
        (state.failures, state.pause) = (0, FIRST_PAUSE);
    }

    fn failed(&self, error: &dyn std::fmt::Display) {
        metrics::counter!("tidings_cache_failures_total").increment(1);
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures == FAILURES {
            state.open_until = Some(Instant::now() + state.pause);
            metrics::gauge!("tidings_cache_breaker_open").set(1.0);
            tracing::warn!(%error, "the cache keeps failing and is left alone for a while");
        } else {
            tracing::debug!(%error, "the cache failed");
        }
    }

    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.state.lock().open_until.is_some()
    }
}
