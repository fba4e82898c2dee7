//! `tidings replay`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use tidings_domain::ConversationId;
use tidings_log::{LogError, LogReader};
use tidings_operate::replay::{
    Bound, Range, RecordsReader, RecordsWriter, Selection, Span, TopicSink, replay,
};
use tidings_wire::{Codec, Stored, Topic, partition_of};
use uuid::Uuid;

use crate::output;
use crate::place::{Place, PlaceArgs};
use crate::tail::{Line, topic_parser};

/// Give a range of a topic again: to stdout, a file, or another topic
///
/// Without --output and --to-topic as JSON lines to stdout, as `tidings tail`
/// prints them. --format records keeps every byte (see the README of the
/// command for the format). Records keep their order in each partition.
///
/// What was interrupted goes on with --resume: a file behind its last whole
/// record, to the end that the range had at first; a topic behind what the
/// replay of the same --id has sent.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings replay --from 2026-01-31T12:00:00Z --to 2026-01-31T13:00:00Z
  tidings replay --conversation 6ba7b810-9dad-11d1-80b4-00c04fd430c8 --valid-only
  tidings replay --valid-only --output events.records --format records
  tidings replay --valid-only --to-topic billing.events --id january")]
pub(crate) struct ReplayArgs {
    /// The topic
    #[arg(
        long,
        value_name = "TOPIC",
        default_value = "message.delivered",
        value_parser = topic_parser()
    )]
    topic: Topic,
    /// Where to begin: beginning, an offset, or a time (RFC 3339)
    #[arg(long, value_name = "WHERE", default_value = "beginning")]
    from: Bound,
    /// Before what to end: end, an offset, or a time
    #[arg(long, value_name = "WHERE", default_value = "end")]
    to: Bound,
    /// Only this partition
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Only this conversation
    #[arg(long, value_name = "ID", value_parser = parse_conversation, conflicts_with = "partition")]
    conversation: Option<ConversationId>,
    /// Only decisions that count by the reader's rule, and no claims
    #[arg(long)]
    valid_only: bool,
    /// Write to this file
    #[arg(long, value_name = "FILE", conflicts_with = "to_topic")]
    output: Option<PathBuf>,
    /// How the file is written
    #[arg(long, value_enum, default_value = "json", requires = "output")]
    format: Format,
    /// Send to this topic of the cluster, which must be there
    #[arg(long, value_name = "TOPIC")]
    to_topic: Option<String>,
    /// The name of a replay to a topic, in each record's replay_id [default: a new one]
    #[arg(long, value_name = "NAME", requires = "to_topic")]
    id: Option<String>,
    /// Go on with what was interrupted
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// An object a line, decoded
    Json,
    /// Byte for byte
    Records,
}

/// What a file is to hold; kept beside it until it does.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Plan {
    topic: String,
    spans: Vec<Span>,
    conversation: Option<String>,
    valid_only: bool,
    format: Format,
}

fn parse_conversation(text: &str) -> Result<ConversationId, String> {
    let id = Uuid::try_parse(text).map_err(|_| "expected a conversation's id, a UUID".to_owned());
    id.map(ConversationId)
}

pub(crate) fn run(args: &ReplayArgs) -> Result<ExitCode> {
    if args.resume && args.output.is_none() && args.id.is_none() {
        bail!("--resume goes on with --output FILE, or with --to-topic TOPIC and --id NAME");
    }
    if args.valid_only && args.topic != Topic::MessageDelivered {
        bail!("--valid-only is the reader's rule of message.delivered");
    }
    let runtime = crate::runtime()?;
    let log = runtime.block_on(args.place.open_log())?;
    if args
        .partition
        .is_some_and(|partition| partition >= log.partitions())
    {
        bail!("{} has {} partitions, from 0", args.topic, log.partitions());
    }
    let key = args.conversation.map(|id| id.to_string());
    let home = key
        .as_ref()
        .map(|key| partition_of(key.as_bytes(), log.partitions()));
    let range = Range::find(
        &*log,
        args.topic,
        args.partition.or(home),
        args.from,
        args.to,
    )?;
    let selection = Selection {
        key,
        valid_only: args.valid_only,
    };
    if let Some(topic) = &args.to_topic {
        return to_topic(args, &*log, &range, &selection, topic);
    }
    // As records nothing is decoded.
    let codec = match args.format {
        Format::Json => Some(runtime.block_on(args.place.codec())?),
        Format::Records => None,
    };
    match &args.output {
        Some(path) => to_file(args, &*log, codec.as_ref(), range, &selection, path)?,
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            give(&*log, &range, &selection, |stored| {
                write_line(&mut out, codec.as_ref(), stored)
            })?;
            out.flush()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a callback ended with.
struct Stop(anyhow::Error);

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self(error.into())
    }
}

