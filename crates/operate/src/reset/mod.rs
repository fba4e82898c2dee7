//! Resets: sets where a projection goes on from, in its own store.
//!
//! A view's positions stand beside its documents. Set back, decisions are
//! applied that were applied before, which changes nothing that is right. Set
//! forward, decisions are left out, so that has to be asked for.
//!
//! Before anything is set, it is noted in `operator.notes` where each partition
//! stood, so that a reset that was interrupted can be undone as well.

mod note;
mod target;

pub use note::Undo;
pub use target::Target;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tidings_log::{Log, LogError};
use tidings_views::audit::Audit;
use tidings_views::{Position, StoreError};
use tidings_wire::Topic;

use crate::dead::Lock;
use crate::replay::owner_at;
use note::Stood;

/// Why a projection was not reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// It is at work.
    #[error(
        "{members} processes are at {consumer}: stop them first, or they would go on from where \
         they are; one that was killed counts until its session ends"
    )]
    Active {
        /// The consumer.
        consumer: String,
        /// How many processes.
        members: usize,
    },
    /// Decisions would be left out, and that was not asked for.
    #[error(
        "{records} records of partition {partition} would never be applied: the view would have a \
         gap; say --skip where that is meant"
    )]
    Skips {
        /// The partition.
        partition: i32,
        /// How many.
        records: i64,
    },
    /// There is no such partition or offset.
    #[error("{0}")]
    Target(String),
    /// There is nothing to undo.
    #[error("{0} has no reset to undo")]
    NothingToUndo(String),
    /// Somebody else has moved it.
    #[error(
        "partition {0} moved meanwhile: somebody is at the view; what was set until then is noted, \
         and `--undo` takes it back"
    )]
    Moved(i32),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The view's store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A projection, and the store its positions are in.
pub struct Reset {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Its name as a consumer: `history`, `search.g2`.
    pub consumer: String,
    /// The store, in the generation that it keeps.
    pub store: Arc<dyn Audit>,
    /// Who resets it, if known.
    pub by: Option<String>,
    /// Whether other processes may be at it: not where the data folder is this
    /// process's.
    pub is_shared: bool,
}

/// What becomes of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The partition.
    pub partition: i32,
    /// The next offset until now.
    pub from: i64,
    /// The next offset from now on.
    pub to: i64,
    /// Where the log ends.
    pub end: i64,
}

impl Change {
    /// Records that are applied again.
    #[must_use]
    pub fn again(&self) -> i64 {
        (self.from - self.to).max(0)
    }

    /// Records that are never applied.
    #[must_use]
    pub fn skipped(&self) -> i64 {
        (self.to - self.from).max(0)
    }
}

/// How to reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResetOptions {
    /// Whether records may be left out.
    pub skip: bool,
    /// Whether only to tell what would be done.
    pub dry_run: bool,
}

impl Reset {
    /// Sets positions, and gives those that change. The calls to the log block.
    ///
    /// # Errors
    /// [`ResetError`]. What was set until then is noted, for
    /// [`undo`](Self::undo).
    pub async fn reset(
        &self,
        target: &Target,
        options: ResetOptions,
    ) -> Result<Vec<Change>, ResetError> {
        self.refuse_active()?;
        let mut lock = self.lock(options.dry_run)?;
        let result = self.reset_locked(target, options, lock.as_mut()).await;
        self.release(lock);
        result
    }

    /// Without the lock, only tells what would change.
    async fn reset_locked(
        &self,
        target: &Target,
        options: ResetOptions,
        lock: Option<&mut Lock>,
    ) -> Result<Vec<Change>, ResetError> {
        let stored = self.positions().await?;
        let changes = self.changes(target, &stored)?;
        let skips = changes.iter().find(|change| change.skipped() > 0);
        if let Some(change) = skips.filter(|_| !options.skip) {
            return Err(ResetError::Skips {
                partition: change.partition,
                records: change.skipped(),
            });
        }
        let Some(lock) = lock.filter(|_| !changes.is_empty()) else {
            return Ok(changes);
        };
        // There must be something to keep positions in.
        self.store.mend().await?;
        let before = Undo::read(&*self.log, &self.consumer)?;
        let undo = Undo::of(&changes, &stored, before.as_ref(), self.by.clone());
        undo.write(&*self.log, &self.consumer)?;
        self.set(&changes, &stored, lock).await?;
        Ok(changes)
    }

