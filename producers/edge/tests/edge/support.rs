use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_domain::{Tenant, Timestamp, UserId};
use tidings_edge::{Edge, EdgeConfig, Views};
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{Log, LogError, read_range};
use tidings_sequencer::{Clock, Parts, Sequencer, SequencerHandle, SequencerOptions};
use tidings_service::auth::{Auth, Claims, Secret};
use tidings_service::health::Health;
use tidings_service::tls::Certificate;
use tidings_service::{http, telemetry};
use tidings_signals::{Exchange, InProcess};
use tidings_sqlite::{Database, Priority};
use tidings_testkit::{SocketClient, eventually_async};
use tidings_views::history::{HistoryReader, HistoryWriter, MongoHistory, SqliteHistory};
use tidings_views::search::{OpenSearch, SqliteSearch};
use tidings_wire::{Codec, Record, Stored, Topic, partition_of};
use tokio_util::sync::CancellationToken;

const PARTITIONS: i32 = 4;
/// How long anything may take before a test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "a secret of more than thirty-two bytes";

/// A whole system in one process, on a data folder of its own.
pub(crate) struct System {
    pub(crate) edge: Arc<Edge>,
    pub(crate) url: String,
    exchange: Arc<dyn Exchange>,
    log: Arc<dyn Log>,
    database: Database,
    store: SqliteHistory,
    sequencer: Option<(SequencerHandle, CancellationToken)>,
    sequencer_behind: Duration,
    stop: CancellationToken,
    _folder: TempDir,
}

/// Which parts run besides the edge, and how the edge is set up.
pub(crate) struct Setup {
    pub(crate) sequencer: bool,
    pub(crate) history: bool,
    /// How far the sequencer's time of day is behind everybody else's.
    pub(crate) sequencer_behind: Duration,
    /// Whether there is a search view.
    pub(crate) search: bool,
    /// The edge asks an OpenSearch that is not there.
    pub(crate) search_is_down: bool,
    /// The edge asks a MongoDB that is not there.
    pub(crate) view_is_down: bool,
    pub(crate) config: EdgeConfig,
    /// With what the edge speaks TLS, if it does.
    pub(crate) certificate: Option<Certificate>,
    /// What is expected of clients on the port.
    pub(crate) bounds: http::Bounds,
    /// Where the system's edges meet.
    pub(crate) exchange: Arc<dyn Exchange>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            sequencer: true,
            history: true,
            sequencer_behind: Duration::ZERO,
            search: false,
            search_is_down: false,
            view_is_down: false,
            config: config(),
            certificate: None,
            bounds: http::Bounds::default(),
            exchange: Arc::new(InProcess::default()),
        }
    }
}

/// Without limits, which have tests of their own.
pub(crate) fn config() -> EdgeConfig {
    let mut config = EdgeConfig::default();
    config.limits.messages_per_minute = 0;
    config
}

impl System {
    pub(crate) async fn start() -> Self {
        Self::set_up(Setup::default()).await
    }

    pub(crate) async fn with_config(change: impl FnOnce(&mut EdgeConfig)) -> Self {
        let mut setup = Setup::default();
        change(&mut setup.config);
        Self::set_up(setup).await
    }

