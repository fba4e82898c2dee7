//! A deployment of a test's own on the shared servers.

use std::process::{Command as Process, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tidings_domain::{
    Command, CommandBody, Content, ConversationId, Kind, TempId, Tenant, Timestamp, UserId,
};
use tidings_log::kafka::{KafkaConfig, KafkaLog};
use tidings_log::topics::{Cluster, Declared, plan};
use tidings_log::{Log, LogError, LogReader, notes, read_range};
use tidings_projection::Projection;
use tidings_sequencer::{Clock, Parts, Sequencer, SequencerHandle, SequencerOptions};
use tidings_service::health::Condition;
use tidings_testkit::{brokers, fresh_database, fresh_prefix, mongodb_uri, redis_url, search_url};
use tidings_wire::{Codec, Record, RegistryConfig, Stored, Topic, TraceParent, partition_of};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::registry::LossyRegistry;

pub(crate) const PARTITIONS: i32 = 2;
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// Topics, subjects, groups and stores that no other test has.
pub(crate) struct Place {
    pub(crate) prefix: String,
    pub(crate) registry: LossyRegistry,
    pub(crate) mongodb_uri: String,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) codec: Codec,
}

/// Something at work, until it is stopped.
pub(crate) struct Running<T> {
    stop: CancellationToken,
    work: T,
}

impl Place {
    pub(crate) async fn fresh() -> Self {
        tokio::task::spawn_blocking(|| (brokers(), mongodb_uri(), redis_url(), search_url()))
            .await
            .unwrap();
        let prefix = fresh_prefix();
        let declared = Declared::built_in()
            .with_prefix(&prefix)
            .with_partitions(PARTITIONS)
            .with_replication_factor(1);
        let cluster = Cluster::connect(&KafkaConfig::new(brokers())).unwrap();
        let actual = cluster.describe(&declared).await.unwrap();
        let plan = plan(&declared, &actual);
        cluster.apply(&declared, &actual, &plan).await.unwrap();
        let registry = LossyRegistry::start().await;
        let config = RegistryConfig {
            url: registry.url.clone(),
            topic_prefix: prefix.clone(),
        };
        Codec::register_all(&config).await.unwrap();
        let codec = Codec::connect(&config).await.unwrap();
        let log = open(&prefix).await;
        let mongodb_uri = fresh_database(mongodb_uri());
        Self {
            prefix,
            registry,
            mongodb_uri,
            log,
            codec,
        }
    }

    /// A codec of its own, that has not seen any schema but ours.
    pub(crate) async fn new_codec(&self) -> Codec {
        let config = RegistryConfig {
            url: self.registry.url.clone(),
            topic_prefix: self.prefix.clone(),
        };
        Codec::connect(&config).await.unwrap()
    }

    /// The command line, told of this place.
    pub(crate) fn tidings(&self, args: &[&str]) -> Output {
        Process::new(env!("CARGO_BIN_EXE_tidings"))
            .env_remove("TIDINGS_DATA")
            .env("KAFKA_BROKERS", brokers())
            .env("SCHEMA_REGISTRY_URL", &self.registry.url)
            .env("TIDINGS_TOPIC_PREFIX", &self.prefix)
            .env("MONGODB_URI", &self.mongodb_uri)
            .env("SEARCH_URL", search_url())
            .env("REDIS_URL", redis_url())
            .env("USER", "olga")
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs")
    }

    pub(crate) async fn sequencer(&self) -> Running<SequencerHandle> {
        let log = open(&self.prefix).await;
        let stop = CancellationToken::new();
        let work = Sequencer::spawn(Parts {
            log: log.sequencer().unwrap(),
            reader: log,
            codec: self.new_codec().await,
            clock: Clock::system(),
            options: SequencerOptions::default(),
            ready: Condition::new("partitions"),
            stop: stop.clone(),
        });
        let work = work.unwrap();
        Running { stop, work }
    }

    pub(crate) fn project(&self, projection: Projection) -> Running<tokio::task::JoinHandle<()>> {
        let stop = CancellationToken::new();
        let run = projection.run(stop.clone());
        let work = tokio::spawn(async move { run.await.unwrap() });
        Running { stop, work }
    }

    pub(crate) fn append(&self, topic: Topic, partition: i32, record: Record) -> i64 {
        notes::append_and_wait(&*self.log, topic, partition, record).unwrap()
    }

    pub(crate) fn all(&self, topic: Topic, partition: i32) -> Vec<Stored> {
        let mut all = Vec::new();
        read_range::<LogError>(&*self.log, topic, partition, 0, i64::MAX, |stored| {
            all.push(stored);
            Ok(())
        })
        .unwrap();
        all
    }
}

impl Running<SequencerHandle> {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.work.wait().await.unwrap();
    }
}

impl Running<tokio::task::JoinHandle<()>> {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.work.await.unwrap();
    }
}

async fn open(prefix: &str) -> Arc<dyn Log> {
    let mut config = KafkaConfig::new(brokers());
    config.topic_prefix = prefix.to_owned();
    config.session_timeout_ms = 6_000;
    let connect = move || KafkaLog::connect(config).unwrap();
    Arc::new(tokio::task::spawn_blocking(connect).await.unwrap())
}

/// What a command printed, one JSON document.
pub(crate) fn json(output: &Output) -> Value {
    let error = || String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {}", error()))
}

/// What a command printed, one JSON object a line.
pub(crate) fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn partition(id: ConversationId) -> i32 {
    partition_of(id.to_string().as_bytes(), PARTITIONS)
}

/// A conversation in a partition, another one for each `n`.
pub(crate) fn conversation(in_partition: i32, n: u128) -> ConversationId {
    (0..)
        .map(|i: u128| ConversationId(Uuid::from_u128(n * 1_000_000 + i)))
        .find(|id| partition(*id) == in_partition)
        .unwrap()
}

/// A command of alice's.
pub(crate) fn command(id: ConversationId, temp_id: &str, body: CommandBody) -> Command {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Command {
        tenant: Tenant::parse("acme").unwrap(),
        conversation_id: id,
        sender: UserId::parse("alice").unwrap(),
        temp_id: TempId::parse(temp_id).unwrap(),
        at: Timestamp(since.as_millis() as i64),
        body,
    }
}

pub(crate) fn create() -> CommandBody {
    CommandBody::Create {
        kind: Kind::Group,
        title: Some("Ops".to_owned()),
        members: vec![UserId::parse("bob").unwrap()],
    }
}

pub(crate) fn send(text: &str) -> CommandBody {
    CommandBody::Send {
        content: Content::text(text),
        reply_to: None,
        thread: None,
        forwarded_from: None,
    }
}

pub(crate) fn record(codec: &Codec, command: &Command) -> Record {
    let trace = TraceParent::new(1, 1, false).unwrap();
    codec.encode_command(command, trace).unwrap()
}

/// Where all partitions of a topic end.
pub(crate) fn end(log: &dyn LogReader, topic: Topic) -> i64 {
    let ends = (0..PARTITIONS).map(|partition| log.watermarks(topic, partition).unwrap().1);
    ends.sum()
}
