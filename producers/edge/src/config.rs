use std::time::Duration;

use tidings_service::http::Bounds;

/// How an edge behaves. [`Default`] is what the protocol says.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// Who may ask for how much.
    pub limits: LimitArgs,
    /// The largest frame taken from a client, in bytes.
    pub max_frame_bytes: usize,
    /// How long a client may take to say hello.
    pub hello_timeout: Duration,
    /// A connection that is silent for this long is pinged, and closed when it
    /// is silent for twice as long.
    pub heartbeat: Duration,
    /// How many frames may wait for a socket before it counts as slow.
    pub outbox_frames: usize,
    /// How many bytes may wait for a socket before it counts as slow.
    pub outbox_bytes: usize,
    /// How many commands of a socket may be in the log and not decided.
    pub commands_in_flight: usize,
    /// How many commands of a socket may wait for others before them.
    pub commands_waiting: usize,
    /// How many questions of a socket may be worked on at once.
    pub questions_in_flight: usize,
    /// How many questions of a user without a socket may be worked on at once.
    pub calls_in_flight: usize,
    /// How long one question to a view may take.
    pub view_timeout: Duration,
    /// How long a view that failed is left alone.
    pub view_waits: ViewWaits,
    /// How long to wait for a view that lags behind.
    pub freshness_timeout: Duration,
    /// How long commands in flight are waited for when the edge stops.
    pub drain_timeout: Duration,
}

/// How long to wait before the history view is asked again when it failed.
/// Each wait is shortened by up to half at random.
#[derive(Clone, Copy, Debug)]
pub struct ViewWaits {
    /// Before the same question is put a second time.
    pub second_try: Duration,
    /// Before any is put, when several have failed in a row: at first, and at
    /// most.
    pub rest: [Duration; 2],
    /// Before the memberships of a user are loaded again: at first, and at most.
    pub load: [Duration; 2],
}

impl Default for ViewWaits {
    fn default() -> Self {
        Self {
            second_try: Duration::from_millis(50),
            rest: [Duration::from_millis(500), Duration::from_secs(5)],
            load: [Duration::from_millis(250), Duration::from_secs(5)],
        }
    }
}

/// Who may ask for how much. Zero means no limit.
#[derive(Clone, Debug, clap::Args)]
pub struct LimitArgs {
    /// Messages a user may send in a minute, unless the token says otherwise (0: no limit)
    #[arg(
        long,
        env = "TIDINGS_MESSAGES_PER_MINUTE",
        value_name = "N",
        default_value_t = 60
    )]
    pub messages_per_minute: u32,
    /// Searches a user may make in a minute (0: no limit)
    #[arg(
        long,
        env = "TIDINGS_SEARCHES_PER_MINUTE",
        value_name = "N",
        default_value_t = 60
    )]
    pub searches_per_minute: u32,
    /// Connections a user may have (0: no limit)
    #[arg(
        long,
        env = "TIDINGS_CONNECTIONS_PER_USER",
        value_name = "N",
        default_value_t = 20
    )]
    pub connections_per_user: usize,
    /// Connections this edge takes (0: no limit)
    #[arg(
        long,
        env = "TIDINGS_MAX_CONNECTIONS",
        value_name = "N",
        default_value_t = 100_000
    )]
    pub max_connections: usize,
    /// Connections without a token yet, at once; one more ends the oldest (0: no limit)
    #[arg(
        long,
        env = "TIDINGS_UNAUTHENTICATED_CONNECTIONS",
        value_name = "N",
        default_value_t = 10_000
    )]
    pub unauthenticated_connections: usize,
}

impl LimitArgs {
    /// What is expected of clients on the port.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds {
            unauthenticated: self.unauthenticated_connections,
            ..Bounds::default()
        }
    }
}

impl Default for LimitArgs {
    fn default() -> Self {
        Self {
            messages_per_minute: 60,
            searches_per_minute: 60,
            connections_per_user: 20,
            max_connections: 100_000,
            unauthenticated_connections: 10_000,
        }
    }
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            limits: LimitArgs::default(),
            max_frame_bytes: 65_536,
            hello_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(25),
            outbox_frames: 4_096,
            outbox_bytes: 4 * 1024 * 1024,
            commands_in_flight: 4_096,
            commands_waiting: 256,
            questions_in_flight: 8,
            calls_in_flight: 64,
            view_timeout: Duration::from_secs(2),
            view_waits: ViewWaits::default(),
            freshness_timeout: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(5),
        }
    }
}
