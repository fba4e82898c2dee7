use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{LogReader, read_range};
use tidings_sqlite::Database;
use tidings_wire::Topic;

use super::chain::{self, Chain};
use super::lock::{self, BACKUP, DATA};
use super::manifest::{Content, FolderContent, FolderPartition, Manifest};
use super::{BackupError, PROGRESS_EVERY, Phase, Progress, Watch};

const DATABASE: &str = "tidings.sqlite";
const SECRET: &str = "jwt-secret";
/// The folder in which a copy is made, until it is whole.
const PARTIAL: &str = "partial";
/// How often the growing copy is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How a data folder is backed up or restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderOptions {
    /// Whether the secret that tokens are signed with is left out.
    pub without_secret: bool,
    /// Whether to look only.
    pub dry_run: bool,
}

/// What was backed up or restored, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FolderReport {
    /// The size of the file, in bytes; of a dry run of a backup, at most.
    pub bytes: u64,
    /// Records in the log; none of a dry run of a backup.
    pub records: Option<u64>,
    /// Whether the secret that tokens are signed with is among it.
    pub secret: bool,
    /// Whether nothing was written.
    pub dry_run: bool,
}

/// Backs a data folder up into `folder`, which must be new or empty, also while
/// `tidings dev` uses it.
///
/// # Errors
/// [`BackupError`]. Without its manifest what is there then is no backup, and
/// the next run begins anew.
pub fn back_up_folder(
    data: &Path,
    folder: &Path,
    options: FolderOptions,
    watch: Watch<'_>,
) -> Result<FolderReport, BackupError> {
    let secret = match options.without_secret {
        true => None,
        false => read_if_there(&data.join(SECRET))?,
    };
    must_be_new(folder, BACKUP)?;
    let database = Database::open_read_only(data)?;
    EmbeddedLog::open_read_only(database.clone())?;
    let mut report = FolderReport {
        bytes: database.size()?,
        records: None,
        secret: secret.is_some(),
        dry_run: options.dry_run,
    };
    if options.dry_run {
        return Ok(report);
    }
    let _lock = lock::take(folder, BACKUP)?;
    let partial = Partial::new(folder)?;
    copy_watched(&database, &partial.file(), watch)?;
    sync(&partial.file())?;
    let (bytes, sha256) = digest_of(&partial.file(), |_| ())?;
    let content = FolderContent {
        bytes,
        sha256,
        secret_sha256: secret.as_deref().map(sha256_of),
        partitions: partitions_of(&partial.path, watch)?,
    };
    report.bytes = bytes;
    report.records = Some(content.records());
    if let Some(secret) = secret {
        write_secret(&folder.join(SECRET), &secret)?;
    }
    partial.put_in_place(folder)?;
    Manifest::new(Content::Folder(content)).write(folder)?;
    Ok(report)
}

/// Restores a data folder from its backup. `data` must be new or empty.
///
/// # Errors
/// [`BackupError`]. The folder then holds no `tidings.sqlite`, and the next run
/// begins anew.
pub fn restore_folder(
    folder: &Path,
    data: &Path,
    options: FolderOptions,
    watch: Watch<'_>,
) -> Result<FolderReport, BackupError> {
    let Content::Folder(content) = Manifest::read(folder)?.content else {
        return Err(BackupError::refused(format!(
            "{} is the backup of a log in Kafka: restore it with --brokers",
            folder.display()
        )));
    };
    must_be_new(data, DATA)?;
    let secret = secret_of(folder, &content, options)?;
    let source = folder.join(DATABASE);
    let told = |done| {
        watch(Progress {
            phase: Phase::Checking,
            done,
            total: content.bytes,
        });
    };
    compare(&source, digest_of(&source, told)?, &content)?;
    let report = FolderReport {
        bytes: content.bytes,
        records: Some(content.records()),
        secret: secret.is_some(),
        dry_run: options.dry_run,
    };
    if options.dry_run {
        return Ok(report);
    }
    let _lock = lock::take(data, DATA)?;
    let partial = Partial::new(data)?;
    let copy = partial.file();
    fs::copy(&source, &copy).map_err(BackupError::file(&copy))?;
    sync(&copy)?;
    compare(&copy, digest_of(&copy, |_| ())?, &content)?;
    if partitions_of(&partial.path, watch)? != content.partitions {
        let message = "its log is not the one that the manifest describes";
        return Err(BackupError::damaged(&source, message));
    }
    if let Some(secret) = secret {
        write_secret(&data.join(SECRET), &secret)?;
    }
    // Last: with this file it is a data folder.
    partial.put_in_place(data)?;
    Ok(report)
}

impl FolderContent {
    /// How many records the log holds, of all topics.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.partitions.iter().map(|each| each.records).sum()
    }
}

