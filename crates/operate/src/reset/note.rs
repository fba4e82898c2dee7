use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tidings_log::{Appender, LogError, LogReader, notes, read_range};
use tidings_views::Position;
use tidings_wire::Topic;

use super::{Change, offset_of};

/// The partition of the notes on resets.
const PARTITION: i32 = 0;

/// How to undo a consumer's last reset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// When it was reset, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// By whom, if known.
    pub by: Option<String>,
    /// The partitions that were.
    pub(super) partitions: Vec<Stood>,
}

/// Where a partition stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stood {
    pub(super) partition: i32,
    /// The next offset before.
    pub(super) from: i64,
    /// What it was set to.
    pub(super) to: i64,
}

impl Undo {
    /// Of changes that are about to be made. A partition that was reset before
    /// and has not moved since goes back to where the projection itself had
    /// come: so a reset that is run again after an interruption keeps what the
    /// first one noted.
    pub(super) fn of(
        changes: &[Change],
        stored: &[Position],
        before: Option<&Self>,
        by: Option<String>,
    ) -> Self {
        let earlier = before.map_or(&[][..], |before| &before.partitions);
        // Not yet set, or set and not moved since.
        let is_still = |it: &&Stood| {
            let now = offset_of(it.partition, stored);
            now == it.to || now == it.from
        };
        let earlier: Vec<&Stood> = earlier.iter().filter(is_still).collect();
        let of = |partition| earlier.iter().find(|it| it.partition == partition);
        let mut partitions: Vec<Stood> = changes
            .iter()
            .map(|change| Stood {
                partition: change.partition,
                from: of(change.partition).map_or(change.from, |it| it.from),
                to: change.to,
            })
            .collect();
        for it in &earlier {
            if partitions
                .iter()
                .all(|known| known.partition != it.partition)
            {
                partitions.push(**it);
            }
        }
        partitions.sort_by_key(|it| it.partition);
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let at_ms = since.unwrap_or_default().as_millis();
        Self {
            at_ms: i64::try_from(at_ms).unwrap_or(i64::MAX),
            by,
            partitions,
        }
    }

    /// How to undo a consumer's last reset, if there was one.
    ///
    /// # Errors
    /// [`LogError`], also where the note cannot be read.
    pub fn read(log: &dyn LogReader, consumer: &str) -> Result<Option<Self>, LogError> {
        let key = key(consumer);
        let mut found = None;
        let topic = Topic::OperatorNotes;
        read_range::<LogError>(log, topic, PARTITION, 0, i64::MAX, |stored| {
            if stored.record.key.as_deref() == Some(key.as_bytes()) {
                found = stored.record.value;
            }
            Ok(())
        })?;
        let read = found
            .map(|value| serde_json::from_slice(&value))
            .transpose();
        read.map_err(|error| LogError::Fatal(format!("the note {key} cannot be read: {error}")))
    }

    pub(super) fn write(&self, log: &dyn Appender, consumer: &str) -> Result<(), LogError> {
        append(log, consumer, Some(self))
    }

    pub(super) fn forget(log: &dyn Appender, consumer: &str) -> Result<(), LogError> {
        append(log, consumer, None)
    }
}

fn key(consumer: &str) -> String {
    format!("reset/{consumer}")
}

fn append(log: &dyn Appender, consumer: &str, undo: Option<&Undo>) -> Result<(), LogError> {
    let record = notes::note(key(consumer), undo)?;
    notes::append_and_wait(log, Topic::OperatorNotes, PARTITION, record)
        .map(drop)
        .map_err(|error| LogError::Unavailable(format!("noting how to undo it: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(partition: i32, from: i64, to: i64) -> Change {
        let end = 100;
        Change {
            partition,
            from,
            to,
            end,
        }
    }

    fn at(partition: i32, offset: i64) -> Position {
        Position {
            partition,
            offset,
            current: None,
        }
    }

    #[test]
    fn what_stood_before_the_first_of_several_resets_is_kept() {
        let stood = |partition, from, to| Stood {
            partition,
            from,
            to,
        };
        let stored = [at(0, 50), at(1, 60), at(2, 70)];
        let first = Undo::of(&[change(0, 50, 0), change(1, 60, 0)], &stored, None, None);
        assert_eq!(first.partitions, [stood(0, 50, 0), stood(1, 60, 0)]);
        // It was interrupted after the first partition, and is run again.
        let stored = [at(0, 0), at(1, 60), at(2, 70)];
        let again = Undo::of(&[change(1, 60, 0)], &stored, Some(&first), None);
        assert_eq!(again.partitions, first.partitions);
        // Another one; partition 1 has gone on meanwhile.
        let stored = [at(0, 0), at(1, 30), at(2, 70)];
        let other = Undo::of(&[change(0, 0, 20)], &stored, Some(&first), None);
        assert_eq!(other.partitions, [stood(0, 50, 20)]);
    }
}
