use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tidings_domain::{ConversationId, Decision, Ownership};
use tidings_log::{LogError, LogReader, read_range};
use tidings_projection::Entry;
use tidings_views::Position;
use tidings_wire::{Codec, DeliveredBody, DeliveredStream, Judged, Stored, Topic, partition_of};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Scope, VerifyError};

/// How often and how far apart the registry is asked before it is given up.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);
/// Batches that are read ahead.
const AHEAD: usize = 2;

/// Reads the valid decisions of `message.delivered`, from the beginning on, and
/// knows each partition's owner.
#[derive(Clone)]
pub(super) struct LogCursor {
    log: Arc<dyn LogReader>,
    codec: Codec,
    scope: Scope,
    /// Only these conversations, where they are given.
    only: Option<Arc<HashSet<ConversationId>>>,
    next: BTreeMap<i32, i64>,
    stream: DeliveredStream,
}

/// Decisions of one partition.
pub(super) struct Batch {
    pub(super) decisions: Vec<(i64, Decision)>,
    /// Where the partition stands after them.
    pub(super) position: Position,
    /// How many records were read.
    pub(super) records: u64,
    /// How many of them cannot be read.
    pub(super) unreadable: u64,
}

impl Batch {
    pub(super) fn entries(&self) -> Vec<Entry<'_>> {
        let decisions = self.decisions.iter();
        decisions
            .map(|(offset, decision)| Entry {
                offset: *offset,
                decision,
            })
            .collect()
    }
}

impl LogCursor {
    pub(super) fn new(
        log: Arc<dyn LogReader>,
        codec: Codec,
        scope: &Scope,
    ) -> Result<Self, VerifyError> {
        let partitions = match scope.conversation_id {
            Some(id) => {
                let partition = partition_of(id.to_string().as_bytes(), log.partitions());
                partition..partition + 1
            }
            None => 0..log.partitions(),
        };
        Ok(Self {
            codec,
            scope: scope.clone(),
            only: None,
            next: partitions.map(|partition| (partition, 0)).collect(),
            stream: DeliveredStream::default(),
            log,
        })
    }

    /// The same, of some conversations only.
    pub(super) fn only(&self, conversations: HashSet<ConversationId>) -> Self {
        Self {
            only: Some(Arc::new(conversations)),
            ..self.clone()
        }
    }

    /// Where a partition is: the next offset, and the owner there.
    pub(super) fn position(&self, partition: i32) -> (i64, Option<Ownership>) {
        let next = self.next.get(&partition).copied().unwrap_or(0);
        (next, self.stream.current(partition))
    }

    pub(super) fn partition_of(&self, id: ConversationId) -> i32 {
        partition_of(id.to_string().as_bytes(), self.log.partitions())
    }

    /// The ends of the partitions that are read.
    pub(super) async fn ends(&self) -> Result<Vec<(i32, i64)>, VerifyError> {
        let (log, partitions) = (Arc::clone(&self.log), self.next.clone());
        let ask = move || {
            let ends = partitions.into_keys().map(|partition| {
                let (_, end) = log.watermarks(Topic::MessageDelivered, partition)?;
                Ok((partition, end))
            });
            ends.collect::<Result<Vec<_>, LogError>>()
        };
        Ok(blocking(ask).await??)
    }

    /// How many records there are up to these offsets.
    pub(super) fn distance(&self, to: &BTreeMap<i32, i64>) -> u64 {
        let distances = to.iter().map(|(partition, to)| {
            let (next, _) = self.position(*partition);
            u64::try_from(to - next).unwrap_or(0)
        });
        distances.sum()
    }

