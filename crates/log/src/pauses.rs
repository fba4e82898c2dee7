//! Which consumers operators have paused.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidings_domain::Timestamp;

use crate::{LogError, LogReader, notes};

/// How often a gate looks. What is paused stops within a second.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A consumer is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Why.
    pub reason: String,
    /// Who paused it, if known.
    pub by: Option<String>,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: i64,
}

impl Pause {
    /// One that begins now.
    #[must_use]
    pub fn now(reason: String, by: Option<String>) -> Self {
        Self {
            reason,
            by,
            since_ms: notes::now().0,
        }
    }

    /// Since when.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        Timestamp(self.since_ms)
    }
}

/// What is paused: the log keeps it, so that it outlives every process. The
/// calls may block.
pub trait Pauses: Send {
    /// What is paused now, by consumer. The first call waits until all that
    /// was noted before is known; later ones wait for nothing.
    ///
    /// # Errors
    /// [`LogError`].
    fn look(&mut self) -> Result<&BTreeMap<String, Pause>, LogError>;

    /// Pauses a consumer, or gives another reason. Durable when it returns.
    ///
    /// # Errors
    /// [`LogError`].
    fn pause(&mut self, consumer: &str, pause: &Pause) -> Result<(), LogError>;

    /// Lets a consumer go on. Durable when it returns.
    ///
    /// # Errors
    /// [`LogError`].
    fn resume(&mut self, consumer: &str) -> Result<(), LogError>;
}

/// Tells a consumer whether it is paused. One that is named after a view's
/// generation (`history.g2`) is paused with its view (`history`), too.
pub struct PauseGate {
    pauses: Box<dyn Pauses>,
    consumer: String,
    looked: Instant,
    paused: Option<Pause>,
}

impl PauseGate {
    /// Looks for the first time, and waits until it is known.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(log: &dyn LogReader, consumer: &str) -> Result<Self, LogError> {
        let mut gate = Self {
            pauses: log.pauses()?,
            consumer: consumer.to_owned(),
            looked: Instant::now(),
            paused: None,
        };
        gate.paused = paused(gate.pauses.look()?, consumer);
        if let Some(pause) = &gate.paused {
            tracing::warn!(consumer, reason = pause.reason, "paused");
        }
        Ok(gate)
    }

    /// Whether it is paused. While it cannot be found out, what was known last
    /// counts.
    pub fn paused(&mut self) -> Option<&Pause> {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            match self.pauses.look() {
                Ok(pauses) => {
                    let now = paused(pauses, &self.consumer);
                    let consumer = &self.consumer;
                    match (&self.paused, &now) {
                        (None, Some(pause)) => {
                            tracing::warn!(consumer, reason = pause.reason, "paused");
                        }
                        (Some(_), None) => tracing::info!(consumer, "goes on"),
                        _ => {}
                    }
                    self.paused = now;
                }
                Err(error) => tracing::debug!(%error, "cannot look whether to pause"),
            }
        }
        self.paused.as_ref()
    }
}

/// Whether a consumer is paused, by its own name or its view's.
fn paused(pauses: &BTreeMap<String, Pause>, consumer: &str) -> Option<Pause> {
    let view = consumer.split('.').next().unwrap_or(consumer);
    pauses.get(consumer).or_else(|| pauses.get(view)).cloned()
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, Pause, paused};

    #[test]
    fn a_generation_is_paused_with_its_view() {
        let pause = Pause::now("disk".to_owned(), None);
        let of = |name: &str| BTreeMap::from([(name.to_owned(), pause.clone())]);
        assert!(paused(&of("history"), "history").is_some());
        assert!(paused(&of("history"), "history.g2").is_some());
        assert!(paused(&of("history.g2"), "history.g2").is_some());
        assert!(paused(&of("history.g2"), "history").is_none());
        assert!(paused(&of("search"), "history").is_none());
    }
}
