use tidings_log::{
    AppendDone, Appender, Consumer, Follower, Log, LogError, LogReader, Mark, Pauses,
    ProjectionSource, SequencerLog,
};
use tidings_wire::{Record, Topic};

use crate::log::SimulatedLog;

/// What is a side's own of the log; all else it shares with everybody.
pub(crate) trait Own: Send + Sync {
    fn log(&self) -> &SimulatedLog;

    fn append(&self, topic: Topic, partition: i32, record: Record, done: AppendDone);

    fn projection(&self) -> Result<Box<dyn ProjectionSource>, LogError> {
        Err(LogError::Fatal("this side has no projection".to_owned()))
    }

    fn watermarks(&self, topic: Topic, partition: i32) -> Result<(i64, i64), LogError> {
        self.log().watermarks(topic, partition)
    }
}

/// The log, as one side has it.
pub(crate) struct OneSide<S>(pub(crate) S);

impl<S: Own> Appender for OneSide<S> {
    fn append(&self, topic: Topic, partition: i32, record: Record, done: AppendDone) {
        self.0.append(topic, partition, record, done);
    }
}

impl<S: Own> LogReader for OneSide<S> {
    fn partitions(&self) -> i32 {
        self.0.log().partitions()
    }

    fn watermarks(&self, topic: Topic, partition: i32) -> Result<(i64, i64), LogError> {
        self.0.watermarks(topic, partition)
    }

    fn follow(&self, starts: &[(Topic, i32, i64)]) -> Result<Box<dyn Follower>, LogError> {
        self.0.log().follow(starts)
    }

    fn offset_at(&self, topic: Topic, partition: i32, ms: i64) -> Result<i64, LogError> {
        self.0.log().offset_at(topic, partition, ms)
    }

    fn mark(&self, partition: i32) -> Result<Option<Mark>, LogError> {
        self.0.log().mark(partition)
    }

    fn pauses(&self) -> Result<Box<dyn Pauses>, LogError> {
        self.0.log().pauses()
    }

    fn consumers(&self) -> Result<Vec<String>, LogError> {
        self.0.log().consumers()
    }

    fn consumer(&self, name: &str) -> Result<Consumer, LogError> {
        self.0.log().consumer(name)
    }
}

impl<S: Own> Log for OneSide<S> {
    fn sequencer(&self) -> Result<Box<dyn SequencerLog>, LogError> {
        Err(LogError::Fatal("this side has no sequencer".to_owned()))
    }

    fn projection(&self, _: &str) -> Result<Box<dyn ProjectionSource>, LogError> {
        self.0.projection()
    }

    fn note_progress(&self, _: &str, _: &[(Topic, i32, i64)]) -> Result<(), LogError> {
        Ok(())
    }

    fn forget_consumer(&self, _: &str) -> Result<(), LogError> {
        Ok(())
    }
}
