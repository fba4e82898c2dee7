//! Backups: of a data folder while it is in use, and of the decisions in Kafka.
//!
//! A backup is a folder with a `backup.json`, the [`Manifest`], which is written
//! last (of a log: after each piece), to another name first. A folder without
//! one is no backup. Nothing in a backup is encrypted.
//!
//! # A data folder ([`back_up_folder`], [`restore_folder`])
//!
//! `tidings.sqlite` is one snapshot of the whole file, log and views together,
//! taken beside the process that writes it. `jwt-secret` is the secret that
//! tokens are signed with, unless it was left out. The manifest holds the
//! SHA-256 of both, and of each partition of the log the number of records and
//! a [chain](#the-chain).
//!
//! # The decisions in Kafka ([`back_up_log`], [`restore_log`])
//!
//! Each partition of `message.delivered` is a run of segments,
//! `message.delivered/0003/00000000000000000000.records`, named by their first
//! offset. A segment is one frame after another and nothing else; all numbers
//! are big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | the length of the rest of the frame |
//! | 8 | offset |
//! | 8 | timestamp, milliseconds since the Unix epoch |
//! | 4, n | the key's length, or -1 for none; the key |
//! | 4, n | the value's length, or -1 for none; the value |
//! | 4 | the number of headers; for each: |
//! | 4, n, 4, n | the name's length, the name, the value's length, the value |
//!
//! A backup of the same folder later goes on where the last one ended, and so
//! does one that was interrupted: what a segment holds beyond its length in the
//! manifest is cut off.
//!
//! # The chain
//!
//! A partition's digest is SHA-256 of the digest before it and the next frame,
//! its length included, beginning with 32 zero bytes. So it is known at every
//! offset, and does not depend on how the frames are cut into segments.
//!
//! # What a restore makes sure of
//!
//! Decisions name offsets: of themselves, in positions of views and readers, and
//! of commands, in `ce_input` and so in `ce_id`. Their own are the same after a
//! restore, as it writes into empty partitions only, and looks at each
//! acknowledged offset. The commands are not in the backup: they are decided.
//! But their topics must not begin again at 0. A sequencer goes on at the
//! command after the last it finds decided, and new commands below would be
//! taken for decided ones; and their decisions would have a `ce_id` that was
//! given before, which whoever dedupes by it would drop. So a restore first
//! brings each command topic's partition to the offset that it had, with empty
//! records, and then deletes these.
//!
//! Values name schemas by id, so the registry must give the same schemas by the
//! same ids: checked before anything is written.

mod chain;
mod error;
mod folder;
mod lock;
mod log;
mod manifest;
mod restore;
mod schemas;
mod segment;

pub use chain::Chain;
pub use error::BackupError;
pub use folder::{FolderOptions, FolderReport, back_up_folder, restore_folder};
pub use log::{LogReport, back_up_log};
pub use manifest::{
    CommandEnd, Content, FolderContent, FolderPartition, LogContent, LogPartition, Manifest,
    SchemaText, SegmentEntry,
};
pub use restore::{RestoreReport, RestoreTarget, restore_log};
pub use schemas::Schemas;

/// How far something has come: `done` of `total` in the phase's own unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// How much of it is done.
    pub done: u64,
    /// How much there is; may grow.
    pub total: u64,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The data folder's file is copied; in bytes.
    Copying,
    /// The backup's file of a data folder is read; in bytes.
    Checking,
    /// Records are read from Kafka into the backup.
    BackingUp,
    /// The backup is compared with its manifest; in records.
    Verifying,
    /// Command topics are brought to their offsets; in records.
    Filling,
    /// Records are written into Kafka.
    Restoring,
    /// What was written is read again and compared; in records.
    Comparing,
}

impl Phase {
    /// For a person.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Copying => "copying",
            Self::Checking => "checking",
            Self::BackingUp => "backing up",
            Self::Verifying => "verifying",
            Self::Filling => "filling",
            Self::Restoring => "restoring",
            Self::Comparing => "comparing",
        }
    }

    /// Whether it counts bytes; else records.
    #[must_use]
    pub fn in_bytes(self) -> bool {
        matches!(self, Self::Copying | Self::Checking)
    }
}

/// Is told of progress, now and then.
pub type Watch<'a> = &'a (dyn Fn(Progress) + Sync);

/// How many records are dealt with between two words of progress.
const PROGRESS_EVERY: u64 = 1_000;
