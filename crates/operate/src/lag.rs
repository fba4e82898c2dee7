use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tidings_domain::Timestamp;
use tidings_log::{Consumer, LogError, LogReader, Pause, Pauses};
use tidings_wire::{Topic, format_time};

/// How long the oldest records are waited for, to know their age.
const OLDEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How far every consumer is behind the log.
#[derive(Clone, Debug, Serialize)]
pub struct LagReport {
    /// When it was measured, RFC 3339.
    pub at: String,
    /// The sequencer, then the projections.
    pub consumers: Vec<ConsumerLag>,
}

/// How far a consumer is behind.
#[derive(Clone, Debug, Serialize)]
pub struct ConsumerLag {
    /// Its name: of its consumer group, without the deployment's prefix.
    pub consumer: String,
    /// What to know of it.
    pub state: ConsumerState,
    /// How many processes are at it now.
    pub members: usize,
    /// Why it is paused, if it is.
    pub paused: Option<PausedConsumer>,
    /// Records behind, in all partitions together.
    pub records: i64,
    /// Seconds behind: the age of the oldest record that is not applied.
    pub seconds: f64,
    /// Each partition of each topic it reads that has records.
    pub partitions: Vec<PartitionLag>,
}

/// What to know of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsumerState {
    /// At work.
    Active,
    /// An operator has paused it.
    Paused,
    /// No process is at it.
    NoMember,
    /// It has never told how far it is, and no process is at it: this
    /// deployment may not have it.
    NeverRan,
}

impl ConsumerState {
    /// The state in words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "PAUSED",
            Self::NoMember => "NO MEMBER",
            Self::NeverRan => "never ran",
        }
    }
}

/// A consumer that is paused.
#[derive(Clone, Debug, Serialize)]
pub struct PausedConsumer {
    /// Why.
    pub reason: String,
    /// By whom, if known.
    pub by: Option<String>,
    /// Since when, RFC 3339.
    pub since: String,
}

impl From<&Pause> for PausedConsumer {
    fn from(pause: &Pause) -> Self {
        Self {
            reason: pause.reason.clone(),
            by: pause.by.clone(),
            since: format_time(pause.since()),
        }
    }
}

/// How far a consumer is behind in one partition.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionLag {
    /// The topic.
    pub topic: &'static str,
    /// The partition.
    pub partition: i32,
    /// The next record to apply; null: it has not told.
    pub next: Option<i64>,
    /// The offset after the last record.
    pub end: i64,
    /// Records behind.
    pub records: i64,
    /// The age of the oldest of them, in seconds.
    pub seconds: f64,
}

/// From how much lag on something is wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Thresholds {
    /// More records behind than this.
    pub records: Option<i64>,
    /// More seconds behind than this.
    pub seconds: Option<f64>,
}

impl Thresholds {
    /// Whether a consumer is further behind than it may be. One that never ran
    /// counts only where it was asked for by name.
    #[must_use]
    pub fn are_exceeded_by(self, lag: &ConsumerLag, by_name: bool) -> bool {
        let is_asked = self.records.is_some() || self.seconds.is_some();
        if lag.state == ConsumerState::NeverRan {
            return by_name && is_asked;
        }
        self.records.is_some_and(|most| lag.records > most)
            || self.seconds.is_some_and(|most| lag.seconds > most)
    }
}

/// Measures lag. The calls block.
pub struct LagMeter {
    log: Arc<dyn LogReader>,
    pauses: Box<dyn Pauses>,
    /// When the oldest record was made that is not applied, where it was asked
    /// for before: of a consumer that stands still it is the same each time.
    made: HashMap<(Topic, i32, i64), Timestamp>,
}

