//! What every store of the cache view must do.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use tidings_domain::{ConversationId, Tenant, UserId};
use uuid::Uuid;

use super::Random;
use crate::Position;
use crate::cache::{CacheReader, CacheWriter, Change, Cursors, Key, LookUp, Moved};

/// A store of the cache whose memory can be taken from it.
#[async_trait]
pub trait Forgetful: CacheReader + CacheWriter {
    /// Evicts one record.
    async fn evict(&self, key: &Key);

    /// Empties the store.
    async fn flush(&self);
}

const PARTITIONS: i32 = 2;

fn conversation(n: u128) -> Key {
    let tenant = Tenant::parse("acme").expect("a valid tenant");
    Key::Head(tenant, ConversationId(Uuid::from_u128(n)))
}

fn user() -> Key {
    let tenant = Tenant::parse("acme").expect("a valid tenant");
    Key::Places(tenant, UserId::parse("ann").expect("a valid user id"))
}

/// The keys, and the partitions that each depends on: of a conversation one,
/// of a user all.
fn keys() -> Vec<(Key, Vec<i32>)> {
    let mut keys: Vec<_> = (0..4)
        .map(|n| (conversation(n), vec![(n % 2) as i32]))
        .collect();
    keys.push((user(), vec![0, 1]));
    keys
}

/// What a key stands for: of each partition, the last change of it.
type State = BTreeMap<i32, i64>;

fn encode(state: &State) -> Vec<u8> {
    serde_json::to_vec(state).expect("numbers have JSON")
}

fn decode(value: &[u8]) -> State {
    serde_json::from_slice(value).expect("what was encoded")
}

/// A log of changes, a view of it that lags, and the cache's projection.
struct World<'a> {
    store: &'a dyn Forgetful,
    keys: Vec<(Key, Vec<i32>)>,
    /// Of each partition, what each offset changes.
    log: Vec<Vec<BTreeSet<usize>>>,
    /// How far the history view has come.
    history: Vec<i64>,
    /// How far the cache's projection believes to have come.
    projected: Option<Vec<i64>>,
    readers: Vec<Reader>,
    random: Random,
    hits: usize,
}

/// A reader between two of its steps.
struct Reader {
    key: usize,
    looked: LookUp,
    /// The view's positions, once asked.
    positions: Option<Vec<(i32, i64)>>,
    /// The value, once read.
    value: Option<State>,
}

