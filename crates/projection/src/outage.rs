use std::time::{Duration, Instant};

use tidings_service::lifecycle::Backoff;

/// How long to wait between attempts at what is down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            longest: Duration::from_secs(5),
        }
    }
}

/// Whether something that is needed is down, told in one line when it goes and
/// one when it comes back.
#[derive(Debug)]
pub(crate) struct Outage {
    what: String,
    since: Option<(Instant, &'static str)>,
    backoff: Backoff,
}

impl Outage {
    /// `what` as log lines name it.
    pub(crate) fn of(what: impl Into<String>, waits: Waits) -> Self {
        Self {
            what: what.into(),
            since: None,
            backoff: Backoff::new(waits.first, waits.longest),
        }
    }

    /// It failed, in this `state`; returns how long to wait before the next
    /// attempt.
    pub(crate) fn failed(
        &mut self,
        state: &'static str,
        error: &dyn std::fmt::Display,
    ) -> Duration {
        let started = self.since.map_or_else(Instant::now, |(started, _)| started);
        if self.since.is_none_or(|(_, known)| known != state) {
            tracing::warn!(%error, state, "{} failed; trying again until it works", self.what);
        }
        self.since = Some((started, state));
        self.backoff.next_wait()
    }

    /// It worked.
    pub(crate) fn worked(&mut self) {
        if let Some((started, _)) = self.since.take() {
            let seconds = started.elapsed().as_secs_f64();
            tracing::info!(seconds, "{} works again", self.what);
            self.backoff.reset();
        }
    }
}
