//! What the log in Kafka costs over the bare client, on the same broker.
//!
//! ```text
//! KAFKA_BROKERS=… cargo run --release -p tidings-log --example kafka_rates
//! KAFKA_BROKERS=… cargo run --release -p tidings-log --example kafka_rates -- waits
//! ```
//!
//! The first measures how many records a second are appended and read back, by
//! the bare client and by the log; the second what a consumer that waits at the
//! end costs and how late it is, by how long the broker may keep its fetches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidings_domain::Timestamp;
use tidings_log::kafka::{KafkaConfig, KafkaLog};
use tidings_log::topics::{Cluster, Declared, plan};
use tidings_log::{Appender, LogReader};
use tidings_wire::{Headers, Record, Topic, names};

const PARTITIONS: i32 = 12;
const RECORDS: usize = 300_000;
const VALUE: [u8; 300] = [b'v'; 300];
const KEY: &str = "8a1f6b5c-22d4-5e0f-9b3e-7469646e6773";
const HEADERS: [(&str, &str); 8] = [
    (names::CE_ID, "0ef4c3a1-52b5-5c2b-b8d7-5b6c9e2c3d11"),
    (names::CE_TYPE, "tidings.message.sent"),
    (names::CE_SOURCE, "/tidings/sequencer"),
    (names::CE_TIME, "2025-01-01T00:00:00.000Z"),
    (names::CE_SPECVERSION, "1.0"),
    (names::TENANT, "acme"),
    (names::CE_EPOCH, "7"),
    (names::CE_INPUT, "message.sent@4711"),
];

fn main() {
    let brokers = std::env::var("KAFKA_BROKERS").expect("KAFKA_BROKERS names a broker");
    match std::env::args().nth(1).as_deref() {
        None => rates(&brokers),
        Some("waits") => waits(&brokers),
        Some(other) => panic!("no measurement '{other}'"),
    }
}

/// Fresh topics; gives their prefix.
fn topics(brokers: &str) -> String {
    let prefix = format!("rates-{}.", std::process::id());
    let declared = Declared::built_in()
        .with_prefix(&prefix)
        .with_partitions(PARTITIONS)
        .with_replication_factor(1);
    let cluster = Cluster::connect(&KafkaConfig::new(brokers)).expect("an address");
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(async {
            let actual = cluster.describe(&declared).await.expect("describes");
            let plan = plan(&declared, &actual);
            cluster
                .apply(&declared, &actual, &plan)
                .await
                .expect("applies");
        });
    prefix
}

fn report(what: &str, start: Instant, cpu: Duration) {
    let elapsed = start.elapsed();
    let cpu = cpu_time() - cpu;
    println!(
        "{what:<28} {:>9.0} records/s, {:>6.2} µs of our CPU a record",
        RECORDS as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / RECORDS as f64,
    );
}

/// The CPU time of this process, all threads, user and system.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(") ").expect("as proc(5) has it");
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum();
    // A tick is 10 ms on every Linux there is (USER_HZ).
    Duration::from_millis(ticks * 10)
}

fn rates(brokers: &str) {
    let prefix = topics(brokers);
    let mut config = KafkaConfig::new(brokers);
    config.topic_prefix = prefix.clone();
    let log = KafkaLog::connect(config).expect("connects");
    for round in 1..=3 {
        println!("round {round}");
        plain_append(brokers, &format!("{prefix}{}", Topic::MessageSent));
        log_append(&log);
        plain_read(brokers, &format!("{prefix}{}", Topic::MessageSent));
        log_read(&log);
    }
}

fn producer(brokers: &str) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .create()
        .expect("a producer")
}

fn plain_append(brokers: &str, topic: &str) {
    let producer = producer(brokers);
    let (start, cpu) = (Instant::now(), cpu_time());
    for n in 0..RECORDS {
        let headers = HEADERS
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(*value),
                })
            });
        let mut record = BaseRecord::to(topic)
            .partition(n as i32 % PARTITIONS)
            .key(KEY)
            .payload(&VALUE[..])
            .headers(headers);
        while let Err((_, refused)) = producer.send(record) {
            record = refused;
            producer.poll(Duration::from_millis(1));
        }
        if n % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(60)).expect("flushes");
    report("append, bare client", start, cpu);
}

