use std::sync::Arc;

use parking_lot::RwLock;
use rusqlite::{Connection, OptionalExtension, params};
use tidings_sqlite::{Error, GroupWriter, Written};

use super::encoding;
use super::layout::{Layout, Slot};
use super::queue::{Append, Queue, tell};
use super::signal::{Listeners, Topics};
use super::tail::Tail;
use crate::AppendError;

/// What the writer thread and the log's handles share.
pub(super) struct Shared {
    pub(super) layout: Layout,
    pub(super) queue: Queue,
    /// What is durable: the partitions' ends, and their latest records.
    pub(super) tail: RwLock<Tail>,
    pub(super) listeners: Listeners,
}

/// The log's part of every group: gives waiting records their offsets and
/// writes them; once they are durable, shows them and says so.
pub(super) struct LogWriter {
    shared: Arc<Shared>,
    /// The next offset of each slot, counting what the open group has written.
    next: Vec<i64>,
    /// The statement that inserts into each slot.
    inserts: Vec<String>,
    group: Vec<Append>,
    /// The offset of each of the group; none for one that its fence kept out.
    offsets: Vec<Option<i64>>,
    headers: Vec<u8>,
}

impl LogWriter {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let layout = shared.layout;
        let insert = |slot| {
            format!(
                "INSERT INTO {} VALUES (?1, ?2, ?3, ?4, ?5)",
                layout.table(slot)
            )
        };
        Self {
            inserts: layout.slots().map(insert).collect(),
            shared,
            next: Vec::new(),
            group: Vec::new(),
            offsets: Vec::new(),
            headers: Vec::new(),
        }
    }

    fn insert(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        // Records of one slot together: one statement and one tree at a time.
        // The sort is stable, so each partition keeps its order.
        self.group.sort_by_key(|append| append.slot);
        let mut start = 0;
        while start < self.group.len() {
            let slot = self.group[start].slot;
            let mut statement = connection.prepare_cached(&self.inserts[slot])?;
            while let Some(append) = self.group.get(start).filter(|append| append.slot == slot) {
                start += 1;
                if append.is_fenced_off() {
                    self.offsets.push(None);
                    continue;
                }
                let offset = self.next[slot];
                let record = &append.record;
                encoding::encode_headers(&record.headers, &mut self.headers);
                statement.execute(params![
                    offset,
                    record.timestamp.0,
                    record.key.as_deref(),
                    record.value.as_deref(),
                    self.headers,
                ])?;
                self.next[slot] = offset + 1;
                self.offsets.push(Some(offset));
            }
        }
        Ok(())
    }
}

impl GroupWriter for LogWriter {
    fn load(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.next = read_next(connection, self.shared.layout)?;
        let mut tail = self.shared.tail.write();
        // After a failed commit the file may hold more than was said to be
        // durable, and it is the file that counts.
        let differs = self
            .shared
            .layout
            .slots()
            .any(|slot| tail.next(slot) != self.next[slot]);
        if differs {
            tail.reset(&self.next);
            drop(tail);
            self.shared.listeners.wake(Topics::ALL);
        }
        Ok(())
    }

    fn write(&mut self, connection: &Connection) -> rusqlite::Result<Written> {
        let more = self.shared.queue.take_group(&mut self.group);
        if self.group.is_empty() {
            return Ok(Written::Nothing);
        }
        self.insert(connection)?;
        Ok(if more { Written::Some } else { Written::All })
    }

    fn committed(&mut self) {
        let mut topics = Topics::default();
        let mut dones = Vec::with_capacity(self.group.len());
        let mut tail = self.shared.tail.write();
        for (append, offset) in self.group.drain(..).zip(self.offsets.drain(..)) {
            if offset.is_some() {
                topics.insert(self.shared.layout.of(append.slot).0);
                tail.push(append.slot, Arc::new(append.record), append.size);
            }
            dones.push((append.done, offset));
        }
        drop(tail);
        self.shared.listeners.wake(topics);
        for (done, offset) in dones {
            tell(done, offset.ok_or_else(after_failure));
        }
    }

    fn failed(&mut self, error: &Error) {
        self.offsets.clear();
        if self.group.is_empty() {
            // No transaction could be begun: nothing was taken yet.
            self.shared.queue.take_group(&mut self.group);
        }
        for append in self.group.drain(..) {
            append.fail(AppendError::Unavailable(error.to_string()));
        }
    }
}

fn after_failure() -> AppendError {
    AppendError::Unavailable("a record given before this one failed".to_owned())
}

/// The offset after the last record of every partition: one look at the right
/// edge of each tree, however much it holds.
pub(super) fn read_next(connection: &Connection, layout: Layout) -> rusqlite::Result<Vec<i64>> {
    layout
        .slots()
        .map(|slot| read_end(connection, layout, slot))
        .collect()
}

/// The offset after the last record of a partition. The last record is never
/// deleted, so none means that there never was one.
pub(super) fn read_end(
    connection: &Connection,
    layout: Layout,
    slot: Slot,
) -> rusqlite::Result<i64> {
    let last = format!(
        "SELECT offset FROM {} ORDER BY offset DESC LIMIT 1",
        layout.table(slot)
    );
    let last: Option<i64> = connection
        .prepare_cached(&last)?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.map_or(0, |offset| offset + 1))
}
