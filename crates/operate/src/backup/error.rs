use std::io;
use std::path::{Path, PathBuf};

use tidings_log::LogError;

/// Why a backup or a restore was not done, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It would not be sound. Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// The backup is not as it was written.
    #[error("the backup is damaged: {}: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The data folder's file.
    #[error("the data folder: {0}")]
    Database(#[from] tidings_sqlite::Error),
    /// The schema registry.
    #[error("the schema registry: {0}")]
    Registry(String),
}

impl BackupError {
    /// An error about a file.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn damaged(path: &Path, message: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }
}
