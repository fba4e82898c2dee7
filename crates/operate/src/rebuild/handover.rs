//! From the process that builds a generation to those that keep the view.

use std::time::{Duration, Instant};

use tidings_views::generation::{Generation, change};

use super::build::Builds;
use super::holder::now;
use super::view::{has_reached, offset_of};
use super::{Phase, RebuildError, View};

/// How long the processes that keep the view have until they keep a generation.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Whether a generation is as new as the one that is read, and stays so.
pub(super) enum InStep {
    Yes,
    /// Why not.
    No(String),
}

impl Builds<'_> {
    /// Waits until those who keep the view keep this generation as well: from
    /// the switch on it is read, and must not fall behind.
    pub(super) async fn hand_over(&self) -> Result<(), RebuildError> {
        let started = Instant::now();
        loop {
            let applied = self.applied().await?;
            let total = self.view.ends().await?.iter().sum();
            self.tell(Phase::HandingOver, applied, total, 0.0);
            let why = match self.view.in_step(self.generation).await? {
                InStep::Yes => return Ok(()),
                InStep::No(why) => why,
            };
            if started.elapsed() >= TIMEOUT {
                let generation = self.generation;
                return Err(RebuildError::NotFollowed { generation, why });
            }
            self.pause().await?;
        }
    }
}

impl View {
    /// Whether a generation can be switched to without anybody noticing.
    pub(super) async fn in_step(&self, generation: Generation) -> Result<InStep, RebuildError> {
        let serving = self.store.register().await?.serving();
        if self.is_shared
            && self.members(generation).await? == 0
            // Where nobody keeps the view, it is read as it is.
            && self.members(serving).await? > 0
        {
            let consumer = generation.consumer(self.name.as_str());
            return Ok(InStep::No(format!("no process is at {consumer}")));
        }
        let read = self.reached(serving).await?;
        let ends: Vec<i64> = (0..self.log.partitions())
            .map(|partition| offset_of(partition, &read))
            .collect();
        let reached = self.reached(generation).await?;
        if has_reached(&reached, &ends) {
            return Ok(InStep::Yes);
        }
        let behind = |(partition, end): (i32, &i64)| (end - offset_of(partition, &reached)).max(0);
        let behind: i64 = (0..).zip(&ends).map(behind).sum();
        Ok(InStep::No(format!(
            "it is {behind} records behind generation {serving}, which is read"
        )))
    }

    /// Switches what is read, by one write; returns what was read before.
    pub(super) async fn switch(&self, generation: Generation) -> Result<Generation, RebuildError> {
        let (before, _) = change(&*self.store, |register| {
            let before = register.serving();
            register.switch(generation, now())?;
            Ok::<_, RebuildError>(before)
        })
        .await?;
        Ok(before)
    }
}