impl World<'_> {
    /// The last change of a key below an offset of a partition; -1: none.
    fn last_change(&self, key: usize, partition: i32, below: i64) -> i64 {
        let log = &self.log[partition as usize][..below as usize];
        let last = log.iter().rposition(|changed| changed.contains(&key));
        last.map_or(-1, |offset| offset as i64)
    }

    async fn step(&mut self) {
        match self.random.below(40) {
            0..=4 => self.append(),
            5..=9 => self.advance_history(),
            10..=15 => self.project().await,
            16..=21 => self.look().await,
            22..=37 => self.go_on().await,
            38 => {
                let key = self.random.below(self.keys.len());
                self.store.evict(&self.keys[key].0).await;
            }
            _ => match self.random.below(8) {
                0 => self.store.flush().await,
                // The projection ends, and another takes its place.
                1 => self.projected = None,
                _ => self.check_all().await,
            },
        }
    }

    fn append(&mut self) {
        let partition = self.random.below(PARTITIONS as usize);
        let of_partition: Vec<usize> = (0..self.keys.len())
            .filter(|key| self.keys[*key].1.contains(&(partition as i32)))
            .collect();
        let random = &mut self.random;
        let changed = of_partition.into_iter().filter(|_| random.below(3) == 0);
        self.log[partition].push(changed.collect());
    }

    fn advance_history(&mut self) {
        let partition = self.random.below(PARTITIONS as usize);
        let end = self.log[partition].len() as i64;
        let more = self.random.below(4) as i64;
        self.history[partition] = (self.history[partition] + more).min(end);
    }

    /// Takes the projection one batch further, or has it find where it stands.
    async fn project(&mut self) {
        let cursors = self.store.cursors().await.expect("cursors");
        let Some(believed) = self.projected.clone() else {
            return self.take_over(&cursors).await;
        };
        let stored = |partition| cursors.offset(partition);
        if (0..PARTITIONS).any(|p| stored(p) != Some(believed[p as usize])) {
            // Emptied: the same one goes on from where it was.
            let positions: Vec<_> = (0..PARTITIONS)
                .map(|p| position(p, believed[p as usize]))
                .collect();
            self.store.begin(&positions).await.expect("begins");
            return;
        }
        let partition = self.random.below(PARTITIONS as usize);
        let (from, end) = (believed[partition], self.log[partition].len() as i64);
        let to = (from + 1 + self.random.below(3) as i64).min(end);
        if from == to {
            return;
        }
        let changes: Vec<Change> = (from..to)
            .flat_map(|offset| {
                let changed = &self.log[partition][offset as usize];
                changed.iter().map(move |key| (offset, *key))
            })
            .map(|(offset, key)| Change {
                key: self.keys[key].0.clone(),
                partition: partition as i32,
                next: offset + 1,
            })
            .collect();
        let reaching = [(partition as i32, to)];
        let moved = [Moved {
            from,
            to: position(partition as i32, to),
        }];
        // Stopped somewhere in the middle, or not.
        let done = match self.random.below(6) {
            0 => self.store.apply(&reaching, &[], &[]).await,
            1 => {
                let half = &changes[..changes.len() / 2];
                self.store.apply(&reaching, half, &[]).await
            }
            2 => self.store.apply(&reaching, &changes, &[]).await,
            _ => {
                let done = self.store.apply(&reaching, &changes, &moved).await;
                if done.is_ok()
                    && let Some(projected) = &mut self.projected
                {
                    projected[partition] = to;
                }
                done
            }
        };
        done.expect("nothing is lost within a step");
    }

    /// A new projection goes on where the cursors are; where there are none,
    /// it begins somewhere.
    async fn take_over(&mut self, cursors: &Cursors) {
        let mut positions = Vec::new();
        for partition in 0..PARTITIONS {
            let end = self.log[partition as usize].len();
            let somewhere = self.random.below(end + 1) as i64;
            positions.push(position(partition, somewhere));
        }
        self.store.begin(&positions).await.expect("begins");
        let begun = match cursors.partitions.is_empty() {
            true => self.store.cursors().await.expect("cursors"),
            false => cursors.clone(),
        };
        let offsets = (0..PARTITIONS).map(|p| begun.offset(p).expect("begun"));
        self.projected = Some(offsets.collect());
    }

    async fn look(&mut self) {
        if self.readers.len() > 3 {
            return;
        }
        let key = self.random.below(self.keys.len());
        let looked = self.store.look_up(&[self.keys[key].0.clone()]).await;
        let looked = looked.expect("looks up");
        self.check(key, &looked);
        self.readers.push(Reader {
            key,
            looked,
            positions: None,
            value: None,
        });
    }

    /// One reader takes its next step: asks for the view's positions, reads,
    /// fills.
    async fn go_on(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let index = self.random.below(self.readers.len());
        let key = self.readers[index].key;
        let (name, partitions) = self.keys[key].clone();
        if self.readers[index].positions.is_none() {
            let positions = partitions.iter().map(|p| (*p, self.history[*p as usize]));
            self.readers[index].positions = Some(positions.collect());
        } else if self.readers[index].value.is_none() {
            // The view may have gone on since.
            let state = partitions
                .iter()
                .map(|p| (*p, self.last_change(key, *p, self.history[*p as usize])));
            self.readers[index].value = Some(state.collect());
        } else {
            let reader = self.readers.swap_remove(index);
            let (Some(as_of), Some(value)) = (reader.positions, reader.value) else {
                return;
            };
            if let Some(fill) = reader.looked.fill(0, name, encode(&value), as_of) {
                self.store.fill(&[fill]).await.expect("fills");
            }
        }
    }

    async fn check_all(&mut self) {
        let names: Vec<Key> = self.keys.iter().map(|(key, _)| key.clone()).collect();
        let looked = self.store.look_up(&names).await.expect("looks up");
        for key in 0..looked.found.len() {
            let one = LookUp {
                before: looked.before.clone(),
                after: looked.after.clone(),
                found: vec![looked.found[key].clone()],
            };
            self.check(key, &one);
        }
    }

    /// A value is a state that was, and not before the cache's own position.
    fn check(&mut self, key: usize, looked: &LookUp) {
        let Some(value) = looked.found.first().and_then(|found| found.value.as_ref()) else {
            return;
        };
        self.hits += 1;
        for (partition, change) in decode(value) {
            let claimed = looked
                .before
                .offset(partition)
                .expect("a session has cursors");
            let least = self.last_change(key, partition, claimed);
            assert!(
                change >= least,
                "partition {partition}: the change at {least} is missing below {claimed}"
            );
            if change >= 0 {
                let changed = &self.log[partition as usize][change as usize];
                assert!(changed.contains(&key), "a state that never was");
            }
        }
    }
}

