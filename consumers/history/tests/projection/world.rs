//! A log with decisions in it, a view, and a projection between them.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tidings_domain::{
    Command, CommandBody, Content, Decision, Digest, Epoch, Model, OwnerId, Ownership, Timestamp,
};
use tidings_history::projection;
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{Appender, Log, LogError, LogReader, read_range};
use tidings_projection::ProjectionError;
use tidings_sqlite::Database;
use tidings_testkit::eventually_async;
use tidings_views::conformance::Dump;
use tidings_views::history::{HistoryWriter, SqliteHistory};
use tidings_wire::{Codec, Headers, Record, Stored, Topic, TraceParent, partition_of};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const PARTITIONS: i32 = 3;
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// An embedded log and the view beside it.
pub(crate) struct World {
    _folder: TempDir,
    pub(crate) database: Database,
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) codec: Codec,
    pub(crate) view: SqliteHistory,
    inputs: i64,
}

/// A projection at work.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), ProjectionError>>,
}

impl Running {
    /// Tells it to stop and waits for its end.
    pub(crate) async fn stop(self) -> Result<(), ProjectionError> {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits for its end.
    pub(crate) async fn ended(self) -> Result<(), ProjectionError> {
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended.expect("ends in time").expect("does not panic")
    }
}

/// The `n`th owner of every partition.
pub(crate) fn owner(n: u64) -> Ownership {
    Ownership {
        epoch: Epoch(n),
        owner: OwnerId(Uuid::from_u128(n.into())),
    }
}

impl World {
    /// An empty log, in which owner 1 has claimed every partition, and an
    /// empty view.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("makes a folder");
        let database = Database::open(folder.path()).expect("opens");
        let log = Arc::new(EmbeddedLog::open(database.clone(), PARTITIONS).expect("opens a log"));
        let view = SqliteHistory::new(database.clone());
        let codec = Codec::locked();
        let world = Self {
            _folder: folder,
            database,
            log,
            codec,
            view,
            inputs: 0,
        };
        world.claim(1);
        world
    }

    /// Owner `n` claims every partition.
    pub(crate) fn claim(&self, n: u64) {
        for partition in 0..PARTITIONS {
            self.append(partition, Codec::claim(owner(n), Timestamp(0)));
        }
    }

    /// Appends a record to `message.delivered`; returns its offset.
    pub(crate) fn append(&self, partition: i32, record: Record) -> i64 {
        append(self.log.as_ref(), partition, record)
    }

    /// Appends a decision of owner `n`; returns its partition and offset.
    pub(crate) fn decide(&mut self, decision: &Decision, n: u64) -> (i32, i64) {
        let record = self.record(decision, n);
        let partition = partition(decision);
        (partition, self.append(partition, record))
    }

    /// Appends decisions of owner 1.
    pub(crate) fn decide_all(&mut self, decisions: &[Decision]) {
        for decision in decisions {
            self.decide(decision, 1);
        }
    }

    /// The record of a decision by owner `n`.
    pub(crate) fn record(&mut self, decision: &Decision, n: u64) -> Record {
        self.inputs += 1;
        record(&self.codec, decision, n, self.inputs)
    }

    /// Starts a projection into the view itself.
    pub(crate) fn project(&self) -> Running {
        self.project_into(Arc::new(self.view.clone()))
    }

    /// Starts a projection into another store.
    pub(crate) fn project_into(&self, store: Arc<dyn HistoryWriter>) -> Running {
        start(Arc::clone(&self.log) as _, self.codec.clone(), store)
    }

    /// Waits until the view has all of the log.
    pub(crate) async fn caught_up(&self) {
        eventually_async(DEADLINE, async || self.is_caught_up().await).await;
    }

    /// Whether the view has all of the log.
    pub(crate) async fn is_caught_up(&self) -> bool {
        is_caught_up(self.log.as_ref(), &self.view).await
    }

