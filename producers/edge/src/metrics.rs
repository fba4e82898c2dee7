use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use tidings_domain::Code;

/// The types of client frames that ask for a change.
const COMMANDS: [&str; 8] = [
    "create", "send", "edit", "delete", "react", "forward", "read", "update",
];

/// The edge's metrics, looked up once.
pub(crate) struct Metrics {
    pub(crate) sockets: Gauge,
    pub(crate) pending_seconds: Histogram,
    pub(crate) delivered_seconds: Histogram,
    pub(crate) events_sent: Counter,
    pub(crate) slow_readers: Counter,
    pub(crate) undecodable: Counter,
    pub(crate) outbox_frames: Gauge,
    pub(crate) reader_lag: Gauge,
    pub(crate) view_open: Gauge,
    pub(crate) view_failures: Counter,
    commands: [Counter; COMMANDS.len()],
    rejected: [Counter; Code::ALL.len()],
}

impl Metrics {
    pub(crate) fn new() -> Self {
        describe_gauge!("tidings_sockets", "Open connections that said hello.");
        describe_counter!("tidings_commands_total", "Commands that came in, by type.");
        describe_histogram!(
            "tidings_command_pending_seconds",
            "From a command's frame to its being durable."
        );
        describe_histogram!(
            "tidings_command_delivered_seconds",
            "From a command's frame to its decision."
        );
        describe_counter!(
            "tidings_rejected_total",
            "Commands that were refused, by code."
        );
        describe_counter!(
            "tidings_events_sent_total",
            "Event frames put into outboxes."
        );
        describe_counter!(
            "tidings_slow_readers_total",
            "Connections closed with 4008."
        );
        describe_counter!(
            "tidings_edge_undecodable_total",
            "Records of message.delivered that could not be read and were passed over."
        );
        describe_gauge!("tidings_outbox_frames", "Frames that wait in all outboxes.");
        describe_gauge!(
            "tidings_edge_reader_lag_records",
            "Records of message.delivered that were not read yet, when last asked."
        );
        describe_gauge!(
            "tidings_edge_view_breaker_open",
            "1 while the history view is not asked because it failed."
        );
        describe_counter!(
            "tidings_edge_view_failures_total",
            "Questions the view failed."
        );
        Self {
            sockets: gauge!("tidings_sockets"),
            pending_seconds: histogram!("tidings_command_pending_seconds"),
            delivered_seconds: histogram!("tidings_command_delivered_seconds"),
            events_sent: counter!("tidings_events_sent_total"),
            slow_readers: counter!("tidings_slow_readers_total"),
            undecodable: counter!("tidings_edge_undecodable_total"),
            outbox_frames: gauge!("tidings_outbox_frames"),
            reader_lag: gauge!("tidings_edge_reader_lag_records"),
            view_open: gauge!("tidings_edge_view_breaker_open"),
            view_failures: counter!("tidings_edge_view_failures_total"),
            commands: COMMANDS.map(|kind| counter!("tidings_commands_total", "type" => kind)),
            rejected: Code::ALL
                .map(|code| counter!("tidings_rejected_total", "code" => code.as_str())),
        }
    }

    /// A command of this type came in.
    pub(crate) fn command(&self, kind: &str) {
        if let Some(at) = COMMANDS.iter().position(|known| *known == kind) {
            self.commands[at].increment(1);
        }
    }

    /// A command was refused.
    pub(crate) fn rejected(&self, code: Code) {
        if let Some(at) = Code::ALL.iter().position(|known| *known == code) {
            self.rejected[at].increment(1);
        }
    }
}