    pub(crate) async fn set_up(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(database.clone(), PARTITIONS).unwrap());
        let store = SqliteHistory::new(database.clone());
        store.prepare().await.unwrap();
        let view: Arc<dyn HistoryReader> = if setup.view_is_down {
            let nowhere = "mongodb://127.0.0.1:1/none?serverSelectionTimeoutMS=200";
            Arc::new(MongoHistory::connect(nowhere, "test").await.unwrap())
        } else {
            Arc::new(store.clone())
        };
        let stop = CancellationToken::new();
        let mut views = Views::new(view);
        if setup.search {
            let search = Arc::new(SqliteSearch::new(database.clone()));
            let projection =
                tidings_search::projection(Arc::clone(&log), Codec::locked(), search.clone());
            let stop = stop.clone();
            tokio::spawn(async move { projection.run(stop).await.unwrap() });
            views = views.search(search);
        } else if setup.search_is_down {
            let nowhere = OpenSearch::new("http://127.0.0.1:1", "").unwrap();
            views = views.search(Arc::new(nowhere));
        }
        let (exchange, config) = (&*setup.exchange, setup.config);
        let port = (setup.certificate, setup.bounds);
        let (edge, url) = serve_edge(exchange, config, &log, views, port, &stop).await;
        let mut system = Self {
            edge,
            url,
            exchange: setup.exchange,
            log,
            database,
            store,
            sequencer: None,
            sequencer_behind: setup.sequencer_behind,
            stop,
            _folder: folder,
        };
        if setup.history {
            system.start_history();
        }
        if setup.sequencer {
            system.start_sequencer();
        }
        system
    }

    /// Another edge on the same log and view.
    pub(crate) async fn another_edge(&self) -> String {
        let view = Arc::new(self.store.clone());
        let port = (None, http::Bounds::default());
        let (edge, url) =
            serve_edge(&*self.exchange, config(), &self.log, view, port, &self.stop).await;
        // It lives as long as the system: its server holds it.
        drop(edge);
        url
    }

    pub(crate) fn start_sequencer(&mut self) {
        let stop = CancellationToken::new();
        let (system, behind) = (Clock::system(), self.sequencer_behind.as_millis() as i64);
        let now = {
            let system = system.clone();
            move || system.now().minus_ms(behind)
        };
        let parts = Parts {
            log: self.log.sequencer().unwrap(),
            reader: Arc::clone(&self.log) as _,
            codec: Codec::locked(),
            clock: Clock::new(now, move || system.elapsed()),
            options: SequencerOptions::default(),
            ready: health().condition("partitions"),
            stop: stop.clone(),
        };
        self.sequencer = Some((Sequencer::spawn(parts).unwrap(), stop));
    }

    pub(crate) async fn stop_sequencer(&mut self) {
        let (sequencer, stop) = self.sequencer.take().expect("one is running");
        stop.cancel();
        sequencer.wait().await.unwrap();
    }

    pub(crate) fn start_history(&self) {
        let store = Arc::new(self.store.clone());
        let projection = tidings_history::projection(Arc::clone(&self.log), Codec::locked(), store);
        let stop = self.stop.clone();
        tokio::spawn(async move { projection.run(stop).await.unwrap() });
    }

    /// The last record of a conversation's partition of `message.delivered`.
    pub(crate) fn last_decision(&self, conversation: &str) -> Record {
        let (topic, partition) = (Topic::MessageDelivered, home(conversation));
        let (_, end) = self.log.watermarks(topic, partition).unwrap();
        let mut last = None;
        let take = |stored: Stored| {
            last = Some(stored.record);
            Ok::<_, LogError>(())
        };
        read_range(&*self.log, topic, partition, end - 1, end, take).unwrap();
        last.expect("a record")
    }

    /// Appends to a conversation's partition of `message.delivered`.
    pub(crate) fn append_decision(&self, conversation: &str, record: Record) {
        let (appended, durable) = mpsc::channel();
        let done = move |result| appended.send(result).expect("the test waits");
        let topic = Topic::MessageDelivered;
        self.log
            .append(topic, home(conversation), record, Box::new(done));
        durable.recv().expect("an answer").expect("is appended");
    }

    /// Holds the thread that makes appends durable, until the sender is dropped.
    pub(crate) fn hold_writes(&self) -> mpsc::Sender<()> {
        let (release, held) = mpsc::channel::<()>();
        let (running, runs) = mpsc::channel();
        self.database.submit(
            Priority::Log,
            Box::new(move |_| {
                running.send(()).expect("the test waits");
                held.recv().expect_err("is dropped");
                Ok(())
            }),
            Box::new(|result| result.expect("commits")),
        );
        runs.recv_timeout(PATIENCE).expect("runs");
        release
    }

    /// A client who said hello.
    pub(crate) async fn client(&self, user: &str) -> SocketClient {
        connect(&self.url, user).await
    }

    /// A client who said nothing yet.
    pub(crate) async fn stranger(&self) -> SocketClient {
        SocketClient::open(&self.url).await.unwrap()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some((_, stop)) = &self.sequencer {
            stop.cancel();
        }
    }
}

