use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use tidings_log::{LogReader, read_range};
use tidings_wire::{Input, Stored, Topic, names};

use super::lock;
use super::manifest::{CommandEnd, Content, LogContent, LogPartition, Manifest};
use super::segment::{self, SegmentWriter};
use super::{BackupError, PROGRESS_EVERY, Phase, Progress, Schemas, Watch};

/// How often what was written is made durable and noted in the manifest: so
/// much at most is read again after an interruption.
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// What was backed up, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogReport {
    /// Records that the backup held before.
    pub held: u64,
    /// Records that were added, or are to be.
    pub added: u64,
    /// Partitions of `message.delivered`.
    pub partitions: usize,
    /// Whether nothing was written.
    pub dry_run: bool,
}

/// Backs the decisions of a log up into `folder`, which is made, or is a backup
/// of the same log that is gone on with.
///
/// # Errors
/// [`BackupError`]. What was written until then is kept, and gone on with by
/// the next run.
pub async fn back_up_log(
    log: &dyn LogReader,
    schemas: &Schemas,
    folder: &Path,
    dry_run: bool,
    watch: Watch<'_>,
) -> Result<LogReport, BackupError> {
    let _lock = if dry_run {
        None
    } else {
        Some(lock::take(folder, lock::BACKUP)?)
    };
    let mut content = content_of(log, folder)?;
    let ends = tokio::task::block_in_place(|| ends_of(log, &content))?;
    let held = content.records();
    let report = LogReport {
        held,
        added: ends.iter().map(|end| *end as u64).sum::<u64>() - held,
        partitions: content.partitions.len(),
        dry_run,
    };
    if dry_run {
        return Ok(report);
    }
    let mut run = Run {
        log,
        folder,
        commands: commands_of(&content, folder)?,
        saved: Instant::now(),
        done: 0,
        total: report.added,
        watch,
    };
    tokio::task::block_in_place(|| {
        content.complete = false;
        for (index, end) in ends.iter().enumerate() {
            run.copy(&mut content, index, *end)?;
        }
        run.note_commands()
    })?;
    schemas.fill_in(&mut content.schemas).await?;
    content.complete = true;
    run.save(&mut content)?;
    Ok(report)
}

/// What the folder holds already.
fn content_of(log: &dyn LogReader, folder: &Path) -> Result<LogContent, BackupError> {
    let shown = folder.display();
    let Some(manifest) = Manifest::find(folder)? else {
        let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
        // An interrupted first run may have left segments without a manifest.
        let ours = [
            lock::BACKUP,
            Topic::MessageDelivered.name(),
            "backup.json.partial",
        ];
        if entries.any(|entry| !ours.iter().any(|name| entry.file_name() == *name)) {
            return Err(BackupError::refused(format!(
                "{shown} holds other things and is no backup: give a new or empty folder"
            )));
        }
        let partitions = (0..log.partitions()).map(|partition| LogPartition {
            partition,
            ..LogPartition::default()
        });
        return Ok(LogContent {
            partitions: partitions.collect(),
            ..LogContent::default()
        });
    };
    let Content::Log(content) = manifest.content else {
        return Err(BackupError::refused(format!(
            "{shown} holds the backup of a data folder: give another folder"
        )));
    };
    if content.partitions.len() != log.partitions() as usize {
        return Err(BackupError::refused(format!(
            "{shown} is the backup of a log with {} partitions; this one has {}",
            content.partitions.len(),
            log.partitions()
        )));
    }
    Ok(content)
}

/// Up to where each partition is to be copied, if that would make a backup.
fn ends_of(log: &dyn LogReader, content: &LogContent) -> Result<Vec<i64>, BackupError> {
    let topic = Topic::MessageDelivered;
    let mut ends = Vec::new();
    for entry in &content.partitions {
        let partition = entry.partition;
        let (low, high) = log.watermarks(topic, partition)?;
        if low > 0 {
            return Err(BackupError::refused(format!(
                "{topic} partition {partition} begins at offset {low}: records were deleted, and \
                 what is left cannot be restored"
            )));
        }
        let another = || {
            BackupError::refused(format!(
                "the backup is of another log, or this one has lost records: {topic} partition \
                 {partition} ends at {high}, the backup at {}, and what stands before is not the \
                 same",
                entry.end
            ))
        };
        if high < entry.end {
            return Err(another());
        }
        if entry.end > 0 {
            let last = entry.end - 1;
            let mut is_same = false;
            read_range::<BackupError>(log, topic, partition, last, last + 1, |stored| {
                is_same = segment::last_of(stored.offset, &stored.record) == entry.last;
                Ok(())
            })?;
            if !is_same {
                return Err(another());
            }
        }
        ends.push(high);
    }
    Ok(ends)
}

