//! Servers, clients and helpers for tests.
//!
//! * [`servers`], [`brokers`], [`registry_url`], [`mongodb_uri`]: real servers,
//!   from the environment or started once per process;
//! * [`fresh_prefix`], [`fresh_database`]: names that no other test uses;
//! * [`SocketClient`]: a small client of the socket protocol;
//! * [`eventually`], [`eventually_async`]: wait for a condition, with a deadline.

mod servers;
mod socket;
mod waiting;

pub use servers::{
    Servers, brokers, fresh_database, fresh_prefix, mongodb_uri, registry_url, servers,
};
pub use socket::{SocketClient, socket_url};
pub use waiting::{eventually, eventually_async};
