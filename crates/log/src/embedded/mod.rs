//! The log in the data folder's SQLite file.
//!
//! Topics, partitions and offsets are as in Kafka. The database's writer
//! thread gives a record its offset and commits it with all that wait; who
//! follows the log is woken then, and reads what is new from memory. Who is
//! behind reads from the file.
//!
//! Commands are kept for 7 days, dead letters for 30, and of
//! `conversation.state` the last record of each key; decisions for ever. What
//! need not be kept is deleted in small jobs, but never the last record of a
//! partition: the next offset is known from it.

mod compaction;
mod encoding;
mod follower;
mod layout;
mod maintenance;
mod pauses;
mod projection;
mod queue;
mod read_only;
mod retention;
mod sequencer;
mod signal;
mod store;
mod tail;
mod writer;

use std::sync::Arc;

use parking_lot::RwLock;
use tidings_sqlite::{Database, Priority};
use tidings_wire::{Record, Topic};

use self::follower::{Cursors, EmbeddedFollower};
use self::layout::Layout;
use self::maintenance::Maintenance;
use self::projection::EmbeddedProjection;
use self::queue::{Append, Limit, Place};
pub use self::read_only::ReadOnlyLog;
use self::sequencer::EmbeddedSequencer;
use self::signal::{Listeners, Signal};
use self::store::{Store, delete_progress, write_progress};
use self::tail::Tail;
use self::writer::{LogWriter, Shared, read_next};
use crate::{
    AppendDone, AppendError, Appender, Consumer, Follower, Log, LogError, LogReader, Mark, Pauses,
    ProjectionSource, SequencerLog,
};

/// How much of the latest records is held in memory, over all partitions.
const TAIL_BYTES: usize = 32 << 20;

/// The log in a SQLite file that this process writes. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddedLog {
    inner: Arc<Inner>,
}

struct Inner {
    /// First, so that its thread has given up the database when that is closed.
    _maintenance: Maintenance,
    store: Store,
    shared: Arc<Shared>,
}

impl EmbeddedLog {
    /// Opens the log of a database, once: makes it with so many `partitions`
    /// (1 to 256) a topic where there is none yet.
    ///
    /// # Errors
    /// [`LogError::Fatal`] where the file holds a log of another number of
    /// partitions, or the database has a log open already;
    /// [`LogError::Unavailable`] where it cannot be read or written now.
    pub fn open(database: Database, partitions: i32) -> Result<Self, LogError> {
        let layout = Layout::prepare(&database, partitions)?;
        let next = database.read(|c| read_next(c, layout)).map_err(log_error)?;
        let shared = Arc::new(Shared {
            layout,
            queue: queue::Queue::default(),
            tail: RwLock::new(Tail::new(&next, TAIL_BYTES)),
            listeners: Listeners::default(),
        });
        let writer = LogWriter::new(Arc::clone(&shared));
        database.attach(Box::new(writer)).map_err(log_error)?;
        let store = Store { database, layout };
        let _maintenance = Maintenance::spawn(store.clone())?;
        Ok(Self {
            inner: Arc::new(Inner {
                _maintenance,
                store,
                shared,
            }),
        })
    }

    /// Opens the log of a database for reading, beside another process that
    /// writes it. Who waits there for new records looks into the file every
    /// 100 ms.
    ///
    /// # Errors
    /// [`LogError::Fatal`] where the file holds no log;
    /// [`LogError::Unavailable`] where it cannot be read now.
    pub fn open_read_only(database: Database) -> Result<ReadOnlyLog, LogError> {
        ReadOnlyLog::open(database)
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    fn push(
        &self,
        topic: Topic,
        partition: i32,
        record: Record,
        done: AppendDone,
        place: Option<Place>,
        limit: Limit,
    ) {
        let shared = self.shared();
        let Some(slot) = shared.layout.slot(topic, partition) else {
            let why = format!("{topic} has no partition {partition}");
            return done(Err(AppendError::Unavailable(why)));
        };
        let mut append = Append::new(slot, record, done);
        append.place = place;
        if append.size > encoding::MAX_RECORD_BYTES {
            return append.fail(AppendError::TooLarge);
        }
        if shared.queue.push(append, limit) {
            self.store().database.wake();
        }
    }
}

impl Appender for EmbeddedLog {
    fn append(&self, topic: Topic, partition: i32, record: Record, done: AppendDone) {
        self.push(topic, partition, record, done, None, Limit::APPENDERS);
    }
}

impl LogReader for EmbeddedLog {
    fn partitions(&self) -> i32 {
        self.store().layout.partitions()
    }

    fn watermarks(&self, topic: Topic, partition: i32) -> Result<(i64, i64), LogError> {
        let slot = self.store().layout.expect_slot(topic, partition)?;
        let high = self.shared().tail.read().next(slot);
        let low = self.store().first(slot)?.unwrap_or(high);
        Ok((low.min(high), high))
    }

    fn follow(&self, starts: &[(Topic, i32, i64)]) -> Result<Box<dyn Follower>, LogError> {
        let (store, shared) = (self.store().clone(), Arc::clone(self.shared()));
        let cursors = Cursors::of_tail(store, shared, Arc::new(Signal::default()));
        Ok(Box::new(EmbeddedFollower::new(cursors, starts)?))
    }

    fn offset_at(&self, topic: Topic, partition: i32, timestamp_ms: i64) -> Result<i64, LogError> {
        let slot = self.store().layout.expect_slot(topic, partition)?;
        self.store().offset_at(slot, timestamp_ms)
    }

    fn mark(&self, partition: i32) -> Result<Option<Mark>, LogError> {
        self.store().mark(partition)
    }

    fn pauses(&self) -> Result<Box<dyn Pauses>, LogError> {
        self.store().pauses()
    }

    fn consumers(&self) -> Result<Vec<String>, LogError> {
        self.store().consumers()
    }

    fn consumer(&self, name: &str) -> Result<Consumer, LogError> {
        self.store().consumer(name)
    }
}

impl Log for EmbeddedLog {
    fn sequencer(&self) -> Result<Box<dyn SequencerLog>, LogError> {
        Ok(Box::new(EmbeddedSequencer::new(self.clone())))
    }

    fn projection(&self, consumer: &str) -> Result<Box<dyn ProjectionSource>, LogError> {
        Ok(Box::new(EmbeddedProjection::new(self.clone(), consumer)))
    }

    fn note_progress(&self, consumer: &str, next: &[(Topic, i32, i64)]) -> Result<(), LogError> {
        let (consumer, next) = (consumer.to_owned(), next.to_vec());
        let write = move |connection: &rusqlite::Connection| {
            next.iter().try_for_each(|(topic, partition, next)| {
                write_progress(connection, &consumer, topic.name(), *partition, *next)
            })
        };
        let database = &self.store().database;
        database.write(Priority::Log, write).map_err(log_error)
    }

    fn forget_consumer(&self, consumer: &str) -> Result<(), LogError> {
        let consumer = consumer.to_owned();
        let delete =
            move |connection: &rusqlite::Connection| delete_progress(connection, &consumer);
        let database = &self.store().database;
        database.write(Priority::Log, delete).map_err(log_error)
    }
}

fn log_error(error: tidings_sqlite::Error) -> LogError {
    match error {
        tidings_sqlite::Error::Unavailable(why) => LogError::Unavailable(why),
        tidings_sqlite::Error::Fatal(why) => LogError::Fatal(why),
        tidings_sqlite::Error::Sql(error) => LogError::Fatal(error.to_string()),
    }
}
