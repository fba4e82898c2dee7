//! Values that are being read from the history view: each once at a time, for
//! all who wait for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidings_domain::{ConversationId, Tenant};
use tokio::sync::{Semaphore, watch};

use super::reading::AsOf;
use super::shared::Shared;
use super::value::{Head, Value};
use super::{Fill, Key, LookUp};
use crate::StoreError;

/// How many look-ups' values are being read at once; the others wait.
const AT_ONCE: usize = 32;
/// How long the view is waited for where it lags behind the cache, as what is
/// read of it then cannot be kept: pauses between looks at its positions.
const PAUSES_MS: [u64; 5] = [3, 5, 8, 12, 18];

/// What was read.
#[derive(Debug)]
pub(super) struct Landed {
    /// None: there is nothing, or nothing that can be kept.
    pub(super) value: Option<Arc<Value>>,
    /// Below which offsets it reflects everything.
    pub(super) as_of: Vec<(i32, i64)>,
}

impl Landed {
    /// Whether it reflects all that is wanted of the partitions it depends on.
    pub(super) fn covers(&self, wanted: &BTreeMap<i32, i64>) -> bool {
        let is_enough = |(partition, offset): &(i32, i64)| {
            wanted.get(partition).is_none_or(|least| offset >= least)
        };
        self.as_of.iter().all(is_enough)
    }
}

pub(super) type Landing = watch::Receiver<Option<Arc<Landed>>>;

pub(super) struct Flights {
    flying: Mutex<HashMap<Key, Flying>>,
    numbers: AtomicU64,
    room: Semaphore,
}

struct Flying {
    number: u64,
    landing: Landing,
}

impl Flying {
    /// Whether it is worth while to wait for it.
    fn may_serve(&self, wanted: &BTreeMap<i32, i64>) -> bool {
        match &*self.landing.borrow() {
            Some(landed) => landed.covers(wanted),
            None => self.landing.has_changed().is_ok(),
        }
    }
}

impl Default for Flights {
    fn default() -> Self {
        Self {
            flying: Mutex::default(),
            numbers: AtomicU64::new(0),
            room: Semaphore::new(AT_ONCE),
        }
    }
}

/// A value on its way. When it goes, it flies no more.
struct Departure {
    shared: Arc<Shared>,
    key: Key,
    /// Its place in the look-up.
    index: usize,
    number: u64,
    land: watch::Sender<Option<Arc<Landed>>>,
}

impl Drop for Departure {
    fn drop(&mut self) {
        let mut flying = self.shared.flights.flying.lock();
        let is_ours = |flying: &Flying| flying.number == self.number;
        if flying.get(&self.key).is_some_and(is_ours) {
            flying.remove(&self.key);
        }
    }
}

impl Flights {
    /// Whether nothing is being read.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.flying.lock().is_empty()
    }

    /// Has these read that a look-up has not found, unless they are on their
    /// way.
    pub(super) fn join(
        shared: &Arc<Shared>,
        looked: &Arc<LookUp>,
        missing: &[(usize, Key)],
        wanted: &BTreeMap<i32, i64>,
    ) -> Vec<Landing> {
        let flights = &shared.flights;
        let (mut landings, mut departures) = (Vec::new(), Vec::new());
        let mut flying = flights.flying.lock();
        for (index, key) in missing {
            if let Some(known) = flying.get(key).filter(|known| known.may_serve(wanted)) {
                metrics::counter!("tidings_cache_joined_total", "kind" => key.kind()).increment(1);
                #[cfg(test)]
                shared.tally.joined.fetch_add(1, Ordering::Relaxed);
                landings.push(known.landing.clone());
                continue;
            }
            let number = flights.numbers.fetch_add(1, Ordering::Relaxed);
            let (land, landing) = watch::channel(None);
            landings.push(landing.clone());
            flying.insert(key.clone(), Flying { number, landing });
            departures.push(Departure {
                shared: Arc::clone(shared),
                key: key.clone(),
                index: *index,
                number,
                land,
            });
        }
        drop(flying);
        if !departures.is_empty() {
            let (shared, looked) = (Arc::clone(shared), Arc::clone(looked));
            tokio::spawn(async move {
                let _room = shared.flights.room.acquire().await;
                if let Err(error) = shared.fly(&looked, &departures).await {
                    tracing::debug!(%error, "cannot fill the cache");
                }
                drop(departures);
            });
        }
        landings
    }
}

impl Shared {
    async fn fly(&self, looked: &LookUp, departures: &[Departure]) -> Result<(), StoreError> {
        let view = self.view_for(looked, departures).await?;
        let mut heads = self.heads_of(departures).await?;
        let mut fills = Vec::new();
        for departure in departures {
            let key = &departure.key;
            let head = match key {
                Key::Head(tenant, id) => Some(heads.remove(&(tenant.clone(), *id))),
                _ => None,
            };
            let fill = self.land(looked, &view, departure, head).await?;
            fills.extend(fill);
        }
        if fills.is_empty() {
            return Ok(());
        }
        self.take_in(&view, fills).await
    }

