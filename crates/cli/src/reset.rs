//! `tidings reset`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tidings_operate::reset::{Change, Reset, ResetOptions, Target};
use tidings_views::audit::Audit;
use tidings_views::cache::RedisCache;
use tidings_views::generation::{Generation, Generations};
use tidings_views::history::{MongoHistory, SqliteHistory};
use tidings_views::search::{OpenSearch, SqliteSearch};

use crate::lag::parse_consumer;
use crate::output;
use crate::place::{Opened, Place, PlaceArgs};
use crate::stores::{REDIS_TIMEOUT, StoreArgs};

/// Set where a projection goes on from, back or forward
///
/// A projection's positions stand in its view's store. Set back, it applies
/// decisions once more that it has applied: that changes nothing that is right,
/// and writes what is missing. Set forward, it leaves decisions out: the view
/// has a gap then, so --skip must say that it is meant; `tidings verify VIEW
/// --repair` or `tidings rebuild VIEW` closes it.
///
/// Refused while a process is at the consumer: stop it first (of a data folder,
/// the `tidings dev`). Where each partition stood is noted in operator.notes
/// before anything is set: --undo goes back to it, also after an interruption.
/// After several resets, --undo goes back to where the projection itself had
/// come. A partition that was set back and has come further since stays.
///
/// Exit status: 0 done, 1 failed or refused, 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings reset search --to beginning --dry-run
  tidings reset history --to 2026-01-31T12:00:00Z
  tidings reset history.g2 --to 0=120,3=88
  tidings reset cache --to end --partition 3 --skip
  tidings reset history --undo")]
pub(crate) struct ResetArgs {
    /// The consumer: history, search, cache, or a generation such as history.g2
    #[arg(value_name = "CONSUMER", value_parser = parse_projection)]
    consumer: String,
    /// Where to: beginning, end, an offset, a time (RFC 3339: the first record
    /// that is not older), or offsets by partition (0=120,3=88)
    #[arg(long, value_name = "WHERE", required_unless_present = "undo")]
    to: Option<Target>,
    /// Only this partition
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Leave out records that were not applied
    #[arg(long)]
    skip: bool,
    /// Go back to where it was before the last reset
    #[arg(long, conflicts_with_all = ["to", "partition", "skip"])]
    undo: bool,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Who resets it
    #[arg(long, env = "USER", value_name = "NAME")]
    by: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    stores: StoreArgs,
}

fn parse_projection(text: &str) -> Result<String, String> {
    match parse_consumer(text)? {
        name if name.starts_with("sequencer") => Err(
            "the sequencer has no position to set: the decisions that it wrote say where it goes on"
                .to_owned(),
        ),
        name => Ok(name),
    }
}

#[derive(Serialize)]
struct Report<'a> {
    consumer: &'a str,
    dry_run: bool,
    undone: bool,
    changes: &'a [Change],
    /// Records that are applied again, and those that never are.
    again: i64,
    skipped: i64,
    /// The command that takes it back.
    undo: Option<String>,
}

