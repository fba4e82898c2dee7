//! A deterministic simulator: real sequencers and real projections of the
//! history view over a simulated log, clock and store, with clients that resend
//! and readers that reconnect, driven by one seed.
//!
//! * [`Plan`] is what happens, made from a seed before anything runs: so a
//!   failing one can be made shorter and still means the same.
//! * `log` is what is durable, `side` a sequencer's way to it, `seat` a
//!   projection's, whose view is in the `store`; all of them fail as the plan
//!   says. `reader` is a client's way back.
//! * [`Simulator::run`] plays a plan; `checker` then reads the log by rules of its own.
//! * [`shrink`] takes out of a failing plan what it does not need to fail.
//!
//! Not simulated: edges and sockets, the search view and the cache.

mod asked;
mod checker;
mod counts;
mod log;
mod member;
mod plan;
mod random;
mod reader;
mod run;
mod seat;
mod shrink;
mod side;
mod store;

pub use counts::Counts;
pub use plan::{Plan, Step};
pub use run::{Failure, Simulator};
pub use shrink::shrink;
