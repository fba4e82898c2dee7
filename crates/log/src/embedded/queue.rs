use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// Of a producer that stops at its first failure: its fence.
    pub(super) fence: Option<Arc<Fence>>,
}

/// Stands between a producer's failed record and those given after it.
#[derive(Debug, Default)]
pub(super) struct Fence(AtomicBool);

impl Fence {
    pub(super) fn close(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Append {
    pub(super) fn new(slot: Slot, record: Record, done: AppendDone) -> Self {
        let size = encoding::size(&record);
        Self { slot, record, size, done, fence: None }
    }

    /// Ends it without a place in the log.
    pub(super) fn fail(self, error: AppendError) {
        if let Some(fence) = &self.fence {
            fence.close();
        }
        (self.done)(Err(error));
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
    pub(super) const APPENDERS: Self = Self { records: 65_536, bytes: 32 << 20 };
    /// Of decisions: more, so that commands waiting to be written cannot keep
    /// out the decisions on those that are.
    pub(super) const SEQUENCER: Self = Self { records: 131_072, bytes: 64 << 20 };
}

/// How much one group carries, at most: so much that the commit costs little
/// a record, and so little that nobody waits long for it.
const GROUP: Limit = Limit { records: 4_096, bytes: 4 << 20 };

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
            let Some(append) = waiting.appends.pop_front() else { break };
            bytes += append.size;
            into.push(append);
        }
        waiting.bytes -= bytes;
        !waiting.appends.is_empty()
    }
}
