//! The one SQLite file of a data folder: a writer thread that commits groups,
//! and readers.
//!
//! * [`Database`] is a handle on the file. All writes go through one thread,
//!   which takes what waits into one transaction, commits it (one fsync) and
//!   only then says so; the more waits, the more one commit carries.
//! * A [`GroupWriter`] is asked for its part of every group; a log appends
//!   through it without a boxed job for each record.
//! * Single jobs ([`Database::submit`]) go into the same groups, each in a
//!   savepoint of its own.
//! * A checkpoint thread moves what was committed from the write-ahead log to
//!   the file, so that commits need not.

mod checkpoint;
mod connection;
mod database;
mod error;
mod group;
mod lock;
mod queue;
mod writer;

pub use database::{Database, READERS};
pub use error::Error;
pub use group::{Done, GroupWriter, Job, Priority, Written};