    /// Sets the partitions of the last reset to where they stood before it. One
    /// that was set back and has come further meanwhile stays, and so does one
    /// that stands before where it was set back to: its store was emptied.
    ///
    /// # Errors
    /// [`ResetError`]; it can be called again.
    pub async fn undo(&self, dry_run: bool) -> Result<Vec<Change>, ResetError> {
        self.refuse_active()?;
        let mut lock = self.lock(dry_run)?;
        let result = self.undo_locked(lock.as_mut()).await;
        self.release(lock);
        result
    }

    /// Without the lock, only tells what would change.
    async fn undo_locked(&self, lock: Option<&mut Lock>) -> Result<Vec<Change>, ResetError> {
        let nothing = || ResetError::NothingToUndo(self.consumer.clone());
        let undo = Undo::read(&*self.log, &self.consumer)?.ok_or_else(nothing)?;
        let stored = self.positions().await?;
        let mut changes = Vec::new();
        for Stood {
            partition,
            from,
            to,
        } in &undo.partitions
        {
            let now = offset_of(*partition, &stored);
            let has_all = to < from && now >= *from;
            // The store has lost what it had: what it stands at is true.
            let has_lost = to < from && now < *to;
            let (_, end) = self.log.watermarks(Topic::MessageDelivered, *partition)?;
            if now != *from && !has_all && !has_lost {
                changes.push(Change {
                    partition: *partition,
                    from: now,
                    to: *from,
                    end,
                });
            }
        }
        if let Some(lock) = lock {
            self.set(&changes, &stored, lock).await?;
            Undo::forget(&*self.log, &self.consumer)?;
        }
        Ok(changes)
    }

    /// What would change.
    fn changes(&self, target: &Target, stored: &[Position]) -> Result<Vec<Change>, ResetError> {
        let offsets = target.offsets(&*self.log)?;
        let mut changes = Vec::new();
        for (partition, to) in offsets {
            let (_, end) = self.log.watermarks(Topic::MessageDelivered, partition)?;
            let from = offset_of(partition, stored);
            if from != to {
                changes.push(Change {
                    partition,
                    from,
                    to,
                    end,
                });
            }
        }
        Ok(changes)
    }

    async fn set(
        &self,
        changes: &[Change],
        stored: &[Position],
        lock: &mut Lock,
    ) -> Result<(), ResetError> {
        let mut told = Vec::with_capacity(changes.len());
        for change in changes {
            lock.renew(&*self.log)?;
            let partition = change.partition;
            let seen = stored.iter().find(|at| at.partition == partition).copied();
            let position = Position {
                partition,
                offset: change.to,
                current: owner_at(&*self.log, partition, change.to)?,
            };
            if !self.store.set_position(seen, position).await? {
                return Err(ResetError::Moved(partition));
            }
            told.push((Topic::MessageDelivered, partition, change.to));
        }
        // Somebody who joined at this moment may have read what was before.
        self.refuse_active()?;
        // For displays of lag.
        if let Err(error) = self.log.note_progress(&self.consumer, &told) {
            tracing::warn!(%error, "the log was not told of the reset; lag shows what was before");
        }
        Ok(())
    }

    async fn positions(&self) -> Result<Vec<Position>, ResetError> {
        let positions = self.store.positions().await?;
        // One by partition, whatever a store holds twice.
        let by_partition: BTreeMap<i32, Position> =
            positions.into_iter().map(|at| (at.partition, at)).collect();
        Ok(by_partition.into_values().collect())
    }

    fn refuse_active(&self) -> Result<(), ResetError> {
        if !self.is_shared {
            return Ok(());
        }
        match self.log.consumer(&self.consumer)?.members {
            0 => Ok(()),
            members => Err(ResetError::Active {
                consumer: self.consumer.clone(),
                members,
            }),
        }
    }

    fn lock(&self, dry_run: bool) -> Result<Option<Lock>, ResetError> {
        if dry_run {
            return Ok(None);
        }
        let name = format!("reset {}", self.consumer);
        Ok(Some(Lock::take(&*self.log, &name, self.by.clone())?))
    }

    fn release(&self, lock: Option<Lock>) {
        if let Some(lock) = lock
            && let Err(error) = lock.release(&*self.log)
        {
            tracing::warn!(%error, "the lock is not given up; it ends by itself");
        }
    }
}

/// Where a partition stands; one that is not named is at its beginning.
fn offset_of(partition: i32, stored: &[Position]) -> i64 {
    let found = stored.iter().find(|at| at.partition == partition);
    found.map_or(0, |at| at.offset)
}
