use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// The name of the database file in its folder.
const NAME: &str = "tidings.sqlite";

/// How long a connection waits for another process's lock, as of a reader that
/// happens to be the one to recover the file. Within this process there is one
/// writer, and readers wait for nobody.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What the write-ahead log is cut to when it starts again after having grown
/// larger, in bytes.
const WAL_KEPT_BYTES: i64 = 128 << 20;

/// The page cache of the writer, in KiB: room for a group's dirty pages and
/// the upper levels of the trees.
const WRITER_CACHE_KIB: i64 = 32 << 10;

/// The page cache of each reader, in KiB.
const READER_CACHE_KIB: i64 = 4 << 10;

/// Makes the connections to one database file.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    path: PathBuf,
    access: Access,
}

/// How a database file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// What is committed is durable.
    Durable,
    /// What is committed may be gone after a crash of the machine.
    Scratch,
    ReadOnly,
}

impl Connector {
    pub(crate) fn new(dir: &Path, access: Access) -> Self {
        Self {
            path: dir.join(NAME),
            access,
        }
    }

    fn synchronous(&self) -> &'static str {
        match self.access {
            Access::Durable | Access::ReadOnly => "full",
            Access::Scratch => "off",
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The writer's connection: a commit is durable when it returns (unless the
    /// file is a scratch one), and never pays for a checkpoint.
    pub(crate) fn writer(&self) -> rusqlite::Result<Connection> {
        let connection =
            self.open(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", self.synchronous())?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        // Room for the statements of the log and of the views together.
        connection.set_prepared_statement_cache_capacity(128);
        Ok(connection)
    }

    /// The checkpoint thread's connection.
    pub(crate) fn checkpointer(&self) -> rusqlite::Result<Connection> {
        let connection = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "synchronous", self.synchronous())?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        Ok(connection)
    }

    /// A connection that cannot write.
    pub(crate) fn reader(&self) -> rusqlite::Result<Connection> {
        let access = match self.access {
            Access::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Access::Durable | Access::Scratch => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        let connection = self.open(access)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }

    /// A connection that copies the file. Cannot write to it either, but, other
    /// than with `query_only`, to the copy.
    pub(crate) fn copier(&self) -> rusqlite::Result<Connection> {
        self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    fn open(&self, access: OpenFlags) -> rusqlite::Result<Connection> {
        // One thread at a time uses each connection: Rust sees to that.
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    }
}
