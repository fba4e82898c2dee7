//! Whether a process is alive, and whether it should be given work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::telemetry::MetricsHandle;

/// What a process says of itself. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    metrics: MetricsHandle,
    draining: AtomicBool,
    conditions: Mutex<Vec<Condition>>,
}

/// One thing that must be so before the process is ready. Not so at first.
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    ready: Arc<AtomicBool>,
    paused: Arc<AtomicBool>,
}

impl Condition {
    /// A condition that belongs to no [`Health`] yet.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            ready: Arc::default(),
            paused: Arc::default(),
        }
    }

    /// Says whether it is so now.
    pub fn set_ready(&self, ready: bool) {
        if self.ready.swap(ready, Ordering::AcqRel) != ready {
            tracing::info!(condition = self.name, ready, "readiness changed");
        }
    }

    /// Says whether an operator has paused what it stands for. It is as ready
    /// as it was: whoever paused it does not want it started anew.
    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
    }

    /// Whether it was said so.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Whether it is so.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

impl Health {
    /// A process without conditions: ready at once.
    #[must_use]
    pub fn new(metrics: MetricsHandle) -> Self {
        let conditions = Mutex::default();
        Self {
            inner: Arc::new(Inner {
                metrics,
                draining: AtomicBool::new(false),
                conditions,
            }),
        }
    }

    /// Adds a condition, not fulfilled yet. A name given twice is the same
    /// condition.
    #[must_use]
    pub fn condition(&self, name: &'static str) -> Condition {
        let mut conditions = self
            .inner
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = conditions.iter().find(|condition| condition.name == name) {
            return known.clone();
        }
        let condition = Condition::new(name);
        conditions.push(condition.clone());
        condition
    }

    /// From now on the process is not ready: it is finishing what it has.
    pub fn set_draining(&self) {
        self.inner.draining.store(true, Ordering::Release);
    }

    /// Whether it is finishing.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    /// The names of what is missing: empty means ready.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let conditions = self
            .inner
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let unready = conditions.iter().filter(|condition| !condition.is_ready());
        let mut missing: Vec<_> = unready.map(|condition| condition.name).collect();
        if self.is_draining() {
            missing.push("draining");
        }
        missing
    }

    /// The names of what operators have paused.
    #[must_use]
    pub fn paused(&self) -> Vec<&'static str> {
        let conditions = self
            .inner
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let paused = conditions.iter();
        let paused = paused.filter(|condition| condition.paused.load(Ordering::Acquire));
        paused.map(|condition| condition.name).collect()
    }

    /// `GET /healthz`, `/readyz` and `/metrics`.
    pub fn router(&self) -> Router {
        let (ready, metrics) = (self.clone(), self.clone());
        Router::new()
            .route(
                "/healthz",
                get(|| async { json(StatusCode::OK, &serde_json::json!({"status": "ok"})) }),
            )
            .route("/readyz", get(move || async move { ready.readiness() }))
            .route(
                "/metrics",
                get(move || async move {
                    let text = metrics.inner.metrics.render();
                    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
                }),
            )
    }

    fn readiness(&self) -> Response {
        let (missing, paused) = (self.missing(), self.paused());
        if missing.is_empty() && paused.is_empty() {
            return json(StatusCode::OK, &serde_json::json!({"status": "ready"}));
        }
        if missing.is_empty() {
            let body = serde_json::json!({"status": "paused", "paused": paused});
            return json(StatusCode::OK, &body);
        }
        let mut body = serde_json::json!({"status": "not ready", "missing": missing});
        if !paused.is_empty() {
            body["paused"] = paused.into();
        }
        json(StatusCode::SERVICE_UNAVAILABLE, &body)
    }
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::install_metrics;

    #[test]
    fn ready_means_every_condition_and_not_draining() {
        let health = Health::new(install_metrics().unwrap());
        assert!(health.missing().is_empty());
        let log = health.condition("log");
        let store = health.condition("store");
        log.set_ready(true);
        assert_eq!(health.missing(), ["store"]);
        assert_eq!(health.readiness().status(), StatusCode::SERVICE_UNAVAILABLE);
        store.set_ready(true);
        assert_eq!(health.readiness().status(), StatusCode::OK);
        store.set_paused(true);
        assert_eq!(health.readiness().status(), StatusCode::OK);
        assert_eq!(health.paused(), ["store"]);
        store.set_paused(false);
        assert!(health.paused().is_empty());
        health.condition("log").set_ready(false);
        assert_eq!(health.missing(), ["log"]);
        log.set_ready(true);
        health.set_draining();
        assert_eq!(health.missing(), ["draining"]);
    }
}
