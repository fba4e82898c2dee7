use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use parking_lot::Mutex;
use tidings_log::Log;
use tidings_service::auth::{Auth, AuthError, Claims};
use tidings_service::health::Health;
use tidings_signals::{Exchange, Heard, InProcess, Signals};
use tidings_wire::{Codec, Topic};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blocking::Blocking;
use crate::caller::{Caller, Callers};
use crate::clock::Clock;
use crate::config::EdgeConfig;
use crate::freshness::Freshness;
use crate::http;
use crate::hub::Hub;
use crate::inflight::InFlight;
use crate::limits::Limits;
use crate::membership::Ring;
use crate::metrics::Metrics;
use crate::presence::{self, Presences};
use crate::progress::Progress;
use crate::reader::Reader;
use crate::recent::Recent;
use crate::search::Searches;
use crate::shared::Shared;
use crate::sizes::Sizes;
use crate::view::View;
use crate::views::Views;

/// How many first decisions are kept at hand, about 150 bytes each.
const RECENT_DECISIONS: usize = 65_536;
/// How many membership changes are kept at hand.
const RECENT_CHANGES: usize = 65_536;
/// Of how many conversations it is kept at hand whether they are small.
const KNOWN_SIZES: usize = 65_536;
/// How often the reader's lag is measured.
const LAG_INTERVAL: Duration = Duration::from_secs(10);
/// How much longer than commands in flight the connections may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// A running edge.
///
/// It reads `message.delivered` on a thread of its own and serves sockets on
/// the runtime it was started in, until [`drain`](Self::drain) or drop.
pub struct Edge {
    shared: Arc<Shared>,
    health: Health,
    reader: Mutex<Option<JoinHandle<()>>>,
}

impl Edge {
    /// Starts an edge. `health` becomes ready when all that stood in the log
    /// has been read.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or where no thread can be started.
    #[must_use]
    pub fn start(
        config: EdgeConfig,
        log: Arc<dyn Log>,
        codec: Codec,
        views: impl Into<Views>,
        auth: Auth,
        health: Health,
    ) -> Self {
        let alone = InProcess::default();
        Self::start_among(&alone, config, log, codec, views, auth, health)
    }

    /// Starts an edge that tells others, and is told by them, who types and
    /// who is there.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_among(
        exchange: &dyn Exchange,
        config: EdgeConfig,
        log: Arc<dyn Log>,
        codec: Codec,
        views: impl Into<Views>,
        auth: Auth,
        health: Health,
    ) -> Self {
        let (signals, heard) = exchange.attach();
        let parts = Parts {
            config,
            log,
            codec,
            views: views.into(),
            auth,
            signals,
            clock: Clock::system(),
            blocking: Blocking::Aside,
        };
        let shared = share(parts, heard);
        tokio::spawn(measure_lag(Arc::clone(&shared)));
        let reader = Reader::new(Arc::clone(&shared), health.condition("log"));
        let reader = std::thread::Builder::new()
            .name("edge-reader".into())
            .spawn(|| reader.run())
            .expect("a process can start one more thread");
        Self {
            shared,
            health,
            reader: Mutex::new(Some(reader)),
        }
    }

    /// `GET /v1/socket` and `GET /`.
    pub fn router(&self) -> Router {
        http::router(Arc::clone(&self.shared))
    }

    /// A user who sends commands and asks questions without a socket, as a
    /// verified token names them.
    #[must_use]
    pub fn caller(&self, claims: Claims) -> Caller {
        Caller::new(Arc::clone(&self.shared), claims)
    }

    /// The user whom a token names.
    ///
    /// # Errors
    /// Where it is not a good one.
    pub fn authenticate(&self, token: &str) -> Result<Caller, AuthError> {
        Ok(self.caller(self.shared.auth.verify(token)?))
    }

    /// Stops: takes no connection and no command any more, waits a few seconds
    /// for the decisions of those in flight, closes every socket with 4012,
    /// and ends the reader.
    pub async fn drain(&self) {
        self.health.set_draining();
        self.shared.draining.store(true, Ordering::Release);
        let sockets = self.shared.hub.sockets();
        tracing::info!(sockets = sockets.len(), "draining");
        for socket in sockets {
            socket.outbox.drain();
        }
        let sessions = &self.shared.sessions;
        sessions.close();
        let limit = self.shared.config.drain_timeout + CLOSE_TIMEOUT;
        if tokio::time::timeout(limit, sessions.wait()).await.is_err() {
            tracing::warn!(
                left = sessions.len(),
                "some connections did not close in time"
            );
        }
        self.shared.signals.close().await;
        self.shared.stop.cancel();
        let reader = self.reader.lock().take();
        if let Some(reader) = reader {
            let joined = tokio::task::spawn_blocking(|| reader.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the reader ended with a panic");
            }
        }
    }
}

