use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tidings_wire::Record;

use super::encoding;
use super::layout::Slot;
use crate::{AppendDone, AppendError};

/// A record on its way into the log.
pub(super) struct Append {
    pub(super) slot: Slot,
    pub(super) record: Record,
    pub(super) size: usize,
    pub(super) done: AppendDone,
    /// Where its producer stops at its first failure.
    pub(super) place: Option<Place>,
}

/// Stands between a producer's failed record and those given after it.
#[derive(Debug)]
pub(super) struct Fence {
    /// The ordinal of the first record that failed; the largest number while
    /// none has.
    failed: AtomicU64,
}

impl Default for Fence {
    fn default() -> Self {
        Self {
            failed: AtomicU64::new(u64::MAX),
        }
    }
}

impl Fence {
    /// The record of this ordinal has failed.
    fn close_after(&self, ordinal: u64) {
        self.failed.fetch_min(ordinal, Ordering::AcqRel);
    }

    /// Has a record failed that was given before this one?
    fn stops(&self, ordinal: u64) -> bool {
        self.failed.load(Ordering::Acquire) < ordinal
    }

    /// Has any record failed?
    pub(super) fn is_closed(&self) -> bool {
        self.failed.load(Ordering::Acquire) != u64::MAX
    }
}

/// The place of a record among those of a producer that stops at its first
/// failure.
pub(super) struct Place {
    pub(super) fence: Arc<Fence>,
    /// How many records the producer had given before.
    pub(super) ordinal: u64,
}

impl Append {
    pub(super) fn new(slot: Slot, record: Record, done: AppendDone) -> Self {
        let size = encoding::size(&record);
        Self {
            slot,
            record,
            size,
            done,
            place: None,
        }
    }

    /// Has a record failed that its producer gave before?
    pub(super) fn is_fenced_off(&self) -> bool {
        self.place
            .as_ref()
            .is_some_and(|place| place.fence.stops(place.ordinal))
    }

    /// Ends it without a place in the log.
    pub(super) fn fail(self, error: AppendError) {
        if let Some(place) = &self.place {
            place.fence.close_after(place.ordinal);
        }
        tell(self.done, Err(error));
    }
}

/// Says how an append ended. Whoever panics over it must not keep others from
/// being told.
pub(super) fn tell(done: AppendDone, result: Result<i64, AppendError>) {
    if catch_unwind(AssertUnwindSafe(|| done(result))).is_err() {
        tracing::error!("whoever was told of an append's end has panicked");
    }
}

/// What may wait, at most. A record is refused that would go past either.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    records: usize,
    bytes: usize,
}

impl Limit {
    /// Of appends by anybody.
    pub(super) const APPENDERS: Self = Self {
        records: 65_536,
        bytes: 32 << 20,
    };
    /// Of decisions: more, so that commands waiting to be written cannot keep
    /// out the decisions on those that are.
    pub(super) const SEQUENCER: Self = Self {
        records: 131_072,
        bytes: 64 << 20,
    };
}

/// How much one group carries, at most: so much that the commit costs little
/// a record, and so little that nobody waits long for it.
const GROUP: Limit = Limit {
    records: 4_096,
    bytes: 4 << 20,
};

/// The records that wait for the writer thread, in the order given.
#[derive(Default)]
pub(super) struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    appends: VecDeque<Append>,
    bytes: usize,
}

impl Queue {
    /// Puts a record in. True: it is the first to wait, so the writer thread
    /// must be told.
    pub(super) fn push(&self, append: Append, limit: Limit) -> bool {
        let mut waiting = self.0.lock();
        let full = waiting.appends.len() >= limit.records
            || waiting.bytes.saturating_add(append.size) > limit.bytes;
        if full {
            drop(waiting);
            append.fail(AppendError::Saturated);
            return false;
        }
        waiting.bytes += append.size;
        waiting.appends.push_back(append);
        waiting.appends.len() == 1
    }

    /// Moves the records of one group to `into`. True: more wait.
    pub(super) fn take_group(&self, into: &mut Vec<Append>) -> bool {
        let mut waiting = self.0.lock();
        let mut bytes = 0;
        while into.len() < GROUP.records && bytes < GROUP.bytes {
            let Some(append) = waiting.appends.pop_front() else {
                break;
            };
            bytes += append.size;
            into.push(append);
        }
        waiting.bytes -= bytes;
        !waiting.appends.is_empty()
    }
}