    /// The view's positions, once it has come as far as it must for what is
    /// read of it to be kept, or was waited for long enough.
    async fn view_for(
        &self,
        looked: &LookUp,
        departures: &[Departure],
    ) -> Result<AsOf, StoreError> {
        // A head is read too quickly to wait for.
        let whole = departures.iter().filter(|departure| {
            let found = looked.found.get(departure.index);
            !matches!(departure.key, Key::Head(..))
                && found.is_some_and(|found| found.outdated.is_none())
        });
        let partitions: Vec<i32> = whole
            .flat_map(|departure| self.partitions_of(&departure.key))
            .collect();
        let reaching = |partition| {
            let cursor = looked.after.partitions.get(partition);
            cursor.map_or(0, |cursor| cursor.reaching)
        };
        let mut view = self.history_positions().await?;
        let mut pauses = PAUSES_MS.into_iter();
        while partitions.iter().any(|p| view.offset(*p) < reaching(p)) && self.with_view.has_some()
        {
            let Some(pause) = pauses.next() else {
                self.with_view.lost();
                break;
            };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            view = self.history_positions().await?;
        }
        Ok(view)
    }

    /// All heads among them, by two questions a tenant.
    async fn heads_of(
        &self,
        departures: &[Departure],
    ) -> Result<HashMap<(Tenant, ConversationId), Head>, StoreError> {
        let mut wanted: BTreeMap<&Tenant, Vec<ConversationId>> = BTreeMap::new();
        for departure in departures {
            if let Key::Head(tenant, id) = &departure.key {
                wanted.entry(tenant).or_default().push(*id);
            }
        }
        let mut heads = HashMap::new();
        for (tenant, ids) in wanted {
            let read = self.read_heads(tenant, &ids).await?;
            heads.extend(
                read.into_iter()
                    .map(|(id, head)| ((tenant.clone(), id), head)),
            );
        }
        Ok(heads)
    }

    /// Reads a value, unless it is a head, and hands it to those who wait.
    /// Returns what may be kept.
    async fn land(
        &self,
        looked: &LookUp,
        view: &AsOf,
        departure: &Departure,
        head: Option<Option<Head>>,
    ) -> Result<Option<Fill>, StoreError> {
        let (key, index) = (&departure.key, departure.index);
        let view = view.of(&self.partitions_of(key));
        let outdated = looked.found.get(index).and_then(|it| it.outdated.as_ref());
        let as_of = looked.amended_as_of(index, &view);
        let amended = match (outdated, as_of) {
            (Some(outdated), Some(as_of)) => {
                let value = self.amend(key, outdated).await?;
                value.map(|value| (value, as_of))
            }
            _ => None,
        };
        let (value, as_of, fill) = if let Some((value, as_of)) = amended {
            metrics::counter!("tidings_cache_amended_total", "kind" => key.kind()).increment(1);
            #[cfg(test)]
            self.tally.amended.fetch_add(1, Ordering::Relaxed);
            let bytes = value.encode();
            let fill = looked.amend(index, key.clone(), bytes, as_of.clone());
            (Some(value), as_of, fill)
        } else {
            let value = match head {
                Some(head) => head.map(|head| Value::Head(Box::new(head))),
                None => self.read(key).await?,
            };
            let fill = value.as_ref().and_then(|value| {
                let bytes = value.encode();
                looked.fill(index, key.clone(), bytes, view.clone())
            });
            if fill.is_none() && value.is_some() {
                metrics::counter!("tidings_cache_fills_refused_total").increment(1);
            }
            (value, view, fill)
        };
        let value = value.map(Arc::new);
        departure
            .land
            .send_replace(Some(Arc::new(Landed { value, as_of })));
        Ok(fill)
    }

    /// Fills values in, if the view was nowhere set back while they were read.
    async fn take_in(&self, view: &AsOf, mut fills: Vec<Fill>) -> Result<(), StoreError> {
        let now = self.history_positions().await?;
        fills.retain(|fill| {
            let partitions = fill.as_of.iter().map(|(partition, _)| *partition);
            let mut set_back = partitions.filter(|p| now.offset(*p) < view.offset(*p));
            set_back.next().is_none()
        });
        if let Some(taken) = self.guard.fill(&fills).await {
            let refused = fills.len() - taken.min(fills.len());
            metrics::counter!("tidings_cache_fills_refused_total").increment(refused as u64);
            metrics::counter!("tidings_cache_fills_total").increment(taken as u64);
        }
        Ok(())
    }
}
