//! Servers, clients and helpers for tests.
//!
//! * [`servers`], [`brokers`], [`registry_url`], [`mongodb_uri`], [`search_url`],
//!   [`elasticsearch_url`], [`redis_url`]: real servers, from the environment or
//!   started once per process;
//! * [`fresh_name`], [`fresh_prefix`], [`fresh_database`]: names that no other
//!   test uses;
//! * [`SocketClient`]: a small client of the socket protocol;
//! * [`Collector`]: an OpenTelemetry collector, and the spans it was sent;
//! * [`scenario`]: three users on two edges who touch every command;
//! * [`eventually`], [`eventually_async`]: wait for a condition, with a deadline.

mod collector;
mod kafka;
mod redis;
pub mod scenario;
mod servers;
mod socket;
mod waiting;

pub use collector::{CollectedSpan, Collector};
pub use kafka::SecureKafka;
pub use redis::{OwnRedis, SecureRedis};
pub use servers::{
    Servers, brokers, elasticsearch_url, fresh_database, fresh_name, fresh_prefix, mongodb_uri,
    redis_url, registry_url, search_url, servers,
};
pub use socket::{SocketClient, socket_url};
pub use waiting::{eventually, eventually_async};
