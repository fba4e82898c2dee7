//! A deterministic simulator: real sequencers, real projections of the history
//! view and real edges over a simulated log, clock, network and store, with
//! clients that resend and readers that reconnect, driven by one seed.
//!
//! * [`Plan`] is what happens, made from a seed before anything runs: so a
//!   failing one can be made shorter and still means the same.
//! * `log` is what is durable, `side` a sequencer's way to it, `seat` a
//!   projection's, whose view is in the `store`; all of them fail as the plan
//!   says. `reader` is a subscriber's way back. What a seat and an edge's way
//!   have as everybody has it is in `one_side`.
//! * `sockets`: edges and their clients. `server` is an edge, with a `side` of
//!   the log and a `view` of its own; `device` a client; `line` the connection
//!   between the two.
//! * [`Simulator::run`] plays a plan; `checker` then reads the log by rules of
//!   its own, and `sockets::checker` compares with it what devices were told.
//! * [`shrink`] takes out of a failing plan what it does not need to fail.
//!
//! Not simulated: WebSocket frames, what edges tell each other, the search view
//! and the cache.

mod asked;
mod checker;
mod counts;
mod log;
mod member;
mod one_side;
mod plan;
mod random;
mod reader;
mod run;
mod seat;
mod shrink;
mod side;
mod sockets;
mod store;

pub use counts::Counts;
pub use plan::{Ask, Fate, Plan, Step, Told};
pub use run::{Failure, Simulator};
pub use shrink::shrink;
pub use sockets::{Answering, Append, SocketStep};