async fn serve_edge(
    exchange: &dyn Exchange,
    config: EdgeConfig,
    log: &Arc<dyn Log>,
    views: impl Into<Views>,
    (certificate, bounds): (Option<Certificate>, http::Bounds),
    stop: &CancellationToken,
) -> (Arc<Edge>, String) {
    let health = health();
    let log = Arc::clone(log);
    let codec = Codec::locked();
    let edge = Edge::start_among(exchange, config, log, codec, views, auth(), health.clone());
    let edge = Arc::new(edge);
    let listener = http::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let scheme = if certificate.is_some() { "wss" } else { "ws" };
    let url = format!("{scheme}://{}", listener.local_addr().unwrap());
    let listener = listener.certificate(certificate).bounds(bounds);
    let (served, watched, stop) = (Arc::clone(&edge), health.clone(), stop.clone());
    tokio::spawn(async move {
        http::serve(listener, health, served.router(), stop)
            .await
            .unwrap();
    });
    eventually_async(PATIENCE, async || watched.missing().is_empty()).await;
    (edge, url)
}

/// The partition of a conversation.
fn home(conversation: &str) -> i32 {
    partition_of(conversation.as_bytes(), PARTITIONS)
}

fn health() -> Health {
    Health::new(telemetry::install_metrics().unwrap())
}

pub(crate) fn auth() -> Auth {
    Auth::hs256(&Secret::new(SECRET).unwrap())
}

pub(crate) fn token(user: &str) -> String {
    token_of(user, "acme", None)
}

pub(crate) fn token_of(user: &str, tenant: &str, rate: Option<u32>) -> String {
    auth().issue(&claims(user, tenant, rate)).unwrap()
}

/// A token that ends within so many milliseconds.
pub(crate) fn token_for(user: &str, ms: i64) -> String {
    let now = Clock::system().now().0;
    let expires_at = Timestamp(now + ms);
    let claims = claims(user, "acme", None);
    auth()
        .issue(&Claims {
            expires_at,
            ..claims
        })
        .unwrap()
}

pub(crate) fn claims(user: &str, tenant: &str, rate: Option<u32>) -> Claims {
    Claims {
        user: UserId::parse(user).unwrap(),
        tenant: Tenant::parse(tenant).unwrap(),
        // 2100: later than any clock these tests run by.
        expires_at: Timestamp(4_102_444_800_000),
        rate,
    }
}

pub(crate) async fn connect(url: &str, user: &str) -> SocketClient {
    SocketClient::connect(url, &token(user)).await.unwrap()
}

/// Creates a group and gives its id.
pub(crate) async fn group(owner: &mut SocketClient, temp_id: &str, members: &[&str]) -> String {
    let create = json!({
        "type": "create", "temp_id": temp_id, "kind": "group", "title": "Ops", "members": members,
    });
    let delivered = owner.command(&create).await.unwrap();
    assert_eq!(delivered["type"], "delivered", "{delivered}");
    delivered["conversation_id"].as_str().unwrap().to_owned()
}

pub(crate) fn send(temp_id: &str, conversation: &str, text: &str) -> Value {
    json!({
        "type": "send", "temp_id": temp_id, "conversation_id": conversation,
        "content": {"text": text},
    })
}

/// A command of this type about a conversation.
pub(crate) fn about(kind: &str, temp_id: &str, conversation: &str, fields: Value) -> Value {
    let mut frame = json!({"type": kind, "temp_id": temp_id, "conversation_id": conversation});
    if let (Value::Object(frame), Value::Object(fields)) = (&mut frame, fields) {
        frame.extend(fields);
    }
    frame
}

/// What every frame of these keys says: `[type, …]`.
pub(crate) fn pick(frame: &Value, keys: &[&str]) -> Value {
    keys.iter().map(|key| frame[key].clone()).collect()
}
