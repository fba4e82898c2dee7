//! What must hold of every input that a parser of ours is given.
//!
//! Each module has a function `check` that takes any bytes, gives them to the
//! parser, and panics where something does not hold: round trips, limits, an
//! error that is clear. The fuzz targets in `fuzz/` make up bytes for them;
//! `tests/corpus.rs` gives them those that are kept in `fuzz/corpus`.

pub mod config;
pub mod frame;
pub mod irc;
pub mod query;
pub mod record;
pub mod token;

/// Takes any bytes, and panics where something does not hold.
pub type Check = fn(&[u8]);

/// The checks, by the name of their fuzz target.
pub const TARGETS: [(&str, Check); 6] = [
    ("config", config::check),
    ("frame", frame::check),
    ("irc", irc::check),
    ("query", query::check),
    ("record", record::check),
    ("token", token::check),
];
