use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Error;

/// The name of the file whose lock says that a process writes to the folder.
const NAME: &str = "tidings.lock";
/// How long the lock is waited for: a process that was killed keeps it until
/// the kernel has taken its memory apart, and whoever starts it again should
/// not have to know.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Takes the folder for this process. The lock goes with the process, however
/// it ends.
pub(crate) fn take(dir: &Path) -> Result<File, Error> {
    let path = dir.join(NAME);
    let shown = path.display();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| Error::Fatal(format!("cannot open {shown}: {e}")))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(PAUSE);
            }
            Err(TryLockError::WouldBlock) => return Err(in_use(dir, &mut file)),
            Err(TryLockError::Error(e)) => {
                return Err(Error::Fatal(format!("cannot lock {shown}: {e}")));
            }
        }
    }
    // Who holds it, for the message of the next who wants it. The lock is what
    // counts: a disk too full for this line stops nobody.
    let noted = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(e) = noted {
        tracing::warn!(error = %e, "could not note the process id in {shown}");
    }
    Ok(file)
}

/// Whether a process has the folder. One that wants it at this moment waits a
/// little longer for the answer.
pub(crate) fn is_taken(dir: &Path) -> Result<bool, Error> {
    let path = dir.join(NAME);
    let shown = path.display();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::Fatal(format!("cannot open {shown}: {error}"))),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => {
            Err(Error::Fatal(format!("cannot lock {shown}: {error}")))
        }
    }
}

fn in_use(dir: &Path, file: &mut File) -> Error {
    let mut pid = String::new();
    // What cannot be read is left out of the message.
    let holder = match file.read_to_string(&mut pid) {
        Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
        _ => "another process".to_owned(),
    };
    let dir = dir.display();
    Error::Fatal(format!(
        "the data folder {dir} is in use by {holder}; stop it, or give another folder"
    ))
}
