//! A log in memory whose failures a test chooses. It stands in for the log,
//! with the promises of its ports; nothing of the sequencer is in it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tidings_log::{
    Consumer, Follower, LogError, LogReader, Mark, Pause, Pauses, SequencerEvent, SequencerLog,
};
use tidings_wire::{Record, Stored, Topic};

/// What is durable. Every instance shares it.
#[derive(Clone)]
pub(crate) struct World {
    partitions: i32,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    records: HashMap<(Topic, i32), Records>,
    marks: BTreeMap<i32, Vec<Mark>>,
    /// How many records were read of each topic.
    read: HashMap<Topic, usize>,
    paused: BTreeMap<String, Pause>,
}

#[derive(Default)]
struct Records {
    first: i64,
    stored: Vec<Stored>,
}

impl World {
    pub(crate) fn new(partitions: i32) -> Self {
        Self {
            partitions,
            state: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn append(&self, topic: Topic, partition: i32, record: Record) -> i64 {
        let mut state = self.state();
        let records = state.records.entry((topic, partition)).or_default();
        let offset = records.first + records.stored.len() as i64;
        records.stored.push(Stored {
            topic,
            partition,
            offset,
            record,
        });
        offset
    }

    /// All there is.
    pub(crate) fn all(&self, topic: Topic, partition: i32) -> Vec<Stored> {
        let state = self.state();
        state
            .records
            .get(&(topic, partition))
            .map(|r| r.stored.clone())
            .unwrap_or_default()
    }

    /// Deletes all there is; offsets go on.
    pub(crate) fn truncate(&self, topic: Topic, partition: i32) {
        let mut state = self.state();
        let records = state.records.entry((topic, partition)).or_default();
        records.first += records.stored.len() as i64;
        records.stored.clear();
    }

    pub(crate) fn marks(&self, partition: i32) -> Vec<Mark> {
        self.state()
            .marks
            .get(&partition)
            .cloned()
            .unwrap_or_default()
    }

    /// How many records were read of a topic since this was last asked.
    pub(crate) fn take_read(&self, topic: Topic) -> usize {
        self.state().read.remove(&topic).unwrap_or_default()
    }
}

impl LogReader for World {
    fn partitions(&self) -> i32 {
        self.partitions
    }

    fn watermarks(&self, topic: Topic, partition: i32) -> Result<(i64, i64), LogError> {
        let state = self.state();
        let range = state.records.get(&(topic, partition));
        Ok(range.map_or((0, 0), |r| (r.first, r.first + r.stored.len() as i64)))
    }

    fn follow(&self, starts: &[(Topic, i32, i64)]) -> Result<Box<dyn Follower>, LogError> {
        Ok(Box::new(Reading {
            world: self.clone(),
            next: starts.to_vec(),
        }))
    }

    fn offset_at(&self, topic: Topic, partition: i32, _: i64) -> Result<i64, LogError> {
        Ok(self.watermarks(topic, partition)?.0)
    }

    fn mark(&self, partition: i32) -> Result<Option<Mark>, LogError> {
        Ok(self.marks(partition).last().copied())
    }

    fn pauses(&self) -> Result<Box<dyn Pauses>, LogError> {
        Ok(Box::new(Paused {
            world: self.clone(),
            seen: BTreeMap::new(),
        }))
    }

    fn consumers(&self) -> Result<Vec<String>, LogError> {
        Ok(vec!["sequencer".to_owned()])
    }

    fn consumer(&self, _: &str) -> Result<Consumer, LogError> {
        Ok(Consumer::default())
    }
}

/// Who is paused, as everybody sees it.
pub(crate) struct Paused {
    world: World,
    seen: BTreeMap<String, Pause>,
}

impl Pauses for Paused {
    fn look(&mut self) -> Result<&BTreeMap<String, Pause>, LogError> {
        self.seen = self.world.state().paused.clone();
        Ok(&self.seen)
    }

    fn pause(&mut self, consumer: &str, pause: &Pause) -> Result<(), LogError> {
        let mut state = self.world.state();
        state.paused.insert(consumer.to_owned(), pause.clone());
        Ok(())
    }

    fn resume(&mut self, consumer: &str) -> Result<(), LogError> {
        self.world.state().paused.remove(consumer);
        Ok(())
    }
}

struct Reading {
    world: World,
    next: Vec<(Topic, i32, i64)>,
}

impl Follower for Reading {
    fn poll(&mut self, max: usize, _: Duration, into: &mut Vec<Stored>) -> Result<(), LogError> {
        let mut state = self.world.state();
        for (topic, partition, next) in &mut self.next {
            let Some(records) = state.records.get(&(*topic, *partition)) else {
                continue;
            };
            let skipped = (*next - records.first).max(0) as usize;
            // Few at once, so that every reader has to go on where it was.
            let found: Vec<Stored> = records
                .stored
                .iter()
                .skip(skipped)
                .take(max.min(7))
                .cloned()
                .collect();
            if let Some(last) = found.last() {
                *next = last.offset + 1;
            }
            *state.read.entry(*topic).or_default() += found.len();
            into.extend(found);
        }
        Ok(())
    }
}

/// An instance's side of the log. The test holds a second handle to it and
/// decides what becomes of what was produced.
#[derive(Clone)]
pub(crate) struct Side {
    world: World,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<SequencerEvent>,
    started: BTreeMap<(Topic, i32), i64>,
    produced: VecDeque<Produced>,
    /// Partitions in which a produce failed, and which were not stopped since.
    fenced: HashSet<i32>,
    stopped: Vec<i32>,
}

struct Produced {
    topic: Topic,
    partition: i32,
    record: Record,
    token: u64,
}

impl Side {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            world: world.clone(),
            inner: Arc::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn tell(&self, event: SequencerEvent) {
        self.inner().events.push_back(event);
    }

    /// How many records wait to be appended.
    pub(crate) fn waiting(&self) -> usize {
        self.inner().produced.len()
    }

    /// Whether a record of `topic` waits to be appended.
    pub(crate) fn is_next(&self, topic: Topic) -> bool {
        self.inner()
            .produced
            .front()
            .is_some_and(|produced| produced.topic == topic)
    }

    /// Appends up to `count` of what was produced, and acknowledges it.
    pub(crate) fn flush(&self, count: usize) {
        for _ in 0..count {
            let Some(next) = self.inner().produced.pop_front() else {
                return;
            };
            if self.inner().fenced.contains(&next.partition) {
                self.end(&next, Err(LogError::Unavailable("after a failure".into())));
                continue;
            }
            let offset = self
                .world
                .append(next.topic, next.partition, next.record.clone());
            self.end(&next, Ok(offset));
        }
    }

    pub(crate) fn flush_all(&self) {
        self.flush(usize::MAX);
    }

    /// Fails the next produce, and what was produced into its partition after
    /// it. The first of them may have been appended all the same.
    pub(crate) fn fail_next(&self, appended: bool) {
        let Some(next) = self.inner().produced.pop_front() else {
            return;
        };
        let fenced = !self.inner().fenced.insert(next.partition);
        if appended && !fenced {
            self.world
                .append(next.topic, next.partition, next.record.clone());
        }
        self.end(
            &next,
            Err(LogError::Unavailable("as the test wants it".into())),
        );
        let waiting = std::mem::take(&mut self.inner().produced);
        let (failed, left): (VecDeque<_>, VecDeque<_>) = waiting
            .into_iter()
            .partition(|produced| produced.partition == next.partition);
        self.inner().produced = left;
        for produced in failed {
            self.end(
                &produced,
                Err(LogError::Unavailable("after a failure".into())),
            );
        }
    }

    fn end(&self, produced: &Produced, result: Result<i64, LogError>) {
        let (token, partition) = (produced.token, produced.partition);
        self.tell(SequencerEvent::Produced {
            token,
            partition,
            result,
        });
    }

    /// The partitions that were stopped since this was last asked.
    pub(crate) fn take_stopped(&self) -> Vec<i32> {
        std::mem::take(&mut self.inner().stopped)
    }

    /// Whether the commands of a partition are delivered.
    pub(crate) fn is_started(&self, partition: i32) -> bool {
        self.inner()
            .started
            .keys()
            .any(|(_, started)| *started == partition)
    }
}

impl SequencerLog for Side {
    fn poll(
        &mut self,
        max: usize,
        _: Duration,
        into: &mut Vec<SequencerEvent>,
    ) -> Result<(), LogError> {
        let mut inner = self.inner();
        into.extend(inner.events.drain(..));
        for ((topic, partition), next) in &mut inner.started {
            let state = self.world.state();
            let Some(records) = state.records.get(&(*topic, *partition)) else {
                continue;
            };
            let skipped = (*next - records.first).max(0) as usize;
            for stored in records.stored.iter().skip(skipped).take(max) {
                *next = stored.offset + 1;
                into.push(SequencerEvent::Command(stored.clone()));
            }
        }
        Ok(())
    }

    fn start(&mut self, partition: i32, next: &[(Topic, i64)]) -> Result<(), LogError> {
        for topic in Topic::COMMANDS {
            let from = next
                .iter()
                .find(|(t, _)| *t == topic)
                .map_or(0, |(_, next)| *next);
            self.inner().started.insert((topic, partition), from);
        }
        Ok(())
    }

    fn stop(&mut self, partition: i32) -> Result<(), LogError> {
        let mut inner = self.inner();
        inner
            .started
            .retain(|(_, started), _| *started != partition);
        inner.fenced.remove(&partition);
        inner.stopped.push(partition);
        Ok(())
    }

    fn produce(&mut self, topic: Topic, partition: i32, record: Record, token: u64) {
        self.inner().produced.push_back(Produced {
            topic,
            partition,
            record,
            token,
        });
    }

    fn commit(&mut self, partition: i32, _: &[(Topic, i64)], mark: Mark) -> Result<(), LogError> {
        self.world
            .state()
            .marks
            .entry(partition)
            .or_default()
            .push(mark);
        Ok(())
    }
}
