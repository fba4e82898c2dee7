//! What is read from the file.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};
use tidings_domain::{Epoch, OwnerId, Ownership, Timestamp};
use tidings_sqlite::{Database, Priority};
use tidings_wire::{Record, Stored, Topic};
use uuid::Uuid;

use super::layout::{Layout, Slot};
use super::pauses::FolderPauses;
use super::{encoding, log_error};
use crate::ports::all_consumers;
use crate::{Consumer, LogError, Mark, Pauses};

/// A chunk read from the file ends after so many bytes, so that many large
/// records do not fill the memory.
const MAX_CHUNK_BYTES: usize = 8 << 20;

/// The log's side of a database.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) database: Database,
    pub(super) layout: Layout,
}

impl Store {
    /// Up to `max` records from offset `from` on. Returns the offset from which
    /// to read on: everything of the file below it, and below `to`, was given.
    pub(super) fn chunk(
        &self,
        slot: Slot,
        from: i64,
        to: i64,
        max: usize,
        into: &mut Vec<Stored>,
    ) -> Result<i64, LogError> {
        let (topic, partition) = self.layout.of(slot);
        let select = format!(
            "SELECT offset, timestamp, key, value, headers FROM {} \
             WHERE offset >= ?1 AND offset < ?2 ORDER BY offset LIMIT ?3",
            self.layout.table(slot)
        );
        self.database
            .read(|connection| {
                let mut select = connection.prepare_cached(&select)?;
                let mut rows = select.query((from, to, i64::try_from(max).unwrap_or(i64::MAX)))?;
                let (mut count, mut bytes, mut next) = (0, 0, from);
                while let Some(row) = rows.next()? {
                    let (offset, record) = read_record(row)?;
                    next = offset + 1;
                    count += 1;
                    bytes += encoding::size(&record);
                    into.push(Stored {
                        topic,
                        partition,
                        offset,
                        record,
                    });
                    if bytes > MAX_CHUNK_BYTES {
                        return Ok(next);
                    }
                }
                Ok(if count < max { to } else { next })
            })
            .map_err(log_error)
    }

    /// The first offset there is, if there is any.
    pub(super) fn first(&self, slot: Slot) -> Result<Option<i64>, LogError> {
        let first = format!(
            "SELECT offset FROM {} ORDER BY offset LIMIT 1",
            self.layout.table(slot)
        );
        self.database
            .read(|c| {
                c.prepare_cached(&first)?
                    .query_row([], |row| row.get(0))
                    .optional()
            })
            .map_err(log_error)
    }

    /// The offset after the last record.
    pub(super) fn end(&self, slot: Slot) -> Result<i64, LogError> {
        self.database
            .read(|c| super::writer::read_end(c, self.layout, slot))
            .map_err(log_error)
    }

