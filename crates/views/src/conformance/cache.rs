//! What every store of the cache view must do.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use tidings_domain::{ConversationId, Tenant, UserId};
use uuid::Uuid;

use super::Random;
use crate::Position;
use crate::cache::{
    CacheReader, CacheWriter, Change, Cursors, Fill, Key, LookUp, Moved, OUTDATED_PARTS,
};

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

/// How many parts a value has of each partition.
const PARTS: usize = 3;

/// What a key stands for: of each part, the last change of it.
type State = BTreeMap<String, i64>;

/// The name of a part. It has in it whatever a user id may.
fn part(partition: i32, n: usize) -> String {
    format!("{n}:{partition}@9:9.-{n}")
}

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
    /// Of each partition, which parts of which keys each offset changes.
    log: Vec<Vec<BTreeMap<usize, BTreeSet<usize>>>>,
    /// How far the history view has come.
    history: Vec<i64>,
    /// How far the cache's projection believes to have come.
    projected: Option<Vec<i64>>,
    readers: Vec<Reader>,
    random: Random,
    hits: usize,
    amended: usize,
}

/// A reader between two of its steps.
struct Reader {
    key: usize,
    looked: LookUp,
    /// The view's positions, once asked.
    positions: Option<Vec<(i32, i64)>>,
    /// What may be filled in, once the value was read.
    fill: Option<Option<Fill>>,
}

