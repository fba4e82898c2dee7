//! `tidings dead`.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Map, Value};
use tidings_log::{Log, LogError};
use tidings_operate::dead::{
    self, Done, Entry, Filter, Journal, Letter, LetterId, Lock, Redrive, State,
};
use tidings_projection::{Projection, View};
use tidings_wire::{Codec, Topic, format_time};

use crate::output;
use crate::place::PlaceArgs;
use crate::stores::StoreArgs;

/// See what no consumer could use, and do it again or let it be
///
/// A record that cannot be decoded or applied goes to the topic dead.CONSUMER,
/// with its cause and its place. What was done with a letter is noted in
/// operator.notes, so that nothing is done twice, also when it was interrupted.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Dead {
    /// List letters
    ///
    /// Without --all those that are neither redriven nor dropped.
    ///
    /// Exit status: 0 done, 1 failed, or with --fail there are some, 2 wrong usage.
    #[command(after_help = LS_EXAMPLES)]
    Ls(LsArgs),
    /// Show one letter: its headers and what it says
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Do letters again, in order, until one fails
    ///
    /// A command goes back to its topic and partition, byte for byte. A
    /// decision is applied to its view again, and with it every later decision
    /// of its conversation up to where the view stands, so that what was
    /// refused because of it follows. It is applied to every generation of the
    /// view that is built or kept, too, as each has put it aside. Earlier letters of the same conversation
    /// come first, whether they were asked for or not. Letters that still
    /// cannot be read stop it: mend the cause, or leave them out with --filter,
    /// or drop them.
    ///
    /// Of a data folder, `tidings dev` must be stopped first.
    ///
    /// Exit status: 0 all are done, 1 failed: it says at which, 2 wrong usage.
    #[command(after_help = REDRIVE_EXAMPLES)]
    Redrive(RedriveArgs),
    /// Note that nothing is to be done about letters
    ///
    /// They stay in their topic until it lets them go, and are not redriven.
    ///
    /// Of a data folder, `tidings dev` must be stopped first.
    #[command(after_help = DROP_EXAMPLES)]
    Drop(DropArgs),
}

const LS_EXAMPLES: &str = "\
Examples:
  tidings dead ls
  tidings dead ls --filter consumer=history --filter cause=schema
  tidings dead ls --all --json | jq -r .cause | sort | uniq -c";
const SHOW_EXAMPLES: &str = "\
Examples:
  tidings dead show dead.history/3/17
  tidings dead show dead.sequencer/0/2 --content --json";
const REDRIVE_EXAMPLES: &str = "\
Examples:
  tidings dead redrive --filter consumer=sequencer --dry-run
  tidings dead redrive --filter consumer=history --filter since=2026-01-31T12:00:00Z
  tidings dead redrive --filter letter=dead.search/3/17";
const DROP_EXAMPLES: &str = "\
Examples:
  tidings dead drop --filter letter=dead.sequencer/0/2
  tidings dead drop --filter consumer=cache --dry-run";

