//! The socket server: commands in, acknowledgements and events out.
//!
//! [`Edge::start`] follows `message.delivered` on a thread of its own and gives
//! a router whose `/v1/socket` speaks the socket protocol (`tidings.v1`). An
//! edge keeps nothing: a command is in the log before it is acknowledged, and
//! what an edge knows it can read again.
//!
//! * `session`: one task for each connection, over a [`Line`]; `connection`: its
//!   WebSocket, at rest between messages, which it knows by their `boundary`;
//!   `outbox`: the bounded queue of what is to be written to it; `lanes`: its
//!   commands, in order.
//! * `turns`: an edge without threads and sockets; `blocking`, `bulletin`,
//!   `clock`: what makes one that can do the same each time.
//! * `commands`: from a frame to the log and from a decision to its `answer`;
//!   `request`: what is to be decided; `forward`: one request that makes many;
//!   `inflight`: what is undecided; `lookup`, `facts`: what must be known
//!   before.
//! * `peer`: whose commands and questions they are; `caller`: one without a
//!   socket.
//! * `reader`: the thread that follows the log; `hub`: who gets an event;
//!   `membership`, `load`: who belongs where; `courtesies`, `sizes`: who gets
//!   what has no seq.
//! * `presence`, `typing`: what passes between edges and is kept nowhere.
//! * `questions`, `outcome`: answered from the history `view`, once it is
//!   `freshness` enough; `rendering`: the frames that say it. `search`: answered
//!   from the search view.

mod answer;
mod args;
mod blocking;
mod boundary;
mod breaker;
mod bulletin;
mod caller;
mod clock;
mod close;
mod commands;
mod config;
mod connect;
mod connection;
mod courtesies;
mod edge;
mod facts;
mod forward;
mod freshness;
mod http;
mod hub;
mod inflight;
mod lanes;
mod limits;
mod line;
mod load;
mod lookup;
mod membership;
mod metrics;
mod outbox;
mod outcome;
mod peer;
mod place;
mod presence;
mod progress;
mod questions;
mod reader;
mod recent;
mod rendering;
mod request;
mod search;
mod session;
mod shared;
mod sizes;
mod socket;
mod turns;
mod typing;
mod view;
mod views;

pub use answer::{Answer, Delivered, Pending, Refusal};
pub use args::EdgeArgs;
pub use caller::{Caller, Heard, Submission};
pub use close::CloseReason;
pub use config::{EdgeConfig, LimitArgs, ViewWaits};
pub use connect::connect;
pub use edge::Edge;
pub use limits::Allowance;
pub use line::Line;
pub use questions::{Changes, ListPage, MemberPage, Page};
pub use search::{SearchHit, SearchPage, Suggestion};
pub use turns::ByTurns;
pub use views::Views;
