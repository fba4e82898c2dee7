use std::time::Duration;

use tidings_log::{Log, LogReader, notes, read_range};
use tidings_wire::{Codec, Record, Stored, Topic, names, partition_of};

use super::journal::{Entry, Journal, State};
use super::redrive::{Failure, RedriveError};
use super::{Letter, LetterId, Origin};
use crate::lag::now;

/// How long a record is waited for that the log is known to hold.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// A command that is to go back to where it came from.
pub(super) struct Command {
    id: LetterId,
    pub(super) origin: Origin,
    record: Record,
}

impl Command {
    /// The command of a letter, if the sequencer could read it now.
    pub(super) fn of(
        letter: &Letter,
        log: &dyn LogReader,
        codec: &Codec,
    ) -> Result<Self, RedriveError> {
        let origin = letter.origin.ok_or_else(|| {
            let why = "its headers do not say where it stood: drop it";
            failed(letter, None, why)
        })?;
        let refuse = |why: &str| failed(letter, Some(origin), why);
        if origin.topic == Topic::ConversationState {
            return Err(refuse(
                "the sequencer makes its snapshots again by itself: drop it",
            ));
        }
        if !Topic::COMMANDS.contains(&origin.topic) {
            return Err(refuse("it was no command: drop it"));
        }
        let mut record = letter.record.clone();
        if record.value.is_none() {
            // A letter is smaller than the record it was made of may be.
            record.value = record_at(log, origin)?.and_then(|stored| stored.record.value);
        }
        let command = codec
            .decode_command(origin.topic, &record)
            .map_err(|error| refuse(&format!("it cannot be read yet: {error}")))?;
        let home = partition_of(record.key.as_deref().unwrap_or_default(), log.partitions());
        if home != origin.partition {
            let why = format!(
                "conversation {} belongs to partition {home}",
                command.conversation_id
            );
            return Err(refuse(&why));
        }
        record.timestamp = now();
        record
            .headers
            .set(names::REDRIVEN_FROM, letter.id.to_string());
        Ok(Self {
            id: letter.id,
            origin,
            record,
        })
    }

    /// Appends it, unless it was appended before by somebody who could not
    /// note it any more. Gives its offset.
    pub(super) fn append_once(
        &self,
        log: &dyn Log,
        journal: &mut Journal,
        by: Option<String>,
    ) -> Result<i64, RedriveError> {
        let Origin {
            topic, partition, ..
        } = self.origin;
        if let Some(Entry {
            state: State::Begun { from },
            ..
        }) = journal.entry(self.id)
        {
            if let Some(offset) = self.find(log, *from)? {
                return Ok(offset);
            }
        } else {
            let (_, end) = log.watermarks(topic, partition)?;
            let begun = State::Begun { from: end };
            journal.note(log, self.id, Entry::now(begun, by))?;
        }
        let appended = notes::append_and_wait(log, topic, partition, self.record.clone());
        appended.map_err(|error| {
            RedriveError::Failed(Failure {
                letter: Some(self.id.to_string()),
                origin: self.origin.to_string(),
                cause: format!("{error}; whether it was appended is looked up next time"),
            })
        })
    }

    fn find(&self, log: &dyn LogReader, from: i64) -> Result<Option<i64>, RedriveError> {
        let name = self.id.to_string();
        let mut found = None;
        let (topic, partition) = (self.origin.topic, self.origin.partition);
        read_range::<RedriveError>(log, topic, partition, from, i64::MAX, |stored| {
            if stored.record.headers.text(names::REDRIVEN_FROM) == Some(&name) {
                found.get_or_insert(stored.offset);
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// The record at a place, if the log still holds it.
pub(super) fn record_at(
    log: &dyn LogReader,
    origin: Origin,
) -> Result<Option<Stored>, RedriveError> {
    let Origin {
        topic,
        partition,
        offset,
    } = origin;
    let (low, high) = log.watermarks(topic, partition)?;
    if !(low..high).contains(&offset) {
        return Ok(None);
    }
    let mut follower = log.follow(&[(topic, partition, offset)])?;
    let mut batch = Vec::new();
    follower.poll(1, READ_TIMEOUT, &mut batch)?;
    let first = batch.into_iter().next();
    Ok(first.filter(|stored| stored.offset == offset))
}

pub(super) fn failed(letter: &Letter, origin: Option<Origin>, cause: &str) -> RedriveError {
    let id = letter.id.to_string();
    RedriveError::Failed(Failure {
        origin: origin.map_or_else(|| id.clone(), |origin| origin.to_string()),
        letter: Some(id),
        cause: cause.to_owned(),
    })
}
