use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::ops::compute::Op;
use moka::sync::Cache;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{
    CacheReader, CacheWriter, Change, Cursor, Cursors, Fill, Found, Key, LookUp, Moved,
    OUTDATED_PARTS, TTL, Ticket,
};
use crate::{Position, StoreError};

/// The cache within one process. It knows what Redis knows, and follows the
/// same rules.
#[derive(Clone)]
pub struct MokaCache {
    pub(super) cursors: Arc<Mutex<Cursors>>,
    pub(super) records: Cache<Key, Record>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) session: String,
    mark: String,
    /// By partition, the offset after the last change of all of it.
    floors: BTreeMap<i32, i64>,
    pub(super) value: Option<Arc<[u8]>>,
    /// By partition, what the value is, or the last one was, as of.
    as_of: BTreeMap<i32, i64>,
    /// What has changed of the value since: the partition, and the offset after
    /// the last change.
    pub(super) parts: BTreeMap<String, (i32, i64)>,
}

impl MokaCache {
    /// At most so many bytes of values.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self::with_ttl(max_bytes, TTL)
    }

    pub(crate) fn with_ttl(max_bytes: u64, ttl: Duration) -> Self {
        /// About what a record takes besides its value.
        const RECORD: u32 = 256;
        let weigh = |_: &Key, record: &Record| {
            let bytes = record.value.as_ref().map_or(0, |value| value.len());
            let parts: usize = record.parts.keys().map(|part| part.len() + 64).sum();
            u32::try_from(bytes + parts)
                .unwrap_or(u32::MAX)
                .saturating_add(RECORD)
        };
        let records = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(weigh)
            .time_to_live(ttl)
            .build();
        Self {
            cursors: Arc::default(),
            records,
        }
    }

    fn open(&self, key: &Key, session: &str) -> Found {
        let fresh = || Record {
            session: session.to_owned(),
            mark: Uuid::new_v4().simple().to_string(),
            ..Record::default()
        };
        let opened = self
            .records
            .entry_by_ref(key)
            .and_compute_with(|entry| match entry {
                Some(entry) if entry.value().session == session => Op::Nop,
                _ => Op::Put(fresh()),
            });
        let record = opened
            .into_entry()
            .map_or_else(fresh, |entry| entry.into_value());
        let ticket = Ticket {
            session: record.session,
            mark: record.mark,
        };
        let (value, as_of) = match record.value {
            Some(known) => {
                let as_of = record.as_of.iter().map(|(p, at)| (*p, *at)).collect();
                (Some(known.to_vec()), as_of)
            }
            None => (None, Vec::new()),
        };
        let parts = record.parts.into_keys().collect();
        Found::new(value, parts, as_of, ticket)
    }

    fn take(&self, fill: &Fill) -> bool {
        let mut taken = false;
        self.records
            .entry_by_ref(&fill.key)
            .and_compute_with(|entry| {
                let Some(mut record) = entry.map(moka::Entry::into_value) else {
                    return Op::Nop;
                };
                let same = record.session == fill.ticket.session && record.mark == fill.ticket.mark;
                let is_new = |(partition, offset): &(i32, i64)| {
                    let least = |of: &BTreeMap<i32, i64>| of.get(partition).copied().unwrap_or(0);
                    least(&record.floors) <= *offset && least(&record.as_of) <= *offset
                };
                taken = same && fill.as_of.iter().all(is_new);
                if !taken {
                    return Op::Nop;
                }
                record.value = Some(fill.value.as_slice().into());
                record.as_of = fill.as_of.iter().copied().collect();
                let as_of = &record.as_of;
                record.parts.retain(|_, (partition, next)| {
                    as_of.get(partition).is_none_or(|at| *next > *at)
                });
                Op::Put(record)
            });
        taken
    }

    fn note(&self, change: &Change) {
        self.records
            .entry_by_ref(&change.key)
            .and_compute_with(|entry| {
                let Some(mut record) = entry.map(moka::Entry::into_value) else {
                    return Op::Nop;
                };
                let (partition, next) = (change.partition, change.next);
                if record.as_of.get(&partition).is_some_and(|at| *at >= next) {
                    return Op::Nop;
                }
                for part in &change.parts {
                    let known = record
                        .parts
                        .entry(part.clone())
                        .or_insert((partition, next));
                    known.1 = known.1.max(next);
                }
                if change.parts.is_empty() || record.parts.len() > OUTDATED_PARTS {
                    let parts = std::mem::take(&mut record.parts);
                    for (partition, next) in parts.into_values().chain([(partition, next)]) {
                        let floor = record.floors.entry(partition).or_default();
                        *floor = (*floor).max(next);
                    }
                    record.value = None;
                }
                Op::Put(record)
            });
    }
}

