//! A way to the registry on which schemas can get lost, and come back.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tidings_testkit::registry_url;

/// Stands before the real registry.
pub(crate) struct LossyRegistry {
    pub(crate) url: String,
    lost: Arc<Mutex<BTreeSet<u32>>>,
}

impl LossyRegistry {
    pub(crate) async fn start() -> Self {
        let lost = Arc::default();
        let router = Router::new()
            .fallback(forward)
            .with_state(Arc::clone(&lost));
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = tokio::net::TcpListener::bind(any).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, lost }
    }

    /// Adds a version of a subject's schema that has a field more; its id.
    pub(crate) async fn add_version(&self, subject: &str) -> u32 {
        let http = reqwest::Client::new();
        let latest = format!("{}/subjects/{subject}/versions/latest", self.url);
        let latest: Value = http.get(latest).send().await.unwrap().json().await.unwrap();
        let mut schema: Value = serde_json::from_str(latest["schema"].as_str().unwrap()).unwrap();
        let field = json!({
            "name": "extra", "type": ["null", "string"], "default": null, "doc": "more",
        });
        schema["fields"].as_array_mut().unwrap().push(field);
        let added: Value = http
            .post(format!("{}/subjects/{subject}/versions", self.url))
            .json(&json!({"schema": schema.to_string()}))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        u32::try_from(added["id"].as_u64().unwrap_or_else(|| panic!("{added}"))).unwrap()
    }

    pub(crate) fn lose(&self, id: u32) {
        self.lost.lock().unwrap().insert(id);
    }

    pub(crate) fn find_again(&self) {
        self.lost.lock().unwrap().clear();
    }
}

async fn forward(State(lost): State<Arc<Mutex<BTreeSet<u32>>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let is_lost = lost
        .lock()
        .unwrap()
        .iter()
        .any(|id| path.ends_with(&format!("/schemas/ids/{id}")));
    if is_lost {
        let body = json!({"error_code": 40403, "message": "Schema not found"}).to_string();
        return (StatusCode::NOT_FOUND, body).into_response();
    }
    let query = parts
        .uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let mut question = reqwest::Client::new()
        .request(parts.method, format!("{}{path}{query}", registry_url()))
        .body(body);
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        question = question.header(header::CONTENT_TYPE, kind);
    }
    let answer = question.send().await.unwrap();
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    let mut response = Response::new(Body::from(answer.bytes().await.unwrap()));
    *response.status_mut() = status;
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
