use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

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
        }
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
    pub(super) fn fetching(&self, group: &str) -> ClientConfig {
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
            // How long the broker may keep a fetch when there is nothing. It
            // answers at once when a record comes, so this is no latency; see
            // `FETCH_WAIT_MS`.
            .set("fetch.wait.max.ms", FETCH_WAIT_MS)
            .set("fetch.min.bytes", "1")
            .set("fetch.max.bytes", "8388608")
            // What is fetched and not yet polled, in all partitions together:
            // the bound of a slow reader's memory. When it is reached, look
            // again soon: the default of a second makes a replay stutter.
            .set("queued.max.messages.kbytes", "32768")
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

/// A broker that keeps a fetch answers it as soon as a record comes, so a longer
/// wait costs no latency, and a shorter one costs CPU on both sides. Measured by
/// `cargo run --example kafka_rates -- waits` (Kafka 4.1 and all else on 2 busy
/// cores, 12 partitions, 50 records/s; from send to read in ms):
///
/// | wait, ms | CPU of an idle consumer | p50 | p99 |
/// |---|---|---|---|
/// | 5 | 1.8 % | 0.9 | 4.9 |
/// | 20 | 0.7 % | 1.1 | 7.6 |
/// | 100 | 0.0 % | 1.0 | 3.9 |
/// | 500 | 0.1 % | 1.2 | 4.0 |
///
/// Not more than 100, since a partition that is added to a consumer waits for
/// the fetch that is under way.
const FETCH_WAIT_MS: &str = "100";
