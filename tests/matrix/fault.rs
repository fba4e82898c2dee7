use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::cells::{Cell, Component, Fault};
use crate::system::{Disk, System, wait_until};

/// Between a death and the next start.
const DEAD: Duration = Duration::from_secs(2);
/// Past the session's timeout, by which a group takes its member for dead.
const PAUSED: Duration = Duration::from_secs(12);
const BETWEEN_CUTS: Duration = Duration::from_secs(3);
/// Each way.
const DELAY: Duration = Duration::from_millis(200);
const SLOW: Duration = Duration::from_secs(15);
const FULL: Duration = Duration::from_secs(10);
/// What goes on by itself once there is room again does so within this.
const RECOVERS: Duration = Duration::from_secs(20);

/// Does to the component what the cell says, and takes it away again. A remark,
/// where there is one.
pub(crate) async fn strike(system: &Arc<dyn System>, cell: Cell) -> Result<Option<String>> {
    let name = cell.component.process();
    match cell.fault {
        Fault::Kill => {
            blocking(system, move |system| system.signal(name, "-KILL")).await?;
            sleep(DEAD).await;
            blocking(system, move |system| system.start(name)).await?;
        }
        Fault::Pause => {
            blocking(system, move |system| system.signal(name, "-STOP")).await?;
            sleep(PAUSED).await;
            blocking(system, move |system| system.signal(name, "-CONT")).await?;
        }
        Fault::Stop => {
            blocking(system, move |system| system.stop(name)).await?;
            sleep(DEAD).await;
            blocking(system, move |system| system.start(name)).await?;
        }
        Fault::Cut => {
            system.proxy(name)?.cut();
            sleep(BETWEEN_CUTS).await;
            system.proxy(name)?.cut();
        }
        Fault::Slow => {
            system.proxy(name)?.delay(DELAY);
            sleep(SLOW).await;
            system.proxy(name)?.delay(Duration::ZERO);
        }
        Fault::Full => return fill(system, name).await,
    }
    Ok(None)
}

async fn fill(system: &Arc<dyn System>, name: &'static str) -> Result<Option<String>> {
    blocking(system, |system| disk(system)?.fill()).await?;
    sleep(FULL).await;
    blocking(system, |system| disk(system)?.free()).await?;
    let ended = blocking(system, move |system| Ok(system.pid(name).is_err())).await?;
    if ended {
        blocking(system, move |system| system.start(name)).await?;
        return Ok(Some(
            "it ended when the disk was full; started again".into(),
        ));
    }
    let unready = unready(system, RECOVERS).await?;
    if !unready.iter().any(|one| one == name) {
        return Ok(Some("it went on by itself once there was room".into()));
    }
    blocking(system, move |system| {
        system.stop(name)?;
        system.start(name)
    })
    .await?;
    Ok(Some("it needed a restart once there was room".into()))
}

fn disk(system: &dyn System) -> Result<&Disk> {
    system.disk().context("there is no disk of its own")
}

/// Waits until every process serves again; those that do not.
pub(crate) async fn unready(system: &Arc<dyn System>, within: Duration) -> Result<Vec<String>> {
    blocking(system, move |system| {
        let mut unready = Vec::new();
        let waited = wait_until(within, "all are ready", || {
            match system.unready() {
                Ok(names) => unready = names,
                Err(error) => unready = vec![format!("{error:#}")],
            }
            unready.is_empty()
        });
        Ok(if waited.is_ok() { Vec::new() } else { unready })
    })
    .await
}

/// Runs what blocks on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(
    system: &Arc<dyn System>,
    what: impl FnOnce(&dyn System) -> Result<T> + Send + 'static,
) -> Result<T> {
    let system = Arc::clone(system);
    spawn_blocking(move || what(&*system)).await?
}

/// Whether the cell wants a disk of its own.
pub(crate) fn on_disk(cell: Cell) -> Option<&'static str> {
    (cell.fault == Fault::Full).then(|| match cell.component {
        Component::Dev => "dev",
        other => other.process(),
    })
}