    /// Reads on up to these offsets, and gives out batches of at most so many
    /// decisions.
    pub(super) async fn read_to(
        &mut self,
        to: &BTreeMap<i32, i64>,
        batch: usize,
        mut each: impl AsyncFnMut(Batch) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        for (partition, to) in to {
            let from = self.position(*partition).0;
            if from >= *to {
                continue;
            }
            let (send, mut batches) = mpsc::channel(AHEAD);
            let mut reader = Reader {
                cursor: self.clone(),
                partition: *partition,
                batch,
                send,
            };
            let to = *to;
            // The channel ends with the reader.
            let reading = tokio::task::spawn_blocking(move || {
                reader.read(from, to).map(|()| reader.cursor.stream)
            });
            while let Some(batch) = batches.recv().await {
                each(batch).await?;
            }
            let read = reading
                .await
                .map_err(|error| VerifyError::Scratch(format!("reading has panicked: {error}")))?;
            let stream = match read {
                Ok(stream) => stream,
                Err(Stopped::Log(error)) => return Err(error.into()),
                Err(Stopped::NobodyListens) => {
                    let why = "reading was given up".to_owned();
                    return Err(VerifyError::Scratch(why));
                }
            };
            self.stream = stream;
            self.next.insert(*partition, to);
        }
        Ok(())
    }
}

/// Runs what blocks on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, VerifyError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| VerifyError::Scratch(format!("a thread has panicked: {error}")))
}

struct Reader {
    cursor: LogCursor,
    partition: i32,
    batch: usize,
    send: mpsc::Sender<Batch>,
}

/// A record that was read.
#[expect(clippy::large_enum_variant, reason = "nearly all are decisions")]
enum Read {
    /// A decision that counts and is wanted.
    Decision(Decision),
    /// What the projections put among the dead letters.
    Unreadable,
    Nothing,
}

enum Stopped {
    Log(LogError),
    NobodyListens,
}

impl From<LogError> for Stopped {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl Reader {
    fn read(&mut self, from: i64, to: i64) -> Result<(), Stopped> {
        let log = Arc::clone(&self.cursor.log);
        let mut batch = self.empty(from);
        // However few of the records are wanted, it is told how many were read.
        const RECORDS: u64 = 65_536;
        read_range(
            &*log,
            Topic::MessageDelivered,
            self.partition,
            from,
            to,
            |stored| {
                batch.records += 1;
                match self.judge(&stored)? {
                    Read::Decision(decision) => batch.decisions.push((stored.offset, decision)),
                    Read::Unreadable => batch.unreadable += 1,
                    Read::Nothing => {}
                }
                if batch.decisions.len() >= self.batch || batch.records >= RECORDS {
                    self.give(&mut batch, stored.offset + 1)?;
                }
                Ok::<_, Stopped>(())
            },
        )?;
        self.give(&mut batch, to)
    }

    fn empty(&self, offset: i64) -> Batch {
        Batch {
            decisions: Vec::new(),
            position: Position {
                partition: self.partition,
                offset,
                current: self.cursor.stream.current(self.partition),
            },
            records: 0,
            unreadable: 0,
        }
    }

    fn give(&self, batch: &mut Batch, next: i64) -> Result<(), Stopped> {
        let mut full = std::mem::replace(batch, self.empty(next));
        full.position = batch.position;
        self.send
            .blocking_send(full)
            .map_err(|_| Stopped::NobodyListens)
    }

    /// What to make of a record.
    fn judge(&mut self, stored: &Stored) -> Result<Read, Stopped> {
        let is_wanted = self.is_wanted(stored);
        match self.cursor.stream.judge(stored) {
            Ok(Judged::Valid(_)) if is_wanted => {}
            Err(_) if is_wanted => return Ok(Read::Unreadable),
            _ => return Ok(Read::Nothing),
        }
        let mut attempts = 0;
        loop {
            let error = match self.cursor.codec.decode_delivered(&stored.record) {
                Ok(DeliveredBody::Decision(decision)) => return Ok(Read::Decision(decision)),
                Ok(DeliveredBody::Dead { .. }) => return Ok(Read::Nothing),
                Err(error) => error,
            };
            attempts += 1;
            if !error.is_transient() {
                return Ok(Read::Unreadable);
            }
            // Without it, right documents would look wrong.
            if attempts == ATTEMPTS {
                return Err(LogError::Unavailable(error.to_string()).into());
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn is_wanted(&self, stored: &Stored) -> bool {
        if !self.cursor.scope.wants(stored) {
            return false;
        }
        let Some(only) = &self.cursor.only else {
            return true;
        };
        let key = stored.record.key.as_deref();
        let key = key.and_then(|key| std::str::from_utf8(key).ok());
        let id = key.and_then(|key| Uuid::try_parse(key).ok());
        id.is_some_and(|id| only.contains(&ConversationId(id)))
    }
}
