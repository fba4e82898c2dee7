use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use tidings_domain::ConversationId;
use tidings_wire::{Input, Topic};

use crate::bulletin::Bulletin;

/// In how many slots the conversations of a partition are told apart.
const SLOTS: usize = 1_024;

/// How far this edge has read `message.delivered`.
pub(crate) struct Progress {
    /// Of each partition, the offset after the last decision that counts.
    decided: Vec<AtomicI64>,
    /// The same of the conversations in each slot of a partition: who asks of a
    /// quiet conversation need not wait for what others say.
    slots: Vec<Vec<AtomicI64>>,
    /// Of each partition, the next offset to read.
    read: Vec<AtomicI64>,
    /// Of each command topic and partition, the offset after the last command
    /// known to be decided.
    inputs: Mutex<HashMap<(Topic, i32), i64>>,
    /// Changes with every batch that was read.
    batches: Bulletin<()>,
    caught_up: Bulletin<bool>,
}

impl Progress {
    pub(crate) fn new(partitions: usize) -> Self {
        let offsets = |count| (0..count).map(|_| AtomicI64::new(0)).collect();
        Self {
            decided: offsets(partitions),
            slots: (0..partitions).map(|_| offsets(SLOTS)).collect(),
            read: offsets(partitions),
            inputs: Mutex::default(),
            batches: Bulletin::new(()),
            caught_up: Bulletin::new(false),
        }
    }

    /// A partition is read from `offset` on. Answers are to reflect what is
    /// before it, too.
    pub(crate) fn start(&self, partition: i32, offset: i64) {
        for slot in &self.slots[partition as usize] {
            slot.store(offset, Ordering::Release);
        }
        self.decided[partition as usize].store(offset, Ordering::Release);
        self.read(partition, offset);
    }

    /// A decision about a conversation, at `offset`, was taken in. None: about
    /// none that has a name.
    pub(crate) fn decided(
        &self,
        partition: i32,
        offset: i64,
        input: Input,
        about: Option<ConversationId>,
    ) {
        if let Some(id) = about {
            self.slots[partition as usize][slot(id)].store(offset + 1, Ordering::Release);
        }
        self.decided[partition as usize].store(offset + 1, Ordering::Release);
        let mut inputs = self.inputs.lock();
        let next = inputs.entry((input.topic, partition)).or_default();
        *next = (*next).max(input.offset + 1);
    }

    /// Everything below `next` was read.
    pub(crate) fn read(&self, partition: i32, next: i64) {
        self.read[partition as usize].store(next, Ordering::Release);
    }

    /// The next offset to read.
    pub(crate) fn next(&self, partition: i32) -> i64 {
        self.read[partition as usize].load(Ordering::Acquire)
    }

    /// The offset that a view must have reached to reflect all that was read.
    pub(crate) fn position(&self, partition: i32) -> i64 {
        self.decided[partition as usize].load(Ordering::Acquire)
    }

    /// The offset that a view must have reached to reflect all that was read of
    /// a conversation in this partition.
    pub(crate) fn position_of(&self, partition: i32, id: ConversationId) -> i64 {
        self.slots[partition as usize][slot(id)].load(Ordering::Acquire)
    }

    /// The first offset of a command topic that may hold an undecided command;
    /// none if no decision of the topic was read yet.
    pub(crate) fn undecided_from(&self, topic: Topic, partition: i32) -> Option<i64> {
        self.inputs.lock().get(&(topic, partition)).copied()
    }

    /// A batch was read.
    pub(crate) fn batch(&self) {
        self.batches.post(|()| {});
    }

    /// Looks again after each batch, until there is something to be found.
    pub(crate) async fn wait_for<R>(&self, mut look: impl FnMut() -> Option<R>) -> R {
        self.batches.wait_for(|()| look()).await
    }

    /// All that was there at the start was read.
    pub(crate) fn set_caught_up(&self) {
        self.caught_up.post(|caught_up| *caught_up = true);
    }

    /// Waits until all that was there at the start was read.
    pub(crate) async fn caught_up(&self) {
        let caught_up = self.caught_up.wait_for(|caught_up| caught_up.then_some(()));
        caught_up.await;
    }
}

/// Conversations that share one wait for each other, which does no harm.
fn slot(id: ConversationId) -> usize {
    // Ids of any version of UUID differ in their last bits, or are hashes.
    (id.0.as_u128() as usize ^ (id.0.as_u128() >> 64) as usize) % SLOTS
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_quiet_conversation_is_not_held_up_by_others() {
        let progress = Progress::new(2);
        let id = |n| ConversationId(Uuid::from_u128(n));
        let input = |offset| Input {
            topic: Topic::MessageSent,
            offset,
        };
        progress.start(0, 3);
        progress.decided(1, 41, input(7), Some(id(1)));
        progress.decided(1, 42, input(8), Some(id(2)));
        progress.decided(1, 43, input(9), None);
        assert_eq!(progress.position_of(1, id(1)), 42);
        assert_eq!(progress.position_of(1, id(2)), 43);
        assert_eq!(progress.position_of(1, id(3)), 0);
        // What was there before it began counts as read.
        assert_eq!(progress.position_of(0, id(1)), 3);
        assert_eq!((progress.position(0), progress.next(0)), (3, 3));
        assert_eq!(progress.position(1), 44);
        // One that shares a slot waits for more than it must, never for less.
        assert_eq!(progress.position_of(1, id(1 + SLOTS as u128)), 42);
    }
}
