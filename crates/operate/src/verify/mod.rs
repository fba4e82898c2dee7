//! Compares a view with the log, document by document, and mends it.
//!
//! The truth is folded anew from the log, by the same fold, into a scratch
//! file, up to where the view stands. Both sides are then given out once, and
//! added up by bucket, in no order; the documents of the buckets that differ
//! are compared one by one. So memory is bounded, however long the log.
//!
//! # Why there are no false alarms
//!
//! A projection goes on meanwhile, and writes documents before positions. A
//! document that was read after the view stood at position `p`, and before the
//! log ended at `e`, is right if and only if it is what the log makes of it at
//! some position from `p` to `e`. So whatever differs at `p` is looked at again
//! record by record up to `e`, in a copy of the scratch file, and counts as
//! wrong only if it fits nowhere.
//!
//! # Why mending does no harm
//!
//! What is put in is what the log says at a position that the view has reached,
//! never what is to come: a projection would take that for done. It is put in
//! the place of what was seen, or not at all. A projection that had read the
//! wrong document just before may write it again; so what was mended is looked
//! at once more, until it stays right.

mod buckets;
mod candidates;
mod compare;
mod difference;
mod examine;
mod log;
mod report;
mod rewrite;
mod scope;
mod truth;

pub use difference::{Difference, FieldDifference, What};
pub(crate) use difference::{shown_fields, shown_text};
pub use report::{Found, Report, WrongPosition};
pub use rewrite::{Rewritten, rewrite};
pub use scope::Scope;

use std::sync::Arc;

use tidings_domain::Ownership;
use tidings_log::{LogError, LogReader};
use tidings_projection::Throttle;
use tidings_views::audit::{Audit, CacheAudit, HistoryAudit, SearchAudit};
use tidings_views::{Position, StoreError};
use tidings_wire::Codec;

use crate::verify::log::LogCursor;
use crate::verify::truth::Truth;

/// Why a view could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The view's store, or the scratch file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The scratch file.
    #[error("the scratch file: {0}")]
    Scratch(String),
    /// The view was set back meanwhile.
    #[error(
        "the view was set back in partition {partition}, from offset {from} to {to}, while it was \
         verified: it is being built anew; verify it when that is done"
    )]
    SetBack {
        /// The partition.
        partition: i32,
        /// Where it stood.
        from: i64,
        /// Where it stands.
        to: i64,
    },
    /// A partition that the log does not have.
    #[error("{0}")]
    Scope(String),
}

/// The view that is verified, and its store.
#[derive(Clone)]
pub enum AuditedView {
    /// The history view.
    History(Arc<dyn HistoryAudit>),
    /// The search view.
    Search(Arc<dyn SearchAudit>),
    /// The cache: what is in it must be right; what is not in it is not missed.
    Cache(Arc<dyn CacheAudit>),
}

impl AuditedView {
    /// The view's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::History(_) => "history",
            Self::Search(_) => "search",
            Self::Cache(_) => "cache",
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn Audit> {
        match self {
            Self::History(store) => store.clone(),
            Self::Search(store) => store.clone(),
            Self::Cache(store) => store.clone(),
        }
    }
}

/// Whether what is wrong is put right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repair {
    /// It is only told.
    #[default]
    No,
    /// It is put right.
    Yes,
}

/// How to verify.
#[derive(Clone, Default)]
pub struct Options {
    /// Whether what is wrong is put right.
    pub repair: Repair,
    /// Whether differences show texts; else their lengths and hashes.
    pub show_texts: bool,
    /// Is told how far it has come.
    pub progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
    /// Most documents that are put right a second; none: as many as the store
    /// takes.
    pub rate: Option<u32>,
    /// Is given each difference as it is found. The report keeps only the first
    /// [`Report::KEPT`].
    pub each: Option<Each>,
}

/// Is given differences.
pub type Each = Arc<dyn Fn(&Difference) + Send + Sync>;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// How much of it is done.
    pub done: u64,
    /// Of how much, where that is known.
    pub total: Option<u64>,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Records are read and folded.
    Folding,
    /// Documents are added up.
    Adding,
    /// Documents of buckets that differ are compared.
    Comparing,
}

impl Options {
    fn tell(&self, phase: Phase, done: u64, total: Option<u64>) {
        if let Some(progress) = &self.progress {
            progress(Progress { phase, done, total });
        }
    }
}

