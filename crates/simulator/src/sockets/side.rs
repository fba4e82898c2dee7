use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tidings_log::{AppendDone, AppendError};
use tidings_wire::{Record, Topic};

use crate::log::SimulatedLog;
use crate::one_side::Own;
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

impl Own for Side {
    fn log(&self) -> &SimulatedLog {
        &self.log
    }

    fn append(&self, topic: Topic, partition: i32, record: Record, done: AppendDone) {
        let command = Sent {
            topic,
            partition,
            record,
        };
        self.waiting().push_back(Waiting { command, done });
    }
}
