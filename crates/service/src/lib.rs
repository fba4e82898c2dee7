//! What every tidings service needs and none should write twice: arguments,
//! logs, metrics and traces, health, HTTP, start and stop, and tokens.

pub mod auth;
pub mod config;
pub mod health;
pub mod http;
pub mod lifecycle;
pub mod telemetry;
pub mod tls;
pub mod traces;