/// Verifies a view against the log, and repairs it where that is asked for.
///
/// Message texts are in a scratch file in the folder for temporary files
/// meanwhile, which only this user can read and which goes with this call.
///
/// # Errors
/// [`VerifyError`]. What was found or mended until then is so all the same;
/// it can be run again.
pub async fn verify(
    log: Arc<dyn LogReader>,
    codec: Codec,
    view: &AuditedView,
    scope: &Scope,
    options: &Options,
) -> Result<Report, VerifyError> {
    let store = view.store();
    let mut report = Report::new(view.name());
    report.flaws = store.flaws().await?;
    let is_other_view = report.flaws.iter().any(|flaw| !flaw.is_mendable);
    if is_other_view {
        return Ok(report);
    }
    if options.repair == Repair::Yes && !report.flaws.is_empty() {
        store.mend().await?;
        let left = store.flaws().await?;
        // An empty cache is begun below.
        report.flaws_left = match view {
            AuditedView::Cache(_) => 0,
            _ => left.len(),
        };
    } else {
        report.flaws_left = report.flaws.len();
    }
    let cursor = LogCursor::new(log, codec, scope)?;
    let truth = truth::of(view).await?;
    let mut run = Run {
        throttle: options.rate.map(Throttle::new),
        store,
        truth,
        cursor,
        scope,
        options,
        report,
    };
    run.positions().await?;
    run.documents(matches!(view, AuditedView::Cache(_))).await?;
    run.mend_positions(view).await?;
    Ok(run.report)
}

/// One comparison.
struct Run<'a> {
    throttle: Option<Throttle>,
    store: Arc<dyn Audit>,
    truth: Box<dyn Truth>,
    cursor: LogCursor,
    scope: &'a Scope,
    options: &'a Options,
    report: Report,
}

impl Run<'_> {
    /// Folds the log up to where the view stands, and compares its positions
    /// with what the log says of them.
    async fn positions(&mut self) -> Result<(), VerifyError> {
        let stored = self.advance().await?;
        let ends = self.cursor.ends().await?;
        for (partition, end) in ends {
            let Some(at) = stored.iter().find(|at| at.partition == partition) else {
                continue;
            };
            let (right, is_ahead) = match at.offset > end {
                true => (end, true),
                false => (at.offset, false),
            };
            let (offset, current) = self.cursor.position(partition);
            // The view has moved on: what is compared is a moment of it.
            if offset != right || (!is_ahead && at.current == current) {
                continue;
            }
            self.report.positions.push(WrongPosition {
                partition,
                stored: *at,
                right: Position {
                    partition,
                    offset: right,
                    current,
                },
                is_mended: false,
            });
        }
        Ok(())
    }

    /// Folds the log up to where the view stands now, and gives the positions
    /// as they are stored.
    async fn advance(&mut self) -> Result<Vec<Position>, VerifyError> {
        let stored = self.store.positions().await?;
        let mut to = std::collections::BTreeMap::new();
        for (partition, end) in self.cursor.ends().await? {
            let at = stored.iter().find(|at| at.partition == partition);
            let at = at.map_or(0, |at| at.offset).min(end);
            let (from, _) = self.cursor.position(partition);
            if at < from {
                return Err(VerifyError::SetBack {
                    partition,
                    from,
                    to: at,
                });
            }
            to.insert(partition, at);
        }
        let (truth, options, report) = (&self.truth, self.options, &mut self.report);
        let (mut done, total) = (0, self.cursor.distance(&to));
        self.cursor
            .read_to(&to, BATCH, async |batch| {
                done += batch.records;
                let applied = truth.apply(&batch.entries(), batch.position, false).await?;
                report.refused += applied.refused;
                report.unreadable += batch.unreadable;
                report.decisions += batch.decisions.len() as u64;
                options.tell(Phase::Folding, done, Some(total));
                Ok(())
            })
            .await?;
        Ok(stored)
    }

    /// Puts right the positions that are wrong, now that the documents are.
    async fn mend_positions(&mut self, view: &AuditedView) -> Result<(), VerifyError> {
        let stored = self.store.positions().await?;
        let is_empty_cache = matches!(view, AuditedView::Cache(_)) && stored.is_empty();
        if !is_empty_cache {
            for (partition, end) in self.cursor.ends().await? {
                let is_lost = stored.iter().all(|at| at.partition != partition)
                    && self.report.partitions.contains(&partition)
                    && end > 0;
                if is_lost {
                    self.report.lost_positions.push(partition);
                }
            }
        }
        if self.options.repair == Repair::No {
            return Ok(());
        }
        for wrong in &mut self.report.positions {
            let is_set = self.store.set_position(Some(wrong.stored), wrong.right);
            // Where it is another by now, whoever set it knows the log.
            wrong.is_mended =
                is_set.await? || !self.store.positions().await?.contains(&wrong.stored);
        }
        if is_empty_cache {
            let ends = self.cursor.ends().await?;
            let to = ends.into_iter().collect();
            self.cursor.read_to(&to, BATCH, async |_| Ok(())).await?;
            for partition in to.into_keys() {
                let (offset, current) = self.cursor.position(partition);
                let position = Position {
                    partition,
                    offset,
                    current,
                };
                self.store.set_position(None, position).await?;
            }
        }
        Ok(())
    }
}

/// Records folded in one go.
const BATCH: usize = 2_048;

/// The owner at a position, for people.
#[must_use]
pub fn owner_text(owner: Option<Ownership>) -> String {
    owner.map_or_else(
        || "nobody".to_owned(),
        |owner| format!("{} of epoch {}", owner.owner, owner.epoch),
    )
}
