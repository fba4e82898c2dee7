use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};
use tempfile::NamedTempFile;
use tidings_views::audit::StoredDocument;

use super::VerifyError;

/// Keys of documents that may differ, in a file: there may be as many as there
/// are documents.
pub(super) struct Candidates {
    connection: Mutex<Connection>,
    _file: NamedTempFile,
}

impl From<rusqlite::Error> for VerifyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Scratch(error.to_string())
    }
}

/// Which of the two a document is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    View,
    Log,
}

impl Candidates {
    pub(super) fn new() -> Result<Self, VerifyError> {
        let file = NamedTempFile::with_prefix("tidings-verify-")
            .map_err(|error| VerifyError::Scratch(error.to_string()))?;
        let connection = Connection::open(file.path())?;
        connection.execute_batch(
            "PRAGMA journal_mode = off; PRAGMA synchronous = off;
             CREATE TABLE sides (
                 kind TEXT NOT NULL, key TEXT NOT NULL, side INTEGER NOT NULL,
                 digest BLOB NOT NULL, PRIMARY KEY (kind, key, side)
             ) STRICT, WITHOUT ROWID;
             CREATE TABLE candidates (
                 kind TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (kind, key)
             ) STRICT, WITHOUT ROWID;",
        )?;
        Ok(Self {
            connection: Mutex::new(connection),
            _file: file,
        })
    }

    /// Notes one side's document.
    pub(super) fn note(&self, side: Side, document: &StoredDocument) -> Result<(), VerifyError> {
        let side = match side {
            Side::View => 0,
            Side::Log => 1,
        };
        self.connection
            .lock()
            .prepare_cached(
                "INSERT OR REPLACE INTO sides (kind, key, side, digest) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                document.kind,
                document.key,
                side,
                document.digest().to_le_bytes()
            ])?;
        Ok(())
    }

    /// Adds a candidate.
    pub(super) fn add(&self, kind: &str, key: &str) -> Result<(), VerifyError> {
        self.connection
            .lock()
            .prepare_cached("INSERT OR IGNORE INTO candidates (kind, key) VALUES (?1, ?2)")?
            .execute([kind, key])?;
        Ok(())
    }

    /// Makes candidates of what the two sides do not have alike.
    pub(super) fn compare(&self) -> Result<(), VerifyError> {
        self.connection.lock().execute_batch(
            "INSERT OR IGNORE INTO candidates
             SELECT kind, key FROM sides GROUP BY kind, key
             HAVING count(*) < 2 OR min(digest) != max(digest);
             DELETE FROM sides;",
        )?;
        Ok(())
    }

    pub(super) fn count(&self) -> Result<u64, VerifyError> {
        let count: i64 =
            self.connection
                .lock()
                .query_row("SELECT count(*) FROM candidates", [], |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }

    /// Takes out some candidates of one kind; none: there are no more.
    pub(super) fn take(&self, limit: usize) -> Result<Option<(String, Vec<String>)>, VerifyError> {
        let connection = self.connection.lock();
        let kind: Option<String> = connection
            .query_row("SELECT kind FROM candidates LIMIT 1", [], |row| row.get(0))
            .optional()?;
        let Some(kind) = kind else {
            return Ok(None);
        };
        let keys = connection
            .prepare_cached("SELECT key FROM candidates WHERE kind = ?1 ORDER BY key LIMIT ?2")?
            .query_map(params![kind, limit as i64], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<String>>>()?;
        if let Some(last) = keys.last() {
            connection
                .prepare_cached("DELETE FROM candidates WHERE kind = ?1 AND key <= ?2")?
                .execute([&kind, last])?;
        }
        Ok(Some((kind, keys)))
    }
}
