//! The binary on real Kafka with a real schema registry, killed and paused.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tidings_domain::{Command, CommandBody, Content, ConversationId, Kind, TempId, Timestamp};
use tidings_log::kafka::{KafkaConfig, KafkaLog};
use tidings_log::topics::{Cluster, Declared, plan};
use tidings_log::{Appender, LogError, read_range};
use tidings_sequencer::Clock;
use tidings_testkit::eventually;
use tidings_wire::{Codec, Record, RegistryConfig, Stored, Topic, TraceParent, partition_of};

use crate::scene::{Reading, group, tenant, user};

const PARTITIONS: i32 = 4;
const DEADLINE: Duration = Duration::from_secs(60);

/// Topics of its own on the shared servers, and commands for them.
struct Place {
    prefix: String,
    log: KafkaLog,
    codec: Codec,
    clock: Clock,
    asked: AtomicUsize,
    durable: Arc<AtomicUsize>,
}

impl Place {
    async fn fresh() -> Self {
        let prefix = tidings_testkit::fresh_prefix();
        let declared = Declared::built_in()
            .with_prefix(&prefix)
            .with_partitions(PARTITIONS)
            .with_replication_factor(1);
        let cluster = Cluster::connect(&KafkaConfig::new(tidings_testkit::brokers())).unwrap();
        let actual = cluster.describe(&declared).await.unwrap();
        cluster
            .apply(&declared, &actual, &plan(&declared, &actual))
            .await
            .unwrap();
        let registry = RegistryConfig {
            url: tidings_testkit::registry_url().to_owned(),
            topic_prefix: prefix.clone(),
        };
        Codec::register_all(&registry).await.unwrap();
        let codec = Codec::connect(&registry).await.unwrap();
        let mut config = KafkaConfig::new(tidings_testkit::brokers());
        config.topic_prefix = prefix.clone();
        let log = KafkaLog::connect(config).unwrap();
        let clock = Clock::system();
        Self {
            prefix,
            log,
            codec,
            clock,
            asked: AtomicUsize::new(0),
            durable: Arc::default(),
        }
    }

