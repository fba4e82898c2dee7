use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tidings_wire::{Record, Topic};

use super::chain::{self, Chain};
use super::{BackupError, LogPartition, SegmentEntry};

/// A segment that is this long is followed by another, in bytes.
const SEGMENT_BYTES: u64 = 256 << 20;
/// The longest frame there can be: no record is larger than Kafka's batches.
const LONGEST_FRAME: usize = 64 << 20;

/// Writes on at the end of a partition's segments.
pub(super) struct SegmentWriter<'a> {
    folder: &'a Path,
    /// What is written, and after [`sync`](Self::sync) durable.
    entry: LogPartition,
    chain: Chain,
    file: Option<(PathBuf, BufWriter<File>)>,
    frame: Vec<u8>,
}

impl<'a> SegmentWriter<'a> {
    /// Cuts off what the last segment holds beyond its entry.
    pub(super) fn open(folder: &'a Path, entry: LogPartition) -> Result<Self, BackupError> {
        let chain = chain_of(folder, &entry)?;
        let mut file = None;
        if let Some(segment) = entry.segments.last() {
            let path = folder.join(&segment.file);
            let opened = OpenOptions::new().append(true).open(&path);
            let opened = opened.map_err(BackupError::file(&path))?;
            let length = opened.metadata().map_err(BackupError::file(&path))?.len();
            if length < segment.bytes {
                return Err(too_short(&path, length, segment.bytes));
            }
            opened
                .set_len(segment.bytes)
                .map_err(BackupError::file(&path))?;
            file = Some((path, BufWriter::new(opened)));
        }
        Ok(Self {
            folder,
            entry,
            chain,
            file,
            frame: Vec::new(),
        })
    }

    /// Appends the record of the next offset.
    pub(super) fn append(&mut self, record: &Record) -> Result<(), BackupError> {
        chain::encode(self.entry.end, record, &mut self.frame);
        let is_full = |segment: &SegmentEntry| segment.bytes >= SEGMENT_BYTES;
        if self.entry.segments.last().is_none_or(is_full) {
            self.begin()?;
        }
        let (Some((path, file)), Some(segment)) = (&mut self.file, self.entry.segments.last_mut())
        else {
            return Err(BackupError::refused("no segment is open"));
        };
        file.write_all(&self.frame)
            .map_err(BackupError::file(path))?;
        segment.bytes += self.frame.len() as u64;
        self.chain.add(&self.frame);
        self.entry.end += 1;
        Ok(())
    }

    fn begin(&mut self) -> Result<(), BackupError> {
        self.sync()?;
        let (partition, first) = (self.entry.partition, self.entry.end);
        let topic = Topic::MessageDelivered;
        let name = format!("{topic}/{partition:04}/{first:020}.records");
        let path = self.folder.join(&name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(BackupError::file(parent))?;
        }
        let file = File::create(&path).map_err(BackupError::file(&path))?;
        self.file = Some((path, BufWriter::new(file)));
        self.entry.segments.push(SegmentEntry {
            file: name,
            first,
            bytes: 0,
        });
        Ok(())
    }

    /// Makes durable what was appended; the entry that says so.
    pub(super) fn sync(&mut self) -> Result<LogPartition, BackupError> {
        if let Some((path, file)) = &mut self.file {
            file.flush()
                .and_then(|()| file.get_ref().sync_data())
                .map_err(BackupError::file(path))?;
        }
        self.entry.digest = self.chain.to_string();
        if !self.frame.is_empty() {
            self.entry.last = digest_of(&self.frame);
        }
        Ok(self.entry.clone())
    }
}

/// The digest by which a single record is known again.
pub(super) fn last_of(offset: i64, record: &Record) -> String {
    let mut frame = Vec::new();
    chain::encode(offset, record, &mut frame);
    digest_of(&frame)
}

fn digest_of(frame: &[u8]) -> String {
    let mut chain = Chain::default();
    chain.add(frame);
    chain.to_string()
}

fn chain_of(folder: &Path, entry: &LogPartition) -> Result<Chain, BackupError> {
    if entry.end == 0 {
        return Ok(Chain::default());
    }
    Chain::parse(&entry.digest).ok_or_else(|| {
        let path = folder.join(super::manifest::NAME);
        let message = format!("partition {}: its digest is none", entry.partition);
        BackupError::damaged(&path, message)
    })
}

fn too_short(path: &Path, length: u64, bytes: u64) -> BackupError {
    BackupError::damaged(
        path,
        format!("it has {length} bytes and should have {bytes}"),
    )
}

/// Reads all of a partition, giving each record with its offset and the chain
/// up to and with it, and sees at the end that it is what was written.
pub(super) fn read(
    folder: &Path,
    entry: &LogPartition,
    mut each: impl FnMut(i64, Record, Chain) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let mut chain = Chain::default();
    let mut next = 0;
    let mut frame = Vec::new();
    for segment in &entry.segments {
        let path = folder.join(&segment.file);
        let damaged = |message: String| BackupError::damaged(&path, message);
        if segment.first != next {
            let message = format!("it begins at offset {}, not {next}", segment.first);
            return Err(damaged(message));
        }
        let file = File::open(&path).map_err(BackupError::file(&path))?;
        let length = file.metadata().map_err(BackupError::file(&path))?.len();
        if length < segment.bytes {
            return Err(too_short(&path, length, segment.bytes));
        }
        let mut file = BufReader::new(file.take(segment.bytes));
        let mut at = 0;
        while at < segment.bytes {
            read_frame(&mut file, &mut frame)
                .map_err(|error| damaged(format!("at byte {at}: {error}")))?;
            let rest = Bytes::copy_from_slice(&frame[chain::LENGTH..]);
            let Some((offset, record)) = chain::decode(rest).filter(|found| found.0 == next) else {
                return Err(damaged(format!(
                    "at byte {at}: not the record of offset {next}"
                )));
            };
            chain.add(&frame);
            next += 1;
            at += frame.len() as u64;
            each(offset, record, chain)?;
        }
    }
    if next != entry.end || (next > 0 && chain.to_string() != entry.digest) {
        let path = folder.join(format!(
            "{}/{:04}",
            Topic::MessageDelivered,
            entry.partition
        ));
        let message = format!(
            "{next} records with the digest {chain}; the manifest says {} with {}",
            entry.end, entry.digest
        );
        return Err(BackupError::damaged(&path, message));
    }
    Ok(())
}

fn read_frame(file: &mut impl Read, frame: &mut Vec<u8>) -> std::io::Result<()> {
    let mut length = [0; chain::LENGTH];
    file.read_exact(&mut length)?;
    let rest = u32::from_be_bytes(length) as usize;
    if rest > LONGEST_FRAME {
        return Err(std::io::Error::other(format!(
            "a frame cannot have {rest} bytes"
        )));
    }
    frame.clear();
    frame.extend_from_slice(&length);
    frame.resize(chain::LENGTH + rest, 0);
    file.read_exact(&mut frame[chain::LENGTH..])
}
