use std::fs::{self, File, TryLockError};
use std::path::Path;

use super::BackupError;

/// The file whose lock says that somebody writes a backup.
pub(super) const BACKUP: &str = "backup.lock";
/// The file whose lock says that somebody writes to a data folder.
pub(super) const DATA: &str = "tidings.lock";

/// Takes a folder, which is made if it is not there, for this process.
pub(super) fn take(folder: &Path, name: &str) -> Result<File, BackupError> {
    fs::create_dir_all(folder).map_err(BackupError::file(folder))?;
    let path = folder.join(name);
    let lock = File::create(&path).map_err(BackupError::file(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(BackupError::refused(format!(
            "another process is writing to {}",
            folder.display()
        ))),
        Err(TryLockError::Error(error)) => Err(BackupError::file(&path)(error)),
    }
}
