use rusqlite::ErrorCode;

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
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match Cause::of(&error) {
            Cause::Passing => Self::Unavailable(error.to_string()),
            Cause::File => Self::Fatal(error.to_string()),
            Cause::Statement => Self::Sql(error),
        }
    }
}

impl Error {
    /// The same failure again, for each of those who shared a group.
    pub(crate) fn share(&self) -> Self {
        match self {
            Self::Fatal(why) => Self::Fatal(why.clone()),
            Self::Unavailable(why) => Self::Unavailable(why.clone()),
            Self::Sql(error) => Self::Unavailable(error.to_string()),
        }
    }
}

/// What an error of SQLite comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The disk, or another process: it may pass.
    Passing,
    /// The file is not usable.
    File,
    /// The statement, or what was given to it.
    Statement,
}

impl Cause {
    pub(crate) fn of(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::CannotOpen
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
                | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Passing,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ReadOnly) => {
                Self::File
            }
            _ => Self::Statement,
        }
    }
}
