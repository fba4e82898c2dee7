//! What every tidings service needs and none should write twice: arguments,
//! logs, metrics and traces, health, HTTP, start and stop, and tokens.

#[cfg(feature = "process")]
mod admission;
pub mod auth;
pub mod config;
#[cfg(feature = "process")]
pub mod health;
#[cfg(feature = "process")]
pub mod http;
#[cfg(feature = "process")]
pub mod lifecycle;
#[cfg(feature = "process")]
mod paced;
#[cfg(feature = "process")]
pub mod telemetry;
#[cfg(feature = "process")]
pub mod tls;
#[cfg(feature = "process")]
pub mod traces;