    /// All dead letters.
    pub(crate) fn dead_letters(&self) -> Vec<Stored> {
        let mut letters = Vec::new();
        for partition in 0..PARTITIONS {
            let end = end(self.log.as_ref(), Topic::DeadHistory, partition);
            read_range::<LogError>(
                self.log.as_ref(),
                Topic::DeadHistory,
                partition,
                0,
                end,
                |stored| {
                    letters.push(stored);
                    Ok(())
                },
            )
            .expect("reads");
        }
        letters
    }

    /// That the view is exactly what the model makes of these decisions.
    pub(crate) async fn assert_view_of(&self, decisions: &[Decision]) {
        assert_view_of(&self.view, decisions).await;
    }

    /// Runs SQL behind the view's back.
    pub(crate) fn tamper(&self, sql: &'static str) {
        let (done, durable) = channel();
        self.database.submit(
            tidings_sqlite::Priority::View,
            Box::new(move |connection| connection.execute_batch(sql)),
            Box::new(move |result| done.send(result).expect("the test waits")),
        );
        durable.recv().expect("an answer").expect("runs");
    }
}

/// The record of a decision by owner `n` of the command at offset `input`.
pub(crate) fn record(codec: &Codec, decision: &Decision, n: u64, input: i64) -> Record {
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
        partition: partition(decision),
        offset: input,
        record: codec.encode_command(&command, trace).expect("encodes"),
    };
    codec
        .encode_decision(decision, &stored, owner(n), Digest::default())
        .expect("encodes")
}

/// Appends a record to `message.delivered`; returns its offset.
pub(crate) fn append(log: &dyn Appender, partition: i32, record: Record) -> i64 {
    let (done, durable) = channel();
    let done = move |result| done.send(result).expect("the test waits");
    log.append(Topic::MessageDelivered, partition, record, Box::new(done));
    durable.recv().expect("an answer").expect("is appended")
}

/// Where the log ends.
pub(crate) fn end(log: &dyn LogReader, topic: Topic, partition: i32) -> i64 {
    log.watermarks(topic, partition).expect("has watermarks").1
}

/// Whether a view has all of the log.
pub(crate) async fn is_caught_up(log: &dyn LogReader, view: &dyn HistoryWriter) -> bool {
    // Before the first start there is not even a table.
    let Ok(positions) = view.positions().await else {
        return false;
    };
    (0..PARTITIONS).all(|partition| {
        let found = positions
            .iter()
            .find(|position| position.partition == partition);
        let offset = found.map_or(0, |position| position.offset);
        offset == end(log, Topic::MessageDelivered, partition)
    })
}

/// That a view is exactly what the model makes of these decisions.
pub(crate) async fn assert_view_of(view: &dyn Dump, decisions: &[Decision]) {
    let mut model = Model::default();
    for (decision, offset) in decisions.iter().zip(0..) {
        model.apply(decision, offset);
    }
    let mut view = view.dump().await.expect("dumps");
    // Decisions stand elsewhere in the log than in this list.
    for row in view.members.values_mut().chain(model.members.values_mut()) {
        row.settings_rev = row.settings_rev.min(0);
    }
    assert_eq!(view.events.len(), model.events.len(), "number of events");
    assert_eq!(view, model);
}

/// Starts a projection, in small batches.
pub(crate) fn start(log: Arc<dyn Log>, codec: Codec, store: Arc<dyn HistoryWriter>) -> Running {
    let projection = projection(log, codec, store).batch(16);
    let stop = CancellationToken::new();
    let task = tokio::spawn(projection.run(stop.clone()));
    Running { stop, task }
}

/// The partition of a decision's conversation.
pub(crate) fn partition(decision: &Decision) -> i32 {
    partition_of(decision.conversation_id.to_string().as_bytes(), PARTITIONS)
}

/// A record that nobody can decode, though its headers are in order.
pub(crate) fn garbled(mut record: Record) -> Record {
    record.value = Some(Bytes::from_static(b"\xffnot Avro"));
    record
}

/// A record without any header.
pub(crate) fn headless(mut record: Record) -> Record {
    record.headers = Headers::default();
    record
}