fn log_append(log: &KafkaLog) {
    let mut headers = Headers::with_capacity(HEADERS.len());
    for (name, value) in HEADERS {
        headers.push(name, value);
    }
    let record = Record {
        key: Some(Bytes::from_static(KEY.as_bytes())),
        value: Some(Bytes::from_static(&VALUE)),
        headers,
        timestamp: Timestamp(1_735_689_600_000),
    };
    let done = Arc::new(AtomicU64::new(0));
    let (start, cpu) = (Instant::now(), cpu_time());
    let wait_for = |count: u64| {
        while done.load(Ordering::Relaxed) < count {
            std::thread::sleep(Duration::from_micros(200));
        }
    };
    for n in 0..RECORDS {
        // As many at once as the client's queue takes.
        wait_for((n as u64).saturating_sub(90_000));
        let done = Arc::clone(&done);
        let partition = n as i32 % PARTITIONS;
        let completed = Box::new(move |result: Result<i64, _>| {
            result.expect("is appended");
            done.fetch_add(1, Ordering::Relaxed);
        });
        log.append(
            Topic::MessageDelivered,
            partition,
            record.clone(),
            completed,
        );
    }
    wait_for(RECORDS as u64);
    report("append, log", start, cpu);
}

fn plain_read(brokers: &str, topic: &str) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "rates")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let start = Offset::Offset(0);
        list.add_partition_offset(topic, partition, start)
            .expect("an offset");
    }
    let (start, cpu) = (Instant::now(), cpu_time());
    consumer.assign(&list).expect("assigns");
    let mut count = 0;
    while count < RECORDS {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let _owned = message.expect("a message").detach();
            count += 1;
        }
    }
    report("read, bare client (detach)", start, cpu);
}

fn log_read(log: &KafkaLog) {
    let starts: Vec<_> = (0..PARTITIONS)
        .map(|partition| (Topic::MessageDelivered, partition, 0))
        .collect();
    let (start, cpu) = (Instant::now(), cpu_time());
    let mut follower = log.follow(&starts).expect("follows");
    let mut batch = Vec::new();
    let mut count = 0;
    while count < RECORDS {
        follower
            .poll(4_096, Duration::from_millis(100), &mut batch)
            .expect("polls");
        count += batch.len();
        batch.clear();
    }
    report("read, log", start, cpu);
}

/// A record every 20 ms to one of the partitions, read by a consumer of all:
/// how late it is, and what the consumer costs when nothing comes.
fn waits(brokers: &str) {
    let topic = format!("{}{}", topics(brokers), Topic::MessageDelivered);
    println!("fetch.wait.max.ms | idle: CPU of consumer | from send to read: p50, p99, max ms");
    for wait_ms in [5, 20, 100, 500] {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "waits")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", wait_ms.to_string())
            .create()
            .expect("a consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(&topic, partition, Offset::End)
                .expect("an offset");
        }
        consumer.assign(&list).expect("assigns");
        let idle = Instant::now();
        consumer.poll(Duration::from_secs(2));
        let (cpu, from) = (cpu_time(), Instant::now());
        while idle.elapsed() < Duration::from_secs(12) {
            consumer.poll(Duration::from_secs(1));
        }
        let idle_cpu = (cpu_time() - cpu).as_secs_f64() / from.elapsed().as_secs_f64();
        let mut late = latencies(brokers, &topic, &consumer);
        late.sort_unstable();
        let at = |share: f64| late[(share * (late.len() - 1) as f64) as usize] as f64 / 1e3;
        println!(
            "{wait_ms:>17} | {:>19.2} % | {:.2}, {:.2}, {:.2}",
            idle_cpu * 100.0,
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
}

/// From send to read, in microseconds.
fn latencies(brokers: &str, topic: &str, consumer: &BaseConsumer) -> Vec<u64> {
    const COUNT: u64 = 500;
    let producer = producer(brokers);
    let epoch = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..COUNT {
                producer.poll(Duration::from_millis(20));
                let sent = (epoch.elapsed().as_micros() as u64).to_le_bytes();
                let record: BaseRecord<'_, (), [u8]> = BaseRecord::to(topic)
                    .partition((n % PARTITIONS as u64) as i32)
                    .payload(&sent[..]);
                producer.send(record).expect("is taken");
            }
            producer.flush(Duration::from_secs(10)).expect("flushes");
        });
        let mut late = Vec::new();
        while (late.len() as u64) < COUNT {
            if let Some(message) = consumer.poll(Duration::from_secs(1)) {
                let message = message.expect("a message");
                let sent = message.payload().and_then(|sent| sent.try_into().ok());
                let sent = u64::from_le_bytes(sent.expect("eight bytes"));
                late.push(epoch.elapsed().as_micros() as u64 - sent);
            }
        }
        // The first ones pay for the connections.
        late.split_off(20)
    })
}