/// Replays with a progress line; gives how many records were given.
fn give(
    log: &dyn LogReader,
    range: &Range,
    selection: &Selection,
    mut each: impl FnMut(&Stored) -> Result<()>,
) -> Result<u64> {
    let bar = match io::stderr().is_terminal() {
        true => ProgressBar::new(range.len()),
        false => ProgressBar::hidden(),
    };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec}, {eta} left")?;
    bar.set_style(style);
    let mut count = 0;
    let each = |stored: &Stored| {
        count += 1;
        each(stored).map_err(Stop)
    };
    let given = replay::<Stop>(log, range, selection, || bar.inc(1), each);
    bar.finish_and_clear();
    given.map_err(|Stop(error)| error)?;
    Ok(count)
}

fn write_line(out: &mut impl Write, codec: Option<&Codec>, stored: &Stored) -> Result<()> {
    let codec = codec.context("JSON lines are decoded")?;
    serde_json::to_writer(&mut *out, &Line::new(codec, stored)).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

fn to_file(
    args: &ReplayArgs,
    log: &dyn LogReader,
    codec: Option<&Codec>,
    mut range: Range,
    selection: &Selection,
    path: &Path,
) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".plan");
    let beside = PathBuf::from(beside);
    let mut plan = Plan {
        topic: args.topic.name().to_owned(),
        spans: range.spans.clone(),
        conversation: selection.key.clone(),
        valid_only: args.valid_only,
        format: args.format,
    };
    let goes_on = args.resume && beside.exists();
    if goes_on {
        let known: Plan = serde_json::from_slice(&fs::read(&beside)?)
            .with_context(|| format!("{} cannot be read", beside.display()))?;
        plan.spans.clone_from(&known.spans);
        if plan != known {
            bail!(
                "{} was begun with another topic, format or selection",
                path.display()
            );
        }
        range.spans = known.spans;
    } else if path.exists() {
        if args.resume {
            return output::line(&format!("{} is whole already", path.display()));
        }
        bail!(
            "{} is there already: --resume goes on, or remove it",
            path.display()
        );
    } else {
        fs::write(&beside, serde_json::to_vec(&plan)?)
            .with_context(|| format!("cannot write {}", beside.display()))?;
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let (whole, last) = whole_part(&mut file, args.format)?;
    file.set_len(whole)?;
    file.seek(io::SeekFrom::Start(whole))?;
    if let Some((partition, offset)) = last {
        range.go_on_after(partition, offset);
    }
    let mut out = BufWriter::new(file);
    let count = match args.format {
        Format::Json => give(log, &range, selection, |stored| {
            write_line(&mut out, codec, stored)
        })?,
        Format::Records => {
            let mut writer = match whole {
                0 => RecordsWriter::begin(&mut out)?,
                _ => RecordsWriter::go_on(&mut out),
            };
            give(log, &range, selection, |stored| Ok(writer.write(stored)?))?
        }
    };
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    fs::remove_file(&beside)?;
    output::line(&format!("{count} records written to {}", path.display()))
}

/// How many bytes of a file are whole records, and where the last of them stood.
fn whole_part(file: &mut File, format: Format) -> Result<(u64, Option<(i32, i64)>)> {
    #[derive(Deserialize)]
    struct At {
        partition: i32,
        offset: i64,
    }
    file.rewind()?;
    let mut input = BufReader::new(file);
    let mut last = None;
    match format {
        Format::Json => {
            let (mut whole, mut line) = (0, Vec::new());
            loop {
                line.clear();
                let read = input.read_until(b'\n', &mut line)?;
                let Ok(at) = serde_json::from_slice::<At>(&line) else {
                    return Ok((whole, last));
                };
                if line.last() != Some(&b'\n') {
                    return Ok((whole, last));
                }
                whole += read as u64;
                last = Some((at.partition, at.offset));
            }
        }
        Format::Records => {
            let Ok(mut reader) = RecordsReader::begin(input) else {
                return Ok((0, None));
            };
            while let Some(stored) = reader.next_record()? {
                last = Some((stored.partition, stored.offset));
            }
            Ok((reader.whole_bytes(), last))
        }
    }
}

fn to_topic(
    args: &ReplayArgs,
    log: &dyn LogReader,
    range: &Range,
    selection: &Selection,
    topic: &str,
) -> Result<ExitCode> {
    let Place::Kafka(brokers) = args.place.place() else {
        bail!("--to-topic sends to a topic of a cluster: give --brokers");
    };
    let id = args
        .id
        .clone()
        .unwrap_or_else(|| Uuid::new_v4().to_string());
    let kafka = args.place.kafka(&brokers)?;
    let mut sink = TopicSink::open(&kafka, topic, &id)?;
    if args.resume {
        sink.find_sent(&kafka)?;
    }
    let mut sent = 0_u64;
    give(log, range, selection, |stored| {
        sent += u64::from(sink.send(stored)?);
        Ok(())
    })?;
    sink.flush()?;
    output::line(&format!("{sent} records sent to {topic}, as replay {id}"))?;
    Ok(ExitCode::SUCCESS)
}
