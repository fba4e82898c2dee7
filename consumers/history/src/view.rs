use std::sync::Arc;

use async_trait::async_trait;
use tidings_domain::Wanted;
use tidings_log::Log;
use tidings_projection::{Entry, Projection, Refused, View};
use tidings_views::history::HistoryWriter;
use tidings_views::{Position, StoreError};
use tidings_wire::{Codec, Topic};

use crate::fold::fold;

/// The projection of `log` into the history view that `store` keeps.
#[must_use]
pub fn projection(log: Arc<dyn Log>, codec: Codec, store: Arc<dyn HistoryWriter>) -> Projection {
    Projection::new(log, codec, Arc::new(History { store }))
}

/// The history view: the one fold of it, and its store.
struct History {
    store: Arc<dyn HistoryWriter>,
}

#[async_trait]
impl View for History {
    fn name(&self) -> &'static str {
        "history"
    }

    fn dead_letters(&self) -> Topic {
        Topic::DeadHistory
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
        let loaded = self.store.load(&wanted).await?;
        let folded = fold(batch, loaded);
        let positions = if folded.refused.is_empty() {
            positions
        } else {
            &[]
        };
        self.store.write(&folded.rows, positions).await?;
        Ok(folded.refused)
    }
}