/// What an edge is made of.
pub(crate) struct Parts {
    pub(crate) config: EdgeConfig,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) codec: Codec,
    pub(crate) views: Views,
    pub(crate) auth: Auth,
    pub(crate) signals: Arc<dyn Signals>,
    pub(crate) clock: Clock,
    pub(crate) blocking: Blocking,
}

/// What all parts of an edge share, and the tasks that are at work for all.
pub(crate) fn share(parts: Parts, heard: Heard) -> Arc<Shared> {
    let config = parts.config;
    let partitions = parts.log.partitions();
    let count = partitions as usize;
    let metrics = Arc::new(Metrics::new());
    let Views { history, search } = parts.views;
    let view = View::new(
        history,
        config.view_timeout,
        config.view_waits,
        Arc::clone(&metrics),
    );
    let view = Arc::new(view);
    let per_minute = config.limits.searches_per_minute;
    let searches = Searches::new(search, per_minute, config.view_timeout);
    let shared = Arc::new(Shared {
        freshness: Freshness::new(Arc::clone(&view), config.freshness_timeout),
        config,
        runtime: Handle::current(),
        log: parts.log,
        partitions,
        codec: parts.codec,
        clock: parts.clock,
        blocking: parts.blocking,
        auth: parts.auth,
        metrics,
        hub: Hub::default(),
        inflight: InFlight::default(),
        recent: Recent::new(RECENT_DECISIONS),
        ring: Ring::new(count, RECENT_CHANGES),
        filling_ring: tokio::sync::Mutex::new(()),
        progress: Progress::new(count),
        view,
        limits: Limits::default(),
        sizes: Sizes::new(KNOWN_SIZES),
        searches,
        signals: parts.signals,
        presences: Presences::default(),
        typing: Limits::default(),
        callers: Callers::default(),
        remembered: Mutex::default(),
        connections: AtomicUsize::new(0),
        sessions: TaskTracker::new(),
        draining: AtomicBool::new(false),
        stop: CancellationToken::new(),
    });
    let polled = Arc::clone(&shared);
    tokio::spawn(async move { polled.freshness.poll(count, polled.stop.clone()).await });
    tokio::spawn(presence::listen(Arc::clone(&shared), heard));
    shared
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

async fn measure_lag(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(LAG_INTERVAL) => {}
        }
        let asked = Arc::clone(&shared);
        let lag = tokio::task::spawn_blocking(move || {
            (0..asked.partitions).try_fold(0, |lag, partition| {
                let (_, high) = asked.log.watermarks(Topic::MessageDelivered, partition)?;
                Ok::<_, tidings_log::LogError>(lag + (high - asked.progress.next(partition)).max(0))
            })
        });
        match lag.await {
            Ok(Ok(lag)) => shared.metrics.reader_lag.set(lag as f64),
            Ok(Err(error)) => tracing::debug!(%error, "cannot measure the reader's lag"),
            Err(error) => tracing::error!(%error, "measuring the reader's lag panicked"),
        }
    }
}
