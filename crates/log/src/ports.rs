use std::collections::HashMap;
use std::time::Duration;

use tidings_domain::Ownership;
use tidings_wire::{Record, Stored, Topic};

use crate::Pauses;

/// A log: what the whole system needs of one.
pub trait Log: Appender + LogReader {
    /// The sequencer's side. In Kafka it joins the sequencers' group; the
    /// embedded log gives it every partition at once.
    ///
    /// # Errors
    /// [`LogError`].
    fn sequencer(&self) -> Result<Box<dyn SequencerLog>, LogError>;

    /// The side of a projection named `consumer`, such as `history`.
    ///
    /// # Errors
    /// [`LogError`].
    fn projection(&self, consumer: &str) -> Result<Box<dyn ProjectionSource>, LogError>;

    /// Notes how far a consumer is that no process is at, for displays of lag.
    ///
    /// # Errors
    /// [`LogError`], also where a process is at it.
    fn note_progress(&self, consumer: &str, next: &[(Topic, i32, i64)]) -> Result<(), LogError>;

    /// Forgets how far a consumer was that nobody will be at again, so that it
    /// does not lag for ever. Nothing, where it is not known. Blocks.
    ///
    /// # Errors
    /// [`LogError`], also where a process is at it.
    fn forget_consumer(&self, consumer: &str) -> Result<(), LogError>;
}

/// Appends records durably: what an edge does with commands.
pub trait Appender: Send + Sync {
    /// Appends a record and calls `done` with its offset once it is durable
    /// (in Kafka: acknowledged by all in-sync replicas), or with why it is not.
    ///
    /// Never blocks on I/O. Records given by one thread to one partition are
    /// appended in that order. `done` is called exactly once, on a thread of
    /// the log's, and must be quick.
    fn append(&self, topic: Topic, partition: i32, record: Record, done: AppendDone);
}

/// Called when an append has ended.
pub type AppendDone = Box<dyn FnOnce(Result<i64, AppendError>) + Send>;

/// Why a record was not appended, or not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too much is waiting already. The record was not appended.
    #[error("the log's queue is full")]
    Saturated,
    /// The record is larger than the log takes. It was not appended.
    #[error("the record is larger than the log takes")]
    TooLarge,
    /// It could not be made durable in time. It may yet appear.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
}

/// Why a log could not be read or followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Trying again may help.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// Trying again will not help: a configuration error, a broken file, a
    /// fenced producer.
    #[error("the log: {0}")]
    Fatal(String),
}

/// A place in a partition of `message.delivered` at which the owner is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The next offset to read.
    pub offset: i64,
    /// The owner at that offset, by the reader's rule.
    pub current: Option<Ownership>,
}

/// Reads any topic. The calls block: use them on a thread of your own.
pub trait LogReader: Send + Sync {
    /// How many partitions every topic has.
    fn partitions(&self) -> i32;

    /// The first offset there is, and the one after the last that is durable.
    ///
    /// # Errors
    /// [`LogError`].
    fn watermarks(&self, topic: Topic, partition: i32) -> Result<(i64, i64), LogError>;

    /// Follows partitions, each from an offset (an offset before the first
    /// there is means the first).
    ///
    /// # Errors
    /// [`LogError`].
    fn follow(&self, starts: &[(Topic, i32, i64)]) -> Result<Box<dyn Follower>, LogError>;

    /// The first offset whose record is not older than `timestamp_ms`
    /// (milliseconds since the Unix epoch); the end if there is none.
    ///
    /// # Errors
    /// [`LogError`].
    fn offset_at(&self, topic: Topic, partition: i32, timestamp_ms: i64) -> Result<i64, LogError>;

    /// The last mark a sequencer left for this partition, so that a reader who
    /// starts at the end need not read from the beginning to know the owner.
    /// May be old, is never wrong.
    ///
    /// # Errors
    /// [`LogError`].
    fn mark(&self, partition: i32) -> Result<Option<Mark>, LogError>;

    /// What operators have paused.
    ///
    /// # Errors
    /// [`LogError`].
    fn pauses(&self) -> Result<Box<dyn Pauses>, LogError>;

    /// The consumers that the log knows of, by name: those of [`CONSUMERS`],
    /// and what was built beside them (`history.g2`). One that was forgotten
    /// while a later generation is known is not among them.
    ///
    /// # Errors
    /// [`LogError`].
    fn consumers(&self) -> Result<Vec<String>, LogError>;