/// Refuses a folder that holds anything but what an interrupted run left.
fn must_be_new(folder: &Path, lock: &str) -> Result<(), BackupError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BackupError::file(folder)(error)),
    };
    for entry in entries {
        let name = entry.map_err(BackupError::file(folder))?.file_name();
        // The secret is written before what makes it a backup or a data folder.
        let left = [PARTIAL, lock, SECRET].iter().any(|known| name == *known);
        if !left || folder.join(DATABASE).exists() {
            return Err(BackupError::refused(format!(
                "{} is not empty: it holds {}",
                folder.display(),
                name.to_string_lossy()
            )));
        }
    }
    Ok(())
}

/// The secret of a backup, if it has one that is wanted.
fn secret_of(
    folder: &Path,
    content: &FolderContent,
    options: FolderOptions,
) -> Result<Option<Vec<u8>>, BackupError> {
    let Some(expected) = content
        .secret_sha256
        .as_ref()
        .filter(|_| !options.without_secret)
    else {
        return Ok(None);
    };
    let path = folder.join(SECRET);
    match read_if_there(&path)? {
        Some(secret) if sha256_of(&secret) == *expected => Ok(Some(secret)),
        Some(_) => Err(BackupError::damaged(&path, "it is another secret")),
        None => Err(BackupError::damaged(&path, "it is missing")),
    }
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, BackupError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BackupError::file(path)(error)),
    }
}

fn write_secret(path: &Path, secret: &[u8]) -> Result<(), BackupError> {
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(path)?;
        file.write_all(secret)?;
        file.sync_all()
    };
    write().map_err(BackupError::file(path))
}

/// A folder for a copy that is not whole yet.
struct Partial {
    path: PathBuf,
}

impl Partial {
    /// Removes what an interrupted run left.
    fn new(folder: &Path) -> Result<Self, BackupError> {
        let path = folder.join(PARTIAL);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(BackupError::file(&path))?;
        }
        fs::create_dir(&path).map_err(BackupError::file(&path))?;
        Ok(Self { path })
    }

    fn file(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    fn put_in_place(self, folder: &Path) -> Result<(), BackupError> {
        let target = folder.join(DATABASE);
        fs::rename(self.file(), &target).map_err(BackupError::file(&target))?;
        fs::remove_dir_all(&self.path).map_err(BackupError::file(&self.path))?;
        sync(folder)
    }
}

/// A file, or the names in a folder.
fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(BackupError::file(path))
}

fn copy_watched(database: &Database, target: &Path, watch: Watch<'_>) -> Result<(), BackupError> {
    let total = database.size()?;
    std::thread::scope(|scope| {
        let (ending, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            while ended.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                let done = fs::metadata(target).map_or(0, |found| found.len());
                watch(Progress {
                    phase: Phase::Copying,
                    done,
                    total,
                });
            }
        });
        let copied = database.copy_into(target);
        drop(ending);
        Ok(copied?)
    })
}

/// The size and SHA-256 of a file.
fn digest_of(path: &Path, tell: impl Fn(u64)) -> Result<(u64, String), BackupError> {
    let read = || {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 1 << 20];
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        loop {
            let length = file.read(&mut buffer)?;
            if length == 0 {
                return Ok((bytes, hex(&hash.finalize())));
            }
            hash.update(&buffer[..length]);
            bytes += length as u64;
            tell(bytes);
        }
    };
    read().map_err(BackupError::file(path))
}

fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn compare(
    path: &Path,
    (bytes, sha256): (u64, String),
    content: &FolderContent,
) -> Result<(), BackupError> {
    if (bytes, &sha256) == (content.bytes, &content.sha256) {
        return Ok(());
    }
    let message = format!(
        "it has {bytes} bytes with the SHA-256 {sha256}; the manifest says {} with {}",
        content.bytes, content.sha256
    );
    Err(BackupError::damaged(path, message))
}

/// What the log in a folder holds.
fn partitions_of(folder: &Path, watch: Watch<'_>) -> Result<Vec<FolderPartition>, BackupError> {
    let database = Database::open_read_only(folder)?;
    let fault: String =
        database.read(|c| c.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)))?;
    if fault != "ok" {
        return Err(BackupError::damaged(&folder.join(DATABASE), fault));
    }
    let log = EmbeddedLog::open_read_only(database)?;
    let mut places = Vec::new();
    for topic in Topic::ALL {
        for partition in 0..log.partitions() {
            places.push((topic, partition, log.watermarks(topic, partition)?));
        }
    }
    let total = places
        .iter()
        .map(|(.., (low, high))| (high - low) as u64)
        .sum();
    let mut done = 0;
    let mut partitions = Vec::new();
    let mut frame = Vec::new();
    for (topic, partition, (first, end)) in places {
        let mut chain = Chain::default();
        let mut records = 0;
        read_range::<BackupError>(&log, topic, partition, first, end, |stored| {
            chain::encode(stored.offset, &stored.record, &mut frame);
            chain.add(&frame);
            records += 1;
            done += 1;
            if done % PROGRESS_EVERY == 0 {
                watch(Progress {
                    phase: Phase::Comparing,
                    done,
                    total,
                });
            }
            Ok(())
        })?;
        partitions.push(FolderPartition {
            topic: topic.name().to_owned(),
            partition,
            first,
            end,
            records,
            digest: chain.to_string(),
        });
    }
    Ok(partitions)
}
