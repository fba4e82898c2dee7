use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidings_log::{Appender, Log, LogError, LogReader, notes, read_range};
use tidings_wire::Topic;
use uuid::Uuid;

use crate::lag::now;

/// The partition of the notes on locks.
const PARTITION: i32 = 0;
/// How long a lock holds of somebody who is gone.
const HELD: Duration = Duration::from_secs(60);
/// How often its holder says that it is still there.
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// Keeps others out of what one operator is at. Kept in the log, and decided
/// by it: of two who want it, the one whose note comes first has it.
#[derive(Debug)]
pub struct Lock {
    key: String,
    holder: Uuid,
    by: Option<String>,
    renewed: Instant,
}

/// A note on a lock.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    holder: Uuid,
    by: Option<String>,
    since_ms: i64,
    until_ms: i64,
}

impl Lock {
    /// Takes the lock of this name.
    ///
    /// # Errors
    /// [`LogError::Fatal`] where somebody else has it.
    pub fn take(log: &dyn Log, name: &str, by: Option<String>) -> Result<Self, LogError> {
        let lock = Self {
            key: format!("lock/{name}"),
            holder: Uuid::new_v4(),
            by,
            renewed: Instant::now(),
        };
        let busy = |note: &Note| {
            let by = note.by.as_deref().unwrap_or("somebody");
            let seconds = (now().0 - note.since_ms).max(0) / 1_000;
            LogError::Fatal(format!(
                "{by} is at {name} for {seconds} s already; where that process is gone, its lock \
                 ends within {} s",
                HELD.as_secs()
            ))
        };
        if let Some(note) = lock.holding(log, now().0)? {
            return Err(busy(&note));
        }
        lock.write(log)?;
        match lock.holding(log, now().0)? {
            Some(note) if note.holder == lock.holder => Ok(lock),
            Some(note) => Err(busy(&note)),
            None => Err(LogError::Unavailable(
                "taking the lock took longer than it holds".to_owned(),
            )),
        }
    }

    /// Says now and then that its holder is still there.
    ///
    /// # Errors
    /// [`LogError`], also where it was lost meanwhile.
    pub fn renew(&mut self, log: &dyn Log) -> Result<(), LogError> {
        let since = self.renewed.elapsed();
        if since < RENEW_EVERY {
            return Ok(());
        }
        if since >= HELD {
            let still = self.holding(log, now().0)?;
            if still.is_none_or(|note| note.holder != self.holder) {
                let why = "the lock was lost: this process stood still for too long";
                return Err(LogError::Fatal(why.to_owned()));
            }
        }
        self.write(log)?;
        self.renewed = Instant::now();
        Ok(())
    }

    /// Gives it up.
    ///
    /// # Errors
    /// [`LogError`]; it ends by itself then.
    pub fn release(self, log: &dyn Appender) -> Result<(), LogError> {
        let record = notes::note(self.key, None::<&Note>)?;
        append(log, record)
    }

    fn write(&self, log: &dyn Appender) -> Result<(), LogError> {
        let since_ms = now().0;
        let note = Note {
            holder: self.holder,
            by: self.by.clone(),
            since_ms,
            until_ms: since_ms + HELD.as_millis() as i64,
        };
        append(log, notes::note(self.key.clone(), Some(&note))?)
    }

    /// Who has it at this time, by all that was noted.
    fn holding(&self, log: &dyn LogReader, now_ms: i64) -> Result<Option<Note>, LogError> {
        let mut holding: Option<Note> = None;
        let topic = Topic::OperatorNotes;
        read_range::<LogError>(log, topic, PARTITION, 0, i64::MAX, |stored| {
            if stored.record.key.as_deref() != Some(self.key.as_bytes()) {
                return Ok(());
            }
            let Some(value) = &stored.record.value else {
                holding = None;
                return Ok(());
            };
            let Ok(note) = serde_json::from_slice::<Note>(value) else {
                return Ok(());
            };
            let is_free = holding
                .as_ref()
                .is_none_or(|held| held.holder == note.holder || held.until_ms <= note.since_ms);
            if is_free {
                let since_ms = match &holding {
                    Some(held) if held.holder == note.holder => held.since_ms,
                    _ => note.since_ms,
                };
                holding = Some(Note { since_ms, ..note });
            }
            Ok(())
        })?;
        Ok(holding.filter(|held| held.until_ms > now_ms))
    }
}

fn append(log: &dyn Appender, record: tidings_wire::Record) -> Result<(), LogError> {
    notes::append_and_wait(log, Topic::OperatorNotes, PARTITION, record)
        .map(drop)
        .map_err(|error| LogError::Unavailable(format!("the lock: {error}")))
}
