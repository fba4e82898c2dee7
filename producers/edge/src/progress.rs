use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use tidings_wire::{Input, Topic};
use tokio::sync::watch;

/// How far this edge has read `message.delivered`.
pub(crate) struct Progress {
    /// Of each partition, the offset after the last decision that counts.
    decided: Vec<AtomicI64>,
    /// Of each partition, the next offset to read.
    read: Vec<AtomicI64>,
    /// Of each command topic and partition, the offset after the last command
    /// known to be decided.
    inputs: Mutex<HashMap<(Topic, i32), i64>>,
    /// Changes with every batch that was read.
    batches: watch::Sender<u64>,
    caught_up: watch::Sender<bool>,
}

impl Progress {
    pub(crate) fn new(partitions: usize) -> Self {
        Self {
            decided: (0..partitions).map(|_| AtomicI64::new(0)).collect(),
            read: (0..partitions).map(|_| AtomicI64::new(0)).collect(),
            inputs: Mutex::default(),
            batches: watch::Sender::new(0),
            caught_up: watch::Sender::new(false),
        }
    }

    /// A decision at `offset` was taken in.
    pub(crate) fn decided(&self, partition: i32, offset: i64, input: Input) {
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

    /// The first offset of a command topic that may hold an undecided command;
    /// none if no decision of the topic was read yet.
    pub(crate) fn undecided_from(&self, topic: Topic, partition: i32) -> Option<i64> {
        self.inputs.lock().get(&(topic, partition)).copied()
    }

    /// A batch was read.
    pub(crate) fn batch(&self) {
        self.batches
            .send_modify(|batches| *batches = batches.wrapping_add(1));
    }

    /// To wait for more to be read.
    pub(crate) fn batches(&self) -> watch::Receiver<u64> {
        self.batches.subscribe()
    }

    /// All that was there at the start was read.
    pub(crate) fn set_caught_up(&self) {
        self.caught_up.send_replace(true);
    }

    /// Waits until all that was there at the start was read.
    pub(crate) async fn caught_up(&self) {
        // The sender lives as long as `self`, so this only ends when it is so.
        self.caught_up
            .subscribe()
            .wait_for(|caught_up| *caught_up)
            .await
            .ok();
    }
}
