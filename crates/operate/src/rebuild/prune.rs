use std::time::Duration;

use tidings_views::generation::{Generation, change};
use tokio_util::sync::CancellationToken;

use super::holder::now;
use super::{RebuildError, View, ViewName};

/// How long whoever reads or keeps a generation has to give it up. They look
/// every second.
const GRACE: Duration = Duration::from_secs(5);

/// What was deleted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Pruned {
    /// The view.
    pub view: ViewName,
    /// The generations.
    pub deleted: Vec<Generation>,
    /// What is read, and stays.
    pub serving: Generation,
    /// Whether it was done, or only looked at.
    pub done: bool,
}

/// Deletes every generation that is kept, and what was left of a rebuild whose
/// process is dead. Never what is read, and never what a live rebuild builds.
/// With `dry_run` it only says which.
///
/// # Errors
/// [`RebuildError`]; the same call goes on where it was.
pub async fn prune(
    view: &View,
    dry_run: bool,
    stop: &CancellationToken,
) -> Result<Pruned, RebuildError> {
    let register = view.store.register().await?;
    let dead = view.dead_builder(&register, stop).await?;
    if dry_run {
        let mut register = register;
        return Ok(Pruned {
            view: view.name,
            deleted: register.drop_unread(dead.as_deref(), now()),
            serving: register.serving(),
            done: false,
        });
    }
    let (deleted, register) = change(&*view.store, |register| {
        Ok::<_, RebuildError>(register.drop_unread(dead.as_deref(), now()))
    })
    .await?;
    if !deleted.is_empty() && view.is_shared {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Err(RebuildError::Stopped),
            () = tokio::time::sleep(GRACE) => {}
        }
    }
    // What a process that was slow to give one up wrote after it was deleted
    // is deleted as well.
    let mut gone = register.gone();
    gone.extend(&deleted);
    for generation in gone {
        view.store.delete(generation).await?;
        change(&*view.store, |register| {
            register.forget(generation);
            Ok::<_, RebuildError>(())
        })
        .await?;
        // Else it would lag for ever.
        if let Err(error) = view.forget_consumer(generation).await {
            tracing::warn!(%generation, %error, "`lag` goes on to show what was deleted");
        }
    }
    Ok(Pruned {
        view: view.name,
        deleted,
        serving: register.serving(),
        done: true,
    })
}
