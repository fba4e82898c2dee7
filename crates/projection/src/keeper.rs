use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_service::health::Condition;
use tidings_views::StoreError;
use tidings_views::generation::{Generation, Generations, Register};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::outage::{Outage, Waits};
use crate::{Projection, ProjectionError};

/// How often it is looked which generations there are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether the one that serves takes what it is given.
const TICK: Duration = Duration::from_millis(100);

type Make = Box<dyn Fn(Generation) -> Projection + Send + Sync>;
type Ended = (Generation, Result<(), ProjectionError>);

/// Keeps a view in step with the log, in every generation that is read or is
/// to be read again, so that switching to another is switching to one that is
/// up to date.
pub struct Keeper {
    generations: Arc<dyn Generations>,
    make: Make,
    ready: Condition,
}

/// A projection at work.
struct Running {
    stop: CancellationToken,
    ready: Condition,
}

impl Keeper {
    /// Looks in `generations` which there are, and runs for each what `make`
    /// makes. It need not say of which generation that is.
    #[must_use]
    pub fn new(
        generations: Arc<dyn Generations>,
        make: impl Fn(Generation) -> Projection + Send + Sync + 'static,
    ) -> Self {
        Self {
            generations,
            make: Box::new(make),
            ready: Condition::new("view"),
        }
    }

    /// Tells by this condition whether the generation that serves takes what
    /// it is given.
    #[must_use]
    pub fn readiness(mut self, ready: Condition) -> Self {
        self.ready = ready;
        self
    }

    /// Runs until `stop`, as [`Projection::run`] does.
    ///
    /// # Errors
    /// [`ProjectionError`] of any generation: then all are stopped.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ProjectionError> {
        let mut outage = Outage::of("the register of generations", Waits::default());
        let mut running: BTreeMap<Generation, Running> = BTreeMap::new();
        let mut ending = JoinSet::new();
        let mut serving = None;
        let mut looked: Option<Instant> = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let result = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                Some(ended) = ending.join_next() => {
                    if let Err(error) = ended_well(ended, &mut running) {
                        break Err(error);
                    }
                }
                _ = tick.tick() => {
                    if looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
                        looked = Some(Instant::now());
                        match self.generations.register().await {
                            Ok(register) => {
                                outage.worked();
                                serving = Some(register.serving());
                                self.adjust(&register, &mut running, &mut ending);
                            }
                            Err(error @ StoreError::Fatal(_)) => break Err(error.into()),
                            // Those that run go on; each waits for its store.
                            Err(error) => {
                                outage.failed("unavailable", &error);
                            }
                        }
                    }
                    let served = serving.and_then(|serving| running.get(&serving));
                    self.ready.set_ready(served.is_some_and(|it| it.ready.is_ready()));
                    self.ready.set_paused(served.is_some_and(|it| it.ready.is_paused()));
                }
            }
        };
        for one in running.values() {
            one.stop.cancel();
        }
        let mut result = result;
        while let Some(ended) = ending.join_next().await {
            result = result.and(ended_well(ended, &mut BTreeMap::new()));
        }
        self.ready.set_ready(false);
        result
    }

    /// Starts and stops what the register asks for.
    fn adjust(
        &self,
        register: &Register,
        running: &mut BTreeMap<Generation, Running>,
        ending: &mut JoinSet<Ended>,
    ) {
        let followed = register.followed();
        running.retain(|generation, one| {
            let stays = followed.contains(generation);
            if !stays {
                tracing::info!(%generation, "a generation is given up");
                one.stop.cancel();
            }
            stays
        });
        for generation in followed {
            running.entry(generation).or_insert_with(|| {
                if generation != Generation::FIRST {
                    tracing::info!(%generation, "keeping a generation");
                }
                let stop = CancellationToken::new();
                let ready = Condition::new("generation");
                let projection = (self.make)(generation)
                    .generation(generation)
                    .readiness(ready.clone());
                let until = stop.clone();
                ending.spawn(async move { (generation, projection.run(until).await) });
                Running { stop, ready }
            });
        }
    }
}

/// Whether a projection ended as it was told to. One that is still wanted ends
/// all; one that was given up may have lost its store under its feet.
fn ended_well(
    ended: Result<Ended, tokio::task::JoinError>,
    running: &mut BTreeMap<Generation, Running>,
) -> Result<(), ProjectionError> {
    let (generation, result) = ended.map_err(|error| ProjectionError::Thread(error.to_string()))?;
    let was_wanted = running.remove(&generation).is_some();
    match result {
        Err(error) if !was_wanted => {
            tracing::warn!(%generation, %error, "a generation that is given up ended badly");
            Ok(())
        }
        result => result,
    }
}
