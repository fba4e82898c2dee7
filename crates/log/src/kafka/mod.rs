//! The log in Kafka.
//!
//! | module | what it is |
//! |---|---|
//! | `config` | where Kafka is, and every setting of the client with its reason |
//! | `appender` | the edges' producer: completions on a thread of its own |
//! | `ordered` | the sequencer's producer: none after one that failed |
//! | `fetcher` | a consumer of given partitions from given offsets; the follower |
//! | `membership` | a member of a consumer group that fetches nothing |
//! | `sequencer`, `projection` | a membership and a fetcher put together |
//! | `refill` | what a restore writes with: each record at the offset it had |
//! | `pauses` | what operators have paused, by their notes |
//! | `record`, `names`, `mark`, `outage`, `client` | conversions, names, errors, log lines |
//!
//! **Groups propose, they do not fetch.** librdkafka ties what a group member
//! is assigned to what it fetches: with the eager protocol each change of one
//! partition is a new `assign()` of all, which throws away what was fetched for
//! the others. So a member here answers every assignment with an empty one, and
//! a second consumer, in no group, fetches the partitions that were started, at
//! offsets that are always explicit. A partition starts and stops without
//! touching the others, and a rebalance is answered when its partitions have
//! been handed over, not within a callback.
//!
//! **Records are dated now.** A broker goes by their timestamps for more than
//! retention: it forgets a producer whose last record is dated more than
//! `producer.id.expiration.ms` (a day) ago, at the latest when it starts after a
//! crash, and then takes a batch that is sent again for a new one.

mod appender;
mod client;
mod config;
mod fetcher;
mod mark;
mod membership;
mod names;
mod ordered;
mod outage;
mod pauses;
mod projection;
mod record;
mod refill;
mod sequencer;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidings_wire::{Record, Topic};

pub use crate::properties::{KafkaProperties, PropertiesError};
pub use config::KafkaConfig;
use config::Pace;
pub use refill::Refill;

use crate::ports::all_consumers;
use crate::{
    AppendDone, Appender, Consumer, Follower, Log, LogError, LogReader, Mark, Pauses,
    ProjectionSource, SequencerLog,
};
use appender::ThreadedAppender;
use client::{ClosingConsumer, LoggedClient};
use fetcher::Fetcher;
use names::Names;
use outage::log_error;
use pauses::NotedPauses;
use projection::KafkaProjection;
use sequencer::KafkaSequencer;

/// How long a question to the cluster may take. Longer than it takes a
/// partition to get a new leader, or a broker to start again.
const ASK_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks for a partition's leader.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// The log in Kafka.
///
/// Dropping it fails what is still being appended; see [`Appender::append`].
pub struct KafkaLog {
    config: KafkaConfig,
    names: Arc<Names>,
    partitions: i32,
    /// Asks, and never fetches: on the connection of a consumer that fetches,
    /// the answer would wait for the fetch to end.
    reader: ClosingConsumer<LoggedClient>,
    appender: Arc<ThreadedAppender>,
    /// As `reader`, one for each group that was asked about.
    groups: Mutex<HashMap<String, Arc<ClosingConsumer<LoggedClient>>>>,
}

impl KafkaLog {
    /// Connects, and looks at the topics. Blocks, 20 seconds at most.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] where no broker answers; [`LogError::Fatal`]
    /// where topics are missing or do not all have the same number of
    /// partitions.
    pub fn connect(config: KafkaConfig) -> Result<Self, LogError> {
        let names = Arc::new(Names::new(&config.topic_prefix));
        let reader: BaseConsumer<LoggedClient> = config
            .fetching(&names.group("sequencer"), Pace::Urgent)
            .create_with_context(LoggedClient)
            .map_err(|err| log_error("creating a client", &err))?;
        let metadata = reader
            .fetch_metadata(None, ASK_TIMEOUT)
            .map_err(|err| log_error("asking for the topics", &err))?;
        let partitions = check_topics(&names, &metadata)?;
        let appender = Arc::new(ThreadedAppender::start(&config, Arc::clone(&names))?);
        Ok(Self {
            config,
            names,
            partitions,
            reader: reader.into(),
            appender,
            groups: Mutex::default(),
        })
    }

