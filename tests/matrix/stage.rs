use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::cells::{Cell, Component};
use crate::cluster::Cluster;
use crate::crowd::names;
use crate::dev::Dev;
use crate::fault::{blocking, on_disk};
use crate::report::Row;
use crate::run::run;
use crate::system::{Disk, System};

/// Cells in one cluster: the log that each checks at its end grows by each.
const CELLS: usize = 8;

/// Where cells are played: a cluster for several of them, another one after a
/// failure.
pub(crate) struct Stages {
    binaries: PathBuf,
    /// Where the logs go of what failed.
    failures: PathBuf,
    cluster: Option<Stage>,
}

struct Stage {
    system: Arc<dyn System>,
    /// Of those in a crowd.
    tokens: Vec<String>,
    brokers: usize,
    played: usize,
}

impl Stages {
    pub(crate) fn new(binaries: &Path, results: &Path) -> Result<Self> {
        let folder = results.parent().unwrap_or(Path::new("."));
        let binaries = fs::canonicalize(binaries);
        Ok(Self {
            binaries: binaries.context("no folder of our binaries: cargo build --release")?,
            failures: folder.join("failures"),
            cluster: None,
        })
    }

    /// Runs a cell. An error is that it could not even begin.
    pub(crate) async fn play(&mut self, cell: Cell) -> Result<Row> {
        if on_disk(cell).is_some()
            && let Err(error) = try_a_disk()
        {
            return Ok(Row::impossible(cell, &format!("{error:#}")));
        }
        let shared = on_disk(cell).is_none() && cell.component != Component::Dev;
        let is_alike = |stage: &mut Stage| stage.brokers == cell.component.brokers();
        let kept = if shared {
            self.cluster.take_if(is_alike)
        } else {
            None
        };
        let mut stage = match kept {
            Some(stage) => stage,
            None => {
                if let Some(other) = self.cluster.take() {
                    drop_blocking(other).await?;
                }
                self.set_up(cell).await?
            }
        };
        stage.played += 1;
        let row = run(&stage.system, cell, stage.played, &stage.tokens).await;
        if !row.holds() {
            self.keep_logs(cell, &*stage.system)?;
        }
        if shared && row.holds() && stage.played < CELLS {
            self.cluster = Some(stage);
        } else {
            drop_blocking(stage).await?;
        }
        Ok(row)
    }

    async fn set_up(&self, cell: Cell) -> Result<Stage> {
        let system: Arc<dyn System> = match cell.component {
            Component::Dev => Arc::new(Dev::up(&self.binaries, on_disk(cell).is_some()).await?),
            other => Arc::new(Cluster::up(&self.binaries, other.brokers(), on_disk(cell)).await?),
        };
        let tokens = blocking(&system, |system| {
            names().map(|name| system.token(&name)).collect()
        });
        Ok(Stage {
            tokens: tokens.await?,
            system,
            brokers: cell.component.brokers(),
            played: 0,
        })
    }

    fn keep_logs(&self, cell: Cell, system: &dyn System) -> Result<()> {
        let folder = self.failures.join(cell.to_string().replace('/', "-"));
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(system.logs())? {
            let path = entry?.path();
            if let Some(name) = path
                .file_name()
                .filter(|_| path.extension() == Some("log".as_ref()))
            {
                fs::copy(&path, folder.join(name))?;
            }
        }
        if let Ok(records) = system.delivered() {
            let lines = records.iter().map(|record| format!("{record}\n"));
            fs::write(
                folder.join("message.delivered.jsonl"),
                lines.collect::<String>(),
            )?;
        }
        Ok(())
    }
}

/// Whether this machine lets us have a disk of our own.
fn try_a_disk() -> Result<()> {
    let folder = TempDir::new()?;
    Disk::mount(&folder.path().join("disk"), 1).map(drop)
}

/// A system takes seconds to go down.
async fn drop_blocking(stage: Stage) -> Result<()> {
    Ok(tokio::task::spawn_blocking(move || drop(stage)).await?)
}
