//! A log in Kafka with decisions in it, and who writes, keeps and reads a view.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use tidings_domain::{
    Command, CommandBody, Content, Decision, Digest, Epoch, Model, OwnerId, Ownership, Timestamp,
};
use tidings_log::kafka::{KafkaConfig, KafkaLog};
use tidings_log::topics::{Cluster, Declared, plan};
use tidings_log::{Appender, Log};
use tidings_projection::{Keeper, ProjectionError};
use tidings_testkit::{eventually_async, fresh_prefix, servers};
use tidings_views::conformance::{Decisions, Dump};
use tidings_views::generation::{Generation, Generations, Serving};
use tidings_views::history::{HistoryReader, MongoHistory};
use tidings_wire::{Codec, Record, RegistryConfig, Stored, Topic, TraceParent, partition_of};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const PARTITIONS: i32 = 3;
/// Between two writes, so that whoever keeps the view in a test build can.
const PACE: Duration = Duration::from_millis(50);
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Topics, subjects and groups of a test's own, with their codec.
pub(crate) struct World {
    kafka: KafkaConfig,
    pub(crate) codec: Codec,
    pub(crate) log: Arc<dyn Log>,
}

fn owner() -> Ownership {
    Ownership {
        epoch: Epoch(1),
        owner: OwnerId(Uuid::from_u128(1)),
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let servers = tokio::task::spawn_blocking(servers).await.expect("servers");
        let mut kafka = KafkaConfig::new(&servers.brokers);
        kafka.topic_prefix = fresh_prefix();
        kafka.session_timeout_ms = 6_000;
        let declared = Declared::built_in()
            .with_prefix(&kafka.topic_prefix)
            .with_partitions(PARTITIONS)
            .with_replication_factor(1);
        let cluster = Cluster::connect(&KafkaConfig::new(&servers.brokers)).expect("connects");
        let actual = cluster.describe(&declared).await.expect("describes");
        let plan = plan(&declared, &actual);
        cluster
            .apply(&declared, &actual, &plan)
            .await
            .expect("applies");
        let registry = RegistryConfig {
            url: servers.registry_url.clone(),
            topic_prefix: kafka.topic_prefix.clone(),
        };
        Codec::register_all(&registry).await.expect("registers");
        let codec = Codec::connect(&registry).await.expect("connects");
        let log = connect(&kafka).await;
        for partition in 0..PARTITIONS {
            append(&*log, partition, Codec::claim(owner(), Timestamp(0)));
        }
        Self { kafka, codec, log }
    }

    /// A connection as another process has one.
    pub(crate) async fn connect(&self) -> Arc<dyn Log> {
        connect(&self.kafka).await
    }

    /// Appends decisions, and goes on numbering their inputs from `input`.
    pub(crate) fn decide_all(&self, decisions: &[Decision], input: i64) {
        for (decision, input) in decisions.iter().zip(input..) {
            decide(&*self.log, &self.codec, decision, input);
        }
    }

    /// Keeps a view in step as its consumer does.
    pub(crate) async fn keep<S: Generations + Clone + 'static>(
        &self,
        store: &S,
        projection: impl Fn(Arc<dyn Log>, Codec, S) -> tidings_projection::Projection
        + Send
        + Sync
        + 'static,
    ) -> Keeping {
        let (log, codec, of) = (self.connect().await, self.codec.clone(), store.clone());
        let keeper = Keeper::new(Arc::new(store.clone()), move |generation| {
            projection(Arc::clone(&log), codec.clone(), of.of(generation)).batch(16)
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(keeper.run(stop.clone()));
        Keeping { stop, task }
    }

    /// Waits until a generation has all of the log.
    pub(crate) async fn caught_up(&self, store: &impl Generations) {
        eventually_async(DEADLINE, async || {
            let Ok(reached) = store.reached().await else {
                return false;
            };
            (0..PARTITIONS).all(|partition| {
                let end = self.log.watermarks(Topic::MessageDelivered, partition);
                let found = reached.iter().find(|at| at.partition == partition);
                found.map_or(0, |at| at.offset) == end.expect("has watermarks").1
            })
        })
        .await;
    }

    /// Writes decisions of a stream, one after the other, until told to stop.
    pub(crate) fn write(&self, mut stream: Decisions, input: i64) -> Writing {
        let (log, codec) = (Arc::clone(&self.log), self.codec.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::task::spawn_blocking(move || {
            let mut written = Vec::new();
            let mut input = input;
            while !stopped.load(Ordering::Relaxed) {
                for decision in stream.take(1) {
                    decide(&*log, &codec, &decision, input);
                    input += 1;
                    written.push(decision);
                }
                std::thread::sleep(PACE);
            }
            written
        });
        Writing { stop, task }
    }
}

/// A consumer at work.
pub(crate) struct Keeping {
    stop: CancellationToken,
    task: JoinHandle<Result<(), ProjectionError>>,
}

impl Keeping {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended
            .expect("ends in time")
            .expect("does not panic")
            .expect("stops");
    }
}

/// Somebody who writes.
pub(crate) struct Writing {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Decision>>,
}

impl Writing {
    /// All that was written.
    pub(crate) async fn stop(self) -> Vec<Decision> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("does not panic")
    }
}

