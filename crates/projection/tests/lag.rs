//! The lag is measured while the store is down, too.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tidings_domain::{Epoch, OwnerId, Ownership, Timestamp};
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{Appender, Log};
use tidings_projection::{Entry, Projection, Refused, View};
use tidings_service::telemetry::install_metrics;
use tidings_sqlite::Database;
use tidings_testkit::eventually_async;
use tidings_views::{Position, StoreError};
use tidings_wire::{Codec, Topic};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(60);
/// How old the record is that the store does not take.
const AGE: Duration = Duration::from_secs(1_000);

/// A view whose store goes down once it has said where it stands.
#[derive(Default)]
struct Stuck {
    asked: AtomicUsize,
}

#[async_trait]
impl View for Stuck {
    fn name(&self) -> &'static str {
        "stuck"
    }

    fn dead_letters(&self) -> Topic {
        Topic::DeadHistory
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        match self.asked.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(Vec::new()),
            _ => Err(StoreError::Transient("down".to_owned())),
        }
    }

    async fn apply(&self, _: &[Entry<'_>], _: &[Position]) -> Result<Vec<Refused>, StoreError> {
        Err(StoreError::Transient("down".to_owned()))
    }
}

fn append_claim(log: &dyn Appender) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let made = Timestamp((now - AGE).as_millis() as i64);
    let by = Ownership {
        epoch: Epoch(1),
        owner: OwnerId(Uuid::from_u128(1)),
    };
    let (done, durable) = channel();
    let record = Codec::claim(by, made);
    let done = Box::new(move |result| done.send(result).unwrap());
    log.append(Topic::MessageDelivered, 0, record, done);
    durable.recv().unwrap().unwrap();
}

/// The value of a gauge of the stuck projection.
fn gauge(name: &str) -> Option<f64> {
    let text = install_metrics().unwrap().render();
    let prefix = format!("{name}{{projection=\"stuck\",generation=\"1\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&prefix))?;
    value.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_grows_while_the_store_is_down() {
    install_metrics().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let log = Arc::new(EmbeddedLog::open(database, 1).unwrap());
    append_claim(log.as_ref());
    let stop = CancellationToken::new();
    let projection = Projection::new(
        log as Arc<dyn Log>,
        Codec::locked(),
        Arc::new(Stuck::default()),
    );
    let running = tokio::spawn(projection.run(stop.clone()));
    eventually_async(DEADLINE, async || {
        gauge("tidings_projection_lag_seconds") >= Some(AGE.as_secs_f64())
    })
    .await;
    assert_eq!(gauge("tidings_projection_lag_records"), Some(1.0));
    stop.cancel();
    running.await.unwrap().unwrap();
}
