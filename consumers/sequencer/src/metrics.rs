use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tidings_domain::{Code, Outcome};

/// What a decision was, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    Accepted,
    Rejected(Code),
    Duplicate,
    Dead,
}

impl From<&Outcome> for Decided {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Accepted { .. } | Outcome::Noted(_) => Self::Accepted,
            Outcome::Rejected(code) => Self::Rejected(*code),
            Outcome::Duplicate(_) => Self::Duplicate,
        }
    }
}

impl Decided {
    /// The outcome, as metrics and traces call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected(_) => "rejected",
            Self::Duplicate => "duplicate",
            Self::Dead => "dead",
        }
    }
}

/// The metrics, looked up once.
pub(crate) struct Metrics {
    accepted: Counter,
    duplicate: Counter,
    dead: Counter,
    /// In the order of [`Code::ALL`].
    rejected: Vec<Counter>,
    decided_seconds: Histogram,
    pub(crate) dead_letters: Counter,
    pub(crate) claims_won: Counter,
    pub(crate) claims_lost: Counter,
    pub(crate) claims_failed: Counter,
    pub(crate) dropped: Counter,
    pub(crate) recovery_seconds: Histogram,
    pub(crate) digest_mismatches: Counter,
    pub(crate) checkpoints: Counter,
    pub(crate) owned: Gauge,
    pub(crate) epoch: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) paused: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let decided = |outcome: &'static str, code: &'static str| counter!("tidings_command_decided_total", "outcome" => outcome, "code" => code);
        let claims =
            |result: &'static str| counter!("tidings_sequencer_claims_total", "result" => result);
        Self {
            accepted: decided("accepted", ""),
            duplicate: decided("duplicate", ""),
            dead: decided("dead", ""),
            rejected: Code::ALL
                .iter()
                .map(|code| decided("rejected", code.as_str()))
                .collect(),
            decided_seconds: histogram!("tidings_command_decided_seconds"),
            dead_letters: counter!("tidings_dead_letters_total", "consumer" => "sequencer"),
            claims_won: claims("won"),
            claims_lost: claims("lost"),
            claims_failed: claims("failed"),
            dropped: counter!("tidings_sequencer_dropped_total"),
            recovery_seconds: histogram!("tidings_sequencer_recovery_seconds"),
            digest_mismatches: counter!("tidings_sequencer_digest_mismatches_total"),
            checkpoints: counter!("tidings_sequencer_checkpoints_total"),
            owned: gauge!("tidings_sequencer_owned_partitions"),
            epoch: gauge!("tidings_sequencer_epoch"),
            in_flight: gauge!("tidings_sequencer_inflight"),
            paused: gauge!("tidings_sequencer_paused"),
        }
    }

    /// A decision is durable, this long after an edge took the command.
    pub(crate) fn decided(&self, what: Decided, after: Option<Duration>) {
        match what {
            Decided::Accepted => self.accepted.increment(1),
            Decided::Duplicate => self.duplicate.increment(1),
            Decided::Dead => self.dead.increment(1),
            Decided::Rejected(code) => self.rejected[code as usize].increment(1),
        }
        if let Some(after) = after {
            self.decided_seconds.record(after.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_is_counted_under_its_own_code() {
        for (index, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, index, "{code}");
        }
    }
}
