use std::time::{Duration, Instant};

use tidings_projection::{ProjectionError, Throttle};
use tidings_views::StoreError;
use tidings_views::generation::{Builder, Generation, State, change};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::holder::{now, this_process};
use super::progress::Rate;
use super::view::{has_reached, offset_of};
use super::{Phase, Progress, RebuildError, View, ViewName};

/// How often it is looked how far it has come.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How far from the live end it may be to have caught up: nearer than a write
/// takes, it would chase the end for long. The rest is for those who keep it.
const NEAR: Duration = Duration::from_secs(1);
/// How long a batch may wait to fill up: many small writes cost more.
const GATHER: Duration = Duration::from_millis(50);

/// How to rebuild.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuildOptions {
    /// Most records a second; none: as many as the store takes.
    pub rate: Option<u32>,
    /// Records in one write.
    pub batch: usize,
    /// How many write at once, each its partitions.
    pub parallel: usize,
    /// Whether to switch to it when it is complete.
    pub switch: bool,
}

impl Default for RebuildOptions {
    fn default() -> Self {
        Self {
            rate: None,
            batch: 5_000,
            parallel: 2,
            switch: true,
        }
    }
}

/// A view that was rebuilt.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Rebuilt {
    /// The view.
    pub view: ViewName,
    /// The generation that was built.
    pub generation: Generation,
    /// The one that was read before, if it was switched.
    pub before: Option<Generation>,
    /// Whether it is read now.
    pub switched: bool,
    /// Records of the log that it reflects.
    pub records: i64,
    /// Those that this process has applied.
    pub applied: i64,
    /// How long filling it took in this process, in seconds.
    pub seconds: f64,
    /// How long comparing it with the log took after that, in seconds.
    pub check_seconds: f64,
    /// Whether it was compared with the log before it was switched to.
    pub checked: bool,
}

/// Builds a generation of a view, or goes on with one, and switches to it.
///
/// # Errors
/// [`RebuildError`]; the same call goes on where it was.
pub async fn rebuild(
    view: &View,
    options: &RebuildOptions,
    stop: &CancellationToken,
    watch: &(dyn Fn(&Progress) + Sync),
) -> Result<Rebuilt, RebuildError> {
    view.refuse_paused().await?;
    let builder = this_process();
    let generation = view.begin(&builder, stop).await?;
    let build = Builds {
        view,
        options,
        builder: &builder,
        generation,
        stop,
        watch,
    };
    let result = tokio::select! {
        lost = view.beat(generation, &builder) => Err(lost),
        result = build.run() => result,
    };
    // What it has told the store as the builder holds no longer, and another
    // may have finished the generation meanwhile.
    if let Err(RebuildError::Lost(_)) = &result
        && let Err(error) = view.store.filling(generation, false).await
    {
        tracing::warn!(%error, "could not tell the store that this process fills it no longer");
    }
    // What is not read by now need not be waited for by the next one.
    let released = change(&*view.store, |register| {
        register.release(generation, &builder);
        Ok::<_, RebuildError>(())
    });
    if let Err(error) = released.await {
        tracing::debug!(%error, "could not say that this process ends");
    }
    result
}

/// A rebuild at work.
pub(super) struct Builds<'a> {
    pub(super) view: &'a View,
    pub(super) options: &'a RebuildOptions,
    pub(super) builder: &'a Builder,
    pub(super) generation: Generation,
    pub(super) stop: &'a CancellationToken,
    pub(super) watch: &'a (dyn Fn(&Progress) + Sync),
}

