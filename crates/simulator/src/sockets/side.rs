use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tidings_log::{
    AppendDone, AppendError, Appender, Consumer, Follower, Log, LogError, LogReader, Mark, Pauses,
    ProjectionSource, SequencerLog,
};
use tidings_wire::{Record, Topic};

use crate::log::SimulatedLog;
use crate::sockets::step::Append;

/// An edge's side of the log. The simulator holds a second handle to it and
/// decides what becomes of what was appended.
#[derive(Clone)]
pub(crate) struct Side {
    log: SimulatedLog,
    waiting: Arc<Mutex<VecDeque<Waiting>>>,
}

struct Waiting {
    command: Sent,
    done: AppendDone,
}

/// A command on its way to the log.
pub(crate) struct Sent {
    topic: Topic,
    partition: i32,
    record: Record,
}

impl Sent {
    pub(crate) fn land(self, log: &SimulatedLog) -> i64 {
        log.append(self.topic, self.partition, self.record)
    }
}

impl Side {
    pub(crate) fn new(log: &SimulatedLog) -> Self {
        Self {
            log: log.clone(),
            waiting: Arc::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting().is_empty()
    }

    /// The next command is appended, and the edge told; whether there was one.
    pub(crate) fn append_one(&self) -> bool {
        let next = self.waiting().pop_front();
        let Some(Waiting { command, done }) = next else {
            return false;
        };
        done(Ok(command.land(&self.log)));
        true
    }

    /// The next command fails; gives it, if it is yet to land.
    pub(crate) fn fail_one(&self, how: Append) -> Result<Option<Sent>, Nothing> {
        let next = self.waiting().pop_front();
        let Waiting { command, done } = next.ok_or(Nothing)?;
        let error = match how {
            Append::Saturated => AppendError::Saturated,
            _ => AppendError::Unavailable("as the plan says".to_owned()),
        };
        let mut later = None;
        match how {
            Append::Appended => drop(command.land(&self.log)),
            Append::Late => later = Some(command),
            Append::Lost | Append::Saturated => {}
        }
        done(Err(error));
        Ok(later)
    }

    /// What waits when the edge dies: nobody is told of it.
    pub(crate) fn orphans(&self) -> Vec<Sent> {
        let waiting = std::mem::take(&mut *self.waiting());
        waiting.into_iter().map(|waiting| waiting.command).collect()
    }
}

/// There was nothing to fail.
pub(crate) struct Nothing;

impl Appender for Side {
    fn append(&self, topic: Topic, partition: i32, record: Record, done: AppendDone) {
        let command = Sent {
            topic,
            partition,
            record,
        };
        self.waiting().push_back(Waiting { command, done });
    }
}

impl LogReader for Side {
    fn partitions(&self) -> i32 {
        self.log.partitions()
    }

    fn watermarks(&self, topic: Topic, partition: i32) -> Result<(i64, i64), LogError> {
        self.log.watermarks(topic, partition)
    }

    fn follow(&self, starts: &[(Topic, i32, i64)]) -> Result<Box<dyn Follower>, LogError> {
        self.log.follow(starts)
    }

    fn offset_at(&self, topic: Topic, partition: i32, ms: i64) -> Result<i64, LogError> {
        self.log.offset_at(topic, partition, ms)
    }

    fn mark(&self, partition: i32) -> Result<Option<Mark>, LogError> {
        self.log.mark(partition)
    }

    fn pauses(&self) -> Result<Box<dyn Pauses>, LogError> {
        self.log.pauses()
    }

    fn consumers(&self) -> Result<Vec<String>, LogError> {
        self.log.consumers()
    }

    fn consumer(&self, name: &str) -> Result<Consumer, LogError> {
        self.log.consumer(name)
    }
}

impl Log for Side {
    fn sequencer(&self) -> Result<Box<dyn SequencerLog>, LogError> {
        Err(LogError::Fatal("this is an edge's side".to_owned()))
    }

    fn projection(&self, _: &str) -> Result<Box<dyn ProjectionSource>, LogError> {
        Err(LogError::Fatal("this is an edge's side".to_owned()))
    }

    fn note_progress(&self, _: &str, _: &[(Topic, i32, i64)]) -> Result<(), LogError> {
        Ok(())
    }

    fn forget_consumer(&self, _: &str) -> Result<(), LogError> {
        Ok(())
    }
}
