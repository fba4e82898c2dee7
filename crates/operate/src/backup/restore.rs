use std::path::Path;

use serde::Serialize;
use tidings_domain::Timestamp;
use tidings_log::kafka::{KafkaLog, Refill};
use tidings_log::{LogReader, read_range};
use tidings_wire::{Headers, Record, Stored, Topic};

use super::chain::{self, Chain};
use super::manifest::{CommandEnd, Content, LogContent, Manifest};
use super::{BackupError, PROGRESS_EVERY, Phase, Progress, Schemas, Watch, segment};

/// The group whose members decide commands.
const SEQUENCERS: &str = "sequencer";

/// Where a log is restored to, and how.
#[derive(Clone, Copy)]
pub struct RestoreTarget<'a> {
    /// The cluster. Its topics are made, and empty.
    pub log: &'a KafkaLog,
    /// Its registry.
    pub schemas: &'a Schemas,
    /// Whether a backup that was interrupted will do.
    pub allow_incomplete: bool,
    /// Whether to look only.
    pub dry_run: bool,
}

/// What was restored, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// Records that an interrupted restore had written before.
    pub held: u64,
    /// Records that were written, or are to be.
    pub written: u64,
    /// Offsets of command topics that were, or are to be, used up.
    pub filled: u64,
    /// Partitions of `message.delivered`.
    pub partitions: usize,
    /// Whether nothing was written.
    pub dry_run: bool,
}

/// What is to be done, and all that was looked at for it.
struct Plan {
    /// Records that each partition of the target has already.
    held: Vec<i64>,
    /// Command topics' partitions: where they end, and where they are to.
    fills: Vec<(Topic, i32, i64, i64)>,
}

/// Restores the decisions of a backup into a cluster's empty topics.
///
/// Everything is looked at first: the backup against its manifest, the target's
/// topics, and its schemas. One that was interrupted is gone on with, if all
/// that stands in the target is the beginning of the backup.
///
/// # Errors
/// [`BackupError`]; nothing was changed where it is
/// [`Refused`](BackupError::Refused) or [`Damaged`](BackupError::Damaged).
pub async fn restore_log(
    folder: &Path,
    target: RestoreTarget<'_>,
    watch: Watch<'_>,
) -> Result<RestoreReport, BackupError> {
    let RestoreTarget {
        log,
        schemas,
        dry_run,
        ..
    } = target;
    let content = content_of(folder, target.allow_incomplete)?;
    let plan = tokio::task::block_in_place(|| {
        let plan = plan(log, &content)?;
        verify(folder, log, &content, &plan, watch)?;
        Ok::<_, BackupError>(plan)
    })?;
    schemas.check(&content.schemas).await?;
    let held = plan.held.iter().map(|end| *end as u64).sum();
    let report = RestoreReport {
        held,
        written: content.records() - held,
        filled: plan
            .fills
            .iter()
            .map(|(.., from, to)| (to - from) as u64)
            .sum(),
        partitions: content.partitions.len(),
        dry_run,
    };
    if dry_run {
        return Ok(report);
    }
    let mut refill = log.refill()?;
    tokio::task::block_in_place(|| fill(&mut refill, &plan, watch))?;
    let fills = plan.fills.iter();
    let ends: Vec<_> = fills
        .map(|(topic, partition, _, to)| (*topic, *partition, *to))
        .collect();
    refill.delete_below(&ends).await?;
    tokio::task::block_in_place(|| {
        write(&mut refill, folder, &content, &plan, watch)?;
        compare(log, &content, watch)
    })?;
    Ok(report)
}

fn content_of(folder: &Path, allow_incomplete: bool) -> Result<LogContent, BackupError> {
    let Content::Log(content) = Manifest::read(folder)?.content else {
        return Err(BackupError::refused(format!(
            "{} is the backup of a data folder: restore it with --data",
            folder.display()
        )));
    };
    if !content.complete && !allow_incomplete {
        return Err(BackupError::refused(format!(
            "the backup in {} was interrupted: run it again, or, if the cluster is gone, restore \
             what there is with --allow-incomplete",
            folder.display()
        )));
    }
    Ok(content)
}

/// Looks whether the target's topics can take the backup.
fn plan(log: &KafkaLog, content: &LogContent) -> Result<Plan, BackupError> {
    if content.partitions.len() != log.partitions() as usize {
        return Err(BackupError::refused(format!(
            "the backup has {} partitions and the cluster's topics have {}: a conversation would \
             be in another partition",
            content.partitions.len(),
            log.partitions()
        )));
    }
    if log.group_members(SEQUENCERS)? > 0 {
        return Err(BackupError::refused(
            "a sequencer is running: stop all sequencers and edges first",
        ));
    }
    for partition in 0..log.partitions() {
        let topic = Topic::ConversationState;
        if log.watermarks(topic, partition)?.1 > 0 {
            return Err(not_empty(topic, partition));
        }
    }
    let mut held = Vec::new();
    for entry in &content.partitions {
        let topic = Topic::MessageDelivered;
        let (low, high) = log.watermarks(topic, entry.partition)?;
        if low > 0 || high > entry.end {
            return Err(not_empty(topic, entry.partition));
        }
        held.push(high);
    }
    let mut fills = Vec::new();
    for topic in Topic::COMMANDS {
        for partition in 0..log.partitions() {
            let is_its =
                |end: &&CommandEnd| end.partition == partition && end.topic == topic.name();
            let next = content
                .commands
                .iter()
                .find(is_its)
                .map_or(0, |end| end.next);
            let (low, high) = log.watermarks(topic, partition)?;
            if high > next {
                return Err(not_empty(topic, partition));
            }
            // What an interrupted restore may have left.
            read_range::<BackupError>(log, topic, partition, low, high, |stored| match is_filler(
                &stored.record,
            ) {
                true => Ok(()),
                false => Err(not_empty(topic, partition)),
            })?;
            if low < next {
                fills.push((topic, partition, high, next));
            }
        }
    }
    Ok(Plan { held, fills })
}

