use std::time::{Duration, Instant};

use tidings_views::generation::Generation;
use tokio_util::sync::CancellationToken;

use super::build::pause;
use super::handover::InStep;
use super::{RebuildError, View, ViewName};

/// How long a generation that is kept may take to be in step.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A view that was switched back.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RolledBack {
    /// The view.
    pub view: ViewName,
    /// What was read before.
    pub from: Generation,
    /// What is read now.
    pub to: Generation,
    /// Whether it was done, or only looked at.
    pub switched: bool,
}

/// Switches to the generation that was read before, once it is in step. With
/// `dry_run` it only says which that is.
///
/// # Errors
/// [`RebuildError`]; nothing is changed.
pub async fn rollback(
    view: &View,
    dry_run: bool,
    stop: &CancellationToken,
) -> Result<RolledBack, RebuildError> {
    let register = view.store.register().await?;
    let to = register.previous()?;
    let mut done = RolledBack {
        view: view.name,
        from: register.serving(),
        to,
        switched: false,
    };
    if dry_run {
        return Ok(done);
    }
    let started = Instant::now();
    while let InStep::No(why) = view.in_step(to).await? {
        if started.elapsed() >= TIMEOUT {
            let generation = to;
            return Err(RebuildError::NotFollowed { generation, why });
        }
        pause(stop).await?;
    }
    done.from = view.switch(to).await?;
    done.switched = true;
    Ok(done)
}
