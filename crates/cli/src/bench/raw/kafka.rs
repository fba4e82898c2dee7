use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Serialize;

use super::RawLoad;
use crate::bench::report::{Latencies, Percentiles, table};

/// As many as the topics of ours have.
const PARTITIONS: i32 = 12;
/// The most messages on their way at once.
const WINDOW: u64 = 5_000;
const WARMUP: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(10);

/// Produce, consume, produce a copy, consume: idempotent, `acks=all`,
/// `linger.ms=0`, plain rdkafka.
#[derive(Debug, Serialize)]
pub(in crate::bench) struct KafkaReport {
    /// The bytes of a command.
    command_bytes: usize,
    /// The bytes of a decision.
    decision_bytes: usize,
    partitions: i32,
    /// Messages a second through the whole pipeline.
    pub(in crate::bench) pipeline_rate: f64,
    /// Latencies at that rate.
    pipeline_ms: Percentiles,
    /// Messages a second at which `at_rate_ms` was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    /// Latencies at the given rate, from when a message was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_rate_ms: Option<Percentiles>,
}

impl KafkaReport {
    pub(super) fn describe(&self) -> String {
        let mut lines = vec![format!(
            "Kafka, records of {} and {} bytes, {} partitions: {:.0} messages/s through produce, \
             consume, copy, consume",
            self.command_bytes, self.decision_bytes, self.partitions, self.pipeline_rate
        )];
        let at_rate = self.rate.zip(self.at_rate_ms);
        let name = at_rate
            .map(|(rate, _)| format!("at {rate:.0}/s"))
            .unwrap_or_default();
        let mut rows = vec![("full speed", self.pipeline_ms)];
        rows.extend(at_rate.map(|(_, percentiles)| (name.as_str(), percentiles)));
        lines.extend(table(&rows));
        lines.join("\n")
    }
}

pub(super) fn run(brokers: &str, load: RawLoad) -> Result<KafkaReport> {
    let topics = Topics::create(brokers)?;
    let measured = measure(&topics, load);
    topics.delete()?;
    measured
}

fn measure(topics: &Topics, load: RawLoad) -> Result<KafkaReport> {
    let time = Duration::from_secs_f64(load.seconds);
    let full = pipeline(topics, load, None, time)?;
    let at_rate = match load.rate {
        0.0 => None,
        rate => Some(pipeline(topics, load, Some(rate), time)?),
    };
    Ok(KafkaReport {
        command_bytes: load.command_bytes(),
        decision_bytes: load.decision_bytes(),
        partitions: PARTITIONS,
        pipeline_rate: full.rate,
        pipeline_ms: full.latencies,
        rate: at_rate.as_ref().map(|_| load.rate),
        at_rate_ms: at_rate.map(|measured| measured.latencies),
    })
}

/// Two topics of our own.
struct Topics {
    brokers: String,
    admin: AdminClient<DefaultClientContext>,
    commands: String,
    decisions: String,
}

impl Topics {
    fn create(brokers: &str) -> Result<Self> {
        let admin: AdminClient<_> = config(brokers).create()?;
        let run = &uuid::Uuid::new_v4().simple().to_string()[..8];
        let topics = Self {
            brokers: brokers.to_owned(),
            admin,
            commands: format!("bench-raw-{run}-commands"),
            decisions: format!("bench-raw-{run}-decisions"),
        };
        let new = |name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(-1));
        let new = [
            new(topics.commands.as_str()),
            new(topics.decisions.as_str()),
        ];
        let created = block_on(topics.admin.create_topics(&new, &options()))??;
        for result in created {
            result.map_err(|(topic, code)| anyhow!("cannot create topic {topic}: {code}"))?;
        }
        Ok(topics)
    }

    fn delete(&self) -> Result<()> {
        let names = [self.commands.as_str(), self.decisions.as_str()];
        let deleted = block_on(self.admin.delete_topics(&names, &options()))??;
        for result in deleted {
            result.map_err(|(topic, code)| anyhow!("cannot delete topic {topic}: {code}"))?;
        }
        Ok(())
    }

    fn producer(&self) -> Result<ThreadedProducer<DefaultProducerContext>> {
        let mut config = config(&self.brokers);
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "0");
        Ok(config.create()?)
    }

    /// Reads all partitions from their ends on.
    fn consumer(&self, topic: &str) -> Result<BaseConsumer> {
        let mut config = config(&self.brokers);
        config
            .set("group.id", "unused")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "5");
        let consumer: BaseConsumer = config.create()?;
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let (_, high) = watermarks(&consumer, topic, partition)?;
            partitions.add_partition_offset(topic, partition, Offset::Offset(high))?;
        }
        consumer.assign(&partitions)?;
        Ok(consumer)
    }
}

