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

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value, if there is one.
    pub value: Option<Vec<u8>>,
    /// With which one may be filled in.
    pub ticket: Ticket,
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

    /// Notes changes, then moves partitions on. `reaching` says of each
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
