use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use parking_lot::Mutex;
use tidings_domain::ConversationId;
use tidings_log::Log;
use tidings_service::auth::Auth;
use tidings_signals::Signals;
use tidings_wire::{Codec, partition_of};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::blocking::Blocking;
use crate::caller::Callers;
use crate::clock::Clock;
use crate::config::EdgeConfig;
use crate::freshness::Freshness;
use crate::hub::Hub;
use crate::inflight::InFlight;
use crate::limits::Limits;
use crate::membership::Ring;
use crate::metrics::Metrics;
use crate::presence::Presences;
use crate::progress::Progress;
use crate::recent::Recent;
use crate::search::Searches;
use crate::sizes::Sizes;
use crate::view::View;

/// What all parts of an edge share.
pub(crate) struct Shared {
    pub(crate) config: EdgeConfig,
    pub(crate) runtime: Handle,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) partitions: i32,
    pub(crate) codec: Codec,
    pub(crate) clock: Clock,
    pub(crate) blocking: Blocking,
    pub(crate) auth: Auth,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) hub: Hub,
    pub(crate) inflight: InFlight,
    pub(crate) recent: Recent,
    pub(crate) ring: Ring,
    /// Held by whoever reads older membership changes into the ring.
    pub(crate) filling_ring: tokio::sync::Mutex<()>,
    pub(crate) progress: Progress,
    pub(crate) view: Arc<View>,
    pub(crate) freshness: Freshness,
    pub(crate) limits: Limits,
    pub(crate) sizes: Sizes,
    pub(crate) searches: Searches,
    pub(crate) signals: Arc<dyn Signals>,
    pub(crate) presences: Presences,
    /// How much each user may type.
    pub(crate) typing: Limits,
    pub(crate) callers: Callers,
    /// By partition, from where on the sequencer remembers every decision, and
    /// when that was asked.
    pub(crate) remembered: Mutex<HashMap<i32, (Instant, i64)>>,
    /// Connections, also those that said no hello yet.
    pub(crate) connections: AtomicUsize,
    /// The tasks of all connections.
    pub(crate) sessions: TaskTracker,
    pub(crate) draining: AtomicBool,
    /// Ends everything that runs in the background.
    pub(crate) stop: CancellationToken,
}

impl Shared {
    pub(crate) fn partition_of(&self, id: ConversationId) -> i32 {
        let mut buffer = Uuid::encode_buffer();
        partition_of(
            id.0.hyphenated().encode_lower(&mut buffer).as_bytes(),
            self.partitions,
        )
    }
}
