use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_wire::{Record, Stored, Topic};

use super::layout::Slot;
use super::log_error;
use super::signal::{Signal, Topics};
use super::store::Store;
use super::writer::{Shared, read_end};
use crate::{Follower, LogError};

/// How often the file is looked at for what another process has appended.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Follows partitions from positions of its own.
pub(super) struct Cursors {
    store: Store,
    source: Source,
    cursors: Vec<Cursor>,
    /// Which cursor is served first next time, so that all have their turn.
    turn: usize,
    /// Reused for what comes from memory.
    recent: Vec<Arc<Record>>,
}

/// Where it is learned that there is more.
enum Source {
    /// This process writes the log: its memory.
    Tail {
        shared: Arc<Shared>,
        signal: Arc<Signal>,
    },
    /// Another process does: the file.
    File,
}

/// A position in a partition.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    slot: Slot,
    /// The next offset to give.
    next: i64,
    /// The end, when last looked.
    end: i64,
}

impl Cursors {
    /// Follows what this process appends, and is woken by `signal`.
    pub(super) fn of_tail(store: Store, shared: Arc<Shared>, signal: Arc<Signal>) -> Self {
        Self::new(store, Source::Tail { shared, signal })
    }

    /// Follows what another process appends.
    pub(super) fn of_file(store: Store) -> Self {
        Self::new(store, Source::File)
    }

    fn new(store: Store, source: Source) -> Self {
        Self {
            store,
            source,
            cursors: Vec::new(),
            turn: 0,
            recent: Vec::new(),
        }
    }

    /// Follows a partition from an offset on, in place of where it stood.
    pub(super) fn start(
        &mut self,
        topic: Topic,
        partition: i32,
        from: i64,
    ) -> Result<(), LogError> {
        let slot = self.store.layout.expect_slot(topic, partition)?;
        self.cursors.retain(|cursor| cursor.slot != slot);
        self.cursors.push(Cursor {
            slot,
            next: from.max(0),
            end: 0,
        });
        Ok(())
    }

    /// Follows a partition of a topic no more.
    pub(super) fn stop(&mut self, topic: Topic, partition: i32) {
        let slot = self.store.layout.slot(topic, partition);
        self.cursors.retain(|cursor| Some(cursor.slot) != slot);
    }

    /// Gives up to `max` records that are there already, a like share of each
    /// partition that has any.
    pub(super) fn take(&mut self, max: usize, into: &mut Vec<Stored>) -> Result<(), LogError> {
        let given = into.len();
        self.look()?;
        loop {
            let room = max.saturating_sub(into.len() - given);
            let ready = self
                .cursors
                .iter()
                .filter(|cursor| cursor.next < cursor.end)
                .count();
            if room == 0 || ready == 0 {
                return Ok(());
            }
            let share = room.div_ceil(ready);
            self.turn = (self.turn + 1) % self.cursors.len();
            for i in 0..self.cursors.len() {
                let at = (self.turn + i) % self.cursors.len();
                let share = share.min(max - (into.len() - given));
                if share > 0 {
                    self.read(at, share, into)?;
                }
            }
        }
    }

    /// Waits for more until `deadline`. False: none came.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        match &self.source {
            Source::Tail { signal, .. } => signal.wait_until(deadline),
            Source::File => {
                let left = deadline.saturating_duration_since(Instant::now());
                std::thread::sleep(left.min(LOOK_EVERY));
                !left.is_zero()
            }
        }
    }

    /// Learns where the partitions end.
    fn look(&mut self) -> Result<(), LogError> {
        match &self.source {
            Source::Tail { shared, signal } => {
                signal.lower();
                let tail = shared.tail.read();
                for cursor in &mut self.cursors {
                    cursor.end = tail.next(cursor.slot);
                }
                Ok(())
            }
            Source::File => {
                let layout = self.store.layout;
                let cursors = &mut self.cursors;
                let read = |connection: &rusqlite::Connection| {
                    for cursor in cursors {
                        cursor.end = read_end(connection, layout, cursor.slot)?;
                    }
                    Ok(())
                };
                self.store.database.read(read).map_err(log_error)
            }
        }
    }

    /// Gives up to `max` records of one partition.
    fn read(&mut self, at: usize, max: usize, into: &mut Vec<Stored>) -> Result<(), LogError> {
        let Cursor { slot, next, end } = self.cursors[at];
        if next >= end {
            return Ok(());
        }
        if let Source::Tail { shared, .. } = &self.source {
            // Records are shared under the lock and copied after it.
            let held = shared.tail.read().read(slot, next, max, &mut self.recent);
            if held {
                let (topic, partition) = self.store.layout.of(slot);
                for (offset, record) in (next..).zip(self.recent.drain(..)) {
                    let record = Record::clone(&record);
                    into.push(Stored {
                        topic,
                        partition,
                        offset,
                        record,
                    });
                    self.cursors[at].next = offset + 1;
                }
                return Ok(());
            }
        }
        self.cursors[at].next = self.store.chunk(slot, next, end, max, into)?;
        Ok(())
    }
}

/// A [`Follower`] of fixed partitions.
pub(super) struct EmbeddedFollower(Cursors);

impl EmbeddedFollower {
    /// Follows these partitions through `cursors`, which follow nothing yet.
    pub(super) fn new(
        mut cursors: Cursors,
        starts: &[(Topic, i32, i64)],
    ) -> Result<Self, LogError> {
        for &(topic, partition, from) in starts {
            cursors.start(topic, partition, from)?;
        }
        if let Source::Tail { shared, signal } = &cursors.source {
            let topics = starts.iter().map(|(topic, ..)| *topic);
            shared.listeners.add(Topics::of(topics), signal);
        }
        Ok(Self(cursors))
    }
}

impl Follower for EmbeddedFollower {
    fn poll(
        &mut self,
        max: usize,
        timeout: Duration,
        into: &mut Vec<Stored>,
    ) -> Result<(), LogError> {
        let deadline = Instant::now() + timeout;
        let given = into.len();
        loop {
            self.0.take(max, into)?;
            if into.len() > given || !self.0.wait(deadline) {
                return Ok(());
            }
        }
    }
}
