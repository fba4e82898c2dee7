use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tidings_domain::{Ownership, Partition, Snapshot, Timestamp};
use tidings_log::Mark;
use tidings_wire::{Codec, StateEntry, Topic};

use crate::context::Context;
use crate::error::Stop;
use crate::inputs::NextInputs;
use crate::saved::SavedChunk;

/// How many remembered commands one record holds.
const WINDOW_CHUNK: usize = 1_000;
/// How many pieces may be on their way to the log.
const MAX_OUTSTANDING: usize = 512;

/// A place in `message.delivered` below which every decision is known to be in
/// the log and valid.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    pub(crate) upto: i64,
    pub(crate) by: Ownership,
    pub(crate) next: NextInputs,
}

/// Saves the state of an owned partition.
///
/// A snapshot is taken between two decisions and kept until the last decision
/// it reflects is verified; then its pieces are written, then what the dedupe
/// window has left behind is deleted, and when all that is acknowledged the
/// checkpoint that vouches for it. The checkpoint comes last so that the last
/// record of the topic is never one that compaction takes away.
pub(crate) struct Checkpointer {
    partition: i32,
    by: Ownership,
    due: Duration,
    saved_upto: i64,
    next_chunk: u64,
    chunks: Vec<SavedChunk>,
    work: Option<Work>,
}

enum Work {
    /// The pieces reflect decisions that are not verified yet.
    Unverified { pieces: Vec<Snapshot>, last: u64 },
    /// The pieces are being written.
    Writing {
        at: Verified,
        left: VecDeque<Item>,
        outstanding: HashSet<u64>,
    },
    /// The checkpoint is being written.
    Sealing { at: Verified, token: u64 },
}

enum Item {
    Piece(Snapshot),
    Deletion(Bytes),
}

impl Checkpointer {
    pub(crate) fn new(
        context: &Context,
        partition: i32,
        by: Ownership,
        saved_upto: i64,
        chunks: Vec<SavedChunk>,
    ) -> Self {
        // One partition after the other, not all at the same moment.
        let share = f64::from(partition + 1) / f64::from(context.reader.partitions());
        let first = context
            .options
            .checkpoint_interval
            .mul_f64(share.clamp(0.0, 1.0));
        let due = context.clock.elapsed() + first;
        Self {
            partition,
            by,
            due,
            saved_upto,
            next_chunk: 0,
            chunks,
            work: None,
        }
    }

    /// Below which offset the state is saved.
    pub(crate) fn saved_upto(&self) -> i64 {
        self.saved_upto
    }

    /// Whether nothing is being saved.
    pub(crate) fn is_idle(&self) -> bool {
        self.work.is_none()
    }

    /// Whether it is time to save again.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.work.is_none() && now >= self.due
    }

    /// Takes a snapshot whose last decision is on its way to the log under the
    /// token `last`.
    pub(crate) fn take_unverified(&mut self, state: &mut Partition, last: u64) {
        self.work = Some(Work::Unverified {
            pieces: state.take_snapshot(WINDOW_CHUNK),
            last,
        });
    }

    /// Takes a snapshot of a state that is verified, and begins to write it.
    pub(crate) fn take_verified(
        &mut self,
        context: &mut Context,
        state: &mut Partition,
        at: &Verified,
    ) -> Result<(), Stop> {
        let pieces = state.take_snapshot(WINDOW_CHUNK);
        self.write(context, pieces, at.clone())
    }

    /// A decision was verified: if it was the one that a snapshot waits for,
    /// begins to write that.
    pub(crate) fn verified(
        &mut self,
        context: &mut Context,
        token: u64,
        at: &Verified,
    ) -> Result<(), Stop> {
        match self.work.take() {
            Some(Work::Unverified { pieces, last }) if last == token => {
                self.write(context, pieces, at.clone())
            }
            work => {
                self.work = work;
                Ok(())
            }
        }
    }

    fn write(
        &mut self,
        context: &mut Context,
        pieces: Vec<Snapshot>,
        at: Verified,
    ) -> Result<(), Stop> {
        let now = context.clock.now();
        let mut left: VecDeque<Item> = pieces.into_iter().map(Item::Piece).collect();
        left.extend(self.forget_expired(now).map(Item::Deletion));
        self.go_on(context, at, left, HashSet::new())
    }

    fn forget_expired(&mut self, now: Timestamp) -> impl Iterator<Item = Bytes> + use<> {
        let expired = self.chunks.extract_if(.., |chunk| chunk.is_expired(now));
        expired
            .map(|chunk| chunk.key)
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn go_on(
        &mut self,
        context: &mut Context,
        at: Verified,
        mut left: VecDeque<Item>,
        mut outstanding: HashSet<u64>,
    ) -> Result<(), Stop> {
        let partition = self.partition;
        while outstanding.len() < MAX_OUTSTANDING
            && let Some(item) = left.pop_front()
        {
            let record = match item {
                Item::Deletion(key) => Codec::state_tombstone(partition, key),
                Item::Piece(snapshot) => {
                    let chunk = self.number(&snapshot);
                    let entry = StateEntry::Piece {
                        as_of: at.upto,
                        by: self.by,
                        chunk,
                        snapshot,
                    };
                    let record = context.codec.encode_state(partition, &entry)?;
                    if let StateEntry::Piece { snapshot, .. } = &entry {
                        self.chunks.extend(SavedChunk::of(entry.key(), snapshot));
                    }
                    record
                }
            };
            outstanding.insert(context.produce(Topic::ConversationState, partition, record));
        }
        self.work = Some(if outstanding.is_empty() {
            let (upto, by, next) = (at.upto, at.by, at.next.pairs().to_vec());
            let entry = StateEntry::Checkpoint { upto, by, next };
            let record = context.codec.encode_state(partition, &entry)?;
            let token = context.produce(Topic::ConversationState, partition, record);
            Work::Sealing { at, token }
        } else {
            Work::Writing {
                at,
                left,
                outstanding,
            }
        });
        Ok(())
    }

    /// Chunks of the dedupe window are counted; nothing else needs a number.
    fn number(&mut self, snapshot: &Snapshot) -> u64 {
        if !matches!(snapshot, Snapshot::Window(_)) {
            return 0;
        }
        self.next_chunk += 1;
        self.next_chunk
    }

    /// Whether a record of the snapshot is on its way under this token.
    pub(crate) fn waits_for(&self, token: u64) -> bool {
        match &self.work {
            Some(Work::Writing { outstanding, .. }) => outstanding.contains(&token),
            Some(Work::Sealing { token: ours, .. }) => *ours == token,
            Some(Work::Unverified { .. }) | None => false,
        }
    }

    /// A record is in the log; if it is the snapshot's, goes on.
    pub(crate) fn produced(&mut self, context: &mut Context, token: u64) -> Result<(), Stop> {
        match self.work.take() {
            Some(Work::Writing {
                at,
                left,
                mut outstanding,
            }) => {
                outstanding.remove(&token);
                self.go_on(context, at, left, outstanding)
            }
            Some(Work::Sealing { at, token: ours }) if ours == token => {
                self.saved_upto = at.upto;
                self.due = context.clock.elapsed() + context.options.checkpoint_interval;
                context.metrics.checkpoints.increment(1);
                let mark = Mark {
                    offset: at.upto,
                    current: Some(at.by),
                };
                if let Err(error) = context.log.commit(self.partition, at.next.pairs(), mark) {
                    // Marks and lag displays may be old; the next one comes.
                    tracing::warn!(partition = self.partition, %error, "cannot leave a mark");
                }
                Ok(())
            }
            work => {
                self.work = work;
                Ok(())
            }
        }
    }
}
