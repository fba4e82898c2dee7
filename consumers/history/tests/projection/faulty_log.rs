use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tidings_log::{
    AppendDone, AppendError, Appender, Consumer, Follower, Log, LogError, LogReader, Mark, Pauses,
    ProjectionSource, SequencerLog,
};
use tidings_wire::{Record, Topic};

/// A real log that takes no dead letters while it is told so.
pub(crate) struct FaultyLog {
    log: Arc<dyn Log>,
    takes_letters: AtomicBool,
    refused: AtomicUsize,
}

impl FaultyLog {
    pub(crate) fn new(log: Arc<dyn Log>) -> Self {
        Self {
            log,
            takes_letters: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
        }
    }

    /// From now on it takes them.
    pub(crate) fn take_letters(&self) {
        self.takes_letters.store(true, Ordering::Release);
    }

    /// How many it has refused.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Acquire)
    }
}

impl Appender for FaultyLog {
    fn append(&self, topic: Topic, partition: i32, record: Record, done: AppendDone) {
        if topic == Topic::DeadHistory && !self.takes_letters.load(Ordering::Acquire) {
            self.refused.fetch_add(1, Ordering::AcqRel);
            return done(Err(AppendError::Unavailable("no letters today".to_owned())));
        }
        self.log.append(topic, partition, record, done);
    }
}

impl LogReader for FaultyLog {
    fn partitions(&self) -> i32 {
        self.log.partitions()
    }

    fn watermarks(&self, topic: Topic, partition: i32) -> Result<(i64, i64), LogError> {
        self.log.watermarks(topic, partition)
    }

    fn follow(&self, starts: &[(Topic, i32, i64)]) -> Result<Box<dyn Follower>, LogError> {
        self.log.follow(starts)
    }

    fn offset_at(&self, topic: Topic, partition: i32, timestamp_ms: i64) -> Result<i64, LogError> {
        self.log.offset_at(topic, partition, timestamp_ms)
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

impl Log for FaultyLog {
    fn sequencer(&self) -> Result<Box<dyn SequencerLog>, LogError> {
        self.log.sequencer()
    }

    fn projection(&self, consumer: &str) -> Result<Box<dyn ProjectionSource>, LogError> {
        self.log.projection(consumer)
    }

    fn note_progress(&self, consumer: &str, next: &[(Topic, i32, i64)]) -> Result<(), LogError> {
        self.log.note_progress(consumer, next)
    }

    fn forget_consumer(&self, consumer: &str) -> Result<(), LogError> {
        self.log.forget_consumer(consumer)
    }
}
