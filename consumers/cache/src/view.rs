use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_domain::ConversationId;
use tidings_log::{Log, LogError};
use tidings_projection::{Entry, Projection, Refused, View};
use tidings_views::cache::{CacheWriter, Change, Cursors, Moved, changed_by};
use tidings_views::{Position, StoreError};
use tidings_wire::{Codec, Topic, partition_of};
use uuid::Uuid;

/// How often it is looked whether the store was emptied: without traffic,
/// nothing else would tell.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The projection of `log` into a cache.
#[must_use]
pub fn projection(log: Arc<dyn Log>, codec: Codec, store: Arc<dyn CacheWriter>) -> Projection {
    let cache = Cache {
        inner: Arc::new(Inner {
            store,
            log: Arc::clone(&log),
            last: Mutex::default(),
        }),
        is_watched: AtomicBool::new(false),
    };
    Projection::new(log, codec, Arc::new(cache))
}

struct Cache {
    inner: Arc<Inner>,
    is_watched: AtomicBool,
}

struct Inner {
    store: Arc<dyn CacheWriter>,
    log: Arc<dyn Log>,
    /// Where this process last knew each partition to be.
    last: Mutex<BTreeMap<i32, Position>>,
}

impl Inner {
    /// Where every partition stands, for the projection to go on from.
    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        let positions = self.kept().await?.positions();
        let mut last = self.last.lock();
        last.extend(positions.iter().map(|at| (at.partition, *at)));
        Ok(positions)
    }

    /// The cursors of every partition. One that nobody keeps begins where this
    /// process was, or else near the log's end: of what was before, nothing is
    /// in the store.
    async fn kept(&self) -> Result<Cursors, StoreError> {
        let mut cursors = self.store.cursors().await?;
        let partitions = 0..self.log.partitions();
        let missing: Vec<i32> = partitions
            .filter(|p| cursors.offset(*p).is_none())
            .collect();
        if !missing.is_empty() {
            let mut begin = Vec::with_capacity(missing.len());
            for partition in missing {
                let last = self.last.lock().get(&partition).copied();
                begin.push(match last {
                    Some(last) => last,
                    None => self.near_the_end(partition).await?,
                });
            }
            tracing::info!(
                partitions = begin.len(),
                "the cache is empty; beginning anew"
            );
            self.store.begin(&begin).await?;
            cursors = self.store.cursors().await?;
        }
        Ok(cursors)
    }

    /// The last place of a partition at which the owner is known without
    /// reading all that was before.
    async fn near_the_end(&self, partition: i32) -> Result<Position, StoreError> {
        let log = Arc::clone(&self.log);
        let asking = move || -> Result<Position, LogError> {
            let (first, _) = log.watermarks(Topic::MessageDelivered, partition)?;
            let mark = log.mark(partition)?;
            Ok(Position {
                partition,
                offset: mark.map_or(first, |mark| mark.offset),
                current: mark.and_then(|mark| mark.current),
            })
        };
        let asked = tokio::task::spawn_blocking(asking).await;
        let unavailable = |error: &dyn std::fmt::Display| StoreError::Transient(error.to_string());
        asked
            .map_err(|error| unavailable(&error))?
            .map_err(|error| unavailable(&error))
    }

    fn partition_of(&self, id: ConversationId) -> i32 {
        let mut buffer = Uuid::encode_buffer();
        let text = id.0.hyphenated().encode_lower(&mut buffer);
        partition_of(text.as_bytes(), self.log.partitions())
    }
}

/// Begins anew soon after the store was emptied, also without traffic.
async fn watch(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        // Where the projection is, only it says: it may be writing just now.
        if let Err(error) = inner.kept().await {
            tracing::debug!(%error, "cannot look after the cache");
        }
    }
}

#[async_trait]
impl View for Cache {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn dead_letters(&self) -> Topic {
        Topic::DeadCache
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        if !self.is_watched.swap(true, Ordering::AcqRel) {
            tokio::spawn(watch(Arc::downgrade(&self.inner)));
        }
        Ok(())
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.inner.positions().await
    }

    async fn apply(
        &self,
        batch: &[Entry<'_>],
        positions: &[Position],
    ) -> Result<Vec<Refused>, StoreError> {
        let inner = &self.inner;
        let mut reaching: BTreeMap<i32, i64> = positions
            .iter()
            .map(|position| (position.partition, position.offset))
            .collect();
        let mut changes = Vec::new();
        for Entry { offset, decision } in batch {
            let (partition, next) = (inner.partition_of(decision.conversation_id), offset + 1);
            let reach = reaching.entry(partition).or_insert(next);
            *reach = (*reach).max(next);
            changes.extend(changed_by(decision).into_iter().map(|changed| Change {
                key: changed.key,
                parts: changed.parts,
                partition,
                next,
            }));
        }
        let moved: Vec<Moved> = {
            let last = inner.last.lock();
            let from = |to: &Position| Some(last.get(&to.partition)?.offset);
            let moved = positions.iter().filter_map(|to| {
                let from = from(to)?;
                Some(Moved { from, to: *to })
            });
            moved.collect()
        };
        let reaching: Vec<_> = reaching.into_iter().collect();
        inner.store.apply(&reaching, &changes, &moved).await?;
        let mut last = inner.last.lock();
        last.extend(positions.iter().map(|at| (at.partition, *at)));
        Ok(Vec::new())
    }
}
