//! `tidings rebuild` and `tidings rollback`.

pub(crate) mod bar;
mod report;
mod scope;
mod target;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;
use tidings_domain::{ConversationId, Tenant};
use tidings_operate::rebuild::{self, RebuildError, RebuildOptions, View, ViewName};
use tidings_service::lifecycle::shutdown_signal;
use tokio_util::sync::CancellationToken;

use crate::output;
use crate::place::PlaceArgs;
use crate::stores::StoreArgs;
use crate::verify::{parse_conversation, parse_tenant};

/// Build a view anew beside the one that is read, and switch to it
///
/// A new generation of the view is filled from the beginning of the log while
/// the old one is read and kept in step. When it has caught up it is handed
/// over to the consumers that keep the view, and then switched to by one
/// write; no read fails. The old generation is kept in step as well, for
/// `tidings rollback`, until `--prune` deletes it.
///
/// Interrupted anywhere, in any way, the same command goes on where it was. A
/// second rebuild of the same view is refused while the first one lives.
///
/// The data folder of a `tidings dev` that is running cannot be rebuilt: stop
/// it first.
///
/// With --conversation or --tenant only that part is computed anew, and those of
/// its documents that are missing, wrong or should not be there are written in
/// the generation that is read, while it is read and kept in step; then it is
/// compared once more. No generation is made, and nothing else is written. A
/// whole rebuild beside it does no harm: it takes everything from the log.
///
/// Exit status: 0 done, 1 failed or refused, 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings rebuild history --brokers 127.0.0.1:9092
  tidings rebuild search --rate 2000        leaves the store room for its users
  tidings rebuild history --dry-run         which generations there are
  tidings rebuild history --no-switch       stops before it is read
  tidings rollback history                  back to the generation before
  tidings rebuild history --prune           deletes what is not read
  tidings rebuild search --data /srv/tidings
  tidings rebuild history --conversation 0b0c5d8e-5a0f-4e0e-9d8c-0d6f2a1b3c4d
  tidings rebuild search --tenant acme --rate 500")]
pub(crate) struct RebuildArgs {
    #[command(flatten)]
    view: ViewArgs,
    /// Only this conversation, in place
    #[arg(
        long,
        value_name = "ID",
        value_parser = parse_conversation,
        conflicts_with_all = ["batch", "parallel", "no_switch", "prune"]
    )]
    conversation: Option<ConversationId>,
    /// Only this tenant, in place
    #[arg(
        long,
        value_name = "TENANT",
        value_parser = parse_tenant,
        conflicts_with_all = ["batch", "parallel", "no_switch", "prune"]
    )]
    tenant: Option<Tenant>,
    /// Most records a second, of a part: documents [default: as many as the store takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Records in one write
    #[arg(
        long,
        value_name = "RECORDS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u32).range(1..=20_000)
    )]
    batch: u32,
    /// How many write at once, each its own partitions
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..=64)
    )]
    parallel: u32,
    /// Build and keep in step, but read the old one: the same command without
    /// this switches
    #[arg(long)]
    no_switch: bool,
    /// Delete the generations that are not read, and what a rebuild that died
    /// has left
    #[arg(long, conflicts_with_all = ["rate", "batch", "parallel", "no_switch"])]
    prune: bool,
    /// Only say what there is and what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Read the generation of a view that was read before
///
/// Waits until that generation is in step with the log, which takes no time
/// while the consumers of the view run, and switches by one write; no read
/// fails. The generation that was read until now is kept in turn: a second
/// rollback takes back the first.
///
/// Exit status: 0 done, 1 failed or nothing to go back to, 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings rollback history --brokers 127.0.0.1:9092
  tidings rollback search --dry-run")]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    view: ViewArgs,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Which view, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct ViewArgs {
    /// The view
    #[arg(value_name = "VIEW")]
    view: Name,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    stores: StoreArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// Events, messages, conversations, members, outcomes
    History,
    /// What is found by words
    Search,
    /// Copies of what is read most
    Cache,
}

impl From<Name> for ViewName {
    fn from(name: Name) -> Self {
        match name {
            Name::History => Self::History,
            Name::Search => Self::Search,
            Name::Cache => Self::Cache,
        }
    }
}

impl ViewArgs {
    pub(crate) async fn open(&self) -> Result<View> {
        target::open(self.view.into(), &self.place, &self.stores).await
    }
}

pub(crate) async fn rebuild(args: RebuildArgs) -> Result<ExitCode> {
    let stop = shutdown_signal().context("cannot catch signals")?;
    if args.conversation.is_some() || args.tenant.is_some() {
        return scope::rewrite(args, &stop).await;
    }
    let view = args.view.open().await?;
    let report = match (args.prune, args.dry_run) {
        (true, dry_run) => {
            let pruned = rebuild::prune(&view, dry_run, &stop).await?;
            report::show(args.json, &pruned, report::pruned)
        }
        (false, true) => {
            let status = rebuild::status(&view).await?;
            report::show(args.json, &status, report::status)
        }
        (false, false) => {
            let rebuilt = build(&args, &view, &stop).await?;
            report::show(args.json, &rebuilt, report::rebuilt)
        }
    };
    report.map(|()| ExitCode::SUCCESS)
}

async fn build(
    args: &RebuildArgs,
    view: &View,
    stop: &CancellationToken,
) -> Result<rebuild::Rebuilt, RebuildError> {
    let options = RebuildOptions {
        rate: args.rate,
        batch: args.batch as usize,
        parallel: args.parallel as usize,
        switch: !args.no_switch,
    };
    let bar = bar::Bar::new();
    let rebuilt = rebuild::rebuild(view, &options, stop, &|progress| bar.show(progress)).await;
    bar.clear();
    rebuilt
}

pub(crate) async fn rollback(args: RollbackArgs) -> Result<ExitCode> {
    let stop = shutdown_signal().context("cannot catch signals")?;
    let view = args.view.open().await?;
    let done = rebuild::rollback(&view, args.dry_run, &stop).await?;
    report::show(args.json, &done, report::rolled_back)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what was done, one way or the other.
fn print<T: serde::Serialize>(json: bool, done: &T, text: impl Fn(&T) -> String) -> Result<()> {
    match json {
        true => output::json(done),
        false => output::line(text(done).trim_end()),
    }
}
