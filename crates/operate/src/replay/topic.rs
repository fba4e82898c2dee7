use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidings_log::kafka::KafkaConfig;
use tidings_wire::{Stored, Topic, partition_of};

/// How long a question to the cluster may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(20);
/// How many records are on their way at once. All of them are durable before
/// the next ones are sent, so that whoever goes on need not look further back.
const AT_ONCE: usize = 1_000;

/// The headers that a replayed record has besides its own.
const TOPIC: &str = "replay_topic";
const PARTITION: &str = "replay_partition";
const OFFSET: &str = "replay_offset";
const TIMESTAMP: &str = "replay_timestamp";
const ID: &str = "replay_id";

/// Why a replay into a topic cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The topic is not to be written to.
    #[error("{0}")]
    Refused(String),
    /// Kafka.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// A record is not known to be durable; going on finds out.
    #[error("a record was not acknowledged: {0}")]
    Unacknowledged(String),
}

/// Another topic, into which records are replayed: their own key, value and
/// headers, and headers that say where they stood.
pub struct TopicSink {
    producer: BaseProducer<Failures>,
    topic: String,
    partitions: i32,
    id: String,
    failures: Arc<Mutex<Vec<String>>>,
    waiting: usize,
    /// The last records of each partition that an earlier run has sent.
    sent: BTreeMap<i32, BTreeSet<i64>>,
}

#[derive(Clone)]
struct Failures(Arc<Mutex<Vec<String>>>);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, _)) = result {
            self.0.lock().push(error.to_string());
        }
    }
}

impl TopicSink {
    /// A replay named `id` into `topic`. Blocks.
    ///
    /// # Errors
    /// [`TopicError::Refused`] where the topic is one of the system's own, or
    /// is not there.
    pub fn open(kafka: &KafkaConfig, topic: &str, id: &str) -> Result<Self, TopicError> {
        let own = topic.strip_prefix(&kafka.topic_prefix).unwrap_or(topic);
        if Topic::parse(own).is_some() || Topic::parse(topic).is_some() || topic.starts_with("__") {
            let why =
                format!("{topic} is one of the system's own topics: nothing is replayed there");
            return Err(TopicError::Refused(why));
        }
        let failures: Arc<Mutex<Vec<String>>> = Arc::default();
        let producer: BaseProducer<Failures> = kafka
            .other_client("tidings-replay")
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("allow.auto.create.topics", "false")
            .create_with_context(Failures(Arc::clone(&failures)))?;
        let metadata = producer.client().fetch_metadata(Some(topic), ASK_TIMEOUT)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let partitions = found.map_or(0, |found| found.partitions().len());
        if partitions == 0 {
            let why = format!("there is no topic {topic}: make it first");
            return Err(TopicError::Refused(why));
        }
        Ok(Self {
            producer,
            topic: topic.to_owned(),
            partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
            id: id.to_owned(),
            failures,
            waiting: 0,
            sent: BTreeMap::new(),
        })
    }

    /// Looks for what an earlier run of the same name has sent. Says of how
    /// many records. Blocks.
    ///
    /// # Errors
    /// [`TopicError`].
    pub fn find_sent(&mut self, kafka: &KafkaConfig) -> Result<u64, TopicError> {
        let consumer: BaseConsumer = kafka
            .other_client("tidings-replay")
            .set("group.id", "tidings-replay")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .create()?;
        let mut left = BTreeMap::new();
        let mut assignment = TopicPartitionList::new();
        for partition in 0..self.partitions {
            let (low, high) = consumer.fetch_watermarks(&self.topic, partition, ASK_TIMEOUT)?;
            if low < high {
                left.insert(partition, high);
                assignment.add_partition_offset(&self.topic, partition, Offset::Offset(low))?;
            }
        }
        consumer.assign(&assignment)?;
        let mut count = 0;
        let mut heard = Instant::now();
        while !left.is_empty() {
            let Some(polled) = consumer.poll(Duration::from_millis(200)) else {
                if heard.elapsed() > ASK_TIMEOUT {
                    let error = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
                    return Err(error.into());
                }
                continue;
            };
            let message = polled?;
            heard = Instant::now();
            if let Some((partition, offset)) = self.place_in(&message) {
                count += 1;
                let sent = self.sent.entry(partition).or_default();
                sent.insert(offset);
                if sent.len() > 2 * AT_ONCE {
                    sent.pop_first();
                }
            }
            let partition = message.partition();
            if left
                .get(&partition)
                .is_some_and(|end| message.offset() + 1 >= *end)
            {
                left.remove(&partition);
            }
        }
        Ok(count)
    }

    /// Where a record stood that this replay has sent.
    fn place_in(&self, message: &impl Message) -> Option<(i32, i64)> {
        let headers = message.headers()?;
        let text = |name: &str| {
            let found = headers.iter().filter(|header| header.key == name).last()?;
            std::str::from_utf8(found.value?).ok()
        };
        if text(ID)? != self.id {
            return None;
        }
        Some((text(PARTITION)?.parse().ok()?, text(OFFSET)?.parse().ok()?))
    }

    /// Whether an earlier run has sent a record.
    fn has_sent(&self, partition: i32, offset: i64) -> bool {
        let Some(sent) = self.sent.get(&partition) else {
            return false;
        };
        let is_before =
            sent.len() >= 2 * AT_ONCE && sent.first().is_some_and(|first| offset < *first);
        is_before || sent.contains(&offset)
    }

    /// Sends a record, unless an earlier run has. Says whether it did.
    ///
    /// # Errors
    /// [`TopicError`].
    pub fn send(&mut self, stored: &Stored) -> Result<bool, TopicError> {
        if self.has_sent(stored.partition, stored.offset) {
            return Ok(false);
        }
        let record = &stored.record;
        let mut headers = OwnedHeaders::new();
        for (key, value) in record.headers.iter() {
            headers = headers.insert(Header {
                key,
                value: Some(value.as_ref()),
            });
        }
        let place = [
            (TOPIC, stored.topic.name().to_owned()),
            (PARTITION, stored.partition.to_string()),
            (OFFSET, stored.offset.to_string()),
            (TIMESTAMP, record.timestamp.0.to_string()),
            (ID, self.id.clone()),
        ];
        for (key, value) in &place {
            headers = headers.insert(Header {
                key,
                value: Some(value.as_bytes()),
            });
        }
        let mut message: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic)
            .partition(self.partition(stored))
            .headers(headers);
        message.payload = record.value.as_deref();
        message.key = record.key.as_deref();
        while let Err((error, unsent)) = self.producer.send(message) {
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => {
                    self.producer.poll(Duration::from_millis(100));
                    message = unsent;
                }
                _ => return Err(error.into()),
            }
        }
        self.waiting += 1;
        if self.waiting >= AT_ONCE {
            self.flush()?;
        }
        Ok(true)
    }

    /// By its key, as everywhere: the same partition where there are as many.
    fn partition(&self, stored: &Stored) -> i32 {
        match &stored.record.key {
            Some(key) => partition_of(key, self.partitions),
            None => stored.partition % self.partitions,
        }
    }

    /// Waits until all that was sent is durable.
    ///
    /// # Errors
    /// [`TopicError`].
    pub fn flush(&mut self) -> Result<(), TopicError> {
        self.producer.flush(Duration::from_secs(60))?;
        self.waiting = 0;
        match self.failures.lock().pop() {
            Some(failure) => Err(TopicError::Unacknowledged(failure)),
            None => Ok(()),
        }
    }
}
