//! The event log: the ports, and the two logs behind them.
//!
//! * [`Log`] and its parts are the ports; see `ports.rs` for what each part of
//!   the system needs of a log.
//! * [`embedded`] keeps the log in the data folder's SQLite file.
//! * [`kafka`] keeps it in Kafka.
//! * [`topics`] declares the topics, and plans and applies them.

pub mod embedded;
pub mod kafka;
mod ports;
pub mod topics;

pub use ports::{
    AppendDone, AppendError, Appender, Delivery, Follower, Log, LogError, LogReader, Mark,
    ProjectionSource, SequencerEvent, SequencerLog, read_range,
};