/// Which letters, and where.
#[derive(Debug, clap::Args)]
struct Which {
    /// Only letters of which this is so: consumer, topic (where the record stood),
    /// conversation, cause (a part of it), since, until (RFC 3339) or letter
    /// (dead.history/3/17). Repeat it: different names must all hold, of one
    /// name one of them
    #[arg(long = "filter", value_name = "NAME=VALUE", value_parser = parse_condition)]
    conditions: Vec<String>,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    which: Which,
    /// List those that are redriven or dropped, too
    #[arg(long)]
    all: bool,
    /// Exit with 1 where there are any
    #[arg(long)]
    fail: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The letter, such as dead.history/3/17
    #[arg(value_name = "LETTER")]
    letter: LetterId,
    /// Show what people wrote, too
    #[arg(long)]
    content: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RedriveArgs {
    #[command(flatten)]
    which: Which,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Who does it
    #[arg(long, env = "USER", value_name = "NAME")]
    by: Option<String>,
    /// Print one JSON object for each letter, then one that sums up
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stores: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DropArgs {
    #[command(flatten)]
    which: Which,
    /// Drop every letter there is, where no --filter is given
    #[arg(long, conflicts_with = "conditions")]
    all: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Who drops them
    #[arg(long, env = "USER", value_name = "NAME")]
    by: Option<String>,
    /// Print one JSON object for each letter
    #[arg(long)]
    json: bool,
}

fn parse_condition(text: &str) -> Result<String, String> {
    let mut filter = Filter::default();
    filter.add(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

impl Which {
    fn filter(&self) -> Result<Filter> {
        let mut filter = Filter::default();
        for condition in &self.conditions {
            filter.add(condition)?;
        }
        Ok(filter)
    }
}

pub(crate) fn run(dead: Dead) -> Result<ExitCode> {
    match dead {
        Dead::Ls(args) => list(&args),
        Dead::Show(args) => show(&args).map(|()| ExitCode::SUCCESS),
        Dead::Redrive(args) => redrive(&args),
        Dead::Drop(args) => drop_letters(&args).map(|()| ExitCode::SUCCESS),
    }
}

/// A letter, as it is listed.
#[derive(Serialize)]
struct Line<'a> {
    letter: String,
    at: String,
    consumer: &'a str,
    /// Where the record stood.
    origin: Option<String>,
    conversation: Option<&'a str>,
    cause: &'a str,
    attempts: u32,
    /// open, begun, redriven or dropped.
    state: &'a str,
    by: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn new(letter: &'a Letter, entry: Option<&'a Entry>) -> Self {
        Self {
            letter: letter.id.to_string(),
            at: format_time(letter.at),
            consumer: &letter.consumer,
            origin: letter.origin.map(|origin| origin.to_string()),
            conversation: letter.conversation(),
            cause: &letter.cause,
            attempts: letter.attempts,
            state: entry.map_or("open", Entry::name),
            by: entry.and_then(|entry| entry.by.as_deref()),
        }
    }

    fn text(&self) -> String {
        let origin = self.origin.as_deref().unwrap_or("-");
        let conversation = self.conversation.unwrap_or("-");
        format!(
            "{} {} {:<8} from {origin}, conversation {conversation}: {}",
            self.at, self.letter, self.state, self.cause
        )
    }
}

/// What a callback ended with.
enum Stop {
    Log(LogError),
    Output(anyhow::Error),
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<Stop> for anyhow::Error {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Log(error) => error.into(),
            Stop::Output(error) => error,
        }
    }
}

fn list(args: &LsArgs) -> Result<ExitCode> {
    let filter = args.which.filter()?;
    let runtime = crate::runtime()?;
    let log = runtime.block_on(args.which.place.open_log())?;
    let journal = Journal::read(&*log)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut count = 0_u64;
    dead::letters::<Stop>(&*log, &filter.dead_topics(), &journal, |letter, entry| {
        let is_open = !entry.is_some_and(Entry::is_done);
        if !(is_open || args.all) || !filter.takes(&letter) {
            return Ok(());
        }
        count += 1;
        let line = Line::new(&letter, entry);
        let text = match args.json {
            true => serde_json::to_string(&line).map_err(|error| Stop::Output(error.into()))?,
            false => line.text(),
        };
        writeln!(out, "{text}").map_err(|error| Stop::Output(error.into()))
    })?;
    out.flush()?;
    if !args.json && count == 0 {
        writeln!(io::stderr(), "tidings: no dead letters").ok();
    }
    Ok(ExitCode::from(u8::from(args.fail && count > 0)))
}

/// A letter, as it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    headers: Map<String, Value>,
    /// How many bytes its value has.
    bytes: usize,
    /// What it says, decoded; null where it cannot be decoded.
    value: Value,
    /// Why it cannot be decoded now.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

fn show(args: &ShowArgs) -> Result<()> {
    let runtime = crate::runtime()?;
    let (log, codec) = runtime.block_on(args.place.open())?;
    let LetterId {
        topic,
        partition,
        offset,
    } = args.letter;
    if partition >= log.partitions() {
        bail!("{topic} has {} partitions, from 0", log.partitions());
    }
    let mut found = None;
    tidings_log::read_range::<LogError>(&*log, topic, partition, offset, offset + 1, |stored| {
        found = Some(stored);
        Ok(())
    })?;
    let letter = found.filter(|stored| stored.offset == offset);
    let letter = letter.with_context(|| format!("there is no letter {}", args.letter))?;
    let letter = Letter::from(letter);
    let journal = Journal::read(&*log)?;
    let shown = shown(&codec, &letter, journal.entry(letter.id), args.content);
    if args.json {
        return output::json(&shown);
    }
    let mut text = format!("{}\n", shown.line.text());
    for (name, value) in &shown.headers {
        text.push_str(&format!(
            "  {name}: {}\n",
            value.as_str().unwrap_or_default()
        ));
    }
    text.push_str(&format!("{} bytes\n", shown.bytes));
    match (&shown.error, &shown.hex) {
        (Some(error), Some(hex)) => text.push_str(&format!("cannot be read: {error}\n{hex}")),
        (Some(error), None) => text.push_str(&format!("cannot be read: {error}")),
        (None, _) => text.push_str(&serde_json::to_string_pretty(&shown.value)?),
    }
    output::line(&text)
}

fn shown<'a>(
    codec: &Codec,
    letter: &'a Letter,
    entry: Option<&'a Entry>,
    with_content: bool,
) -> Shown<'a> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = letter.record.value.as_deref();
    let (mut decoded, error) = match codec.to_json(&letter.record) {
        Ok(decoded) => (decoded, None),
        Err(error) => (Value::Null, Some(error.to_string())),
    };
    if !with_content {
        withhold(&mut decoded);
    }
    let hex = (error.is_some() && with_content).then(|| value.map(output::hex));
    Shown {
        line: Line::new(letter, entry),
        headers: letter
            .record
            .headers
            .iter()
            .map(|(name, value)| (name.to_owned(), text(value).into()))
            .collect(),
        bytes: value.map_or(0, <[u8]>::len),
        value: decoded,
        error,
        hex: hex.flatten(),
    }
}