pub(crate) async fn run(args: ResetArgs) -> Result<ExitCode> {
    let target = match (args.to.clone(), args.partition) {
        (Some(to), Some(partition)) => Some(to.only(partition).map_err(anyhow::Error::msg)?),
        (to, _) => to,
    };
    let (log, store) = args.open().await?;
    let reset = Reset {
        log,
        consumer: args.consumer.clone(),
        store,
        by: args.by.clone(),
        is_shared: matches!(args.place.place(), Place::Kafka(_)),
    };
    let (skip, dry_run) = (args.skip, args.dry_run);
    // On a thread of its own: it reads the log, which blocks.
    let work = tokio::task::spawn_blocking(move || {
        tokio::runtime::Handle::current().block_on(async {
            match &target {
                Some(target) => reset.reset(target, ResetOptions { skip, dry_run }).await,
                None => reset.undo(dry_run).await,
            }
        })
    });
    let changes = work.await??;
    let is_undoable = !args.undo && !args.dry_run && !changes.is_empty();
    let report = Report {
        consumer: &args.consumer,
        dry_run: args.dry_run,
        undone: args.undo,
        again: changes.iter().map(Change::again).sum(),
        skipped: match args.undo {
            // What was applied before it was set back.
            true => 0,
            false => changes.iter().map(Change::skipped).sum(),
        },
        changes: &changes,
        undo: is_undoable.then(|| args.undo_command()),
    };
    match args.json {
        true => output::json(&report)?,
        false => output::line(describe(&report).trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

impl ResetArgs {
    /// The log, and the store that holds the consumer's positions.
    async fn open(&self) -> Result<(Arc<dyn tidings_log::Log>, Arc<dyn Audit>)> {
        let (view, number) = match self.consumer.split_once(".g") {
            Some((view, number)) => (view, number.parse().context("no such generation")?),
            None => (self.consumer.as_str(), 1),
        };
        let generation = Generation(number);
        if let Place::Folder(data) = self.place.place() {
            return self.in_folder(view, generation, &data).await;
        }
        let prefix = &self.place.registry.topic_prefix;
        // What is missing is said before anything is waited for.
        let missing = |flag: &str, variable: &str| {
            format!("where is the store of the {view} view? Set {variable} or give {flag}")
        };
        let store = match view {
            "history" => {
                let uri = self.stores.mongodb_uri.as_ref();
                let uri = uri.with_context(|| missing("--mongodb-uri", "MONGODB_URI"))?;
                let store = MongoHistory::connect(uri.expose(), "tidings").await?;
                followed(view, store, generation).await?
            }
            "search" => {
                let url = self.stores.search_url.as_ref();
                let url = url.with_context(|| missing("--search-url", "SEARCH_URL"))?;
                followed(view, OpenSearch::new(url.expose(), prefix)?, generation).await?
            }
            _ => {
                let url = self.stores.redis_url.as_ref();
                let url = url.with_context(|| missing("--redis-url", "REDIS_URL"))?;
                let store = RedisCache::new(url.expose(), prefix, REDIS_TIMEOUT)?;
                let store = followed(view, store, generation).await?;
                if store.positions().await?.is_empty() {
                    bail!(
                        "the cache is empty: its projection begins near the log's end by itself, \
                         there is nothing to reset"
                    );
                }
                store
            }
        };
        let Opened { log, .. } = self.place.open_writable().await?;
        Ok((log, store))
    }

    async fn in_folder(
        &self,
        view: &str,
        generation: Generation,
        data: &Path,
    ) -> Result<(Arc<dyn tidings_log::Log>, Arc<dyn Audit>)> {
        if view == "cache" {
            bail!(
                "the cache of a data folder is in the memory of `tidings dev`, which makes it anew \
                 whenever it starts: there is nothing to reset"
            );
        }
        let opened = self.place.open_writable().await?;
        let database = opened
            .database
            .with_context(|| format!("{} is no data folder", data.display()))?;
        let store = match view {
            "search" => followed(view, SqliteSearch::new(database), generation).await?,
            _ => followed(view, SqliteHistory::new(database), generation).await?,
        };
        Ok((opened.log, store))
    }

    fn undo_command(&self) -> String {
        let mut command = format!("tidings reset {} --undo", self.consumer);
        match self.place.place() {
            Place::Folder(data) => command.push_str(&format!(" --data {}", data.display())),
            Place::Kafka(brokers) => command.push_str(&format!(" --brokers {brokers}")),
        }
        let prefix = &self.place.registry.topic_prefix;
        if !prefix.is_empty() {
            command.push_str(&format!(" --topic-prefix {prefix}"));
        }
        command
    }
}

/// A generation of a store, where a consumer keeps it.
async fn followed<S>(view: &str, store: S, generation: Generation) -> Result<Arc<dyn Audit>>
where
    S: Generations + Audit + 'static,
{
    let known = store.register().await?.followed();
    if !known.contains(&generation) {
        let names: Vec<_> = known.iter().map(|it| it.consumer(view)).collect();
        bail!(
            "no consumer keeps generation {generation} of the {view} view; there is {}",
            names.join(", ")
        );
    }
    Ok(Arc::new(store.of(generation)))
}

fn describe(report: &Report<'_>) -> String {
    let Report { consumer, .. } = report;
    if report.changes.is_empty() {
        return format!("{consumer} stands there already: nothing changes");
    }
    let mut text = format!(
        "{:>9} {:>12} {:>12} {:>12}\n",
        "PARTITION", "FROM", "TO", "END"
    );
    for change in report.changes {
        let Change {
            partition,
            from,
            to,
            end,
        } = change;
        // Writing to a String cannot fail.
        writeln!(text, "{partition:>9} {from:>12} {to:>12} {end:>12}").ok();
    }
    let (again, skipped) = (report.again, report.skipped);
    let done = match (report.dry_run, report.undone) {
        (true, _) => "would be reset",
        (false, true) => "is where it was before its reset",
        (false, false) => "is reset",
    };
    writeln!(
        text,
        "{consumer} {done}: {again} records are applied again, {skipped} left out"
    )
    .ok();
    if let Some(undo) = &report.undo {
        writeln!(text, "to undo: {undo}").ok();
    }
    text
}
