use std::sync::Arc;
use std::time::Duration;

use tidings_log::{Log, LogError};
use tidings_service::health::Condition;
use tidings_views::StoreError;
use tidings_views::generation::Generation;
use tidings_wire::Codec;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::outage::Waits;
use crate::pause::Halt;
use crate::worker::Worker;
use crate::{Throttle, View};

/// Why a projection cannot go on. Trying again will not help until somebody
/// changes something.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The view has more than the log: it was made from another log.
    #[error(
        "the view is at offset {view} of partition {partition}, but the log ends at {log}: the \
         view was built from another log; drop it, and it is built anew"
    )]
    AheadOfLog {
        /// The partition.
        partition: i32,
        /// Where the view stands.
        view: i64,
        /// Where the log ends.
        log: i64,
    },
    /// The thread could not be started, or has panicked.
    #[error("the projection's thread: {0}")]
    Thread(String),
}

/// The projection of `message.delivered` into a view.
pub struct Projection {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) codec: Codec,
    pub(crate) view: Arc<dyn View>,
    pub(crate) batch: usize,
    pub(crate) gather: Duration,
    pub(crate) ready: Condition,
    pub(crate) generation: Generation,
    pub(crate) throttle: Option<Throttle>,
    pub(crate) partitions: Option<Vec<i32>>,
    pub(crate) waits: Waits,
}

/// A projection that works when it is told to.
pub struct ByTurns(Worker);

impl ByTurns {
    /// Takes what the log gives next, and applies what is due. False: it was
    /// told to stop in between, and is not to be used any more.
    ///
    /// # Errors
    /// As of [`Projection::run`].
    pub fn turn(&mut self) -> Result<bool, ProjectionError> {
        until_stopped(self.0.turn()).map(|turned| turned.is_some())
    }
}

/// What was done, or none where it was told to stop.
fn until_stopped<T>(result: Result<T, Halt>) -> Result<Option<T>, ProjectionError> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(Halt::Stopped) => Ok(None),
        Err(Halt::Failed(error)) => Err(error),
    }
}

impl Projection {
    /// Records in one write, where nothing else is asked for.
    pub const BATCH: usize = 512;

    /// A projection of `log` into `view`.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, codec: Codec, view: Arc<dyn View>) -> Self {
        let ready = Condition::new(view.name());
        Self {
            log,
            codec,
            view,
            batch: Self::BATCH,
            gather: Duration::ZERO,
            ready,
            generation: Generation::FIRST,
            throttle: None,
            partitions: None,
            waits: Waits::default(),
        }
    }

    /// Puts at most this many records into one write. A store that shares a
    /// writer with the log wants few.
    #[must_use]
    pub fn batch(mut self, records: usize) -> Self {
        self.batch = records.max(1);
        self
    }

    /// Waits so long for a batch to fill before it is written. A store whose
    /// writes are dear wants fewer and fuller ones; without this, whatever the
    /// log has ready is a batch.
    #[must_use]
    pub fn gather(mut self, longest: Duration) -> Self {
        self.gather = longest;
        self
    }

    /// Tells by this condition whether the store takes what it is given.
    #[must_use]
    pub fn readiness(mut self, ready: Condition) -> Self {
        self.ready = ready;
        self
    }

    /// What it builds, for whoever does by hand what it cannot.
    #[must_use]
    pub fn view(&self) -> Arc<dyn View> {
        Arc::clone(&self.view)
    }

    /// The generation that `view` is: its group's name tells it from the
    /// others.
    #[must_use]
    pub fn generation(mut self, generation: Generation) -> Self {
        self.generation = generation;
        self
    }

    /// Reads these partitions, and joins no group: for a view that nobody else
    /// keeps.
    #[must_use]
    pub fn partitions(mut self, partitions: Vec<i32>) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Applies no more records a second than this allows.
    #[must_use]
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.throttle = Some(throttle);
        self
    }

    /// Waits so long between attempts at what is down: 50 ms at first and 5 s
    /// at most, if nothing else is said.
    #[must_use]
    pub fn waits(mut self, first: Duration, longest: Duration) -> Self {
        self.waits = Waits { first, longest };
        self
    }

    /// Prepares it to be worked turn by turn, on this thread; store operations
    /// run on `runtime`, which must not be the caller's. None where it was told
    /// to stop before.
    ///
    /// # Errors
    /// As of [`run`](Self::run).
    pub fn by_turns(
        self,
        runtime: Handle,
        stop: CancellationToken,
    ) -> Result<Option<ByTurns>, ProjectionError> {
        until_stopped(Worker::new(self, runtime, stop).map(ByTurns))
    }

    /// Runs on a thread of its own until `stop`, and waits for its end. The
    /// current batch is finished first, unless it waits for something that is
    /// down. Store operations run on the runtime this is called on, which must
    /// have other threads than the caller's.
    ///
    /// # Errors
    /// [`ProjectionError`]; the view is consistent all the same.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ProjectionError> {
        let runtime = Handle::current();
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name(self.view.name().to_owned())
            .spawn(move || {
                let result = Worker::new(self, runtime, stop).and_then(Worker::run);
                let result = until_stopped(result).map(|_| ());
                // Nobody listens any more when `run` has been dropped.
                drop(done.send(result));
            })
            .map_err(|error| ProjectionError::Thread(error.to_string()))?;
        let panicked = |_| Err(ProjectionError::Thread("has panicked".to_owned()));
        ended.await.unwrap_or_else(panicked)
    }
}
