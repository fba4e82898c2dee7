//! Who builds a generation, and whether they live.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings_domain::Timestamp;
use tidings_views::generation::{Build, Builder, Generation, Register, change};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::view::offset_of;
use super::{RebuildError, View};

/// How often a builder says that it lives.
const BEAT_EVERY: Duration = Duration::from_secs(2);
/// How long another looks for a sign of life. Only changes count and no clock
/// is compared: two machines may disagree on the time.
const WATCH: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// This process, as one that builds.
pub(super) fn this_process() -> Builder {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "this machine",
        host => host,
    };
    Builder {
        by: format!("process {} on {host}", std::process::id()),
        token: Uuid::new_v4().simple().to_string(),
    }
}

impl View {
    /// Begins a generation, or goes on with one whose builder is dead.
    pub(super) async fn begin(
        &self,
        builder: &Builder,
        stop: &CancellationToken,
    ) -> Result<Generation, RebuildError> {
        let mut dead: Option<String> = None;
        loop {
            let (begun, _) = change(&*self.store, |register| {
                Ok::<_, RebuildError>(register.begin(builder, dead.as_deref(), now()))
            })
            .await?;
            match begun {
                Ok(generation) => return Ok(generation),
                Err(held) if self.lives(&held.build, stop).await? => {
                    return Err(self.held(held.generation, held.build).await?);
                }
                Err(held) => dead = Some(held.build.token),
            }
        }
    }

    /// The token of a builder that is dead, if there is one.
    pub(super) async fn dead_builder(
        &self,
        register: &Register,
        stop: &CancellationToken,
    ) -> Result<Option<String>, RebuildError> {
        let Some((_, build)) = register.build() else {
            return Ok(None);
        };
        Ok(match self.lives(build, stop).await? {
            true => None,
            false => Some(build.token.clone()),
        })
    }

    /// Whether a builder gives a sign of life while it is looked at.
    async fn lives(&self, build: &Build, stop: &CancellationToken) -> Result<bool, RebuildError> {
        if build.token.is_empty() || !self.is_shared {
            // A process that builds in a folder has the folder.
            return Ok(false);
        }
        let watched = tokio::time::Instant::now();
        while watched.elapsed() < WATCH {
            let register = self.store.register().await?;
            match register.build() {
                Some((_, now)) if now == build => {}
                // It has ended meanwhile, or its process has.
                None => return Ok(false),
                Some((_, now)) => return Ok(!now.token.is_empty()),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(RebuildError::Stopped),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        Ok(false)
    }

    async fn held(
        &self,
        generation: Generation,
        build: Build,
    ) -> Result<RebuildError, RebuildError> {
        let register = self.store.register().await?;
        // As it is now.
        let build = match register.build() {
            Some((_, now)) => now.clone(),
            None => build,
        };
        let (reached, ends) = (self.reached(generation).await?, self.ends().await?);
        let applied = (0..self.log.partitions())
            .map(|partition| offset_of(partition, &reached))
            .sum();
        Ok(RebuildError::Held {
            view: self.name,
            generation,
            ago: (now().0 - build.heartbeat.0).max(0) / 1_000,
            build,
            applied,
            total: ends.iter().sum(),
        })
    }

    /// Says again and again that this process builds a generation, and returns
    /// when it is not its own any more.
    pub(super) async fn beat(&self, generation: Generation, builder: &Builder) -> RebuildError {
        loop {
            tokio::time::sleep(BEAT_EVERY).await;
            let beaten = change(&*self.store, |register| {
                register
                    .beat(generation, builder, now())
                    .map_err(RebuildError::from)
            });
            match beaten.await {
                Ok(_) => {}
                Err(lost @ RebuildError::Lost(_)) => return lost,
                // Whoever writes the generation waits for its store as well.
                Err(error) => tracing::debug!(%error, "could not say that this process lives"),
            }
        }
    }
}
