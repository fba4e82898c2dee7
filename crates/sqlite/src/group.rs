use rusqlite::Connection;

use crate::Error;

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

/// Writes its own part of every group, from a queue of its own. It lives on
/// the writer thread.
pub trait GroupWriter: Send {
    /// Reads from the file what it keeps in memory: before its first group,
    /// and after each group that failed, since what such a group wrote is gone.
    ///
    /// # Errors
    /// Whatever SQLite says; it is asked again before the next group.
    fn load(&mut self, connection: &Connection) -> rusqlite::Result<()>;

    /// Writes what waits into the open transaction.
    ///
    /// # Errors
    /// Whatever SQLite says; the whole group then fails.
    fn write(&mut self, connection: &Connection) -> rusqlite::Result<Written>;

    /// What the last [`write`](Self::write) wrote is durable.
    fn committed(&mut self);

    /// Nothing of the last [`write`](Self::write) is to be counted on. Also
    /// called where no transaction could be begun: then whatever waits has
    /// failed.
    fn failed(&mut self, error: &Error);
}

/// What a [`GroupWriter`] has done for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing waited.
    Nothing,
    /// All that waited.
    All,
    /// More waits than one group should carry.
    Some,
}
