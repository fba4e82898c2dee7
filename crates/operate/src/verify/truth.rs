use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;
use tidings_domain as domain;
use tidings_projection::Entry;
use tidings_sqlite::Database;
use tidings_views::audit::{
    HistoryAudit, HistoryTruth, OutcomeKeeping, SearchAudit, SearchTruth, StoredDocument,
    cache_keys_changed_by, cacheable,
};
use tidings_views::search::{Documents, Fold, Wanted};
use tidings_views::{Position, StoreError};

use super::log::blocking;
use super::{AuditedView, VerifyError};

/// What the log makes of a view.
#[async_trait]
pub(super) trait Truth: Send + Sync {
    /// Folds decisions of one partition, in the order of the log. Tells which
    /// documents they may change, where that is asked for.
    async fn apply(
        &self,
        entries: &[Entry<'_>],
        position: Position,
        with_touched: bool,
    ) -> Result<Applied, VerifyError>;

    /// Gives out all documents of a kind, as the store keeps them.
    async fn scan(
        &self,
        kind: &'static str,
        each: &mut (dyn FnMut(Vec<StoredDocument>) -> Result<(), StoreError> + Send),
    ) -> Result<(), VerifyError>;

    /// Those of these documents that should be there. `seen` are those that
    /// are.
    async fn get(
        &self,
        kind: &'static str,
        keys: &[String],
        seen: &[StoredDocument],
    ) -> Result<Vec<StoredDocument>, VerifyError>;

    /// A copy that goes on by itself.
    async fn fork(&self) -> Result<Box<dyn Truth>, VerifyError>;
}

/// What became of decisions.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// How many do not follow on those before, as the projection finds too.
    pub(super) refused: u64,
    /// The documents they may change, by kind and key.
    pub(super) touched: Vec<(&'static str, String)>,
}

/// The truth about a view, so far without any decision.
pub(super) async fn of(view: &AuditedView) -> Result<Box<dyn Truth>, VerifyError> {
    let scratch = Scratch::make().await?;
    Ok(match view {
        AuditedView::History(store) => Box::new(OfHistory {
            truth: HistoryTruth::open(scratch.database.clone(), store.outcomes()).await?,
            store: store.clone(),
            scratch,
        }),
        AuditedView::Search(store) => Box::new(OfSearch {
            truth: SearchTruth::open(scratch.database.clone()).await?,
            store: store.clone(),
            scratch,
        }),
        AuditedView::Cache(_) => {
            let database = scratch.database.clone();
            Box::new(OfCache {
                truth: HistoryTruth::open(database, OutcomeKeeping::Counting).await?,
                scratch,
            })
        }
    })
}

/// A file that goes when it is dropped.
struct Scratch {
    // Before its folder.
    database: Database,
    _folder: TempDir,
}

impl Scratch {
    async fn make() -> Result<Self, VerifyError> {
        Self::with(|_| Ok(())).await
    }

    async fn copy(&self) -> Result<Self, VerifyError> {
        let database = self.database.clone();
        Self::with(move |folder| database.copy_into(&folder.path().join("tidings.sqlite"))).await
    }

