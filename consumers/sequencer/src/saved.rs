use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tidings_domain::{DEDUPE_WINDOW_MS, Ownership, Snapshot, Timestamp};
use tidings_log::{Follower, LogError, LogReader};
use tidings_wire::{Codec, StateEntry, Stored, Topic};

/// How many records are read at once.
const AT_ONCE: usize = 4_096;
/// How long one read waits; short, as the log's own events wait meanwhile.
const WAIT: Duration = Duration::from_millis(5);

/// Reads a partition of a topic from a place, bit by bit, up to an end that
/// the caller gives each time.
pub(crate) struct Tail {
    topic: Topic,
    partition: i32,
    next: i64,
    follower: Option<Box<dyn Follower>>,
    batch: Vec<Stored>,
}

impl Tail {
    pub(crate) fn new(topic: Topic, partition: i32, next: i64) -> Self {
        Self {
            topic,
            partition,
            next,
            follower: None,
            batch: Vec::new(),
        }
    }

    /// Adds what can be read now below `to`; says whether that was all of it.
    pub(crate) fn read(
        &mut self,
        reader: &dyn LogReader,
        to: i64,
        into: &mut Vec<Stored>,
    ) -> Result<bool, LogError> {
        if self.next >= to {
            return Ok(true);
        }
        let follower = match &mut self.follower {
            Some(follower) => follower,
            None => {
                let start = (self.topic, self.partition, self.next);
                self.follower.insert(reader.follow(&[start])?)
            }
        };
        follower.poll(AT_ONCE, WAIT, &mut self.batch)?;
        let mut past_the_end = false;
        for stored in self.batch.drain(..) {
            if stored.offset >= to {
                past_the_end = true;
            } else if stored.offset >= self.next {
                self.next = stored.offset + 1;
                into.push(stored);
            }
        }
        if past_the_end {
            // What was read too far must be read again, if the end moves.
            self.next = to;
            self.follower = None;
        }
        Ok(self.next >= to)
    }
}

/// A chunk of the dedupe window that stands in `conversation.state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SavedChunk {
    /// Its record's key.
    pub(crate) key: Bytes,
    /// When the newest of its commands was decided.
    pub(crate) newest: Timestamp,
}

impl SavedChunk {
    /// Of a chunk's record.
    pub(crate) fn of(key: Bytes, snapshot: &Snapshot) -> Option<Self> {
        let Snapshot::Window(entries) = snapshot else {
            return None;
        };
        let newest = entries
            .iter()
            .map(|(_, first)| first.at)
            .max()
            .unwrap_or_default();
        Some(Self { key, newest })
    }

    /// Whether the dedupe window has left it behind.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.newest < now.minus_ms(DEDUPE_WINDOW_MS)
    }
}

/// What `conversation.state` holds of a partition.
pub(crate) struct Saved {
    /// The pieces of the state.
    pub(crate) pieces: Vec<Snapshot>,
    /// Which of the pieces' records hold parts of the dedupe window.
    pub(crate) chunks: Vec<SavedChunk>,
    /// Below which offset of `message.delivered` all is here.
    pub(crate) upto: i64,
    /// Who owned the partition there.
    pub(crate) by: Ownership,
    /// The next commands there.
    pub(crate) next: Vec<(Topic, i64)>,
}

/// Reads `conversation.state`, bit by bit.
pub(crate) struct SavedReader {
    tail: Tail,
    to: Option<i64>,
    /// The last record of each key, as compaction would leave it.
    last: HashMap<Bytes, Stored>,
    batch: Vec<Stored>,
}

impl SavedReader {
    pub(crate) fn new(partition: i32) -> Self {
        let tail = Tail::new(Topic::ConversationState, partition, 0);
        Self {
            tail,
            to: None,
            last: HashMap::new(),
            batch: Vec::new(),
        }
    }

    /// Reads some; says whether that was all there is.
    pub(crate) fn read(&mut self, reader: &dyn LogReader) -> Result<bool, LogError> {
        let to = match self.to {
            Some(to) => to,
            None => {
                let (low, high) = reader.watermarks(self.tail.topic, self.tail.partition)?;
                // Nothing is below the first offset there is.
                self.tail.next = low;
                *self.to.insert(high)
            }
        };
        let done = self.tail.read(reader, to, &mut self.batch)?;
        for stored in self.batch.drain(..) {
            let Some(key) = stored.record.key.clone() else {
                continue;
            };
            if stored.record.value.is_some() {
                self.last.insert(key, stored);
            } else {
                self.last.remove(&key);
            }
        }
        Ok(done)
    }

    /// What was read, if it can be started from. Snapshots only save time, so
    /// one that cannot be read is a warning and no more.
    pub(crate) fn finish(self, codec: &Codec) -> Option<Saved> {
        let partition = self.tail.partition;
        let mut pieces = Vec::with_capacity(self.last.len());
        let mut chunks = Vec::new();
        let mut checkpoint = None;
        for (key, stored) in self.last {
            match codec.decode_state(&stored.record) {
                Ok(Some(StateEntry::Piece { snapshot, .. })) => {
                    chunks.extend(SavedChunk::of(key, &snapshot));
                    pieces.push(snapshot);
                }
                Ok(Some(StateEntry::Checkpoint { upto, by, next })) => {
                    checkpoint = Some((upto, by, next));
                }
                Ok(None) => {}
                Err(error) => {
                    let offset = stored.offset;
                    tracing::warn!(
                        partition,
                        offset,
                        %error,
                        "a snapshot cannot be read; folding the partition from its start"
                    );
                    return None;
                }
            }
        }
        let (upto, by, next) = checkpoint?;
        Some(Saved {
            pieces,
            chunks,
            upto,
            by,
            next,
        })
    }
}
