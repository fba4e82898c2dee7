//! An edge with a real log, sequencer and history view behind it, all in this
//! process, spoken to through real sockets.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod acknowledgements;
mod bad_input;
mod callers;
mod changing;
mod closing;
mod events;
mod forwarding;
mod hostile;
mod limits;
mod outages;
mod questions;
mod scenario;
mod search;
mod signals;
mod support;
mod tenants;
mod tls;
