//! Typing and presence: what edges tell each other and nobody keeps.
//!
//! Signals never enter the log. They are lost where they cannot be passed on,
//! and a chat goes on without them.
//!
//! * [`Exchange`]: where edges meet. [`InProcess`] is for edges of one process,
//!   [`RedisExchange`] for a cluster.
//! * [`Signals`]: one edge's place there: what it says, and, through the
//!   receiver that comes with it, what it hears.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod local;
mod redis;
mod signal;

pub use local::InProcess;
pub use redis::{BadUrl, RedisExchange, RedisTiming};
pub use signal::{EdgeId, Exchange, HEARD, Heard, Orphan, Presence, Signal, Signals, Typing};
