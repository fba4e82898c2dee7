//! What the servers below do without tidings: the yardstick.

mod kafka;
mod sqlite;

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

pub(super) use self::kafka::KafkaReport;
pub(super) use self::sqlite::SqliteReport;

/// What is added to a text to get the size of a raw record: about what ids
/// and headers take in a record of ours.
const ENVELOPE_BYTES: usize = 300;

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
    fn record_bytes(&self) -> usize {
        self.text_bytes + ENVELOPE_BYTES
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
