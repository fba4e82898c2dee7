use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::sleep;

use crate::cells::{Cell, Phase};
use crate::crowd::{Crowd, Verdict};
use crate::fault::{blocking, strike, unready};
use crate::log;
use crate::report::Row;
use crate::system::System;

/// Commands decided before a fault, and after it.
const BEFORE: u64 = 150;
const AFTER: u64 = 200;
/// While there is no fault.
const UNDISTURBED: Duration = Duration::from_secs(60);
/// Once a fault is over.
const RECOVERED_WITHIN: Duration = Duration::from_secs(120);
/// A rebuild that was disturbed is run again, so often.
const REBUILDS: usize = 8;
const BETWEEN_REBUILDS: Duration = Duration::from_secs(5);
/// A rebuild's records a second at least, and how long it takes at most.
const REBUILD_RATE: usize = 100;
const REBUILD_SECONDS: usize = 10;
/// From the start of a rebuild, or of another process, to the fault.
const UNDER_WAY: Duration = Duration::from_millis(1_000);
/// Of what was found, told at most: one fault is often found many times.
const TOLD: usize = 12;

/// Runs a cell on a system that is up. `number` tells runs on it apart.
pub(crate) async fn run(
    system: &Arc<dyn System>,
    cell: Cell,
    number: usize,
    tokens: &[String],
) -> Row {
    let start = Instant::now();
    let mut row = Row::of(cell);
    match attempt(system, cell, number, tokens, &mut row).await {
        Ok(verdict) => {
            row.delivered = verdict.delivered.len() as u64;
            row.resent = verdict.resent;
            row.reconnects = verdict.reconnects;
            row.stall = verdict.stall;
            row.found.extend(verdict.found);
        }
        Err(error) => row.found.push(format!("{error:#}")),
    }
    let more = row.found.len().saturating_sub(TOLD);
    if more > 0 {
        row.found.truncate(TOLD);
        row.found.push(format!("and {more} more"));
    }
    row.took = start.elapsed();
    row
}

async fn attempt(
    system: &Arc<dyn System>,
    cell: Cell,
    number: usize,
    tokens: &[String],
    row: &mut Row,
) -> Result<Verdict> {
    let temp_id = format!("cell-{number}");
    let crowd = Crowd::gather(&temp_id, &system.edges(), system.api(), tokens)
        .await
        .context("before the fault")?;
    let disturbed = disturb(system, cell, &crowd, row).await;
    if let Err(error) = disturbed {
        row.found.push(format!("{error:#}"));
    }
    let unready = unready(system, RECOVERED_WITHIN).await?;
    let unready = unready
        .iter()
        .map(|name| format!("{name} is not ready again"));
    row.found.extend(unready);
    let mut verdict = crowd.settle().await;
    let found = log::check(system, &verdict).await?;
    verdict.found.extend(found);
    if cell.phase == Phase::Rebuild {
        let view = cell.component.view();
        let prune = ["rebuild", view, "--prune"];
        let pruned = blocking(system, move |system| system.tidings_there(&prune)).await?;
        if !pruned.success {
            verdict.found.push(pruned.complaint());
        }
    }
    Ok(verdict)
}

/// The fault, with what goes on meanwhile, until commands are decided again.
async fn disturb(system: &Arc<dyn System>, cell: Cell, crowd: &Crowd, row: &mut Row) -> Result<()> {
    if cell.phase == Phase::Idle {
        row.remark(strike(system, cell).await?);
        crowd.send();
        return crowd.decided(BEFORE + AFTER, RECOVERED_WITHIN).await;
    }
    crowd.send();
    let before = crowd.decided(BEFORE, UNDISTURBED).await;
    before.context("before the fault")?;
    match cell.phase {
        Phase::Idle | Phase::Import => row.remark(strike(system, cell).await?),
        Phase::Rebuild => rebuild(system, cell, row).await?,
        Phase::Rebalance => rebalance(system, cell, crowd, row).await?,
    }
    crowd.decided(AFTER, RECOVERED_WITHIN).await
}

/// A rebuild of the component's view, which is hit meanwhile, and run again
/// until it is done.
async fn rebuild(system: &Arc<dyn System>, cell: Cell, row: &mut Row) -> Result<()> {
    let records = blocking(system, |system| Ok(system.delivered()?.len())).await?;
    let rate = REBUILD_RATE.max(records / REBUILD_SECONDS).to_string();
    let attempts = {
        let system = Arc::clone(system);
        tokio::spawn(async move {
            for attempt in 1..=REBUILDS {
                let rate = rate.clone();
                let rebuilt = blocking(&system, move |system| {
                    let command = ["rebuild", cell.component.view(), "--rate", &rate];
                    system.tidings_there(&command)
                });
                let rebuilt = rebuilt.await?;
                if rebuilt.success {
                    return Ok(attempt);
                }
                if attempt == REBUILDS {
                    anyhow::bail!("{} times: {}", REBUILDS, rebuilt.complaint());
                }
                sleep(BETWEEN_REBUILDS).await;
            }
            anyhow::bail!("no attempt")
        })
    };
    sleep(UNDER_WAY).await;
    if attempts.is_finished() {
        row.remark(Some("the rebuild was over before the fault".to_owned()));
    }
    row.remark(strike(system, cell).await?);
    let attempts = attempts.await??;
    if attempts > 1 {
        row.remark(Some(format!("the rebuild was run {attempts} times")));
    }
    Ok(())
}

/// A second process of ours joins while the first is hit, and leaves later; of
/// a server, a second one of those who use it leaves while the server is hit.
async fn rebalance(
    system: &Arc<dyn System>,
    cell: Cell,
    crowd: &Crowd,
    row: &mut Row,
) -> Result<()> {
    let role = cell.component.role();
    let add = || blocking(system, move |system| system.add(role));
    if cell.component.is_server() {
        let second = add().await?;
        let joined = crowd.decided(BEFORE, UNDISTURBED).await;
        joined.context("with a second one, before the fault")?;
        let leaves = blocking(system, move |system| system.stop(&second));
        let (left, struck) = tokio::join!(leaves, strike(system, cell));
        row.remark(struck?);
        return left;
    }
    let (second, struck) = tokio::join!(add(), async {
        sleep(UNDER_WAY).await;
        strike(system, cell).await
    });
    row.remark(struck?);
    let second = second?;
    crowd.decided(AFTER, RECOVERED_WITHIN).await?;
    blocking(system, move |system| system.stop(&second)).await
}