impl Builds<'_> {
    async fn run(&self) -> Result<Rebuilt, RebuildError> {
        let Self {
            view, generation, ..
        } = *self;
        let (started, at_first) = (Instant::now(), self.applied().await?);
        let (mut filled, mut checked) = (started, started);
        let register = view.store.register().await?;
        let is_built = register
            .standing(generation)
            .is_some_and(|standing| matches!(standing.state, State::Built(_)));
        if !is_built {
            self.fill().await?;
            filled = Instant::now();
            self.check().await?;
            checked = Instant::now();
            let (_, _) = change(&*view.store, |register| {
                register
                    .built(generation, self.builder, now())
                    .map_err(RebuildError::from)
            })
            .await?;
        }
        let applied = self.applied().await?;
        let mut rebuilt = Rebuilt {
            view: view.name,
            generation,
            before: None,
            switched: false,
            records: applied,
            applied: applied - at_first,
            seconds: (filled - started).as_secs_f64(),
            check_seconds: (checked - filled).as_secs_f64(),
            checked: view.check.is_some(),
        };
        if self.options.switch {
            self.hand_over().await?;
            rebuilt.before = Some(view.switch(generation).await?);
            rebuilt.switched = true;
        }
        Ok(rebuilt)
    }

    /// Fills the generation until it has reached the live end.
    pub(super) async fn fill(&self) -> Result<(), RebuildError> {
        self.say_filling(true).await?;
        let stop = self.stop.child_token();
        let mut members = self.start(&stop);
        let filled = tokio::select! {
            filled = self.catch_up() => filled,
            Some(ended) = members.join_next() => Err(failed(ended)),
        };
        stop.cancel();
        let mut result = filled;
        while let Some(ended) = members.join_next().await {
            if let (Ok(()), Ok(Err(error))) = (&result, ended) {
                result = Err(error.into());
            }
        }
        result?;
        self.say_filling(false).await
    }

    /// Tells the store that filling begins or has ended, once it listens.
    async fn say_filling(&self, is_begun: bool) -> Result<(), RebuildError> {
        loop {
            let told = self.view.store.filling(self.generation, is_begun).await;
            match told {
                Err(error @ (StoreError::Transient(_) | StoreError::Saturated(_))) => {
                    tracing::debug!(%error, "the store cannot be told of the rebuild");
                    self.pause().await?;
                }
                told => return Ok(told?),
            }
        }
    }

    fn start(&self, stop: &CancellationToken) -> JoinSet<Result<(), ProjectionError>> {
        let RebuildOptions {
            rate,
            batch,
            parallel,
            ..
        } = *self.options;
        // A limit is kept from one second to the next.
        let batch = batch.min(rate.map_or(usize::MAX, |rate| rate.max(1) as usize));
        let throttle = rate.map(Throttle::new);
        let partitions = self.view.log.partitions();
        let members = i32::try_from(parallel.max(1)).unwrap_or(i32::MAX);
        let members = members.min(partitions);
        (0..members)
            .map(|member| {
                // In no group: one that died would keep its partitions for a
                // while.
                let own = (member..partitions).step_by(members as usize);
                let mut projection = self.view.projection(self.generation);
                projection = projection.batch(batch).partitions(own.collect());
                // What is limited comes evenly.
                projection = match &throttle {
                    Some(throttle) => projection.throttle(throttle.clone()),
                    None => projection.gather(GATHER),
                };
                projection.run(stop.clone())
            })
            .collect()
    }

    /// Waits until it has reached where the log ended a moment before, in every
    /// partition.
    async fn catch_up(&self) -> Result<(), RebuildError> {
        let started = Instant::now();
        let mut rate = Rate::default();
        let (mut ends, mut asked) = (self.view.ends().await?, Instant::now());
        loop {
            let reached = match self.view.reached(self.generation).await {
                Ok(reached) => reached,
                // Whoever writes it waits as well.
                Err(RebuildError::Store(error)) => {
                    tracing::debug!(%error, "cannot look how far the rebuild is");
                    self.pause().await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let applied = (0..)
                .zip(&ends)
                .map(|(partition, end)| offset_of(partition, &reached).min(*end))
                .sum();
            self.tell(
                Phase::Building,
                applied,
                ends.iter().sum(),
                rate.look(started.elapsed().as_secs_f64(), applied),
            );
            if has_reached(&reached, &ends) {
                return Ok(());
            }
            self.pause().await?;
            if asked.elapsed() >= NEAR {
                (ends, asked) = (self.view.ends().await?, Instant::now());
            }
        }
    }

    async fn check(&self) -> Result<(), RebuildError> {
        let Some(check) = &self.view.check else {
            return Ok(());
        };
        let applied = self.applied().await?;
        self.tell(Phase::Checking, applied, applied, 0.0);
        let generation = self.generation;
        match check(generation).await.map_err(RebuildError::Check)? {
            None => Ok(()),
            Some(what) => Err(RebuildError::Wrong { generation, what }),
        }
    }

    /// Records that are in the generation.
    pub(super) async fn applied(&self) -> Result<i64, RebuildError> {
        let reached = self.view.reached(self.generation).await?;
        Ok(reached.iter().map(|at| at.offset).sum())
    }

    pub(super) fn tell(&self, phase: Phase, applied: i64, total: i64, rate: f64) {
        (self.watch)(&Progress {
            generation: self.generation,
            phase,
            applied,
            total,
            rate,
        });
    }

    /// Waits for the next look.
    pub(super) async fn pause(&self) -> Result<(), RebuildError> {
        pause(self.stop).await
    }
}

/// Waits for the next look, unless told to stop.
pub(super) async fn pause(stop: &CancellationToken) -> Result<(), RebuildError> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(RebuildError::Stopped),
        () = tokio::time::sleep(LOOK_EVERY) => Ok(()),
    }
}

/// Why one ended that was not told to.
fn failed(ended: Result<Result<(), ProjectionError>, tokio::task::JoinError>) -> RebuildError {
    match ended {
        // The signal reached it first.
        Ok(Ok(())) => RebuildError::Stopped,
        Ok(Err(error)) => error.into(),
        Err(error) => ProjectionError::Thread(error.to_string()).into(),
    }
}
