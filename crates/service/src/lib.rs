//! What every tidings service needs and none should write twice: arguments,
//! logs and metrics, health, HTTP, start and stop, and tokens.

pub mod auth;
pub mod config;
pub mod health;
pub mod http;
pub mod lifecycle;
pub mod telemetry;
