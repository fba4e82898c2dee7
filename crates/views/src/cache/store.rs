use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::Key;
use crate::{Position, StoreError};

/// How long a value stays that is not asked for anew.
pub const TTL: Duration = Duration::from_secs(3_600);

/// How far the cache has come in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Every change below is taken into account.
    pub position: Position,
    /// No change from here on is.
    pub reaching: i64,
}

/// How far the cache has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    /// Names this life of the store; none: it is empty.
    pub session: Option<String>,
    /// By partition.
    pub partitions: BTreeMap<i32, Cursor>,
}

impl Cursors {
    /// Where a partition stands; none: nobody keeps it.
    #[must_use]
    pub fn offset(&self, partition: i32) -> Option<i64> {
        self.partitions
            .get(&partition)
            .map(|cursor| cursor.position.offset)
    }

    /// Where every partition stands that somebody keeps.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        self.partitions
            .values()
            .map(|cursor| cursor.position)
            .collect()
    }
}

/// What an open record is filled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(super) session: String,
    pub(super) mark: String,
}

/// How many parts of a value may be outdated before all of it is dropped.
pub const OUTDATED_PARTS: usize = 128;

/// A value of which some parts have changed since it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// What it was.
    pub value: Vec<u8>,
    /// What has changed of it: messages, conversations or users, by id.
    pub parts: Vec<String>,
    /// Of each partition that it depends on, the offset below which it
    /// reflected everything when it was read.
    pub as_of: Vec<(i32, i64)>,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value, if there is one that is up to date.
    pub value: Option<Vec<u8>>,
    /// If not, what is left of it.
    pub outdated: Option<Outdated>,
    /// With which one may be filled in.
    pub ticket: Ticket,
}

impl Found {
    /// A record with this value, if it has one, and these parts of it changed.
    pub(super) fn new(
        value: Option<Vec<u8>>,
        parts: Vec<String>,
        as_of: Vec<(i32, i64)>,
        ticket: Ticket,
    ) -> Self {
        let (value, outdated) = match value {
            Some(value) if !parts.is_empty() => {
                let outdated = Outdated {
                    value,
                    parts,
                    as_of,
                };
                (None, Some(outdated))
            }
            value => (value, None),
        };
        Self {
            value,
            outdated,
            ticket,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookUp {
    /// The cursors before: each value reflects at least these.
    pub before: Cursors,
    /// The cursors after: a value that is to be filled in must reflect all
    /// that they are reaching for.
    pub after: Cursors,
    /// One for each key; none at all while the store is empty.
    pub found: Vec<Found>,
}

/// A value to take in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// What it is of.
    pub key: Key,
    /// That of its look-up.
    pub ticket: Ticket,
    /// The value.
    pub value: Vec<u8>,
    /// Of each partition that it depends on, the offset below which it
    /// reflects everything.
    pub as_of: Vec<(i32, i64)>,
}

impl LookUp {
    /// A value for the key at this index, read from a view whose positions
    /// were asked after this look-up and before the value. None where the view
    /// lags behind the cache, or a partition is kept by nobody.
    #[must_use]
    pub fn fill(
        &self,
        index: usize,
        key: Key,
        value: Vec<u8>,
        as_of: Vec<(i32, i64)>,
    ) -> Option<Fill> {
        let is_enough = |(partition, offset): &(i32, i64)| {
            let cursor = self.after.partitions.get(partition);
            cursor.is_some_and(|cursor| cursor.reaching <= *offset)
        };
        if !as_of.iter().all(is_enough) {
            return None;
        }
        self.amend(index, key, value, as_of)
    }

    /// What the outdated value at this index reflects once its outdated parts
    /// were read again, from a view that stood at these positions before: what
    /// has changed of the rest is known as far as the cursors had come. None
    /// where the view stands before what the value reflected.
    #[must_use]
    pub fn amended_as_of(&self, index: usize, view: &[(i32, i64)]) -> Option<Vec<(i32, i64)>> {
        let outdated = self.found.get(index)?.outdated.as_ref()?;
        let known = |partition| {
            let of = outdated.as_of.iter().find(|(of, _)| *of == partition);
            of.map(|(_, offset)| *offset)
        };
        let amended = view.iter().map(|(partition, offset)| {
            let was = known(*partition)?;
            let noted = self.before.offset(*partition)?;
            (*offset >= was).then_some((*partition, was.max(noted.min(*offset))))
        });
        amended.collect()
    }

    /// The value at this index with its outdated parts as they are now, as of
    /// what [`amended_as_of`](Self::amended_as_of) says. That it reflects what
    /// the cursors are reaching for was so when the record took its first
    /// value.
    #[must_use]
    pub fn amend(
        &self,
        index: usize,
        key: Key,
        value: Vec<u8>,
        as_of: Vec<(i32, i64)>,
    ) -> Option<Fill> {
        let ticket = self.found.get(index)?.ticket.clone();
        Some(Fill {
            key,
            ticket,
            value,
            as_of,
        })
    }
}

/// A decision changes what a key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What.
    pub key: Key,
    /// Which parts of it, by id. None at all: all of it.
    pub parts: Vec<String>,
    /// The decision's partition.
    pub partition: i32,
    /// The offset after it.
    pub next: i64,
}

/// Where a partition goes with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where it must stand.
    pub from: i64,
    /// Where it stands after.
    pub to: Position,
}

/// The readers' side of the cache.
#[async_trait]
pub trait CacheReader: Send + Sync {
    /// Looks for values, and opens a record for each that is not there.
    async fn look_up(&self, keys: &[Key]) -> Result<LookUp, StoreError>;

    /// Takes values in, where they are not too old. Returns how many were.
    async fn fill(&self, fills: &[Fill]) -> Result<usize, StoreError>;
}

/// The projection's side of the cache.
#[async_trait]
pub trait CacheWriter: Send + Sync {
    /// How far it has come.
    async fn cursors(&self) -> Result<Cursors, StoreError>;

    /// Begins partitions that nobody keeps yet at these positions, and leaves
    /// the others as they are. An empty store gets a new session.
    async fn begin(&self, positions: &[Position]) -> Result<(), StoreError>;

    /// Notes changes, then moves partitions on. A value of which no more than
    /// [`OUTDATED_PARTS`] have changed stays, and says so. `reaching` says of each
    /// partition which offset the changes stay below.
    ///
    /// # Errors
    /// [`StoreError::Transient`] also where a partition is not where it must
    /// be: the store was emptied, or somebody else keeps it. What was noted
    /// until then does no harm.
    async fn apply(
        &self,
        reaching: &[(i32, i64)],
        changes: &[Change],
        moved: &[Moved],
    ) -> Result<(), StoreError>;
}