    /// The first offset whose record is not older, or the end.
    ///
    /// Records stand in the order in which they were appended, and their times
    /// are their writers' clocks: nearly, but not surely, in the same order.
    /// As in Kafka it is the first such record that counts, so this walks from
    /// the start; an index would cost every append for a question that people
    /// ask now and then. A binary search first skips what is older by more
    /// than any clock may differ.
    pub(super) fn offset_at(&self, slot: Slot, timestamp_ms: i64) -> Result<i64, LogError> {
        const CLOCK_SKEW_MS: i64 = 600_000;
        let table = self.layout.table(slot);
        let probe = format!(
            "SELECT offset, timestamp FROM {table} WHERE offset >= ?1 ORDER BY offset LIMIT 1"
        );
        let walk = format!(
            "SELECT offset FROM {table} WHERE offset >= ?1 AND timestamp >= ?2 \
             ORDER BY offset LIMIT 1"
        );
        let surely_older = timestamp_ms.saturating_sub(CLOCK_SKEW_MS);
        let end = self.end(slot)?;
        let found: Option<i64> = self
            .database
            .read(|connection| {
                let mut probe = connection.prepare_cached(&probe)?;
                let (mut low, mut high) = (0, end);
                while low < high {
                    let middle = low + (high - low) / 2;
                    let at: Option<(i64, i64)> = probe
                        .query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)))
                        .optional()?;
                    match at {
                        Some((offset, timestamp)) if timestamp < surely_older => low = offset + 1,
                        _ => high = middle,
                    }
                }
                connection
                    .prepare_cached(&walk)?
                    .query_row((low, timestamp_ms), |row| row.get(0))
                    .optional()
            })
            .map_err(log_error)?;
        Ok(found.unwrap_or(end))
    }

    pub(super) fn pauses(&self) -> Result<Box<dyn Pauses>, LogError> {
        Ok(Box::new(FolderPauses::new(self.database.folder())))
    }

    pub(super) fn consumers(&self) -> Result<Vec<String>, LogError> {
        const SELECT: &str = "SELECT DISTINCT consumer FROM log_progress ORDER BY consumer";
        let known: Vec<String> = self
            .database
            .read(|c| {
                let mut select = c.prepare_cached(SELECT)?;
                let rows = select.query_map([], |row| row.get(0))?;
                rows.collect()
            })
            .map_err(log_error)?;
        Ok(all_consumers(known))
    }

    pub(super) fn consumer(&self, name: &str) -> Result<Consumer, LogError> {
        const SELECT: &str = "SELECT topic, partition, next FROM log_progress WHERE consumer = ?1";
        let rows: Vec<(String, i32, i64)> = self
            .database
            .read(|c| {
                let mut select = c.prepare_cached(SELECT)?;
                let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                let rows = select.query_map([name], row)?;
                rows.collect()
            })
            .map_err(log_error)?;
        let next = rows
            .into_iter()
            .filter_map(|(topic, partition, next)| Some((Topic::parse(&topic)?, partition, next)));
        Ok(Consumer {
            // Whoever writes the folder runs all of them.
            members: usize::from(self.database.is_written().map_err(log_error)?),
            next: next.collect(),
        })
    }

    pub(super) fn mark(&self, partition: i32) -> Result<Option<Mark>, LogError> {
        const SELECT: &str = "SELECT next, epoch, owner FROM log_marks WHERE partition = ?1";
        self.database
            .read(|c| {
                c.prepare_cached(SELECT)?
                    .query_row([partition], read_mark)
                    .optional()
            })
            .map_err(log_error)
    }
}

/// Leaves a mark; in the writer thread's transaction. Marks never go back.
pub(super) fn write_mark(
    connection: &Connection,
    partition: i32,
    mark: Mark,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO log_marks VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE \
             SET next = excluded.next, epoch = excluded.epoch, owner = excluded.owner \
             WHERE excluded.next >= next",
        )?
        .execute((
            partition,
            mark.offset,
            mark.current.map(|by| by.epoch.0 as i64),
            mark.current.map(|by| by.owner.0.into_bytes()),
        ))
        .map(drop)
}

/// Runs a job of marks and progress in the writer thread's next group, and
/// waits for nothing: where one is lost, the next one makes up for it.
pub(super) fn note(
    database: &Database,
    job: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
) {
    let done = Box::new(|result: Result<(), tidings_sqlite::Error>| {
        if let Err(error) = result {
            tracing::warn!(%error, "could not note how far a consumer has come");
        }
    });
    database.submit(Priority::Log, Box::new(job), done);
}

/// Notes how far a consumer has come; in the writer thread's transaction.
pub(super) fn delete_progress(connection: &Connection, consumer: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM log_progress WHERE consumer = ?1")?
        .execute([consumer])
        .map(drop)
}

pub(super) fn write_progress(
    connection: &Connection,
    consumer: &str,
    topic: &str,
    partition: i32,
    next: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO log_progress VALUES (?1, ?2, ?3, ?4)")?
        .execute((consumer, topic, partition, next))
        .map(drop)
}

fn read_mark(row: &Row<'_>) -> rusqlite::Result<Mark> {
    let epoch: Option<i64> = row.get(1)?;
    let owner: Option<[u8; 16]> = row.get(2)?;
    let current = epoch.zip(owner).map(|(epoch, owner)| Ownership {
        epoch: Epoch(epoch as u64),
        owner: OwnerId(Uuid::from_bytes(owner)),
    });
    Ok(Mark {
        offset: row.get(0)?,
        current,
    })
}

fn read_record(row: &Row<'_>) -> rusqlite::Result<(i64, Record)> {
    let bytes = |column| -> rusqlite::Result<Option<Bytes>> {
        Ok(row
            .get_ref(column)?
            .as_blob_or_null()?
            .map(Bytes::copy_from_slice))
    };
    let headers = encoding::decode_headers(row.get_ref(4)?.as_blob()?).ok_or_else(|| {
        let why = "the headers are not as they were written";
        rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Blob, why.into())
    })?;
    let timestamp = Timestamp(row.get(1)?);
    Ok((
        row.get(0)?,
        Record {
            key: bytes(2)?,
            value: bytes(3)?,
            headers,
            timestamp,
        },
    ))
}
