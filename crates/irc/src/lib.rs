//! Reads IRC logs, for `tidings import irc`. Pure: bytes in, steps out.
//!
//! * [`parse`] reads a log: one [`Entry`] a line.
//! * [`script()`] makes of it what is to be asked of a server, in order.
//! * [`user_id`] tells who a nick is.

mod log;
mod nick;
mod script;

pub use log::{Entry, Kind, Log, parse};
pub use nick::user_id;
pub use script::{Act, Counts, Script, Step, parse_annotations, script};
