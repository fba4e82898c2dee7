use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tidings_log::{LogError, Mark, SequencerEvent, SequencerLog};
use tidings_wire::{Record, Topic};

use crate::log::SimulatedLog;

/// A sequencer's side of the log. The simulator holds a second handle to it and
/// decides what becomes of what was produced.
#[derive(Clone)]
pub(crate) struct Side {
    log: SimulatedLog,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<SequencerEvent>,
    /// The next command to deliver.
    started: BTreeMap<(Topic, i32), i64>,
    produced: VecDeque<Produced>,
    /// Partitions in which a produce failed, and which were not stopped since.
    failed: BTreeSet<i32>,
}

struct Produced {
    topic: Topic,
    partition: i32,
    record: Record,
    token: u64,
}

impl Produced {
    /// Where it stands among the pieces of a snapshot. The sequencer makes
    /// members, heads and parts of the window in this order, but those of a
    /// kind in any; here the same seed must always give the same.
    fn rank(&self) -> (u8, Vec<u8>) {
        let key = self.record.key.as_deref().unwrap_or_default();
        if key.starts_with(b"window/") || key.starts_with(b"checkpoint") {
            return (2, Vec::new());
        }
        (u8::from(!key.contains(&b'/')), key.to_vec())
    }
}

impl Side {
    pub(crate) fn new(log: &SimulatedLog) -> Self {
        Self {
            log: log.clone(),
            inner: Arc::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    pub(crate) fn tell(&self, event: SequencerEvent) {
        self.inner().events.push_back(event);
    }

    /// How many records wait to be appended.
    pub(crate) fn waiting(&self) -> usize {
        self.inner().produced.len()
    }

    /// Appends up to `most` of what was produced, and acknowledges it; says how
    /// many claims and decisions were among it.
    pub(crate) fn flush(&self, most: usize) -> usize {
        let mut inner = self.inner();
        inner.order_snapshots();
        let mut decisions = 0;
        for _ in 0..most {
            let Some(next) = inner.produced.pop_front() else {
                break;
            };
            if inner.failed.contains(&next.partition) {
                inner.end(&next, Err(unavailable("after a failure")));
                continue;
            }
            decisions += usize::from(next.topic == Topic::MessageDelivered);
            let offset = self
                .log
                .append(next.topic, next.partition, next.record.clone());
            inner.end(&next, Ok(offset));
        }
        decisions
    }

    /// Fails the next produce and what was produced into its partition behind
    /// it; says whether there was one.
    pub(crate) fn fail(&self, appended: bool) -> bool {
        let mut inner = self.inner();
        inner.order_snapshots();
        let Some(next) = inner.produced.pop_front() else {
            return false;
        };
        let is_first = inner.failed.insert(next.partition);
        if appended && is_first {
            self.log
                .append(next.topic, next.partition, next.record.clone());
        }
        inner.end(&next, Err(unavailable("as the plan says")));
        let waiting = std::mem::take(&mut inner.produced);
        for produced in waiting {
            if produced.partition == next.partition {
                inner.end(&produced, Err(unavailable("after a failure")));
            } else {
                inner.produced.push_back(produced);
            }
        }
        true
    }

    /// Delivers some of the commands again; says how many.
    pub(crate) fn redeliver(&self, back: i64) -> i64 {
        let mut again = 0;
        for next in self.inner().started.values_mut() {
            let from = (*next - back).max(0);
            again += *next - from;
            *next = from;
        }
        again
    }
}

fn unavailable(why: &str) -> LogError {
    LogError::Unavailable(why.to_owned())
}

impl Inner {
    fn end(&mut self, produced: &Produced, result: Result<i64, LogError>) {
        let (token, partition) = (produced.token, produced.partition);
        self.events.push_back(SequencerEvent::Produced {
            token,
            partition,
            result,
        });
    }

    fn order_snapshots(&mut self) {
        let is_piece = |produced: &Produced| produced.topic == Topic::ConversationState;
        let same_run = |one: &Produced, next: &Produced| {
            is_piece(one) && is_piece(next) && one.partition == next.partition
        };
        for run in self.produced.make_contiguous().chunk_by_mut(same_run) {
            if run.len() > 1 {
                run.sort_by_key(Produced::rank);
            }
        }
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
            let found = self.log.from(*topic, *partition, *next, max);
            *next += found.len() as i64;
            into.extend(found.into_iter().map(SequencerEvent::Command));
        }
        Ok(())
    }

    fn start(&mut self, partition: i32, next: &[(Topic, i64)]) -> Result<(), LogError> {
        let mut inner = self.inner();
        for topic in Topic::COMMANDS {
            let known = next.iter().find(|(known, _)| *known == topic);
            let from = known.map_or(0, |(_, next)| *next);
            inner.started.insert((topic, partition), from);
        }
        Ok(())
    }

    fn stop(&mut self, partition: i32) -> Result<(), LogError> {
        let mut inner = self.inner();
        inner.started.retain(|(_, known), _| *known != partition);
        inner.failed.remove(&partition);
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
        self.log.leave_mark(partition, mark);
        Ok(())
    }
}