/// A new topic may take a moment until every partition has its leader.
fn watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> Result<(i64, i64)> {
    let begun = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, partition, PATIENCE) {
            Ok(marks) => return Ok(marks),
            Err(error) if begun.elapsed() > PATIENCE => {
                return Err(error).with_context(|| format!("reading topic {topic}"));
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(PATIENCE))
        .request_timeout(Some(PATIENCE))
}

fn block_on<F: Future>(future: F) -> Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(future))
}

struct Measured {
    rate: f64,
    latencies: Percentiles,
}

/// What the threads of a run share.
struct Shared {
    begun: Instant,
    end: Duration,
    sent: AtomicU64,
    arrived: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

fn pipeline(topics: &Topics, load: RawLoad, rate: Option<f64>, time: Duration) -> Result<Measured> {
    let shared = Arc::new(Shared {
        begun: Instant::now(),
        end: WARMUP + time,
        sent: AtomicU64::new(0),
        arrived: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let (commands, decisions) = (&topics.commands, &topics.decisions);
    let source = topics.consumer(commands)?;
    let sink = topics.consumer(decisions)?;
    let (first, second) = (topics.producer()?, topics.producer()?);
    thread::scope(|scope| {
        let produced =
            scope.spawn(|| produce(&shared, &first, commands, load.command_bytes(), rate));
        let copied =
            scope.spawn(|| copy(&shared, &source, &second, decisions, load.decision_bytes()));
        let measured = receive(&shared, &sink);
        shared.stop.store(true, Ordering::Release);
        let panicked = |_| anyhow!("a thread of the raw pipeline panicked");
        produced.join().map_err(panicked)??;
        copied.join().map_err(panicked)??;
        measured
    })
}

/// Each record begins with when it was due, in nanoseconds of the run.
fn produce(
    shared: &Shared,
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    bytes: usize,
    rate: Option<f64>,
) -> Result<()> {
    let mut value = vec![b'x'; bytes];
    let mut count = 0_u64;
    while shared.begun.elapsed() < shared.end && !shared.is_over() {
        let now = shared.now();
        let due = rate.map_or(now, |rate| (count as f64 * 1e9 / rate) as u64);
        let full = rate.is_none() && count - shared.arrived.load(Ordering::Acquire) >= WINDOW;
        if due > now || full {
            thread::sleep(Duration::from_micros(200));
            continue;
        }
        value[..8].copy_from_slice(&due.to_le_bytes());
        let partition = i32::try_from(count % PARTITIONS as u64)?;
        send(producer, topic, partition, &value)?;
        count += 1;
        shared.sent.store(count, Ordering::Release);
    }
    producer.flush(PATIENCE)?;
    Ok(())
}

fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    partition: i32,
    value: &[u8],
) -> Result<()> {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic)
        .partition(partition)
        .payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                thread::sleep(Duration::from_micros(200));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

fn copy(
    shared: &Shared,
    source: &BaseConsumer,
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    bytes: usize,
) -> Result<()> {
    let mut value = Vec::with_capacity(bytes);
    while !shared.is_over() {
        if let Some(message) = source.poll(POLL) {
            let message = message?;
            value.clear();
            value.extend_from_slice(message.payload().unwrap_or_default());
            value.resize(bytes, b'x');
            send(producer, topic, message.partition(), &value)?;
        }
    }
    producer.flush(PATIENCE)?;
    Ok(())
}

fn receive(shared: &Shared, sink: &BaseConsumer) -> Result<Measured> {
    let mut latencies = Latencies::new();
    let mut in_time = 0_u64;
    let (from, to) = (WARMUP.as_nanos() as u64, shared.end.as_nanos() as u64);
    loop {
        let polled = sink.poll(POLL);
        let now = shared.now();
        if let Some(message) = polled {
            let message = message?;
            let stamp = message.payload().and_then(|value| value.first_chunk());
            let due = u64::from_le_bytes(*stamp.context("a record that is not of this run")?);
            if due >= from {
                latencies.record_nanos(now.saturating_sub(due));
            }
            in_time += u64::from((from..to).contains(&now));
            shared.arrived.fetch_add(1, Ordering::Release);
        }
        if now >= to {
            let complete =
                shared.arrived.load(Ordering::Acquire) >= shared.sent.load(Ordering::Acquire);
            if complete {
                break;
            }
            if shared.begun.elapsed() > shared.end + PATIENCE {
                bail!("the raw pipeline did not deliver everything");
            }
        }
    }
    let seconds = (to - from) as f64 / 1e9;
    Ok(Measured {
        rate: in_time as f64 / seconds,
        latencies: latencies.percentiles(),
    })
}
