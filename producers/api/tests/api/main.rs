//! The HTTP API over real HTTP, on a whole system in one process.

mod commands;
mod conditions;
mod conversations;
mod messages;
mod protocol;
mod search;
mod support;
mod tenants;
