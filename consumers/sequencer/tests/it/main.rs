//! The sequencer over a log in memory that fails as it is told to, over the
//! embedded one, and its binary over Kafka.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod cluster;
mod embedded;
mod faults;
mod log_double;
mod property;
mod recovery;
mod scene;