impl LagMeter {
    /// A meter of a log's consumers.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn new(log: Arc<dyn LogReader>) -> Result<Self, LogError> {
        let pauses = log.pauses()?;
        Ok(Self {
            log,
            pauses,
            made: HashMap::new(),
        })
    }

    /// How far the consumers of these names are behind; of none, all.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn measure(&mut self, names: &[String]) -> Result<LagReport, LogError> {
        let names = match names {
            [] => self.log.consumers()?,
            names => names.to_vec(),
        };
        let mut ends = HashMap::new();
        let mut consumers = Vec::with_capacity(names.len());
        for name in names {
            consumers.push(self.consumer(name, &mut ends)?);
        }
        self.add_ages(&mut consumers)?;
        let at = format_time(now());
        Ok(LagReport { at, consumers })
    }

    fn consumer(
        &mut self,
        name: String,
        ends: &mut HashMap<(Topic, i32), (i64, i64)>,
    ) -> Result<ConsumerLag, LogError> {
        let known = self.log.consumer(&name)?;
        let mut partitions = Vec::new();
        for topic in Consumer::topics(&name) {
            for partition in 0..self.log.partitions() {
                // Before the end, which only grows: never less than nothing.
                let next = known
                    .next
                    .iter()
                    .find(|(of, at, _)| of == topic && *at == partition)
                    .map(|(_, _, next)| *next);
                let (low, end) = match ends.get(&(*topic, partition)) {
                    Some(range) => *range,
                    None => {
                        let range = self.log.watermarks(*topic, partition)?;
                        ends.insert((*topic, partition), range);
                        range
                    }
                };
                if low == end && next.is_none_or(|next| next >= end) {
                    continue;
                }
                // What retention has deleted is nobody's to apply any more.
                let from = next.unwrap_or(low).max(low);
                partitions.push(PartitionLag {
                    topic: topic.name(),
                    partition,
                    next,
                    end,
                    records: (end - from).max(0),
                    seconds: 0.0,
                });
            }
        }
        let paused = self.paused(&name)?;
        let state = match (&paused, known.members, known.next.is_empty()) {
            (Some(_), ..) => ConsumerState::Paused,
            (None, 0, true) => ConsumerState::NeverRan,
            (None, 0, false) => ConsumerState::NoMember,
            (None, ..) => ConsumerState::Active,
        };
        Ok(ConsumerLag {
            consumer: name,
            state,
            members: known.members,
            paused,
            records: partitions.iter().map(|partition| partition.records).sum(),
            seconds: 0.0,
            partitions,
        })
    }

    fn paused(&mut self, name: &str) -> Result<Option<PausedConsumer>, LogError> {
        let pauses = self.pauses.look()?;
        let view = name.split('.').next().unwrap_or(name);
        let pause = pauses.get(name).or_else(|| pauses.get(view));
        Ok(pause.map(PausedConsumer::from))
    }

    /// Looks how old the oldest record is of each partition that is behind.
    fn add_ages(&mut self, consumers: &mut [ConsumerLag]) -> Result<(), LogError> {
        let oldest = |lag: &PartitionLag| {
            let topic = Topic::parse(lag.topic)?;
            (lag.records > 0).then_some((topic, lag.partition, lag.end - lag.records))
        };
        let all = || {
            let partitions = consumers.iter().flat_map(|consumer| &consumer.partitions);
            partitions.filter_map(oldest)
        };
        let mut wanted: Vec<(Topic, i32, i64)> = all().collect();
        self.made.retain(|place, _| wanted.contains(place));
        wanted.retain(|place| !self.made.contains_key(place));
        wanted.sort_unstable();
        wanted.dedup();
        self.look_at(wanted)?;
        let now = now();
        for consumer in consumers {
            for lag in &mut consumer.partitions {
                let made = oldest(lag).and_then(|place| self.made.get(&place));
                let age = made.map_or(0, |made| now.0.saturating_sub(made.0).max(0));
                lag.seconds = age as f64 / 1_000.0;
                consumer.seconds = consumer.seconds.max(lag.seconds);
            }
        }
        Ok(())
    }

    /// Reads one record at each place. One partition can be followed from one
    /// offset at a time, so those of several consumers come one after another.
    fn look_at(&mut self, mut wanted: Vec<(Topic, i32, i64)>) -> Result<(), LogError> {
        let deadline = Instant::now() + OLDEST_TIMEOUT;
        while !wanted.is_empty() {
            let mut round: Vec<(Topic, i32, i64)> = Vec::new();
            wanted.retain(|(topic, partition, offset)| {
                let is_taken = round
                    .iter()
                    .any(|(of, at, _)| of == topic && at == partition);
                if !is_taken {
                    round.push((*topic, *partition, *offset));
                }
                is_taken
            });
            let mut follower = self.log.follow(&round)?;
            let mut batch = Vec::new();
            while !round.is_empty() {
                if Instant::now() > deadline {
                    let why = "the oldest records could not be read in time";
                    return Err(LogError::Unavailable(why.to_owned()));
                }
                follower.poll(1_024, Duration::from_millis(200), &mut batch)?;
                for stored in batch.drain(..) {
                    // The first that comes is at the place, or after what was
                    // deleted there meanwhile.
                    let found = round.iter().position(|(topic, partition, _)| {
                        *topic == stored.topic && *partition == stored.partition
                    });
                    if let Some(found) = found {
                        let place = round.swap_remove(found);
                        self.made.insert(place, stored.record.timestamp);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The time, as records are dated.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{ConsumerLag, ConsumerState, Thresholds};

    fn lag(state: ConsumerState, records: i64, seconds: f64) -> ConsumerLag {
        ConsumerLag {
            consumer: "history".to_owned(),
            state,
            members: 1,
            paused: None,
            records,
            seconds,
            partitions: Vec::new(),
        }
    }

    #[test]
    fn more_than_the_most_is_too_much() {
        let thresholds = |records, seconds| Thresholds { records, seconds };
        let active = |records, seconds| lag(ConsumerState::Active, records, seconds);
        let none = thresholds(None, None);
        assert!(!none.are_exceeded_by(&active(1_000, 1_000.0), true));
        let records = thresholds(Some(10), None);
        assert!(!records.are_exceeded_by(&active(10, 1_000.0), true));
        assert!(records.are_exceeded_by(&active(11, 0.0), true));
        let seconds = thresholds(Some(10), Some(2.5));
        assert!(!seconds.are_exceeded_by(&active(10, 2.5), true));
        assert!(seconds.are_exceeded_by(&active(1, 2.6), true));
        let never = lag(ConsumerState::NeverRan, 99, 99.0);
        assert!(!seconds.are_exceeded_by(&never, false));
        assert!(seconds.are_exceeded_by(&never, true));
        assert!(!none.are_exceeded_by(&never, true));
    }
}
