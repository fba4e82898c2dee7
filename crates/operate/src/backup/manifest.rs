use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::BackupError;

/// The manifest's name in the backup's folder.
pub(super) const NAME: &str = "backup.json";
/// The version of the format that is written, and the only one read.
const VERSION: u32 = 1;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format.
    pub version: u32,
    /// The version of tidings that made it.
    pub made_by: String,
    /// When it was written last, RFC 3339.
    pub written_at: String,
    /// What it is of.
    #[serde(flatten)]
    pub content: Content,
}

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    /// A data folder.
    Folder(FolderContent),
    /// The decisions in Kafka.
    Log(LogContent),
}

/// A data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderContent {
    /// The size of `tidings.sqlite`, in bytes.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// The SHA-256 of `jwt-secret`, if that is in the backup.
    pub secret_sha256: Option<String>,
    /// Every partition of every topic.
    pub partitions: Vec<FolderPartition>,
}

/// A partition of the log in a data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderPartition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Its first offset.
    pub first: i64,
    /// The offset after its last.
    pub end: i64,
    /// How many records there are.
    pub records: u64,
    /// Their chain.
    pub digest: String,
}

/// The decisions in Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogContent {
    /// Whether the last run came to its end.
    pub complete: bool,
    /// Every partition of `message.delivered`.
    pub partitions: Vec<LogPartition>,
    /// Where the command topics are to go on.
    pub commands: Vec<CommandEnd>,
    /// The schemas that values name.
    pub schemas: Vec<SchemaText>,
}

/// A partition of `message.delivered`, from offset 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPartition {
    /// The partition.
    pub partition: i32,
    /// The offset after the last record; so many records there are.
    pub end: i64,
    /// The chain of all of them.
    pub digest: String,
    /// The chain of the last record alone: by it the log is known again.
    pub last: String,
    /// The files, in order.
    pub segments: Vec<SegmentEntry>,
}

/// A file of frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// Its path below the backup's folder.
    pub file: String,
    /// The offset of its first record.
    pub first: i64,
    /// How many bytes of it count.
    pub bytes: u64,
}

/// Where a partition of a command topic is to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandEnd {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset of its next command.
    pub next: i64,
}

/// A schema, as the registry had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaText {
    /// The id that values name.
    pub id: u32,
    /// The schema. Null until the first run has come to its end.
    pub schema: Option<String>,
}

impl Manifest {
    /// Of this content, written now.
    #[must_use]
    pub fn new(content: Content) -> Self {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64);
        Self {
            version: VERSION,
            made_by: env!("CARGO_PKG_VERSION").to_owned(),
            written_at: tidings_wire::format_time(tidings_domain::Timestamp(now)),
            content,
        }
    }

    /// Reads the manifest of a folder; none where there is none.
    ///
    /// # Errors
    /// [`BackupError`] where it cannot be read or is of another version.
    pub fn find(folder: &Path) -> Result<Option<Self>, BackupError> {
        let path = folder.join(NAME);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BackupError::file(&path)(error)),
        };
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let damaged = |error: serde_json::Error| BackupError::damaged(&path, error.to_string());
        let Version { version } = serde_json::from_slice(&text).map_err(damaged)?;
        if version != VERSION {
            return Err(BackupError::refused(format!(
                "{} has version {version} of the format; this tidings reads version {VERSION}",
                path.display()
            )));
        }
        serde_json::from_slice(&text).map(Some).map_err(damaged)
    }

    /// Reads the manifest of a backup.
    ///
    /// # Errors
    /// [`BackupError`]; a folder without one is refused.
    pub fn read(folder: &Path) -> Result<Self, BackupError> {
        Self::find(folder)?.ok_or_else(|| {
            BackupError::refused(format!(
                "{} is no backup: it holds no {NAME}",
                folder.display()
            ))
        })
    }

    /// Writes it in the place of the one before; durable when it returns.
    pub(super) fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let mut text = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        text.push(b'\n');
        write_durably(folder, NAME, &text)
    }
}

/// Writes a file under another name, syncs and renames it.
fn write_durably(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
    let (path, partial) = (folder.join(name), folder.join(format!("{name}.partial")));
    let write = || {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(BackupError::file(&path))
}

impl LogContent {
    /// Notes that a value names a schema.
    pub(super) fn note_schema(&mut self, id: u32) {
        if !self.schemas.iter().any(|schema| schema.id == id) {
            self.schemas.push(SchemaText { id, schema: None });
        }
    }

    /// How many records it holds.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.partitions.iter().map(|each| each.end as u64).sum()
    }
}
