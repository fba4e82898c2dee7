use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_log::{Appender, Log, LogError, LogReader, notes, read_range};
use tidings_wire::{Stored, Topic};

use super::LetterId;
use crate::lag::now;

/// What the keys of its notes begin with.
const PREFIX: &str = "letter/";

/// What was done with a letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What.
    pub state: State,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// By whom, if known.
    pub by: Option<String>,
}

/// What was done with a letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its command is about to be appended at `from` or later: whoever goes on
    /// looks there whether it was.
    Begun {
        /// The first offset at which it may be.
        from: i64,
    },
    /// It was done again.
    Redriven {
        /// Where its command is now; none: it was applied to a view.
        offset: Option<i64>,
    },
    /// Nobody is to do anything about it.
    Dropped,
}

impl Entry {
    /// One of now.
    #[must_use]
    pub fn now(state: State, by: Option<String>) -> Self {
        let at_ms = now().0;
        Self { state, at_ms, by }
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        !matches!(self.state, State::Begun { .. })
    }

    /// The state in a word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.state {
            State::Begun { .. } => "begun",
            State::Redriven { .. } => "redriven",
            State::Dropped => "dropped",
        }
    }
}

/// What was done with all letters. Each letter's note stands in the partition
/// that the letter has.
#[derive(Debug, Default)]
pub struct Journal {
    entries: BTreeMap<LetterId, Entry>,
}

impl Journal {
    /// Reads it.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn read(log: &dyn LogReader) -> Result<Self, LogError> {
        let mut journal = Self::default();
        for partition in 0..log.partitions() {
            read_range::<LogError>(
                log,
                Topic::OperatorNotes,
                partition,
                0,
                i64::MAX,
                |stored| {
                    journal.take_in(&stored);
                    Ok(())
                },
            )?;
        }
        Ok(journal)
    }

    /// Takes in a note, if it is one on a letter.
    pub fn take_in(&mut self, stored: &Stored) {
        let key = stored.record.key.as_deref().unwrap_or_default();
        let Some(id) = std::str::from_utf8(key)
            .ok()
            .and_then(|key| key.strip_prefix(PREFIX)?.parse().ok())
        else {
            return;
        };
        match &stored.record.value {
            None => {
                self.entries.remove(&id);
            }
            Some(value) => match serde_json::from_slice(value) {
                Ok(entry) => {
                    self.entries.insert(id, entry);
                }
                Err(error) => {
                    // Whatever it said, something was done: never do it twice.
                    tracing::warn!(letter = %id, %error, "what was done with a letter cannot be read");
                    let (state, at_ms) = (State::Dropped, stored.record.timestamp.0);
                    self.entries.insert(
                        id,
                        Entry {
                            state,
                            at_ms,
                            by: None,
                        },
                    );
                }
            },
        }
    }

    /// What was done with a letter.
    #[must_use]
    pub fn entry(&self, id: LetterId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Whether a letter is redriven or dropped.
    #[must_use]
    pub fn is_done(&self, id: LetterId) -> bool {
        self.entry(id).is_some_and(Entry::is_done)
    }

    /// How many letters are done of those in a range of offsets.
    #[must_use]
    pub fn done_within(&self, topic: Topic, partition: i32, low: i64, high: i64) -> i64 {
        let at = |offset| LetterId {
            topic,
            partition,
            offset,
        };
        let range = self.entries.range(at(low)..at(high.max(low)));
        range.filter(|(_, entry)| entry.is_done()).count() as i64
    }

    /// Notes what was done with a letter. Durable when it returns.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    pub fn note(&mut self, log: &dyn Appender, id: LetterId, entry: Entry) -> Result<(), LogError> {
        let record = notes::note(format!("{PREFIX}{id}"), Some(&entry))?;
        notes::append_and_wait(log, Topic::OperatorNotes, id.partition, record)
            .map_err(|error| LogError::Unavailable(format!("noting what was done: {error}")))?;
        self.entries.insert(id, entry);
        Ok(())
    }

    /// Forgets what was done with letters that the log does not hold any more.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn prune(&mut self, log: &dyn Log) -> Result<usize, LogError> {
        let mut firsts = BTreeMap::new();
        let mut gone = Vec::new();
        for id in self.entries.keys() {
            let place = (id.topic, id.partition);
            let first = match firsts.get(&place) {
                Some(first) => *first,
                None => {
                    let (first, _) = log.watermarks(id.topic, id.partition)?;
                    firsts.insert(place, first);
                    first
                }
            };
            if id.offset < first {
                gone.push(*id);
            }
        }
        for id in &gone {
            let record = notes::note(format!("{PREFIX}{id}"), None::<&Entry>)?;
            notes::append_and_wait(log, Topic::OperatorNotes, id.partition, record)
                .map_err(|error| LogError::Unavailable(error.to_string()))?;
            self.entries.remove(id);
        }
        Ok(gone.len())
    }
}
