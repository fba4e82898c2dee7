//! Keeps of `conversation.state` the last record of each key.
//!
//! As Kafka's log cleaner does it: nothing is added to an append; instead, when
//! as much has been appended as the last pass had kept, one pass reads the keys
//! of what is new, then goes through what is older and deletes what has a newer
//! record. So each record costs a constant number of reads over time.

use std::collections::HashMap;

use bytes::Bytes;
use rusqlite::OptionalExtension;
use tidings_wire::Topic;

use super::layout::Slot;
use super::log_error;
use super::maintenance::{Ended, Round};
use crate::LogError;

/// A pass begins when at least so many records are new.
const MIN_NEW: i64 = 10_000;

/// One pass takes in no more than so many bytes of new keys.
const MAX_KEY_BYTES: usize = 16 << 20;

/// How long the deletion of a key is kept for those who read behind, in
/// milliseconds: as Kafka's `delete.retention.ms` by default, a day.
const TOMBSTONE_KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// How many rows are read at once, and how many a job deletes at most.
const READ_AT_ONCE: i64 = 4_096;
const DELETE_AT_ONCE: usize = 500;

/// How far the last pass has come.
#[derive(Clone, Copy, Debug, Default)]
struct Compacted {
    /// Of each key, only the last record below this offset is left.
    upto: i64,
    /// How many records were left below it.
    kept: i64,
}

/// A row, without its value.
struct Row {
    offset: i64,
    key: Option<Bytes>,
    is_tombstone: bool,
    timestamp_ms: i64,
}

/// Goes through all partitions that have enough that is new. Returns how many
/// records were deleted.
pub(super) fn run(round: &Round<'_>) -> Result<i64, Ended> {
    let mut deleted = 0;
    for partition in 0..round.store.layout.partitions() {
        deleted += compact(round, partition, MIN_NEW)?;
    }
    Ok(deleted)
}

/// Compacts one partition if at least `min_new` records are new.
pub(super) fn compact(round: &Round<'_>, partition: i32, min_new: i64) -> Result<i64, Ended> {
    let store = round.store;
    let slot = store
        .layout
        .expect_slot(Topic::ConversationState, partition)?;
    let before = last_pass(round, partition)?;
    let end = store.end(slot)?;
    if end - before.upto < min_new.max(before.kept) {
        return Ok(0);
    }
    let (latest, upto) = latest_offsets(round, slot, before.upto, end)?;
    let mut deleted = 0;
    let mut kept = 0;
    let mut doomed = Vec::with_capacity(DELETE_AT_ONCE);
    let mut from = 0;
    while from < upto {
        let (rows, next) = rows(round, slot, from, upto)?;
        for row in rows {
            if may_go(&row, &latest, round.now_ms) && row.offset < end - 1 {
                doomed.push(row.offset);
                deleted += 1;
            } else {
                kept += 1;
            }
            if doomed.len() == DELETE_AT_ONCE {
                delete(round, slot, std::mem::take(&mut doomed))?;
            }
        }
        from = next;
    }
    delete(round, slot, doomed)?;
    round.write(move |connection| {
        connection
            .prepare_cached("INSERT OR REPLACE INTO log_compacted VALUES (?1, ?2, ?3)")?
            .execute((partition, upto, kept))
            .map(drop)
    })?;
    Ok(deleted)
}

/// Nobody needs it: there is a newer record of its key, or it says that the
/// key is gone and has said so for long enough.
fn may_go(row: &Row, latest: &HashMap<Bytes, i64>, now_ms: i64) -> bool {
    let Some(key) = &row.key else { return false };
    let is_superseded = latest.get(key).is_some_and(|&latest| latest > row.offset);
    let is_old_tombstone =
        row.is_tombstone && row.timestamp_ms < now_ms.saturating_sub(TOMBSTONE_KEPT_MS);
    is_superseded || is_old_tombstone
}

fn last_pass(round: &Round<'_>, partition: i32) -> Result<Compacted, LogError> {
    let row = round.store.database.read(|connection| {
        connection
            .prepare_cached("SELECT upto, kept FROM log_compacted WHERE partition = ?1")?
            .query_row([partition], |row| {
                Ok(Compacted {
                    upto: row.get(0)?,
                    kept: row.get(1)?,
                })
            })
            .optional()
    });
    Ok(row.map_err(log_error)?.unwrap_or_default())
}

/// The last offset of each key from `from` on, and the offset up to which they
/// were read.
fn latest_offsets(
    round: &Round<'_>,
    slot: Slot,
    from: i64,
    end: i64,
) -> Result<(HashMap<Bytes, i64>, i64), LogError> {
    let mut latest = HashMap::new();
    let mut key_bytes = 0;
    let mut upto = from;
    while upto < end && key_bytes < MAX_KEY_BYTES {
        let (rows, next) = rows(round, slot, upto, end)?;
        for row in rows {
            let Some(key) = row.key else { continue };
            let bytes = key.len();
            if latest.insert(key, row.offset).is_none() {
                key_bytes += bytes;
            }
        }
        upto = next;
    }
    Ok((latest, upto))
}

/// Some rows from `from` on, and the offset from which to read on.
fn rows(round: &Round<'_>, slot: Slot, from: i64, to: i64) -> Result<(Vec<Row>, i64), LogError> {
    let select = format!(
        "SELECT offset, key, value IS NULL, timestamp FROM {} \
         WHERE offset >= ?1 AND offset < ?2 ORDER BY offset LIMIT ?3",
        round.store.layout.table(slot)
    );
    let rows = round.store.database.read(|connection| {
        let mut select = connection.prepare_cached(&select)?;
        let rows = select.query_map((from, to, READ_AT_ONCE), |row| {
            Ok(Row {
                offset: row.get(0)?,
                key: row
                    .get_ref(1)?
                    .as_blob_or_null()?
                    .map(Bytes::copy_from_slice),
                is_tombstone: row.get(2)?,
                timestamp_ms: row.get(3)?,
            })
        })?;
        rows.collect::<rusqlite::Result<Vec<Row>>>()
    });
    let rows = rows.map_err(log_error)?;
    let next = match rows.last() {
        Some(last) if rows.len() as i64 == READ_AT_ONCE => last.offset + 1,
        _ => to,
    };
    Ok((rows, next))
}

fn delete(round: &Round<'_>, slot: Slot, offsets: Vec<i64>) -> Result<(), Ended> {
    if offsets.is_empty() {
        return Ok(());
    }
    let delete = format!(
        "DELETE FROM {} WHERE offset = ?1",
        round.store.layout.table(slot)
    );
    round.write(move |connection| {
        let mut delete = connection.prepare_cached(&delete)?;
        offsets
            .iter()
            .try_for_each(|offset| delete.execute([offset]).map(drop))
    })
}