    /// What the log knows of a consumer.
    ///
    /// # Errors
    /// [`LogError`].
    fn consumer(&self, name: &str) -> Result<Consumer, LogError>;
}

/// The consumers of every deployment.
pub const CONSUMERS: [&str; 4] = ["sequencer", "history", "search", "cache"];

/// The consumers there are, in the order to show them, of those that are known
/// to a log.
pub(crate) fn all_consumers(known: Vec<String>) -> Vec<String> {
    let generation_of = |base: &str, name: &String| {
        let rest = name.strip_prefix(base);
        rest.is_some_and(|rest| rest.starts_with(".g"))
    };
    let is_left_out = |base: &&str| {
        !known.iter().any(|name| name == base) && known.iter().any(|name| generation_of(base, name))
    };
    let first = CONSUMERS.iter().filter(|base| !is_left_out(base));
    let mut names: Vec<String> = first.map(|base| (*base).to_owned()).collect();
    names.extend(
        known
            .iter()
            .filter(|name| is_consumer(name) && !CONSUMERS.contains(&name.as_str()))
            .cloned(),
    );
    names.sort_by_key(|name| {
        let base = CONSUMERS.iter().position(|base| name.starts_with(base));
        (base, name.len(), name.clone())
    });
    names
}

/// Whether this is one of [`CONSUMERS`], or a generation of one.
#[must_use]
pub fn is_consumer(name: &str) -> bool {
    let (base, generation) = name.split_once(".g").unwrap_or((name, "1"));
    CONSUMERS.contains(&base)
        && !generation.is_empty()
        && generation.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a log knows of a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// How many processes are at it now.
    pub members: usize,
    /// The next record of each partition, where it has told. For the sequencer
    /// of the command topics, for projections of `message.delivered`.
    pub next: Vec<(Topic, i32, i64)>,
}

impl Consumer {
    /// The topics that a consumer of this name reads.
    #[must_use]
    pub fn topics(name: &str) -> &'static [Topic] {
        match name {
            "sequencer" => &Topic::COMMANDS,
            _ => &[Topic::MessageDelivered],
        }
    }
}

/// Follows partitions of topics. Each partition's records come in order.
pub trait Follower: Send {
    /// Adds up to `max` records to `into`, waiting up to `timeout` for the
    /// first. None after the timeout is no error.
    ///
    /// # Errors
    /// [`LogError`].
    fn poll(
        &mut self,
        max: usize,
        timeout: Duration,
        into: &mut Vec<Stored>,
    ) -> Result<(), LogError>;
}

/// A projection's side of `message.delivered`.
pub trait ProjectionSource: Send {
    /// Waits up to `timeout` for what is next: up to `max` records, of which
    /// there may be none (0), or other partitions.
    ///
    /// # Errors
    /// [`LogError`].
    fn poll(&mut self, max: usize, timeout: Duration) -> Result<Delivery, LogError>;

    /// Says where newly assigned partitions begin. Nothing of them is
    /// delivered before.
    ///
    /// # Errors
    /// [`LogError`].
    fn start(&mut self, positions: &[(i32, i64)]) -> Result<(), LogError>;

    /// Tells how far the projection has come, for displays of lag only: where
    /// it stands is kept with its store.
    ///
    /// # Errors
    /// [`LogError`].
    fn commit(&mut self, marks: &[(i32, Mark)]) -> Result<(), LogError>;
}

/// What a projection is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// These partitions are its own from now on; see
    /// [`ProjectionSource::start`].
    Assigned(Vec<i32>),
    /// These partitions are not its own any more.
    Revoked(Vec<i32>),
    /// Records of its partitions, possibly none.
    Records(Vec<Stored>),
}

/// A sequencer's side of the log. One thread owns it.
pub trait SequencerLog: Send {
    /// Adds what has happened to `into`: up to about `max` commands, waiting
    /// up to `timeout` for the first event.
    ///
    /// # Errors
    /// [`LogError`].
    fn poll(
        &mut self,
        max: usize,
        timeout: Duration,
        into: &mut Vec<SequencerEvent>,
    ) -> Result<(), LogError>;

    /// Delivers the commands of an assigned partition, each command topic from
    /// the given offset (a topic left out: from its beginning). May be called
    /// again after [`stop`](Self::stop).
    ///
    /// # Errors
    /// [`LogError`].
    fn start(&mut self, partition: i32, next: &[(Topic, i64)]) -> Result<(), LogError>;

