//! The HTTP API over real HTTP, on a whole system in one process.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod commands;
mod conditions;
mod conversations;
mod hostile;
mod messages;
mod protocol;
mod search;
mod support;
mod tenants;
