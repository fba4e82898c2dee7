//! The one SQLite file of a data folder: a writer thread that commits groups,
//! and readers.

use std::path::Path;

use rusqlite::Connection;

/// Why the file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Trying again may help (busy, disk full, I/O error).
    #[error("{0}")]
    Unavailable(String),
    /// Trying again will not help.
    #[error("{0}")]
    Fatal(String),
    /// The job itself failed; the rest of its group was committed.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
}

/// The data folder's SQLite file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {}

/// In which order waiting jobs are taken into a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Appends to the log: taken first, and as many as wait.
    Log,
    /// A view's batch: at most one a group, so that a commit stays short.
    View,
}

/// What a job does inside the group's transaction.
pub type Job = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;
/// Called after the commit, or with why there was none.
pub type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

impl Database {
    /// Opens (and makes, where it is not there) `DIR/tidings.sqlite` for this
    /// process alone.
    ///
    /// # Errors
    /// [`Error`]; another process that has it open for writing is named.
    pub fn open(_dir: &Path) -> Result<Self, Error> {
        todo!()
    }

    /// Opens an existing file for reading only, beside a process that writes.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open_read_only(_dir: &Path) -> Result<Self, Error> {
        todo!()
    }

    /// Runs a job in the writer thread's next group and calls `done` when the
    /// group is durable. A job that fails is rolled back alone.
    pub fn submit(&self, _priority: Priority, _job: Job, _done: Done) {
        todo!()
    }

    /// Reads on one of the read connections.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read<T>(&self, _f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        todo!()
    }
}