    fn start(&self) -> Running {
        // Taken by nobody for as long as it takes to start.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let process = Process::new(env!("CARGO_BIN_EXE_tidings-sequencer"))
            .args(["--brokers", tidings_testkit::brokers()])
            .args(["--registry-url", tidings_testkit::registry_url()])
            .args(["--topic-prefix", &self.prefix])
            .args(["--listen", &address.to_string()])
            .args(["--session-timeout-ms", "6000"])
            .args(["--checkpoint-interval-ms", "500"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Running { process, address }
    }

    fn append(&self, topic: Topic, id: ConversationId, record: Record) {
        let partition = partition_of(id.to_string().as_bytes(), PARTITIONS);
        let durable = self.durable.clone();
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.log.append(
            topic,
            partition,
            record,
            Box::new(move |result| {
                result.unwrap();
                durable.fetch_add(1, Ordering::Relaxed);
            }),
        );
    }

    fn ask(&self, id: ConversationId, temp_id: &str, at: Timestamp, body: CommandBody) {
        let temp_id = TempId::parse(temp_id).unwrap();
        let (tenant, sender) = (tenant(), user("alice"));
        let command = Command {
            tenant,
            conversation_id: id,
            sender,
            temp_id,
            at,
            body,
        };
        let trace = TraceParent::new(1, 1, false).unwrap();
        let record = self.codec.encode_command(&command, trace).unwrap();
        self.append(Topic::of_command(&command), id, record);
    }

    fn create(&self, name: &str) -> ConversationId {
        let body = CommandBody::Create {
            kind: Kind::Group,
            title: None,
            members: vec![user("bob")],
        };
        let id = group(name);
        self.ask(id, name, self.clock.now(), body);
        id
    }

    fn send(&self, id: ConversationId, temp_id: &str) {
        let content = Content::text("hello");
        let body = CommandBody::Send {
            content,
            reply_to: None,
            thread: None,
            forwarded_from: None,
        };
        self.ask(id, temp_id, self.clock.now(), body);
    }

    fn read(&self) -> Vec<Reading> {
        let read = |partition| {
            let mut records: Vec<Stored> = Vec::new();
            let topic = Topic::MessageDelivered;
            read_range::<LogError>(&self.log, topic, partition, 0, i64::MAX, |stored| {
                records.push(stored);
                Ok(())
            })
            .unwrap();
            Reading::of(&self.codec, &records).0
        };
        (0..PARTITIONS).map(read).collect()
    }

    /// Waits until every command that was asked has its decision.
    fn decided(&self) -> Vec<Reading> {
        let asked = self.asked.load(Ordering::Relaxed);
        let mut readings = Vec::new();
        eventually(DEADLINE, || {
            readings = self.read();
            readings
                .iter()
                .map(|reading| reading.inputs.len())
                .sum::<usize>()
                == asked
        });
        assert_eq!(self.durable.load(Ordering::Relaxed), asked);
        readings
    }
}

/// A process of the binary.
struct Running {
    process: Child,
    address: SocketAddr,
}

impl Running {
    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn ready(&self) {
        eventually(DEADLINE, || {
            self.get("/readyz")
                .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
    }

    /// The value of a metric.
    fn metric(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics").unwrap();
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim().parse().unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(
            Process::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn ended(mut self) -> ExitStatus {
        let (telling, told) = mpsc::channel();
        let pid = self.process.id();
        std::thread::spawn(move || telling.send(self.process.wait().unwrap()));
        told.recv_timeout(DEADLINE)
            .unwrap_or_else(|_| panic!("process {pid} does not end"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Does nothing where it has ended. A test that fails leaves none behind.
        if let Err(error) = self.process.kill() {
            eprintln!("cannot kill {}: {error}", self.process.id());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_pauses_lose_nothing_and_double_nothing() {
    let place = Place::fresh().await;
    let (first, second) = (place.start(), place.start());
    first.ready();
    second.ready();
    eventually(DEADLINE, || {
        let owned = "tidings_sequencer_owned_partitions";
        first.metric(owned) == 2.0 && second.metric(owned) == 2.0
    });
    let ids: Vec<_> = (0..16).map(|n| place.create(&format!("c{n}"))).collect();
    place.decided();
    let mut sent = 0;
    let mut burst = || {
        for n in sent..sent + 400 {
            place.send(ids[n % ids.len()], &format!("m{n}"));
        }
        sent += 400;
    };

    // One is killed in the middle of a burst; the other takes over.
    burst();
    first.signal("KILL");
    burst();
    assert!(!first.ended().success());
    place.decided();

    // The other is paused past its session timeout while a third takes over,
    // and then goes on where it was: what it writes is void.
    burst();
    second.signal("STOP");
    burst();
    let third = place.start();
    third.ready();
    place.decided();
    burst();
    second.signal("CONT");
    burst();
    place.decided();

    // A command that nobody can read, and a graceful end with some on the way.
    let poison = Record {
        key: Some(ids[0].to_string().into()),
        value: Some("no avro".into()),
        headers: Default::default(),
        timestamp: place.clock.now(),
    };
    place.append(Topic::MessageSent, ids[0], poison);
    burst();
    third.signal("TERM");
    assert!(third.ended().success());
    let readings = place.decided();
    second.signal("TERM");
    assert!(second.ended().success());

    for (n, id) in ids.iter().enumerate() {
        let partition = partition_of(id.to_string().as_bytes(), PARTITIONS) as usize;
        assert_eq!(
            readings[partition].last_seq(*id),
            1 + 2_800 / 16,
            "conversation {n}"
        );
    }
    let dead = readings.iter().flat_map(|reading| reading.inputs.values());
    assert_eq!(dead.filter(|decision| decision.is_none()).count(), 1);
}
