use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tidings_log::{Consumer, Follower, LogError, LogReader, Mark, Pause, Pauses};
use tidings_wire::{Record, Stored, Topic};

use crate::plan::PARTITIONS;

/// How many records a follower gets at once of a partition: few, so that every
/// reader has to go on where it was.
const AT_ONCE: usize = 7;

/// What is durable. Everybody shares it.
#[derive(Clone, Default)]
pub(crate) struct SimulatedLog(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    records: BTreeMap<(Topic, i32), Vec<Stored>>,
    /// The moment at which each of them was appended.
    moments: BTreeMap<(Topic, i32), Vec<u64>>,
    /// How many were appended, of any topic.
    appended: u64,
    marks: BTreeMap<i32, Vec<Mark>>,
    reads_to_fail: usize,
}

impl State {
    /// What a reader gets that is told of failures.
    fn read(&mut self) -> Result<&mut Self, LogError> {
        if self.reads_to_fail == 0 {
            return Ok(self);
        }
        self.reads_to_fail -= 1;
        Err(LogError::Unavailable("as the plan says".to_owned()))
    }
}

impl SimulatedLog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    pub(crate) fn append(&self, topic: Topic, partition: i32, record: Record) -> i64 {
        let mut state = self.state();
        state.appended += 1;
        let moment = state.appended;
        let moments = state.moments.entry((topic, partition)).or_default();
        moments.push(moment);
        let records = state.records.entry((topic, partition)).or_default();
        let offset = records.len() as i64;
        records.push(Stored {
            topic,
            partition,
            offset,
            record,
        });
        offset
    }

    /// What time it is by the log: how many records there are. What was
    /// appended at a moment was there at this moment and after it.
    pub(crate) fn moment(&self) -> u64 {
        self.state().appended
    }

    /// When a record was appended.
    pub(crate) fn appended_at(&self, topic: Topic, partition: i32, offset: i64) -> Option<u64> {
        let state = self.state();
        let moments = state.moments.get(&(topic, partition))?;
        moments.get(usize::try_from(offset).ok()?).copied()
    }

    /// What stands in a partition from an offset on, up to so many.
    pub(crate) fn from(
        &self,
        topic: Topic,
        partition: i32,
        offset: i64,
        most: usize,
    ) -> Vec<Stored> {
        let state = self.state();
        let Some(records) = state.records.get(&(topic, partition)) else {
            return Vec::new();
        };
        let found = records.iter().skip(offset.max(0) as usize).take(most);
        found.cloned().collect()
    }

    /// The offset after the last.
    pub(crate) fn end(&self, topic: Topic, partition: i32) -> i64 {
        let state = self.state();
        let records = state.records.get(&(topic, partition));
        records.map_or(0, Vec::len) as i64
    }

    /// All there is.
    pub(crate) fn all(&self, topic: Topic, partition: i32) -> Vec<Stored> {
        self.from(topic, partition, 0, usize::MAX)
    }

    pub(crate) fn leave_mark(&self, partition: i32, mark: Mark) {
        self.state().marks.entry(partition).or_default().push(mark);
    }

    pub(crate) fn marks(&self, partition: i32) -> Vec<Mark> {
        let state = self.state();
        state.marks.get(&partition).cloned().unwrap_or_default()
    }

    /// The next reads fail; 0: none does.
    pub(crate) fn fail_reads(&self, count: usize) {
        self.state().reads_to_fail = count;
    }
}

impl LogReader for SimulatedLog {
    fn partitions(&self) -> i32 {
        PARTITIONS
    }

    fn watermarks(&self, topic: Topic, partition: i32) -> Result<(i64, i64), LogError> {
        let mut state = self.state();
        let records = state.read()?.records.get(&(topic, partition));
        Ok((0, records.map_or(0, Vec::len) as i64))
    }

    fn follow(&self, starts: &[(Topic, i32, i64)]) -> Result<Box<dyn Follower>, LogError> {
        self.state().read()?;
        Ok(Box::new(Following {
            log: self.clone(),
            next: starts.to_vec(),
        }))
    }

    fn offset_at(&self, topic: Topic, partition: i32, ms: i64) -> Result<i64, LogError> {
        let mut state = self.state();
        let records = state.read()?.records.get(&(topic, partition));
        let older = |records: &Vec<Stored>| {
            let mut records = records.iter();
            records.position(|stored| stored.record.timestamp.0 >= ms)
        };
        let end = records.map_or(0, Vec::len);
        Ok(records.and_then(older).unwrap_or(end) as i64)
    }

    fn mark(&self, partition: i32) -> Result<Option<Mark>, LogError> {
        Ok(self.marks(partition).last().copied())
    }

    fn pauses(&self) -> Result<Box<dyn Pauses>, LogError> {
        Ok(Box::new(NothingPaused::default()))
    }

    fn consumers(&self) -> Result<Vec<String>, LogError> {
        Ok(vec!["sequencer".to_owned()])
    }

    fn consumer(&self, _: &str) -> Result<Consumer, LogError> {
        Ok(Consumer::default())
    }
}

/// Nobody pauses anything here.
#[derive(Default)]
struct NothingPaused(BTreeMap<String, Pause>);

impl Pauses for NothingPaused {
    fn look(&mut self) -> Result<&BTreeMap<String, Pause>, LogError> {
        Ok(&self.0)
    }

    fn pause(&mut self, _: &str, _: &Pause) -> Result<(), LogError> {
        Err(LogError::Fatal("nothing is paused here".to_owned()))
    }

    fn resume(&mut self, _: &str) -> Result<(), LogError> {
        Ok(())
    }
}

struct Following {
    log: SimulatedLog,
    next: Vec<(Topic, i32, i64)>,
}

impl Follower for Following {
    fn poll(&mut self, max: usize, _: Duration, into: &mut Vec<Stored>) -> Result<(), LogError> {
        self.log.state().read()?;
        for (topic, partition, next) in &mut self.next {
            let found = self.log.from(*topic, *partition, *next, max.min(AT_ONCE));
            *next += found.len() as i64;
            into.extend(found);
        }
        Ok(())
    }
}
