use tidings_sqlite::Database;
use tidings_wire::Topic;

use super::follower::{Cursors, EmbeddedFollower};
use super::layout::Layout;
use super::store::Store;
use crate::{Consumer, Follower, LogError, LogReader, Mark, Pauses};

/// The log in a SQLite file that another process may be writing.
///
/// Who waits for new records looks into the file every 100 ms.
#[derive(Clone, Debug)]
pub struct ReadOnlyLog {
    store: Store,
}

impl ReadOnlyLog {
    pub(super) fn open(database: Database) -> Result<Self, LogError> {
        let layout = Layout::read(&database)?;
        Ok(Self {
            store: Store { database, layout },
        })
    }
}

impl LogReader for ReadOnlyLog {
    fn partitions(&self) -> i32 {
        self.store.layout.partitions()
    }

    fn watermarks(&self, topic: Topic, partition: i32) -> Result<(i64, i64), LogError> {
        let slot = self.store.layout.expect_slot(topic, partition)?;
        let high = self.store.end(slot)?;
        let low = self.store.first(slot)?.unwrap_or(high);
        Ok((low.min(high), high))
    }

    fn follow(&self, starts: &[(Topic, i32, i64)]) -> Result<Box<dyn Follower>, LogError> {
        let cursors = Cursors::of_file(self.store.clone());
        Ok(Box::new(EmbeddedFollower::new(cursors, starts)?))
    }

    fn offset_at(&self, topic: Topic, partition: i32, timestamp_ms: i64) -> Result<i64, LogError> {
        let slot = self.store.layout.expect_slot(topic, partition)?;
        self.store.offset_at(slot, timestamp_ms)
    }

    fn mark(&self, partition: i32) -> Result<Option<Mark>, LogError> {
        self.store.mark(partition)
    }

    fn pauses(&self) -> Result<Box<dyn Pauses>, LogError> {
        self.store.pauses()
    }

    fn consumers(&self) -> Result<Vec<String>, LogError> {
        self.store.consumers()
    }

    fn consumer(&self, name: &str) -> Result<Consumer, LogError> {
        self.store.consumer(name)
    }
}