    /// A writer that puts records back at the offsets they had, into
    /// partitions that nobody else writes to.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn refill(&self) -> Result<Refill, LogError> {
        Refill::new(&self.config, Arc::clone(&self.names))
    }

    /// How many members a consumer group has now, by its name without the
    /// deployment's prefix.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn group_members(&self, group: &str) -> Result<usize, LogError> {
        let name = self.names.group(group);
        let groups = self.ask("asking for a group", |reader| {
            reader.fetch_group_list(Some(&name), ASK_TIMEOUT)
        })?;
        let members = groups.groups().iter().map(|group| group.members().len());
        Ok(members.sum())
    }

    /// Asks the cluster, again while a partition has no leader for the moment,
    /// as when its topic is new or its broker has just gone.
    fn ask<T>(
        &self,
        what: &str,
        question: impl Fn(&BaseConsumer<LoggedClient>) -> KafkaResult<T>,
    ) -> Result<T, LogError> {
        ask(&self.reader, what, question)
    }

    /// The client that asks as a group of this name.
    fn group(&self, consumer: &str) -> Result<Arc<ClosingConsumer<LoggedClient>>, LogError> {
        let mut groups = self.groups.lock();
        if let Some(client) = groups.get(consumer) {
            return Ok(Arc::clone(client));
        }
        let client: BaseConsumer<LoggedClient> = self
            .config
            .fetching(&self.names.group(consumer), Pace::Idle)
            .create_with_context(LoggedClient)
            .map_err(|err| log_error("creating a client", &err))?;
        let client = Arc::new(ClosingConsumer::from(client));
        groups.insert(consumer.to_owned(), Arc::clone(&client));
        Ok(client)
    }
}

/// Asks the cluster, again while a partition has no leader for the moment.
///
/// librdkafka takes a partition for unknown for as long as it remembers that
/// there was no leader, a quarter of an hour, and does not look again by
/// itself for a client that follows no topic. So we make it look.
fn ask<T>(
    client: &BaseConsumer<LoggedClient>,
    what: &str,
    question: impl Fn(&BaseConsumer<LoggedClient>) -> KafkaResult<T>,
) -> Result<T, LogError> {
    let start = Instant::now();
    loop {
        let answer = question(client);
        // Nobody else polls this client, so its log lines wait here.
        while let Some(event) = client.poll(Duration::ZERO) {
            if let Err(err) = event {
                tracing::debug!(%err, "while asking Kafka");
            }
        }
        match answer {
            Ok(answer) => return Ok(answer),
            Err(err) if has_no_leader(&err) && start.elapsed() < ASK_TIMEOUT => {
                std::thread::sleep(BETWEEN_LOOKS);
                if let Err(err) = client.fetch_metadata(None, ASK_TIMEOUT) {
                    tracing::debug!(%err, "while looking for a leader");
                }
            }
            Err(err) => return Err(log_error(what, &err)),
        }
    }
}

/// The number of partitions, if all topics are there and agree on it.
fn check_topics(names: &Names, metadata: &Metadata) -> Result<i32, LogError> {
    let advice = "run `tidings topics plan`, then `tidings topics apply`";
    let count_of = |topic: Topic| {
        let found = metadata
            .topics()
            .iter()
            .find(|found| found.name() == names.of(topic));
        found.map_or(0, |found| found.partitions().len())
    };
    let missing: Vec<&str> = Topic::ALL
        .into_iter()
        .filter(|topic| count_of(*topic) == 0)
        .map(|topic| names.of(topic))
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(LogError::Fatal(format!(
            "topics are missing ({missing}): {advice}"
        )));
    }
    let count = count_of(Topic::MessageDelivered);
    if let Some(other) = Topic::ALL
        .into_iter()
        .find(|topic| count_of(*topic) != count)
    {
        return Err(LogError::Fatal(format!(
            "{} has {} partitions and {} has {count}, but a conversation has the same partition \
             in every topic: {advice}",
            names.of(other),
            count_of(other),
            names.of(Topic::MessageDelivered),
        )));
    }
    i32::try_from(count).map_err(|_| LogError::Fatal(format!("{count} partitions are too many")))
}

impl Log for KafkaLog {
    fn sequencer(&self) -> Result<Box<dyn SequencerLog>, LogError> {
        Ok(Box::new(KafkaSequencer::join(
            &self.config,
            Arc::clone(&self.names),
        )?))
    }

    fn projection(&self, consumer: &str) -> Result<Box<dyn ProjectionSource>, LogError> {
        Ok(Box::new(KafkaProjection::join(
            &self.config,
            Arc::clone(&self.names),
            consumer,
        )?))
    }

    fn note_progress(&self, consumer: &str, next: &[(Topic, i32, i64)]) -> Result<(), LogError> {
        let client = self.group(consumer)?;
        let mut offsets = TopicPartitionList::with_capacity(next.len());
        for &(topic, partition, offset) in next {
            offsets
                .add_partition_offset(self.names.of(topic), partition, Offset::Offset(offset))
                .map_err(|err| log_error("committing offsets", &err))?;
        }
        ask(&client, "committing offsets", |client| {
            client.commit(&offsets, CommitMode::Sync)
        })
    }

    fn forget_consumer(&self, consumer: &str) -> Result<(), LogError> {
        let what = "deleting a group";
        let admin: AdminClient<DefaultClientContext> = self
            .config
            .other_client("tidings-admin")
            .create()
            .map_err(|err| log_error("creating a client", &err))?;
        let group = self.names.group(consumer);
        let options = AdminOptions::new().request_timeout(Some(ASK_TIMEOUT));
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(|error| LogError::Fatal(error.to_string()))?;
        let deleted = runtime.block_on(admin.delete_groups(&[&group], &options));
        // The client that asked about it would go on to say what was there.
        self.groups.lock().remove(consumer);
        for result in deleted.map_err(|err| log_error(what, &err))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
                Err((_, code)) => return Err(log_error(what, &KafkaError::AdminOp(code))),
            }
        }
        Ok(())
    }
}