impl World<'_> {
    /// The last change of a part of a key below an offset of its partition; -1:
    /// none.
    fn last_change(&self, key: usize, partition: i32, n: usize, below: i64) -> i64 {
        let log = &self.log[partition as usize][..below as usize];
        let changes = |changed: &BTreeMap<usize, BTreeSet<usize>>| {
            let parts = changed.get(&key);
            parts.is_some_and(|parts| parts.is_empty() || parts.contains(&n))
        };
        let last = log.iter().rposition(changes);
        last.map_or(-1, |offset| offset as i64)
    }

    /// The names of a key's parts, with their partitions and numbers.
    fn parts(&self, key: usize) -> Vec<(String, i32, usize)> {
        let partitions = self.keys[key].1.iter();
        partitions
            .flat_map(|p| (0..PARTS).map(|n| (part(*p, n), *p, n)))
            .collect()
    }

    /// These parts of a key, as the history view has them.
    fn read(&self, key: usize, wanted: impl Fn(&str) -> bool) -> State {
        let parts = self.parts(key).into_iter();
        let read = parts.filter(|(name, ..)| wanted(name)).map(|(name, p, n)| {
            let change = self.last_change(key, p, n, self.history[p as usize]);
            (name, change)
        });
        read.collect()
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
        let mut changed = BTreeMap::new();
        for key in of_partition {
            let parts = match random.below(9) {
                0 => BTreeSet::new(),
                1 => BTreeSet::from([random.below(PARTS)]),
                2 => BTreeSet::from([random.below(PARTS), random.below(PARTS)]),
                _ => continue,
            };
            changed.insert(key, parts);
        }
        self.log[partition].push(changed);
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
                changed
                    .iter()
                    .map(move |(key, parts)| (offset, *key, parts))
            })
            .map(|(offset, key, parts)| Change {
                key: self.keys[key].0.clone(),
                parts: parts.iter().map(|n| part(partition as i32, *n)).collect(),
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
            fill: None,
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
        } else if self.readers[index].fill.is_none() {
            // The view may have gone on since.
            let fill = self.read_for(index, name);
            self.readers[index].fill = Some(fill);
        } else if let Some(fill) = self.readers.swap_remove(index).fill.flatten() {
            self.store.fill(&[fill]).await.expect("fills");
        }
    }

    /// Reads what a reader has not found, or only the parts that are outdated.
    fn read_for(&mut self, index: usize, name: Key) -> Option<Fill> {
        let reader = &self.readers[index];
        let (key, looked) = (reader.key, reader.looked.clone());
        let view = reader.positions.clone()?;
        let outdated = looked.found.first().and_then(|it| it.outdated.as_ref());
        let Some((outdated, as_of)) = outdated.zip(looked.amended_as_of(0, &view)) else {
            return looked.fill(0, name, encode(&self.read(key, |_| true)), view);
        };
        let mut state = decode(&outdated.value);
        state.extend(self.read(key, |part| outdated.parts.iter().any(|it| it == part)));
        self.amended += 1;
        // It may be answered from as it is.
        for (partition, offset) in &view {
            let noted = looked.before.offset(*partition).expect("is kept");
            let known = as_of.iter().find(|(p, _)| p == partition);
            let known = known.expect("of each partition").1;
            assert!(known >= noted.min(*offset), "{known} of {noted}, {offset}");
        }
        self.is_as_of(key, &state, &as_of);
        looked.amend(0, name, encode(&state), as_of)
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
        let claimed = looked.before.partitions.iter();
        let claimed: Vec<_> = claimed.map(|(p, at)| (*p, at.position.offset)).collect();
        self.is_as_of(key, &decode(value), &claimed);
    }

    /// Each part reflects everything below these offsets.
    fn is_as_of(&self, key: usize, state: &State, claimed: &[(i32, i64)]) {
        let parts = self.parts(key);
        assert_eq!(state.len(), parts.len(), "{state:?}");
        for (name, partition, n) in parts {
            let change = state[&name];
            let of = claimed.iter().find(|(p, _)| *p == partition);
            let claimed = of.expect("a session has cursors").1;
            let least = self.last_change(key, partition, n, claimed);
            assert!(
                change >= least,
                "partition {partition}: the change at {least} is missing below {claimed}"
            );
            if change >= 0 {
                let changed = &self.log[partition as usize][change as usize];
                let parts = changed.get(&key).expect("a state that never was");
                assert!(parts.is_empty() || parts.contains(&n), "it never was");
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
/// was found, and how often only parts of one had to be read: a cache that never
/// answers is never wrong either.
pub async fn is_never_older_than_it_says(store: &dyn Forgetful, seed: u64) -> (usize, usize) {
    let mut world = World {
        store,
        keys: keys(),
        log: vec![Vec::new(); PARTITIONS as usize],
        history: vec![0; PARTITIONS as usize],
        projected: None,
        readers: Vec::new(),
        random: Random::new(seed),
        hits: 0,
        amended: 0,
    };
    for _ in 0..600 {
        world.step().await;
    }
    (world.hits, world.amended)
}

/// What changes in part stays, and says what has changed, until it is read
/// again, too much of it has changed, or all of it.
pub async fn keeps_what_has_not_changed(store: &dyn Forgetful) {
    let begin = [position(0, 5), position(1, 5)];
    store.begin(&begin).await.expect("begins");
    let key = user();
    let look = async || {
        let looked = store.look_up(std::slice::from_ref(&key)).await;
        looked.expect("looks up")
    };
    let parts_of = |looked: &LookUp| {
        let outdated = looked.found[0].outdated.as_ref()?;
        let mut parts = outdated.parts.clone();
        parts.sort_unstable();
        assert_eq!(looked.found[0].value, None);
        Some((outdated.value.clone(), parts.join(" ")))
    };
    let note = async |partition: i32, from: i64, parts: &[String]| {
        let change = Change {
            key: key.clone(),
            parts: parts.to_vec(),
            partition,
            next: from + 1,
        };
        let to = position(partition, from + 1);
        let moved = [Moved { from, to }];
        let reaching = [(partition, from + 1)];
        store.apply(&reaching, &[change], &moved).await
    };
    let one = |text: &str| vec![text.to_owned()];
    let whole = async |text: &str, as_of: Vec<(i32, i64)>| {
        let fill = look().await.fill(0, key.clone(), text.into(), as_of);
        store.fill(fill.as_slice()).await.expect("fills")
    };
    assert_eq!(whole("one", vec![(0, 5), (1, 9)]).await, 1);
    note(0, 5, &one("a@1:2")).await.expect("notes");
    note(0, 6, &one("b")).await.expect("notes");
    // It was read later than that.
    note(1, 5, &one("c")).await.expect("notes");
    let looked = look().await;
    assert_eq!(parts_of(&looked), Some(("one".into(), "a@1:2 b".into())));

    // A view behind what the value reflects mends nothing.
    assert_eq!(looked.amended_as_of(0, &[(0, 9), (1, 8)]), None);
    // One that has only the first change leaves the second to be read.
    let as_of = looked.amended_as_of(0, &[(0, 6), (1, 10)]).expect("mends");
    assert_eq!(as_of, [(0, 6), (1, 9)]);
    let fill = looked.amend(0, key.clone(), "two".into(), as_of);
    let two = fill.expect("a fill");
    assert_eq!(store.fill(std::slice::from_ref(&two)).await, Ok(1));
    let looked = look().await;
    assert_eq!(parts_of(&looked), Some(("two".into(), "b".into())));

    // What is noted while it is read stays noted.
    let as_of = looked.amended_as_of(0, &[(0, 99), (1, 99)]).expect("mends");
    assert_eq!(as_of, [(0, 7), (1, 9)], "no further than is noted");
    let three = looked.amend(0, key.clone(), "three".into(), as_of);
    note(0, 7, &one("d")).await.expect("notes");
    assert_eq!(store.fill(three.as_slice()).await, Ok(1));
    assert_eq!(parts_of(&look().await), Some(("three".into(), "d".into())));
    assert_eq!(store.fill(&[two]).await, Ok(0), "it is older");

    // A change of all of it is no change of a part.
    let late = look().await;
    let as_of = late.amended_as_of(0, &[(0, 99), (1, 99)]).expect("mends");
    let late = late.amend(0, key.clone(), "late".into(), as_of);
    note(0, 8, &[]).await.expect("notes");
    assert_eq!(store.fill(late.as_slice()).await, Ok(0));
    let looked = look().await;
    assert_eq!(
        (parts_of(&looked), looked.found[0].value.clone()),
        (None, None)
    );

    // Nor are too many parts.
    assert_eq!(whole("four", vec![(0, 9), (1, 9)]).await, 1);
    for n in 0..OUTDATED_PARTS {
        let from = 9 + n as i64;
        note(0, from, &one(&n.to_string())).await.expect("notes");
    }
    let looked = look().await;
    let outdated = looked.found[0].outdated.as_ref().expect("is there still");
    assert_eq!(outdated.parts.len(), OUTDATED_PARTS);
    let end = 9 + OUTDATED_PARTS as i64;
    let late = looked.amend(0, key.clone(), "late".into(), vec![(0, end), (1, 9)]);
    note(0, end, &one("0")).await.expect("notes");
    assert!(look().await.found[0].outdated.is_some(), "no other part");
    note(0, end + 1, &one("one more")).await.expect("notes");
    let looked = look().await;
    assert_eq!(looked.found[0].outdated, None);
    assert_eq!(store.fill(late.as_slice()).await, Ok(0));
    assert_eq!(whole("five", vec![(0, end + 2), (1, 9)]).await, 1);
    assert_eq!(look().await.found[0].value, Some("five".into()));
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
            parts: Vec::new(),
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