/// Somebody who reads a conversation again and again, and finds no answer that
/// is an error, has a gap, or is older than what was promised.
pub(crate) struct Reading {
    stop: CancellationToken,
    task: JoinHandle<usize>,
}

impl Reading {
    pub(crate) fn start(store: &MongoHistory, of: &Decision) -> Self {
        let view = Serving::new(store.clone());
        let (tenant, id) = (of.tenant.clone(), of.conversation_id);
        let partition = partition_of(id.to_string().as_bytes(), PARTITIONS);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            let (mut reads, mut known, mut promised) = (0, 0, 0);
            while !stopped.is_cancelled() {
                tick.tick().await;
                let positions = view.positions().await.expect("no read fails");
                let at = positions.iter().find(|at| at.partition == partition);
                let at = at.expect("a position").offset;
                assert!(at >= promised, "{at} was promised to be {promised}");
                promised = at;
                let events = view.events(&tenant, id, 0, 10_000).await;
                let events = events.expect("no read fails");
                let seqs = events.iter().map(|row| row.seq);
                assert!(seqs.eq(1..=events.len() as u64), "a gap");
                assert!(events.len() >= known, "an answer older than the last");
                known = events.len();
                reads += 1;
            }
            reads
        });
        Self { stop, task }
    }

    /// How many reads there were.
    pub(crate) async fn stop(self) -> usize {
        self.stop.cancel();
        self.task.await.expect("every answer is as it should be")
    }
}

async fn connect(kafka: &KafkaConfig) -> Arc<dyn Log> {
    let kafka = kafka.clone();
    let connected = tokio::task::spawn_blocking(move || KafkaLog::connect(kafka)).await;
    Arc::new(connected.expect("connects").expect("connects"))
}

fn decide(log: &dyn Log, codec: &Codec, decision: &Decision, input: i64) {
    let partition = partition_of(decision.conversation_id.to_string().as_bytes(), PARTITIONS);
    let command = Command {
        tenant: decision.tenant.clone(),
        conversation_id: decision.conversation_id,
        sender: decision.sender.clone(),
        temp_id: decision.temp_id.clone(),
        at: decision.at,
        body: CommandBody::Send {
            content: Content::text("what was asked for"),
            reply_to: None,
            thread: None,
            forwarded_from: None,
        },
    };
    let trace = TraceParent::new(1, 1, false).expect("not zero");
    let stored = Stored {
        topic: Topic::MessageSent,
        partition,
        offset: input,
        record: codec.encode_command(&command, trace).expect("encodes"),
    };
    let record = codec
        .encode_decision(decision, &stored, owner(), Digest::default())
        .expect("encodes");
    append(log, partition, record);
}

fn append(log: &(impl Appender + ?Sized), partition: i32, record: Record) {
    let (done, durable) = channel();
    let done = move |result| done.send(result).expect("the test waits");
    log.append(Topic::MessageDelivered, partition, record, Box::new(done));
    durable.recv().expect("an answer").expect("is appended");
}

/// That a generation is exactly what the model makes of these decisions.
pub(crate) async fn assert_view_of(
    store: &MongoHistory,
    generation: Generation,
    decisions: &[Decision],
) {
    let mut model = Model::default();
    for (decision, offset) in decisions.iter().zip(0..) {
        model.apply(decision, offset);
    }
    let mut view = store.of(generation).dump().await.expect("dumps");
    // Decisions stand elsewhere in the log than in this list.
    for row in view.members.values_mut().chain(model.members.values_mut()) {
        row.settings_rev = row.settings_rev.min(0);
    }
    assert_eq!(view.events.len(), model.events.len(), "number of events");
    assert_same("conversations", &view.conversations, &model.conversations);
    assert_same("members", &view.members, &model.members);
    assert_same("messages", &view.messages, &model.messages);
    assert_same("edits", &view.edits, &model.edits);
    assert_same("hidden", &view.hidden, &model.hidden);
    assert_same("outcomes", &view.outcomes, &model.outcomes);
    assert!(view == model, "generation {generation} is not the model");
}

/// Shows the first row that differs.
fn assert_same<K, V>(what: &str, view: &BTreeMap<K, V>, model: &BTreeMap<K, V>)
where
    K: Ord + std::fmt::Debug,
    V: PartialEq + std::fmt::Debug,
{
    for (key, expected) in model {
        assert_eq!(view.get(key), Some(expected), "{what} {key:?}");
    }
    let more = view.keys().find(|key| !model.contains_key(key));
    assert!(more.is_none(), "{what} {more:?} is not in the model");
}