    async fn with(
        fill: impl FnOnce(&TempDir) -> Result<(), tidings_sqlite::Error> + Send + 'static,
    ) -> Result<Self, VerifyError> {
        blocking(move || {
            let failed = |error: &dyn std::fmt::Display| VerifyError::Scratch(error.to_string());
            let folder = tempfile::Builder::new()
                .prefix("tidings-verify-")
                .tempdir()
                .map_err(|error| failed(&error))?;
            fill(&folder).map_err(|error| failed(&error))?;
            let database = Database::open_scratch(folder.path()).map_err(|error| failed(&error))?;
            Ok(Self {
                database,
                _folder: folder,
            })
        })
        .await?
    }
}

/// Folds decisions into the rows of the history view.
async fn apply_to_history(
    truth: &HistoryTruth,
    entries: &[Entry<'_>],
    position: Position,
    with_touched: bool,
) -> Result<Applied, VerifyError> {
    let wanted = domain::Wanted::of(entries.iter().map(|entry| entry.decision));
    let loaded = truth.load(&wanted).await?;
    let folded = tidings_history::fold(entries, loaded);
    truth.write(&folded.rows, &[position]).await?;
    let touched = match with_touched {
        true => truth.touched(&folded.rows).await?,
        false => Vec::new(),
    };
    Ok(Applied {
        refused: folded.refused.len() as u64,
        touched,
    })
}

/// Documents as the store keeps them.
fn encoded<T>(
    documents: &[T],
    encode: impl Fn(&T) -> Result<StoredDocument, StoreError>,
) -> Result<Vec<StoredDocument>, StoreError> {
    documents.iter().map(encode).collect()
}

struct OfHistory {
    truth: HistoryTruth,
    store: Arc<dyn HistoryAudit>,
    scratch: Scratch,
}

#[async_trait]
impl Truth for OfHistory {
    async fn apply(
        &self,
        entries: &[Entry<'_>],
        position: Position,
        with_touched: bool,
    ) -> Result<Applied, VerifyError> {
        apply_to_history(&self.truth, entries, position, with_touched).await
    }

    async fn scan(
        &self,
        kind: &'static str,
        each: &mut (dyn FnMut(Vec<StoredDocument>) -> Result<(), StoreError> + Send),
    ) -> Result<(), VerifyError> {
        let mut encode = |documents: Vec<_>| each(encoded(&documents, |it| self.store.encode(it))?);
        Ok(self.truth.scan(kind, &mut encode).await?)
    }

    async fn get(
        &self,
        kind: &'static str,
        keys: &[String],
        _seen: &[StoredDocument],
    ) -> Result<Vec<StoredDocument>, VerifyError> {
        let documents = self.truth.get(kind, keys).await?;
        Ok(encoded(&documents, |it| self.store.encode(it))?)
    }

    async fn fork(&self) -> Result<Box<dyn Truth>, VerifyError> {
        let scratch = self.scratch.copy().await?;
        Ok(Box::new(Self {
            truth: HistoryTruth::open(scratch.database.clone(), self.store.outcomes()).await?,
            store: self.store.clone(),
            scratch,
        }))
    }
}

struct OfSearch {
    truth: SearchTruth,
    store: Arc<dyn SearchAudit>,
    scratch: Scratch,
}

#[async_trait]
impl Truth for OfSearch {
    async fn apply(
        &self,
        entries: &[Entry<'_>],
        position: Position,
        with_touched: bool,
    ) -> Result<Applied, VerifyError> {
        let decisions: Vec<_> = entries.iter().map(|entry| entry.decision).collect();
        let wanted = Wanted::of(decisions.iter().copied());
        let loaded = match wanted.is_empty() {
            true => Documents::default(),
            false => self.truth.load(&wanted).await?,
        };
        let mut fold = Fold::new(loaded);
        for entry in entries {
            fold.apply(entry.decision, entry.offset);
        }
        let changed = fold.into_changed();
        self.truth.write(&decisions, &changed, &[position]).await?;
        let touched = match with_touched {
            true => SearchTruth::keys(&changed),
            false => Vec::new(),
        };
        Ok(Applied {
            refused: 0,
            touched,
        })
    }

    async fn scan(
        &self,
        kind: &'static str,
        each: &mut (dyn FnMut(Vec<StoredDocument>) -> Result<(), StoreError> + Send),
    ) -> Result<(), VerifyError> {
        let mut encode = |documents: Vec<_>| each(encoded(&documents, |it| self.store.encode(it))?);
        Ok(self.truth.scan(kind, &mut encode).await?)
    }

    async fn get(
        &self,
        kind: &'static str,
        keys: &[String],
        _seen: &[StoredDocument],
    ) -> Result<Vec<StoredDocument>, VerifyError> {
        let documents = self.truth.get(kind, keys).await?;
        Ok(encoded(&documents, |it| self.store.encode(it))?)
    }

    async fn fork(&self) -> Result<Box<dyn Truth>, VerifyError> {
        let scratch = self.scratch.copy().await?;
        Ok(Box::new(Self {
            truth: SearchTruth::open(scratch.database.clone()).await?,
            store: self.store.clone(),
            scratch,
        }))
    }
}

/// The truth about a cache is the history view's: each value is read anew from
/// it.
struct OfCache {
    truth: HistoryTruth,
    scratch: Scratch,
}

#[async_trait]
impl Truth for OfCache {
    async fn apply(
        &self,
        entries: &[Entry<'_>],
        position: Position,
        with_touched: bool,
    ) -> Result<Applied, VerifyError> {
        let mut applied = apply_to_history(&self.truth, entries, position, false).await?;
        if with_touched {
            let keys = entries
                .iter()
                .map(|entry| cache_keys_changed_by(entry.decision));
            applied.touched = keys.flatten().collect();
        }
        Ok(applied)
    }

    async fn scan(
        &self,
        _kind: &'static str,
        _each: &mut (dyn FnMut(Vec<StoredDocument>) -> Result<(), StoreError> + Send),
    ) -> Result<(), VerifyError> {
        // What is not in the cache is not missed.
        Ok(())
    }

    async fn get(
        &self,
        _kind: &'static str,
        _keys: &[String],
        seen: &[StoredDocument],
    ) -> Result<Vec<StoredDocument>, VerifyError> {
        let mut right = Vec::with_capacity(seen.len());
        for value in seen {
            right.extend(cacheable(&self.truth, value).await?);
        }
        Ok(right)
    }

    async fn fork(&self) -> Result<Box<dyn Truth>, VerifyError> {
        let scratch = self.scratch.copy().await?;
        let database = scratch.database.clone();
        Ok(Box::new(Self {
            truth: HistoryTruth::open(database, OutcomeKeeping::Counting).await?,
            scratch,
        }))
    }
}
