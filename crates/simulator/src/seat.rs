use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tidings_log::{AppendDone, Delivery, LogError, Mark, ProjectionSource};
use tidings_wire::{Record, Stored, Topic};

use crate::log::SimulatedLog;
use crate::one_side::Own;

/// How many records it is given at once of a partition.
const AT_ONCE: usize = 5;

/// A projection's side of the log: its seat in the group. The simulator holds a
/// second handle to it.
#[derive(Clone)]
pub(crate) struct Seat {
    log: SimulatedLog,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<Delivery>,
    /// The next record of each partition that was started.
    next: BTreeMap<i32, i64>,
    polls_to_fail: usize,
}

impl Seat {
    pub(crate) fn new(log: &SimulatedLog) -> Self {
        Self {
            log: log.clone(),
            inner: Arc::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    pub(crate) fn tell(&self, event: Delivery) {
        self.inner().events.push_back(event);
    }

    pub(crate) fn fail_polls(&self, count: usize) {
        self.inner().polls_to_fail = count;
    }

    /// Delivers so many records of each partition again, or, where it is less
    /// than nothing, leaves them out; says how many.
    pub(crate) fn jump(&self, back: i64) -> usize {
        let mut jumped = 0;
        for (partition, next) in &mut self.inner().next {
            let end = self.log.end(Topic::MessageDelivered, *partition);
            let to = (*next - back).clamp(0, end);
            jumped += (*next - to).unsigned_abs() as usize;
            *next = to;
        }
        jumped
    }
}

impl ProjectionSource for Seat {
    fn poll(&mut self, max: usize, _: Duration) -> Result<Delivery, LogError> {
        let mut inner = self.inner();
        if inner.polls_to_fail > 0 {
            inner.polls_to_fail -= 1;
            return Err(LogError::Unavailable("as the plan says".to_owned()));
        }
        if let Some(event) = inner.events.pop_front() {
            if let Delivery::Revoked(partitions) = &event {
                inner.next.retain(|known, _| !partitions.contains(known));
            }
            return Ok(event);
        }
        let mut records: Vec<Stored> = Vec::new();
        for (partition, next) in &mut inner.next {
            let most = max.saturating_sub(records.len()).min(AT_ONCE);
            let found = self
                .log
                .from(Topic::MessageDelivered, *partition, *next, most);
            *next += found.len() as i64;
            records.extend(found);
        }
        Ok(Delivery::Records(records))
    }

    fn start(&mut self, positions: &[(i32, i64)]) -> Result<(), LogError> {
        self.inner().next.extend(positions.iter().copied());
        Ok(())
    }

    fn commit(&mut self, _: &[(i32, Mark)]) -> Result<(), LogError> {
        Ok(())
    }
}

impl Own for Seat {
    fn log(&self) -> &SimulatedLog {
        &self.log
    }

    fn append(&self, topic: Topic, partition: i32, record: Record, done: AppendDone) {
        done(Ok(self.log.append(topic, partition, record)));
    }

    fn projection(&self) -> Result<Box<dyn ProjectionSource>, LogError> {
        Ok(Box::new(self.clone()))
    }

    // Not told of failures: how often it is asked depends on the clock.
    fn watermarks(&self, topic: Topic, partition: i32) -> Result<(i64, i64), LogError> {
        Ok((0, self.log.end(topic, partition)))
    }
}