type Commands = BTreeMap<(Topic, i32), i64>;

fn commands_of(content: &LogContent, folder: &Path) -> Result<Commands, BackupError> {
    content
        .commands
        .iter()
        .map(|end| {
            let topic = Topic::parse(&end.topic).filter(|topic| Topic::COMMANDS.contains(topic));
            let topic = topic.ok_or_else(|| {
                let path = folder.join(super::manifest::NAME);
                BackupError::damaged(&path, format!("{} is no command topic", end.topic))
            })?;
            Ok(((topic, end.partition), end.next))
        })
        .collect()
}

/// One run of a backup.
struct Run<'a> {
    log: &'a dyn LogReader,
    folder: &'a Path,
    commands: Commands,
    saved: Instant,
    done: u64,
    total: u64,
    watch: Watch<'a>,
}

impl Run<'_> {
    fn copy(
        &mut self,
        content: &mut LogContent,
        index: usize,
        end: i64,
    ) -> Result<(), BackupError> {
        let entry = content.partitions[index].clone();
        let (partition, start) = (entry.partition, entry.end);
        if start == end {
            return Ok(());
        }
        let topic = Topic::MessageDelivered;
        let log = self.log;
        let mut writer = SegmentWriter::open(self.folder, entry)?;
        let mut next = start;
        read_range::<BackupError>(log, topic, partition, start, end, |stored| {
            if stored.offset != next {
                return Err(BackupError::refused(format!(
                    "{topic} partition {partition} has no record at offset {next}: the topic was \
                     compacted, or written to by transactions"
                )));
            }
            next += 1;
            writer.append(&stored.record)?;
            self.note(content, &stored);
            self.done += 1;
            if self.done.is_multiple_of(PROGRESS_EVERY) {
                self.tell();
                if self.saved.elapsed() >= SAVE_EVERY {
                    content.partitions[index] = writer.sync()?;
                    self.save(content)?;
                }
            }
            Ok(())
        })?;
        self.tell();
        content.partitions[index] = writer.sync()?;
        self.save(content)
    }

    /// Notes what a record refers to.
    fn note(&mut self, content: &mut LogContent, stored: &Stored) {
        let record = &stored.record;
        // Of void decisions, too: their ce_id is taken.
        let input = record.headers.text(names::CE_INPUT);
        if let Some(input) = input.and_then(|text| text.parse::<Input>().ok()) {
            let end = self.commands.entry((input.topic, stored.partition));
            let next = input.offset + 1;
            end.and_modify(|known| *known = next.max(*known))
                .or_insert(next);
        }
        if let Some([0, a, b, c, d, ..]) = record.value.as_deref() {
            content.note_schema(u32::from_be_bytes([*a, *b, *c, *d]));
        }
    }

    /// Commands that are there and not decided yet have taken their offsets,
    /// too.
    fn note_commands(&mut self) -> Result<(), BackupError> {
        for topic in Topic::COMMANDS {
            for partition in 0..self.log.partitions() {
                let (_, high) = self.log.watermarks(topic, partition)?;
                let end = self.commands.entry((topic, partition)).or_default();
                *end = high.max(*end);
            }
        }
        Ok(())
    }

    fn save(&mut self, content: &mut LogContent) -> Result<(), BackupError> {
        self.saved = Instant::now();
        let ends = self.commands.iter();
        content.commands = ends
            .map(|((topic, partition), next)| CommandEnd {
                topic: topic.name().to_owned(),
                partition: *partition,
                next: *next,
            })
            .collect();
        Manifest::new(Content::Log(content.clone())).write(self.folder)
    }

    fn tell(&self) {
        (self.watch)(Progress {
            phase: Phase::BackingUp,
            done: self.done,
            total: self.total,
        });
    }
}
