use std::path::Path;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use super::{KafkaProperties, PropertiesError};

/// Where Kafka is, and how to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaConfig {
    /// Bootstrap brokers: `host:port`, comma-separated.
    pub brokers: String,
    /// Put before each topic and group; usually empty.
    pub topic_prefix: String,
    /// After how many milliseconds without a heartbeat the group takes a
    /// member for dead. The broker allows 6,000 to 1,800,000 unless told else.
    pub session_timeout_ms: u32,
    /// How many milliseconds a member may go without a poll, or take to hand
    /// over its partitions. At least the session timeout.
    pub max_poll_interval_ms: u32,
    /// After how many milliseconds a record that no broker has taken counts as
    /// failed. Longer than a broker needs to start again.
    pub produce_timeout_ms: u32,
    /// What else the client has to know: TLS, SASL.
    pub properties: KafkaProperties,
}

/// The largest record the producers take, in bytes; a little less than the
/// topics' `max.message.bytes`, which counts the batch around it too.
const MAX_RECORD_BYTES: &str = "1000000";

impl KafkaConfig {
    /// The defaults, with these brokers.
    #[must_use]
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topic_prefix: String::new(),
            session_timeout_ms: 10_000,
            max_poll_interval_ms: 300_000,
            produce_timeout_ms: 30_000,
            properties: KafkaProperties::default(),
        }
    }

    /// The same, with the properties in this file, if one is given.
    ///
    /// # Errors
    /// [`PropertiesError`].
    pub fn with_properties(mut self, file: Option<&Path>) -> Result<Self, PropertiesError> {
        if let Some(file) = file {
            self.properties = KafkaProperties::read(file)?;
        }
        Ok(self)
    }

    /// A client that is neither a producer nor a consumer of the log: what else
    /// there is to do in the cluster, by its own settings.
    #[must_use]
    pub fn other_client(&self, client_id: &str) -> ClientConfig {
        self.client(client_id)
    }

    /// `max_poll_interval_ms`, as the client takes it.
    pub(super) fn max_poll_interval(&self) -> Duration {
        Duration::from_millis(
            self.max_poll_interval_ms
                .max(self.session_timeout_ms)
                .into(),
        )
    }

    fn client(&self, client_id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        self.properties.set(&mut config);
        // Else it is the level of the `log` crate, which nobody sets.
        config.set_log_level(RDKafkaLogLevel::Info);
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", client_id)
            .set("socket.nagle.disable", "true")
            // A broker is back in seconds; the default waits up to ten more.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            // Brokers close idle connections: not worth a line.
            .set("log.connection.close", "false");
        config
    }

    /// A consumer that is given its partitions and offsets. It never joins its
    /// group: the client wants a name for one before it takes an assignment.
    pub(super) fn fetching(&self, group: &str, pace: Pace) -> ClientConfig {
        let mut config = self.client("tidings-fetcher");
        config
            .set("group.id", group)
            .set("group.protocol", "classic")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "false")
            .set("allow.auto.create.topics", "false")
            // From before the first record there is, go on at the first.
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", pace.wait_ms())
            .set("fetch.min.bytes", pace.min_bytes())
            .set("fetch.max.bytes", "8388608")
            // What is fetched and not yet polled, in all partitions together:
            // the bound of a slow reader's memory. Small records are held by
            // their number: each takes some hundred bytes besides its own.
            // When it is reached, look again soon: the default of a second
            // makes a replay stutter.
            .set("queued.max.messages.kbytes", "32768")
            .set("queued.min.messages", "10000")
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.error.backoff.ms", "50");
        config
    }

    /// A member of a group.
    pub(super) fn member(&self, group: &str) -> ClientConfig {
        let mut config = self.client("tidings-member");
        config
            .set("group.id", group)
            .set("group.protocol", "classic")
            // Gives partition i of every topic to the same member.
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", self.session_timeout_ms.to_string())
            .set(
                "heartbeat.interval.ms",
                (self.session_timeout_ms / 3).max(1).to_string(),
            )
            .set(
                "max.poll.interval.ms",
                self.max_poll_interval().as_millis().to_string(),
            )
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false");
        config
    }

    /// The edges' producer.
    pub(super) fn appending(&self) -> ClientConfig {
        let mut config = self.producing("tidings-appender");
        config
            .set("message.timeout.ms", self.produce_timeout_ms.to_string())
            // Beyond that, a client is told to slow down.
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", "131072");
        config
    }

    /// The sequencer's producer; see `ordered` for why it never times out.
    pub(super) fn ordered(&self) -> ClientConfig {
        let mut config = self.producing("tidings-sequencer");
        config
            .set("message.timeout.ms", "0")
            .set("enable.gapless.guarantee", "true")
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", "131072");
        config
    }

    /// The producer of a restore, which has all it will write at hand.
    pub(super) fn refilling(&self) -> ClientConfig {
        let mut config = self.producing("tidings-refill");
        config
            .set("message.timeout.ms", self.produce_timeout_ms.to_string())
            .set("linger.ms", "20")
            .set("batch.size", "524288")
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", "65536");
        config
    }

    fn producing(&self, client_id: &str) -> ClientConfig {
        let mut config = self.client(client_id);
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("max.in.flight.requests.per.connection", "5")
            // Batches form by themselves while a request is on its way.
            .set("linger.ms", "0")
            .set("message.max.bytes", MAX_RECORD_BYTES)
            .set("retry.backoff.ms", "50");
        config
    }
}

/// How soon a consumer wants what is new.
///
/// A broker that answers each fetch at the first record is asked once a record
/// by every consumer. On 2 cores with everything on them (two edges, sequencer,
/// history, broker, stores, generator; 2,000 messages/s to conversations of 10)
/// that took all of the processor: delivered p50 46 ms, p99 275 ms. Letting the
/// broker gather for the times below: 7 ms and 62 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Somebody waits: an edge, a sequencer.
    Urgent,
    /// Nobody waits: a projection.
    Relaxed,
    /// Hardly anything ever comes: the notes of operators.
    Idle,
}

impl Pace {
    /// The longest the broker keeps a fetch, in milliseconds.
    fn wait_ms(self) -> &'static str {
        match self {
            Self::Urgent => "2",
            Self::Relaxed => "20",
            Self::Idle => "500",
        }
    }

    /// From how many bytes on it answers at once.
    fn min_bytes(self) -> &'static str {
        match self {
            Self::Urgent => "4096",
            Self::Relaxed => "65536",
            Self::Idle => "1",
        }
    }
}