    /// Stops delivering commands of a partition. For a partition in a
    /// [`SequencerEvent::Revoked`] it also says that the hand-over is done.
    ///
    /// # Errors
    /// [`LogError`].
    fn stop(&mut self, partition: i32) -> Result<(), LogError>;

    /// Appends a record to the sequencer's own producer; the result comes as
    /// [`SequencerEvent::Produced`] with this `token`. Records of one
    /// partition are appended in order, and none after one that failed until
    /// the partition is [stopped](Self::stop): whoever stops it has taken note.
    fn produce(&mut self, topic: Topic, partition: i32, record: Record, token: u64);

    /// Leaves a mark for readers, and tells how far the commands are decided
    /// (for displays of lag only).
    ///
    /// # Errors
    /// [`LogError`].
    fn commit(&mut self, partition: i32, next: &[(Topic, i64)], mark: Mark)
    -> Result<(), LogError>;
}

/// What a sequencer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SequencerEvent {
    /// It may claim these partitions.
    Assigned(Vec<i32>),
    /// It is to give up these partitions: finish, then
    /// [`stop`](SequencerLog::stop) each.
    Revoked(Vec<i32>),
    /// These partitions were taken away already (the group thinks it dead).
    Lost(Vec<i32>),
    /// A command of a started partition.
    Command(Stored),
    /// How a produce ended.
    Produced {
        /// The token given with it.
        token: u64,
        /// The partition it went to.
        partition: i32,
        /// Its offset, or why it is not known to be in the log.
        result: Result<i64, LogError>,
    },
}

/// Records of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The topic.
    pub topic: Topic,
    /// Its partition.
    pub partition: i32,
    /// The offset of the first.
    pub from: i64,
    /// The offset behind the last.
    pub to: i64,
}

/// Reads `topic`'s `partition` from offset `from` up to `to` (exclusive), in
/// order, giving each record to `each`. Returns when all that is there below
/// `to` has been given.
///
/// # Errors
/// [`LogError`] of the log, or whatever `each` returns.
pub fn read_range<E: From<LogError>>(
    log: &dyn LogReader,
    topic: Topic,
    partition: i32,
    from: i64,
    to: i64,
    each: impl FnMut(Stored) -> Result<(), E>,
) -> Result<(), E> {
    let range = LogRange {
        topic,
        partition,
        from,
        to,
    };
    read_ranges(log, &[range], each)
}

/// The same of several partitions, at most one range of each: each partition's
/// records in their order, those of several in any.
///
/// # Errors
/// [`LogError`] of the log, or whatever `each` returns.
pub fn read_ranges<E: From<LogError>>(
    log: &dyn LogReader,
    ranges: &[LogRange],
    mut each: impl FnMut(Stored) -> Result<(), E>,
) -> Result<(), E> {
    const AT_ONCE: usize = 4_096;
    let mut starts = Vec::new();
    // Up to where each partition is still to be read.
    let mut ends = HashMap::new();
    for range in ranges {
        let (low, high) = log.watermarks(range.topic, range.partition)?;
        let to = range.to.min(high);
        if range.from.max(low) < to {
            starts.push((range.topic, range.partition, range.from));
            ends.insert((range.topic, range.partition), to);
        }
    }
    if starts.is_empty() {
        return Ok(());
    }
    let mut follower = log.follow(&starts)?;
    let mut batch = Vec::new();
    // The last record of a partition is never compacted away, so a record at
    // or past `to - 1` comes as long as the log can be read.
    while !ends.is_empty() {
        follower.poll(AT_ONCE, Duration::from_millis(200), &mut batch)?;
        for stored in batch.drain(..) {
            let (place, offset) = ((stored.topic, stored.partition), stored.offset);
            let Some(&to) = ends.get(&place) else {
                continue;
            };
            if offset < to {
                each(stored)?;
            }
            if offset >= to - 1 {
                ends.remove(&place);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::all_consumers;

    #[test]
    fn a_first_generation_that_is_forgotten_is_shown_no_longer() {
        let names = |known: &[&str]| all_consumers(known.iter().map(|&name| name.into()).collect());
        let all = ["sequencer", "history", "search", "cache"];
        assert_eq!(names(&[]), all);
        assert_eq!(names(&["cache", "other", "search"]), all);
        assert_eq!(
            names(&["history.g10", "history.g2", "history"]),
            [
                "sequencer",
                "history",
                "history.g2",
                "history.g10",
                "search",
                "cache"
            ]
        );
        assert_eq!(
            names(&["history.g2", "search"]),
            ["sequencer", "history.g2", "search", "cache"]
        );
    }
}
