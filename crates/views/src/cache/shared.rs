//! Values as readers want them: new enough, from the cache or from the view.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidings_domain::ConversationId;
use tidings_wire::partition_of;
use uuid::Uuid;

use super::flight::Flights;
use super::guard::Guard;
use super::patience::Patience;
use super::value::Value;
use super::{Key, LookUp};
use crate::history::HistoryReader;

/// How often a value is looked for: one that somebody else was reading may be
/// too old for who joined them.
const ROUNDS: usize = 3;
/// How long a cache that is a little behind is waited for: pauses between
/// looks. Its projection and the view's each take what they are given, and
/// neither is always first.
const PAUSES_MS: [u64; 6] = [1, 2, 4, 7, 11, 16];

pub(super) struct Shared {
    pub(super) history: Arc<dyn HistoryReader>,
    pub(super) guard: Guard,
    pub(super) partitions: i32,
    /// The highest positions that were given, by partition.
    pub(super) claimed: Mutex<HashMap<i32, i64>>,
    pub(super) flights: Flights,
    /// With a cache that is behind the view.
    with_cache: Patience,
    /// With a view that is behind the cache.
    pub(super) with_view: Patience,
    #[cfg(test)]
    pub(super) tally: Tally,
}

/// Where values came from.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Tally {
    pub(super) hits: AtomicUsize,
    pub(super) amended: AtomicUsize,
    pub(super) joined: AtomicUsize,
}

impl Shared {
    pub(super) fn new(history: Arc<dyn HistoryReader>, guard: Guard, partitions: i32) -> Self {
        Self {
            history,
            guard,
            partitions,
            claimed: Mutex::default(),
            flights: Flights::default(),
            with_cache: Patience::default(),
            with_view: Patience::default(),
            #[cfg(test)]
            tally: Tally::default(),
        }
    }

    fn partition_of(&self, id: ConversationId) -> i32 {
        let mut buffer = Uuid::encode_buffer();
        let text = id.0.hyphenated().encode_lower(&mut buffer);
        partition_of(text.as_bytes(), self.partitions)
    }

    /// The partitions that a key's value depends on.
    pub(super) fn partitions_of(&self, key: &Key) -> Vec<i32> {
        match key {
            Key::Head(_, id) | Key::Recent(_, id) | Key::Members(_, id) | Key::Hidden(_, id, _) => {
                vec![self.partition_of(*id)]
            }
            Key::Places(..) => (0..self.partitions).collect(),
        }
    }

    /// The values of these keys, as new as the positions that were given. None
    /// where the view is to be asked instead: one of them is not there to be
    /// kept; or the cache is down or behind, and not all of them are what
    /// several may ask for at once.
    pub(super) async fn values(self: &Arc<Self>, keys: &[Key]) -> Option<Vec<Arc<Value>>> {
        let wanted = self.wanted(keys);
        let mut values = vec![None; keys.len()];
        for _ in 0..ROUNDS {
            let open: Vec<usize> = (0..keys.len()).filter(|at| values[*at].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let asked: Vec<Key> = open.iter().map(|at| keys[*at].clone()).collect();
            let looked = match self.look_up(&asked, &wanted).await {
                Some(looked) => looked,
                // Without the cache a value is read for all who ask, so that
                // the view is not asked by each of them.
                None if asked.iter().all(Key::is_of_a_conversation) => LookUp::default(),
                None => return None,
            };
            let looked = Arc::new(looked);
            let mut missing = Vec::new();
            for (index, key) in asked.into_iter().enumerate() {
                let known = looked.found.get(index);
                let known = known.and_then(|found| found.value.as_deref());
                let known = known.and_then(|bytes| Value::decode(bytes, &key));
                self.count(&key, known.is_some());
                match known {
                    Some(value) => values[open[index]] = Some(Arc::new(value)),
                    None => missing.push((index, key)),
                }
            }
            if missing.is_empty() {
                break;
            }
            let landings = Flights::join(self, &looked, &missing, &wanted);
            for ((index, _), mut landing) in missing.iter().zip(landings) {
                let landed = landing.wait_for(Option::is_some).await.ok()?.clone()?;
                if landed.covers(&wanted) {
                    values[open[*index]] = Some(Arc::clone(landed.value.as_ref()?));
                }
            }
        }
        values.into_iter().collect()
    }

    /// The value of this key.
    pub(super) async fn value(self: &Arc<Self>, key: Key) -> Option<Arc<Value>> {
        self.values(&[key]).await?.pop()
    }

    /// How far values of these keys must have come: as the positions that were
    /// given.
    pub(super) fn wanted(&self, keys: &[Key]) -> BTreeMap<i32, i64> {
        let claimed = self.claimed.lock();
        let partitions = keys.iter().flat_map(|key| self.partitions_of(key));
        let offset = |partition| claimed.get(&partition).copied().unwrap_or(0);
        partitions.map(|p| (p, offset(p))).collect()
    }

    /// Looks up these keys, where the cache is up and has come as far as it
    /// must, or does so at once.
    pub(super) async fn look_up(
        &self,
        keys: &[Key],
        wanted: &BTreeMap<i32, i64>,
    ) -> Option<LookUp> {
        let mut pauses = PAUSES_MS.into_iter();
        loop {
            let looked = self.guard.look_up(keys).await?;
            let reached =
                |(p, least): (&i32, &i64)| looked.before.offset(*p).is_some_and(|at| at >= *least);
            if looked.found.len() == keys.len() && wanted.iter().all(reached) {
                return Some(looked);
            }
            // What was emptied, or is not kept, takes longer.
            let is_kept = wanted.keys().all(|p| looked.before.offset(*p).is_some());
            let pause = match is_kept && self.with_cache.has_some() {
                true => pauses.next(),
                false => None,
            };
            let Some(pause) = pause else {
                if is_kept && self.with_cache.has_some() {
                    self.with_cache.lost();
                }
                metrics::counter!("tidings_cache_behind_total").increment(1);
                return None;
            };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    pub(super) fn count(&self, key: &Key, hit: bool) {
        let name = match hit {
            true => "tidings_cache_hits_total",
            false => "tidings_cache_misses_total",
        };
        metrics::counter!(name, "kind" => key.kind()).increment(1);
        #[cfg(test)]
        self.tally
            .hits
            .fetch_add(usize::from(hit), Ordering::Relaxed);
    }
}
