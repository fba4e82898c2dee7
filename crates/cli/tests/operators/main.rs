//! What operators do, on real servers: `lag`, `pause`, `dead`, `replay`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod dead;
mod embedded;
mod place;
mod registry;
mod replay;
mod reset;