fn not_empty(topic: Topic, partition: i32) -> BackupError {
    BackupError::refused(format!(
        "{topic} partition {partition} is not empty: restore into topics that were just made, or \
         give another --topic-prefix"
    ))
}

/// Compares the backup with its manifest, and what the target holds with the
/// backup's beginning.
fn verify(
    folder: &Path,
    log: &KafkaLog,
    content: &LogContent,
    plan: &Plan,
    watch: Watch<'_>,
) -> Result<(), BackupError> {
    let mut steps = Steps::new(Phase::Verifying, content.records(), watch);
    for (entry, held) in content.partitions.iter().zip(&plan.held) {
        let mut at_held = Chain::default();
        segment::read(folder, entry, |offset, _, chain| {
            if offset + 1 == *held {
                at_held = chain;
            }
            steps.step();
            Ok(())
        })?;
        if chain_in(log, entry.partition, *held, || {})? != at_held {
            return Err(not_empty(Topic::MessageDelivered, entry.partition));
        }
    }
    steps.end();
    Ok(())
}

/// The chain of a partition of the target up to an offset.
fn chain_in(
    log: &KafkaLog,
    partition: i32,
    end: i64,
    mut each: impl FnMut(),
) -> Result<Chain, BackupError> {
    let mut chain = Chain::default();
    let mut frame = Vec::new();
    let topic = Topic::MessageDelivered;
    read_range::<BackupError>(
        log,
        topic,
        partition,
        0,
        end,
        |Stored { offset, record, .. }| {
            chain::encode(offset, &record, &mut frame);
            chain.add(&frame);
            each();
            Ok(())
        },
    )?;
    Ok(chain)
}

/// A record that only uses up an offset: no command is without key and value.
fn filler() -> Record {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    Record {
        key: None,
        value: None,
        headers: Headers::default(),
        timestamp: Timestamp(now),
    }
}

fn is_filler(record: &Record) -> bool {
    record.key.is_none() && record.value.is_none() && record.headers.iter().len() == 0
}

fn fill(refill: &mut Refill, plan: &Plan, watch: Watch<'_>) -> Result<(), BackupError> {
    let total = plan
        .fills
        .iter()
        .map(|(.., from, to)| (to - from) as u64)
        .sum();
    let mut steps = Steps::new(Phase::Filling, total, watch);
    let filler = filler();
    for (topic, partition, from, to) in &plan.fills {
        for offset in *from..*to {
            refill.put(*topic, *partition, &filler, offset)?;
            steps.step();
        }
    }
    refill.finish()?;
    steps.end();
    Ok(())
}

fn write(
    refill: &mut Refill,
    folder: &Path,
    content: &LogContent,
    plan: &Plan,
    watch: Watch<'_>,
) -> Result<(), BackupError> {
    let total = content.records() - plan.held.iter().map(|end| *end as u64).sum::<u64>();
    let mut steps = Steps::new(Phase::Restoring, total, watch);
    for (entry, held) in content.partitions.iter().zip(&plan.held) {
        segment::read(folder, entry, |offset, record, _| {
            if offset >= *held {
                refill.put(Topic::MessageDelivered, entry.partition, &record, offset)?;
                steps.step();
            }
            Ok(())
        })?;
    }
    refill.finish()?;
    steps.end();
    Ok(())
}

/// Reads what was written.
fn compare(log: &KafkaLog, content: &LogContent, watch: Watch<'_>) -> Result<(), BackupError> {
    let mut steps = Steps::new(Phase::Comparing, content.records(), watch);
    for entry in &content.partitions {
        let chain = chain_in(log, entry.partition, entry.end, || steps.step())?;
        if entry.end > 0 && chain.to_string() != entry.digest {
            return Err(BackupError::refused(format!(
                "{} partition {} is not what the backup holds, though all of it was written: \
                 delete the topics and restore again",
                Topic::MessageDelivered,
                entry.partition
            )));
        }
    }
    steps.end();
    Ok(())
}

/// Counts, and tells now and then.
struct Steps<'a> {
    progress: Progress,
    watch: Watch<'a>,
}

impl<'a> Steps<'a> {
    fn new(phase: Phase, total: u64, watch: Watch<'a>) -> Self {
        let progress = Progress {
            phase,
            done: 0,
            total,
        };
        Self { progress, watch }
    }

    fn step(&mut self) {
        self.progress.done += 1;
        if self.progress.done.is_multiple_of(PROGRESS_EVERY) {
            (self.watch)(self.progress);
        }
    }

    fn end(&self) {
        (self.watch)(self.progress);
    }
}