/// Takes out what people wrote.
fn withhold(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "content" | "title" | "text" if !value.is_null() => {
                        *value = "(withheld: --content shows it)".into();
                    }
                    _ => withhold(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(withhold),
        _ => {}
    }
}

fn redrive(args: &RedriveArgs) -> Result<ExitCode> {
    let filter = args.which.filter()?;
    let runtime = crate::runtime()?;
    let place = &args.which.place;
    let topics = filter.dead_topics();
    let (opened, codec) = runtime.block_on(async {
        let codec = place.codec().await?;
        let opened = place.open_writable().await?;
        anyhow::Ok((opened, codec))
    })?;
    let log = &opened.log;
    let with_letters = topics_with_letters(&**log, &topics)?;
    let views = runtime.block_on(views(args, &opened, &codec, &with_letters))?;
    let bar = spinner("letters");
    let redrive = Redrive {
        log,
        codec: &codec,
        views: &views,
        by: args.by.clone(),
        dry_run: args.dry_run,
    };
    let mut out = io::stdout().lock();
    let mut told = |done: &Done| {
        bar.inc(1);
        let text = match args.json {
            true => serde_json::to_string(done).unwrap_or_default(),
            false => describe(done, args.dry_run),
        };
        // Who reads our output has had enough: what was begun is whole.
        writeln!(out, "{text}").map_err(|_| dead::RedriveError::Interrupted)
    };
    // Here, and not in a task: what asks the log blocks.
    let summary = runtime.block_on(redrive.run(&filter, &mut told))?;
    bar.finish_and_clear();
    drop(out);
    if args.json {
        output::json(&summary)?;
    } else {
        let will = if args.dry_run {
            "would be redriven"
        } else {
            "redriven"
        };
        let (redriven, before) = (summary.redriven, summary.done_before);
        output::line(&format!("{redriven} {will}, {before} were done before"))?;
    }
    match summary.failure {
        None => Ok(ExitCode::SUCCESS),
        Some(failure) => {
            let letter = failure.letter.as_deref().unwrap_or("no letter");
            let (origin, cause) = (&failure.origin, &failure.cause);
            writeln!(
                io::stderr(),
                "tidings: stopped at {letter} (from {origin}): {cause}"
            )
            .ok();
            Ok(ExitCode::from(1))
        }
    }
}

fn describe(done: &Done, dry_run: bool) -> String {
    let Done {
        letter,
        origin,
        follows,
        offset,
    } = done;
    let will = if dry_run { "would be done" } else { "done" };
    let follows = if *follows {
        ", of the same conversation"
    } else {
        ""
    };
    let now = offset.map_or_else(String::new, |offset| format!(", now at offset {offset}"));
    format!("{letter} (from {origin}) {will}{now}{follows}")
}

