use std::sync::Arc;

use async_trait::async_trait;
use tidings_log::Log;
use tidings_projection::{Entry, Projection, Refused, View};
use tidings_views::search::{Documents, Fold, SearchWriter, Wanted};
use tidings_views::{Position, StoreError};
use tidings_wire::{Codec, Topic};

/// The projection of `log` into the search view that `store` keeps.
#[must_use]
pub fn projection(log: Arc<dyn Log>, codec: Codec, store: Arc<dyn SearchWriter>) -> Projection {
    Projection::new(log, codec, Arc::new(Search { store }))
}

/// The search view: the one fold of it, and its store.
struct Search {
    store: Arc<dyn SearchWriter>,
}

#[async_trait]
impl View for Search {
    fn name(&self) -> &'static str {
        "search"
    }

    fn dead_letters(&self) -> Topic {
        Topic::DeadSearch
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        self.store.prepare().await
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.store.positions().await
    }

    async fn apply(
        &self,
        batch: &[Entry<'_>],
        positions: &[Position],
    ) -> Result<Vec<Refused>, StoreError> {
        let wanted = Wanted::of(batch.iter().map(|entry| entry.decision));
        let loaded = if wanted.is_empty() {
            Documents::default()
        } else {
            self.store.load(&wanted).await?
        };
        let mut fold = Fold::new(loaded);
        for entry in batch {
            fold.apply(entry.decision, entry.offset);
        }
        self.store.write(&fold.into_changed(), positions).await?;
        // What does not fit what is there changes nothing; see `Fold`.
        Ok(Vec::new())
    }
}
