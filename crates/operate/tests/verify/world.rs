use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;
use tidings_domain::{Decision, Digest, Epoch, OwnerId, Ownership, Timestamp};
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{Appender, Log, LogReader};
use tidings_operate::verify::{AuditedView, Options, Repair, Report, Scope, verify};
use tidings_projection::Projection;
use tidings_sqlite::{Database, Priority};
use tidings_testkit::eventually_async;
use tidings_views::Position;
use tidings_views::conformance::Decisions;
use tidings_wire::{Codec, Headers, Record, Stored, Topic, TraceParent, names, partition_of};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PARTITIONS: i32 = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// A log in a folder of its own, with decisions in it.
pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) log: EmbeddedLog,
    pub(crate) codec: Codec,
    decisions: Mutex<Decisions>,
    owners: Vec<Ownership>,
    inputs: Mutex<BTreeMap<i32, i64>>,
    _folder: TempDir,
}

impl World {
    pub(crate) async fn new(seed: u64, decisions: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::open(folder.path()).expect("opens");
        let log = EmbeddedLog::open(database.clone(), PARTITIONS).expect("opens the log");
        let owner = |number: u64| Ownership {
            epoch: Epoch(number),
            owner: OwnerId(Uuid::from_u128(number.into())),
        };
        let world = Self {
            database,
            log,
            codec: Codec::locked(),
            decisions: Mutex::new(Decisions::new(seed)),
            owners: vec![owner(1), owner(2)],
            inputs: Mutex::default(),
            _folder: folder,
        };
        for by in &world.owners {
            for partition in 0..PARTITIONS {
                let claim = Codec::claim(*by, Timestamp(0));
                world
                    .append_record(Topic::MessageDelivered, partition, claim)
                    .await;
            }
        }
        world.append(decisions).await;
        world
    }

    async fn append_record(&self, topic: Topic, partition: i32, record: Record) -> i64 {
        let (done, appended) = tokio::sync::oneshot::channel();
        let done = Box::new(move |result| drop(done.send(result)));
        self.log.append(topic, partition, record, done);
        appended.await.expect("is answered").expect("is appended")
    }

    /// Appends so many more decisions; now and then one that does not count,
    /// as its writer is no longer the owner.
    pub(crate) async fn append(&self, count: usize) -> Vec<(i32, i64, Decision)> {
        let decisions = self.decisions.lock().take(count);
        let mut appended = Vec::new();
        for (index, decision) in decisions.into_iter().enumerate() {
            let key = decision.conversation_id.to_string();
            let partition = partition_of(key.as_bytes(), PARTITIONS);
            if index % 10 == 3 {
                self.append_decision(&decision, partition, self.owners[0])
                    .await;
            }
            let offset = self
                .append_decision(&decision, partition, self.owners[1])
                .await;
            appended.push((partition, offset, decision));
        }
        appended
    }

    async fn append_decision(&self, decision: &Decision, partition: i32, by: Ownership) -> i64 {
        let input = {
            let mut inputs = self.inputs.lock();
            let next = inputs.entry(partition).or_default();
            *next += 1;
            *next - 1
        };
        let mut headers = Headers::default();
        headers.push(names::TENANT, decision.tenant.to_string());
        let trace = TraceParent::new(7, 7, false).expect("a trace");
        headers.push(names::TRACEPARENT, trace.to_string());
        let command = Stored {
            topic: Topic::MessageSent,
            partition,
            offset: input,
            record: Record {
                key: Some(decision.conversation_id.to_string().into()),
                value: None,
                headers,
                timestamp: decision.at,
            },
        };
        let record = self
            .codec
            .encode_decision(decision, &command, by, Digest::default())
            .expect("encodes");
        self.append_record(Topic::MessageDelivered, partition, record)
            .await
    }

    /// The ends of the log.
    pub(crate) fn ends(&self) -> BTreeMap<i32, i64> {
        let ends = (0..PARTITIONS).map(|partition| {
            let ends = self.log.watermarks(Topic::MessageDelivered, partition);
            (partition, ends.expect("is there").1)
        });
        ends.collect()
    }

    pub(crate) fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.log.clone())
    }

    /// Compares a view with the log.
    pub(crate) async fn verify(&self, view: &AuditedView) -> Report {
        self.verify_with(view, &Scope::default(), Repair::No).await
    }

    pub(crate) async fn repair(&self, view: &AuditedView) -> Report {
        self.verify_with(view, &Scope::default(), Repair::Yes).await
    }

    pub(crate) async fn verify_with(
        &self,
        view: &AuditedView,
        scope: &Scope,
        repair: Repair,
    ) -> Report {
        let options = Options {
            repair,
            ..Options::default()
        };
        let log: Arc<dyn LogReader> = Arc::new(self.log.clone());
        verify(log, self.codec.clone(), view, scope, &options)
            .await
            .expect("verifies")
    }

    /// Runs a statement on the file, as somebody might by hand.
    pub(crate) fn execute(&self, sql: &'static str) -> usize {
        let changed = Arc::new(Mutex::new(0));
        let count = Arc::clone(&changed);
        self.database
            .write(Priority::View, move |connection| {
                *count.lock() = connection.execute(sql, [])?;
                Ok(())
            })
            .expect("executes");
        *changed.lock()
    }
}

/// A projection that runs.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(projection: Projection) -> Self {
        let stop = CancellationToken::new();
        let told = stop.clone();
        let task = tokio::spawn(async move {
            projection.run(told).await.expect("projects");
        });
        Self { stop, task }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("has not panicked");
    }
}

/// Waits until a view has come to these ends.
pub(crate) async fn reaches(ends: &BTreeMap<i32, i64>, positions: impl AsyncFn() -> Vec<Position>) {
    eventually_async(PATIENCE, async || {
        let positions = positions().await;
        ends.iter().all(|(partition, end)| {
            let at = positions.iter().find(|at| at.partition == *partition);
            at.map_or(0, |at| at.offset) >= *end
        })
    })
    .await;
}

/// How many documents were found missing, extra and different, of each kind.
pub(crate) fn found(report: &Report) -> Vec<(&'static str, u64, u64, u64)> {
    let found = report.found.iter();
    found
        .map(|(kind, it)| (*kind, it.missing, it.extra, it.different))
        .collect()
}

/// Nothing is wrong, and not because nothing was looked at.
pub(crate) fn assert_clean(report: &Report) {
    assert!(report.is_clean(), "{report:#?}");
    assert!(report.is_right_now());
    assert!(report.documents.values().sum::<u64>() > 0, "{report:#?}");
}