/// Those of these topics that hold anything.
fn topics_with_letters(log: &dyn Log, topics: &[Topic]) -> Result<Vec<Topic>> {
    let mut found = Vec::new();
    for topic in topics {
        for partition in 0..log.partitions() {
            let (low, high) = log.watermarks(*topic, partition)?;
            if low < high {
                found.push(*topic);
                break;
            }
        }
    }
    Ok(found)
}

/// The views whose letters may be meant and whose stores are given.
async fn views(
    args: &RedriveArgs,
    opened: &crate::place::Opened,
    codec: &Codec,
    topics: &[Topic],
) -> Result<BTreeMap<Topic, Vec<Arc<dyn View>>>> {
    let mut views: BTreeMap<Topic, Vec<Arc<dyn View>>> = BTreeMap::new();
    let prefix = &args.which.place.registry.topic_prefix;
    let log = || Arc::clone(&opened.log);
    for topic in topics {
        let projections: Vec<Projection> = match topic {
            Topic::DeadHistory => {
                let stores = args.stores.history(opened).await?.into_iter();
                stores
                    .map(|store| tidings_history::projection(log(), codec.clone(), store))
                    .collect()
            }
            Topic::DeadSearch => {
                let stores = args.stores.search(opened, prefix).await?.into_iter();
                stores
                    .map(|store| tidings_search::projection(log(), codec.clone(), store))
                    .collect()
            }
            Topic::DeadCache => {
                let stores = args.stores.cache(opened, prefix).await?.into_iter();
                stores
                    .map(|store| tidings_cache::projection(log(), codec.clone(), store))
                    .collect()
            }
            _ => continue,
        };
        let generations: Vec<_> = projections.iter().map(Projection::view).collect();
        // Its store is not given.
        let Some(serving) = generations.first() else {
            continue;
        };
        if !args.dry_run {
            serving.prepare().await?;
        }
        views.insert(*topic, generations);
    }
    Ok(views)
}

fn drop_letters(args: &DropArgs) -> Result<()> {
    let filter = args.which.filter()?;
    if filter.is_empty() && !args.all {
        bail!("say which letters with --filter, or give --all");
    }
    let runtime = crate::runtime()?;
    let log = runtime.block_on(args.which.place.open_writable())?.log;
    for topic in filter.dead_topics() {
        // As redriving: neither is to be done while the other is.
        let name = format!("redrive {topic}");
        let mut lock = match args.dry_run {
            true => None,
            false => Some(Lock::take(&*log, &name, args.by.clone())?),
        };
        let result = drop_of(topic, args, &filter, &*log, &mut lock);
        if let Some(lock) = lock {
            lock.release(&*log)?;
        }
        result?;
    }
    Ok(())
}

fn drop_of(
    topic: Topic,
    args: &DropArgs,
    filter: &Filter,
    log: &dyn Log,
    lock: &mut Option<Lock>,
) -> Result<()> {
    let mut journal = Journal::read(log)?;
    let mut meant = Vec::new();
    dead::letters::<LogError>(log, &[topic], &journal, |letter, entry| {
        if !entry.is_some_and(Entry::is_done) && filter.takes(&letter) {
            meant.push(letter.id);
        }
        Ok(())
    })?;
    for letter in meant {
        if let Some(lock) = lock {
            lock.renew(log)?;
            journal.note(log, letter, Entry::now(State::Dropped, args.by.clone()))?;
        }
        let will = if args.dry_run {
            "would be dropped"
        } else {
            "dropped"
        };
        if args.json {
            let dropped = !args.dry_run;
            output::json(&serde_json::json!({"letter": letter.to_string(), "dropped": dropped}))?;
        } else {
            output::line(&format!("{letter} {will}"))?;
        }
    }
    if lock.is_some() {
        journal.prune(log)?;
    }
    Ok(())
}

/// A progress line, on a terminal.
fn spinner(what: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} {msg}, {per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner()
        .with_style(style)
        .with_message(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_is_withheld() {
        let mut value = serde_json::json!({
            "sender": "alice",
            "event": {"kind": "message.sent", "content": {"text": "secret"}, "title": "secret"},
            "list": [{"text": "secret"}],
            "content": null,
        });
        withhold(&mut value);
        assert!(!value.to_string().contains("secret"));
        assert_eq!(value["sender"], "alice");
        assert_eq!(value["event"]["kind"], "message.sent");
        assert_eq!(value["content"], Value::Null);
    }
}