fn position(partition: i32, offset: i64) -> Position {
    Position {
        partition,
        offset,
        current: None,
    }
}

/// Whatever comes between whatever, a value is never older than the cache
/// says: batches that are stopped half-way, readers that take their time, a
/// history view that lags, evictions and flushes. Returns how often a value
/// was found: a cache that never answers is never wrong either.
pub async fn is_never_older_than_it_says(store: &dyn Forgetful, seed: u64) -> usize {
    let mut world = World {
        store,
        keys: keys(),
        log: vec![Vec::new(); PARTITIONS as usize],
        history: vec![0; PARTITIONS as usize],
        projected: None,
        readers: Vec::new(),
        random: Random::new(seed),
        hits: 0,
    };
    for _ in 0..600 {
        world.step().await;
    }
    world.hits
}

/// A value that is there is found until it changes; one that was read after
/// the change stays.
pub async fn drops_what_changes(store: &dyn Forgetful) {
    store
        .begin(&[position(0, 5), position(1, 5)])
        .await
        .expect("begins");
    let key = conversation(0);
    let value = |text: &str| text.as_bytes().to_vec();
    let fill = async |text: &str, as_of: i64| {
        let looked = store
            .look_up(std::slice::from_ref(&key))
            .await
            .expect("looks up");
        match looked.fill(0, key.clone(), value(text), vec![(0, as_of)]) {
            Some(fill) => store.fill(&[fill]).await.expect("fills"),
            None => 0,
        }
    };
    let found = async || {
        let looked = store
            .look_up(std::slice::from_ref(&key))
            .await
            .expect("looks up");
        looked.found[0].value.clone()
    };
    let change = async |from: i64, to: i64| {
        let change = Change {
            key: key.clone(),
            partition: 0,
            next: to,
        };
        let moved = Moved {
            from,
            to: position(0, to),
        };
        store.apply(&[(0, to)], &[change], &[moved]).await
    };
    assert_eq!(found().await, None);
    assert_eq!(fill("lags", 4).await, 0);
    assert_eq!(fill("one", 5).await, 1);
    assert_eq!(found().await, Some(value("one")));
    assert_eq!(change(5, 6).await, Ok(()));
    assert_eq!(found().await, None);
    assert_eq!(fill("lags", 5).await, 0);
    assert_eq!(fill("ahead", 9).await, 1);
    assert_eq!(change(6, 8).await, Ok(()));
    assert_eq!(found().await, Some(value("ahead")), "it was read after");
    assert_eq!(change(8, 10).await, Ok(()));
    assert_eq!(found().await, None);
    // Who believes to be elsewhere moves nothing.
    assert!(change(8, 20).await.is_err());
    let cursors = store.cursors().await.expect("cursors");
    assert_eq!((cursors.offset(0), cursors.offset(1)), (Some(10), Some(5)));

    // A record that was evicted meanwhile takes nothing.
    let looked = store
        .look_up(std::slice::from_ref(&key))
        .await
        .expect("looks up");
    store.evict(&key).await;
    let late = looked.fill(0, key.clone(), value("late"), vec![(0, 99)]);
    let late = late.expect("a ticket");
    assert_eq!(store.fill(std::slice::from_ref(&late)).await, Ok(0));
    found().await;
    assert_eq!(store.fill(&[late]).await, Ok(0), "nor does another record");

    store.flush().await;
    let looked = store
        .look_up(std::slice::from_ref(&key))
        .await
        .expect("looks up");
    assert_eq!(looked, LookUp::default(), "an empty store answers nothing");
    assert!(change(10, 11).await.is_err());
    store.begin(&[position(0, 11)]).await.expect("begins");
    assert_eq!(found().await, None);
    let looked = store.look_up(&[user()]).await.expect("looks up");
    let as_of = vec![(0, 99), (1, 99)];
    let unkept = looked.fill(0, user(), value("x"), as_of);
    assert_eq!(unkept, None, "nobody keeps partition 1");
}
