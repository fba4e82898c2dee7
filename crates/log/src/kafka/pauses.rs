use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::from_slice;
use tidings_wire::{Stored, Topic};

use super::appender::ThreadedAppender;
use super::fetcher::Fetcher;
use crate::notes::{append_and_wait, note};
use crate::pauses::{Pause, Pauses};
use crate::{AppendDone, Appender, LogError};

/// The partition of the notes on what is paused.
pub(super) const PARTITION: i32 = 0;
/// What their keys begin with.
const PREFIX: &str = "paused/";
/// How long the first look may take.
const FIRST_LOOK: Duration = Duration::from_secs(30);

/// What is paused, by the notes in `operator.notes`.
pub(super) struct NotedPauses {
    fetcher: Fetcher,
    appender: Arc<ThreadedAppender>,
    known: BTreeMap<String, Pause>,
    /// Up to where it must be read before anything is known.
    first: Option<i64>,
}

impl NotedPauses {
    /// `end` is where the notes end now.
    pub(super) fn new(fetcher: Fetcher, appender: Arc<ThreadedAppender>, end: i64) -> Self {
        Self {
            fetcher,
            appender,
            known: BTreeMap::new(),
            first: (end > 0).then_some(end),
        }
    }

    fn write(&mut self, consumer: &str, pause: Option<&Pause>) -> Result<(), LogError> {
        let record = note(format!("{PREFIX}{consumer}"), pause)?;
        let appender = Shared(&self.appender);
        append_and_wait(&appender, Topic::OperatorNotes, PARTITION, record)
            .map(drop)
            .map_err(|error| LogError::Unavailable(error.to_string()))
    }
}

/// The appender, as a port.
struct Shared<'a>(&'a ThreadedAppender);

impl Appender for Shared<'_> {
    fn append(&self, topic: Topic, partition: i32, record: tidings_wire::Record, done: AppendDone) {
        self.0.append(topic, partition, &record, done);
    }
}

impl Pauses for NotedPauses {
    fn look(&mut self) -> Result<&BTreeMap<String, Pause>, LogError> {
        const AT_ONCE: usize = 4_096;
        let deadline = Instant::now() + FIRST_LOOK;
        loop {
            let (known, first) = (&mut self.known, &mut self.first);
            let wait = match first {
                Some(_) => Duration::from_millis(100),
                None => Duration::ZERO,
            };
            let mut count = 0;
            self.fetcher.fetch(AT_ONCE, wait, |stored| {
                count += 1;
                take_in(known, &stored);
                // The last record is never compacted away.
                if first.is_some_and(|end| stored.offset + 1 >= end) {
                    *first = None;
                }
            })?;
            match self.first {
                None if count < AT_ONCE => return Ok(&self.known),
                Some(_) if Instant::now() > deadline => {
                    let why = "what is paused could not be read in time";
                    return Err(LogError::Unavailable(why.to_owned()));
                }
                _ => {}
            }
        }
    }

    fn pause(&mut self, consumer: &str, pause: &Pause) -> Result<(), LogError> {
        self.write(consumer, Some(pause))
    }

    fn resume(&mut self, consumer: &str) -> Result<(), LogError> {
        self.write(consumer, None)
    }
}

/// Takes in a note, if it is one of these. One that cannot be read pauses all
/// the same: somebody wanted it to.
fn take_in(known: &mut BTreeMap<String, Pause>, stored: &Stored) {
    let key = stored.record.key.as_deref().unwrap_or_default();
    let Some(consumer) = std::str::from_utf8(key)
        .ok()
        .and_then(|key| key.strip_prefix(PREFIX))
    else {
        return;
    };
    match &stored.record.value {
        Some(value) => {
            let unreadable = |error: serde_json::Error| Pause {
                reason: format!("the note on it cannot be read: {error}"),
                by: None,
                since_ms: stored.record.timestamp.0,
            };
            let pause = from_slice(value).unwrap_or_else(unreadable);
            known.insert(consumer.to_owned(), pause);
        }
        None => {
            known.remove(consumer);
        }
    }
}
