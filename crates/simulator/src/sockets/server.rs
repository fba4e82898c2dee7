use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidings_domain::Timestamp;
use tidings_edge::{ByTurns, EdgeConfig, LimitArgs, ViewWaits};
use tidings_service::auth::{Auth, Secret};
use tidings_wire::Codec;
use tokio::runtime::{Builder, Runtime};

use crate::log::SimulatedLog;
use crate::one_side::OneSide;
use crate::run::START;
use crate::sockets::line::EdgeEnd;
use crate::sockets::side::{Sent, Side};
use crate::sockets::step::{Answering, Append};
use crate::sockets::view::View;
use crate::store::SimulatedStore;

/// What the tokens of devices are signed with.
pub(crate) const SECRET: &str = "only of this simulator, and of no use elsewhere";
/// The shortest wait: nothing of its jitter is left in the timer's unit.
const SHORTEST: Duration = Duration::from_millis(1);
/// What must not happen by itself: its jitter does not matter either.
const LONGER_THAN_PLANS: Duration = Duration::from_secs(86_400);
/// How long views are waited for: not long, so that it is often too long.
const PATIENCE: Duration = Duration::from_millis(40);

/// What edges are made of.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) log: SimulatedLog,
    pub(crate) store: SimulatedStore,
    pub(crate) codec: Codec,
    pub(crate) now_ms: Arc<AtomicU64>,
    pub(crate) secret: Secret,
}

/// An edge: the real one, its side of the log, its way to the view, and a
/// runtime whose clock goes on only when it is told to.
pub(crate) struct Server {
    // First, so that it is gone before what it runs in.
    edge: ByTurns,
    runtime: Runtime,
    side: Side,
    view: View,
}

impl Server {
    pub(crate) fn new(of: &Surroundings, answering: Answering) -> Result<Self, String> {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|error| error.to_string())?;
        let (side, view) = (Side::new(&of.log), View::new(&of.store));
        view.set(answering);
        let now = Arc::clone(&of.now_ms);
        let edge = {
            let _within = runtime.enter();
            ByTurns::new(
                config(),
                Arc::new(OneSide(side.clone())),
                of.codec.clone(),
                Arc::new(view.clone()),
                Auth::hs256(&of.secret),
                move || Timestamp(START + now.load(Ordering::Relaxed) as i64),
            )
        };
        let server = Self {
            edge,
            runtime,
            side,
            view,
        };
        server.settle();
        Ok(server)
    }

    /// All its tasks do what they can, and a millisecond passes.
    pub(crate) fn settle(&self) {
        self.wait(1);
    }

    pub(crate) fn wait(&self, ms: u64) {
        let passes = async { tokio::time::sleep(Duration::from_millis(ms)).await };
        self.runtime.block_on(passes);
    }

    /// Serves a connection.
    pub(crate) fn take(&self, end: EdgeEnd) {
        self.runtime.spawn(self.edge.serve(end));
        self.settle();
    }

    /// Reads on; says how many records there were. None: the log failed, as
    /// the plan says.
    pub(crate) fn read(&mut self) -> Option<usize> {
        let read = {
            let _within = self.runtime.enter();
            self.edge.read()
        };
        self.settle();
        read.ok()
    }

    /// Reads all there is.
    pub(crate) fn read_all(&mut self) {
        while self.read() != Some(0) {}
    }

    pub(crate) fn append_one(&self) -> bool {
        let appended = {
            let _within = self.runtime.enter();
            self.side.append_one()
        };
        if appended {
            self.settle();
        }
        appended
    }

    /// Whether there was one to fail, and what is yet to land.
    pub(crate) fn fail_append(&self, how: Append) -> (bool, Option<Sent>) {
        let failed = {
            let _within = self.runtime.enter();
            self.side.fail_one(how)
        };
        self.settle();
        match failed {
            Ok(later) => (true, later),
            Err(_) => (false, None),
        }
    }

    pub(crate) fn answer(&self, answering: Answering) {
        self.view.set(answering);
    }

    /// Whether nothing of its waits for the log.
    pub(crate) fn is_idle(&self) -> bool {
        self.side.is_idle()
    }

    /// Ends it; gives what it had sent to the log.
    pub(crate) fn kill(self) -> Vec<Sent> {
        let Self {
            edge,
            runtime,
            side,
            ..
        } = self;
        drop(edge);
        drop(runtime);
        side.orphans()
    }
}

fn config() -> EdgeConfig {
    EdgeConfig {
        limits: LimitArgs {
            messages_per_minute: 0,
            searches_per_minute: 0,
            connections_per_user: 0,
            max_connections: 0,
            unauthenticated_connections: 0,
        },
        hello_timeout: Duration::from_millis(500),
        heartbeat: LONGER_THAN_PLANS,
        // Few, so that there are slow readers.
        outbox_frames: 12,
        view_timeout: PATIENCE,
        view_waits: ViewWaits {
            second_try: SHORTEST,
            rest: [SHORTEST; 2],
            load: [LONGER_THAN_PLANS; 2],
        },
        freshness_timeout: PATIENCE,
        ..EdgeConfig::default()
    }
}
