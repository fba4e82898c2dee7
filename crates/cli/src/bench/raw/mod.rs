//! What the servers below do without tidings: the yardstick.

mod kafka;
mod sqlite;

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

pub(super) use self::kafka::KafkaReport;
pub(super) use self::sqlite::SqliteReport;

/// What a command of ours takes in the log beside its text: key, value and
/// headers, on average, as measured with this very benchmark.
const COMMAND_ENVELOPE_BYTES: usize = 360;
/// The same of a decision.
const DECISION_ENVELOPE_BYTES: usize = 600;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawLoad {
    /// Messages a second at which latencies are measured too; 0: not.
    pub(super) rate: f64,
    pub(super) seconds: f64,
    /// The bytes of a message's text.
    pub(super) text_bytes: usize,
}

impl RawLoad {
    fn command_bytes(&self) -> usize {
        self.text_bytes + COMMAND_ENVELOPE_BYTES
    }

    fn decision_bytes(&self) -> usize {
        self.text_bytes + DECISION_ENVELOPE_BYTES
    }
}

/// What was measured.
#[derive(Debug, Default, Serialize)]
pub(super) struct RawReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kafka: Option<KafkaReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sqlite: Option<SqliteReport>,
}

impl RawReport {
    pub(super) fn describe(&self) -> String {
        let kafka = self.kafka.iter().map(KafkaReport::describe);
        kafka
            .chain(self.sqlite.iter().map(SqliteReport::describe))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

pub(super) fn kafka(brokers: &str, load: RawLoad) -> Result<KafkaReport> {
    kafka::run(brokers, load)
}

/// In a folder of its own beside the data folder, so on the same disk.
pub(super) fn sqlite(data: &Path, load: RawLoad) -> Result<SqliteReport> {
    sqlite::run(data, load)
}
