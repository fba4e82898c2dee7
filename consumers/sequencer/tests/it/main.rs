//! The sequencer over a log in memory that fails as it is told to, and over
//! the embedded one.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod embedded;
mod faults;
mod log_double;
mod property;
mod recovery;
mod scene;
