//! The event log: the ports, and the two logs behind them.
//!
//! * [`Log`] and its parts are the ports; see `ports.rs` for what each part of
//!   the system needs of a log.
//! * [`embedded`] keeps the log in the data folder's SQLite file.
//! * [`kafka`] keeps it in Kafka.
//! * [`notes`] are what operators leave in the log; [`Pauses`] are among them.
//! * [`topics`] declares the topics, and plans and applies them.

pub mod embedded;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod notes;
mod pauses;
mod ports;
mod properties;
pub mod topics;

pub use pauses::{Pause, PauseGate, Pauses};
pub use ports::{
    AppendDone, AppendError, Appender, CONSUMERS, Consumer, Delivery, Follower, Log, LogError,
    LogRange, LogReader, Mark, ProjectionSource, SequencerEvent, SequencerLog, is_consumer,
    read_range, read_ranges,
};
pub use properties::{KafkaProperties, PropertiesError};