impl Appender for KafkaLog {
    fn append(&self, topic: Topic, partition: i32, record: Record, done: AppendDone) {
        self.appender.append(topic, partition, &record, done);
    }
}

impl LogReader for KafkaLog {
    fn partitions(&self) -> i32 {
        self.partitions
    }

    fn watermarks(&self, topic: Topic, partition: i32) -> Result<(i64, i64), LogError> {
        let name = self.names.of(topic);
        self.ask("asking for watermarks", |reader| {
            reader.fetch_watermarks(name, partition, ASK_TIMEOUT)
        })
    }

    fn follow(&self, starts: &[(Topic, i32, i64)]) -> Result<Box<dyn Follower>, LogError> {
        let mut fetcher = Fetcher::new(&self.config, Arc::clone(&self.names), Pace::Urgent)?;
        fetcher.add(starts)?;
        Ok(Box::new(fetcher))
    }

    fn offset_at(&self, topic: Topic, partition: i32, timestamp_ms: i64) -> Result<i64, LogError> {
        let name = self.names.of(topic);
        let found = self.ask("asking for an offset by time", |reader| {
            let mut question = TopicPartitionList::with_capacity(1);
            question.add_partition_offset(name, partition, Offset::Offset(timestamp_ms))?;
            offset_in(
                &reader.offsets_for_times(question, ASK_TIMEOUT)?,
                name,
                partition,
            )
        })?;
        match found {
            Some((offset, _)) => Ok(offset),
            None => Ok(self.watermarks(topic, partition)?.1),
        }
    }

    fn mark(&self, partition: i32) -> Result<Option<Mark>, LogError> {
        let name = self.names.of(Topic::MessageDelivered);
        let found = self.ask("asking for a mark", |reader| {
            let mut question = TopicPartitionList::with_capacity(1);
            question.add_partition(name, partition);
            offset_in(
                &reader.committed_offsets(question, ASK_TIMEOUT)?,
                name,
                partition,
            )
        })?;
        Ok(found.and_then(|(offset, metadata)| mark::read(offset, &metadata)))
    }

    fn pauses(&self) -> Result<Box<dyn Pauses>, LogError> {
        let (topic, partition) = (Topic::OperatorNotes, pauses::PARTITION);
        let (low, high) = self.watermarks(topic, partition)?;
        let mut fetcher = Fetcher::new(&self.config, Arc::clone(&self.names), Pace::Idle)?;
        fetcher.add(&[(topic, partition, low)])?;
        let appender = Arc::clone(&self.appender);
        // Where all there was is gone, there is nothing to wait for.
        let end = if low < high { high } else { 0 };
        Ok(Box::new(NotedPauses::new(fetcher, appender, end)))
    }

    fn consumers(&self) -> Result<Vec<String>, LogError> {
        let groups = self.ask("asking for the groups", |reader| {
            reader.fetch_group_list(None, ASK_TIMEOUT)
        })?;
        let prefix = self.names.group("");
        let known = groups.groups().iter();
        let known = known.filter_map(|group| group.name().strip_prefix(&prefix));
        Ok(all_consumers(known.map(str::to_owned).collect()))
    }

    fn consumer(&self, name: &str) -> Result<Consumer, LogError> {
        let group = self.names.group(name);
        let groups = self.ask("asking for a group", |reader| {
            reader.fetch_group_list(Some(&group), ASK_TIMEOUT)
        })?;
        let mut found = groups.groups().iter();
        let members = found
            .find(|found| found.name() == group)
            .map_or(0, |found| found.members().len());
        let client = self.group(name)?;
        let committed = ask(&client, "asking for committed offsets", |client| {
            let mut question = TopicPartitionList::new();
            for topic in Consumer::topics(name) {
                question.add_partition_range(self.names.of(*topic), 0, self.partitions - 1);
            }
            client.committed_offsets(question, ASK_TIMEOUT)
        })?;
        let next = committed.elements().into_iter().filter_map(|element| {
            let topic = self.names.topic(element.topic())?;
            match element.offset() {
                Offset::Offset(offset) => Some((topic, element.partition(), offset)),
                _ => None,
            }
        });
        let next = next.collect();
        Ok(Consumer { members, next })
    }
}

/// The offset and metadata that an answer gives for a partition, if any.
fn offset_in(
    answer: &TopicPartitionList,
    name: &str,
    partition: i32,
) -> KafkaResult<Option<(i64, String)>> {
    let Some(found) = answer.find_partition(name, partition) else {
        return Ok(None);
    };
    found.error()?;
    Ok(match found.offset() {
        Offset::Offset(offset) => Some((offset, found.metadata().to_owned())),
        _ => None,
    })
}

fn has_no_leader(err: &KafkaError) -> bool {
    err.rdkafka_error_code().is_some_and(|code| {
        matches!(
            code,
            RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
        )
    })
}