#[async_trait]
impl CacheReader for MokaCache {
    async fn look_up(&self, keys: &[Key]) -> Result<LookUp, StoreError> {
        let before = self.cursors.lock().clone();
        let Some(session) = before.session.clone() else {
            return Ok(LookUp::default());
        };
        let found = keys.iter().map(|key| self.open(key, &session)).collect();
        let after = self.cursors.lock().clone();
        if after.session != before.session {
            return Ok(LookUp::default());
        }
        Ok(LookUp {
            before,
            after,
            found,
        })
    }

    async fn fill(&self, fills: &[Fill]) -> Result<usize, StoreError> {
        Ok(fills.iter().filter(|fill| self.take(fill)).count())
    }
}

#[async_trait]
impl CacheWriter for MokaCache {
    async fn cursors(&self) -> Result<Cursors, StoreError> {
        Ok(self.cursors.lock().clone())
    }

    async fn begin(&self, positions: &[Position]) -> Result<(), StoreError> {
        let mut cursors = self.cursors.lock();
        let fresh = || Uuid::new_v4().simple().to_string();
        cursors.session.get_or_insert_with(fresh);
        for position in positions {
            let cursor = Cursor {
                position: *position,
                reaching: position.offset,
            };
            cursors
                .partitions
                .entry(position.partition)
                .or_insert(cursor);
        }
        Ok(())
    }

    async fn apply(
        &self,
        reaching: &[(i32, i64)],
        changes: &[Change],
        moved: &[Moved],
    ) -> Result<(), StoreError> {
        let lost = || StoreError::Transient("the cache was emptied".to_owned());
        for (partition, to) in reaching {
            let mut cursors = self.cursors.lock();
            let cursor = cursors.partitions.get_mut(partition).ok_or_else(lost)?;
            cursor.reaching = cursor.reaching.max(*to);
        }
        for change in changes {
            self.note(change);
        }
        for moved in moved {
            let mut cursors = self.cursors.lock();
            let cursor = cursors.partitions.get_mut(&moved.to.partition);
            let cursor = cursor.filter(|cursor| cursor.position.offset == moved.from);
            let cursor = cursor.ok_or_else(lost)?;
            cursor.position = moved.to;
            cursor.reaching = cursor.reaching.max(moved.to.offset);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{CacheReader, CacheWriter, Key, MokaCache};
    use crate::conformance::{self, Forgetful};

    #[async_trait::async_trait]
    impl Forgetful for MokaCache {
        async fn evict(&self, key: &Key) {
            self.records.invalidate(key);
        }

        async fn flush(&self) {
            *self.cursors.lock() = super::Cursors::default();
            self.records.invalidate_all();
        }
    }

    #[tokio::test]
    async fn drops_what_changes() {
        conformance::drops_what_changes(&MokaCache::new(1 << 20)).await;
    }

    #[tokio::test]
    async fn keeps_what_has_not_changed() {
        conformance::keeps_what_has_not_changed(&MokaCache::new(1 << 20)).await;
    }

    #[tokio::test]
    async fn is_never_older_than_it_says() {
        let mut sum = (0, 0);
        for seed in 0..500 {
            let cache = MokaCache::new(1 << 20);
            let (hits, amended) = conformance::is_never_older_than_it_says(&cache, seed).await;
            sum = (sum.0 + hits, sum.1 + amended);
        }
        assert!(sum.0 > 5_000 && sum.1 > 2_000, "hits, amended: {sum:?}");
    }

    #[tokio::test]
    async fn what_is_old_goes() {
        let cache = MokaCache::with_ttl(1 << 20, Duration::ZERO);
        let position = crate::Position {
            partition: 0,
            offset: 0,
            current: None,
        };
        cache.begin(&[position]).await.unwrap();
        let tenant = tidings_domain::Tenant::parse("t").unwrap();
        let id = tidings_domain::ConversationId(uuid::Uuid::nil());
        let key = Key::Head(tenant, id);
        let looked = cache.look_up(std::slice::from_ref(&key)).await.unwrap();
        let fill = looked.fill(0, key.clone(), vec![1], vec![(0, 0)]).unwrap();
        cache.fill(&[fill]).await.unwrap();
        let looked = cache.look_up(&[key]).await.unwrap();
        assert_eq!(looked.found[0].value, None);
    }
}
