use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_domain::{Tenant, Timestamp, UserId};
use tidings_edge::{Edge, EdgeConfig, Views};
use tidings_log::Log;
use tidings_log::embedded::EmbeddedLog;
use tidings_sequencer::{Clock, Parts, Sequencer, SequencerOptions};
use tidings_service::auth::{Auth, Claims, Secret};
use tidings_service::health::Health;
use tidings_service::{http, telemetry};
use tidings_sqlite::Database;
use tidings_testkit::eventually_async;
use tidings_views::history::{HistoryReader, HistoryWriter, MongoHistory, SqliteHistory};
use tidings_views::search::SqliteSearch;
use tidings_wire::Codec;
use tokio_util::sync::CancellationToken;

const PARTITIONS: i32 = 4;
/// How long anything may take before a test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "a secret of more than thirty-two bytes";

/// A whole system in one process, on a data folder of its own.
pub(crate) struct System {
    pub(crate) url: String,
    client: Client,
    stop: CancellationToken,
    _folder: TempDir,
}

/// What runs, and how.
pub(crate) struct Setup {
    pub(crate) sequencer: bool,
    /// The edge asks a MongoDB that is not there.
    pub(crate) view_is_down: bool,
    pub(crate) messages_per_minute: u32,
    /// What is expected of clients on the port.
    pub(crate) bounds: http::Bounds,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            sequencer: true,
            view_is_down: false,
            messages_per_minute: 0,
            bounds: http::Bounds::default(),
        }
    }
}

impl System {
    pub(crate) async fn start() -> Self {
        Self::set_up(Setup::default()).await
    }

    pub(crate) async fn set_up(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(database.clone(), PARTITIONS).unwrap());
        let store = Arc::new(SqliteHistory::new(database.clone()));
        store.prepare().await.unwrap();
        let view: Arc<dyn HistoryReader> = if setup.view_is_down {
            let nowhere = "mongodb://127.0.0.1:1/none?serverSelectionTimeoutMS=200";
            Arc::new(MongoHistory::connect(nowhere, "test").await.unwrap())
        } else {
            store.clone()
        };
        let stop = CancellationToken::new();
        let search = Arc::new(SqliteSearch::new(database));
        let searching =
            tidings_search::projection(Arc::clone(&log), Codec::locked(), search.clone());
        let stopped = stop.clone();
        tokio::spawn(async move { searching.run(stopped).await.unwrap() });
        let health = Health::new(telemetry::install_metrics().unwrap());
        let mut config = EdgeConfig::default();
        config.limits.messages_per_minute = setup.messages_per_minute;
        let edge = Edge::start(
            config,
            Arc::clone(&log),
            Codec::locked(),
            Views::new(view).search(search),
            auth(),
            health.clone(),
        );
        let listener = http::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let listener = listener.bounds(setup.bounds);
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = tidings_api::router(Arc::new(edge));
        let (served, stopped) = (health.clone(), stop.clone());
        tokio::spawn(async move { http::serve(listener, served, app, stopped).await.unwrap() });
        if setup.sequencer {
            let parts = Parts {
                log: log.sequencer().unwrap(),
                reader: Arc::clone(&log) as _,
                codec: Codec::locked(),
                clock: Clock::system(),
                options: SequencerOptions::default(),
                ready: health.condition("partitions"),
                stop: stop.clone(),
            };
            let sequencer = Sequencer::spawn(parts).unwrap();
            tokio::spawn(async move { sequencer.wait().await.unwrap() });
        }
        let projection = tidings_history::projection(log, Codec::locked(), store);
        let stopped = stop.clone();
        tokio::spawn(async move { projection.run(stopped).await.unwrap() });
        eventually_async(PATIENCE, async || health.missing().is_empty()).await;
        Self {
            url,
            client: Client::builder().no_proxy().build().unwrap(),
            stop,
            _folder: folder,
        }
    }

    /// A user of the tenant `acme`.
    pub(crate) fn user(&self, name: &str) -> User<'_> {
        self.user_of(name, "acme")
    }

    pub(crate) fn user_of(&self, name: &str, tenant: &str) -> User<'_> {
        User {
            system: self,
            token: token_of(name, tenant),
        }
    }

    /// A request of nobody in particular.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.client.request(method, url).timeout(PATIENCE)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Somebody with a token.
pub(crate) struct User<'a> {
    system: &'a System,
    token: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    /// Null where there is no body.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
        };
        let answer = Self {
            status,
            headers,
            body,
        };
        answer.check();
        answer
    }

    /// What holds of every answer.
    fn check(&self) {
        assert!(self.headers.contains_key("x-request-id"), "{self:?}");
        if self.status.is_client_error() || self.status.is_server_error() {
            assert_eq!(
                self.header("content-type"),
                "application/problem+json",
                "{self:?}"
            );
            assert_eq!(self.body["status"], self.status.as_u16(), "{self:?}");
            assert_eq!(self.body["type"], "about:blank", "{self:?}");
            assert!(self.body["code"].is_string() && self.body["detail"].is_string());
            assert!(self.body["title"].is_string() && self.body["retry"].is_boolean());
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Status and, of a problem, its code.
    pub(crate) fn said(&self) -> (u16, &str) {
        (
            self.status.as_u16(),
            self.body["code"].as_str().unwrap_or_default(),
        )
    }

    pub(crate) fn text(&self, field: &str) -> String {
        let text = self.body[field].as_str();
        text.unwrap_or_else(|| panic!("no {field}: {self:?}"))
            .to_owned()
    }
}

impl User<'_> {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.system.request(method, path);
        request.bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    /// A write that waits for its decision.
    pub(crate) async fn write(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.request(method, path).header("prefer", "wait=20");
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::of(request).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.write(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.write(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.write(Method::DELETE, path, None).await
    }

    /// Makes a group and gives its id.
    pub(crate) async fn group(&self, members: &[&str]) -> String {
        let body = json!({"kind": "group", "title": "Ops", "members": members});
        let made = self.post("/v1/conversations", body).await;
        assert_eq!(made.said(), (201, ""), "{made:?}");
        made.text("conversation_id")
    }

    /// Says something and gives the message's id.
    pub(crate) async fn say(&self, conversation: &str, text: &str) -> String {
        let sent = self.post("/v1/messages", message(conversation, text)).await;
        assert_eq!(sent.said(), (201, ""), "{sent:?}");
        sent.text("message_id")
    }
}

pub(crate) fn message(conversation: &str, text: &str) -> Value {
    json!({"conversation_id": conversation, "content": {"text": text}})
}

fn auth() -> Auth {
    Auth::hs256(&Secret::new(SECRET).unwrap())
}

pub(crate) fn token_of(user: &str, tenant: &str) -> String {
    let claims = Claims {
        user: UserId::parse(user).unwrap(),
        tenant: Tenant::parse(tenant).unwrap(),
        // 2100: later than any clock these tests run by.
        expires_at: Timestamp(4_102_444_800_000),
        rate: None,
    };
    auth().issue(&claims).unwrap()
}
