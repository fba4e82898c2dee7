//! `tidings verify`.

mod bar;
mod print;
mod target;

pub(crate) use bar::Bar;
pub(crate) use target::{Target, open as open_target};

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::ValueEnum;
use tidings_domain::{ConversationId, Tenant};
use tidings_operate::verify::{Options, Repair, Scope, verify};
use uuid::Uuid;

use crate::output;
use crate::place::PlaceArgs;
use crate::stores::StoreArgs;

/// Compare a view with the log, document by document, and mend it
///
/// The view is computed anew from the log, by the same fold, into a temporary
/// file up to where the view stands; then both are compared: first by sums over
/// buckets, then the documents that differ. Told are documents that are
/// missing, that should not be there, and that are otherwise, field by field;
/// positions and owners that are not what the log says; lost indexes, aliases
/// and version stamps. In the cache only what is there is looked at: what is
/// not there is not missed.
///
/// The projection goes on meanwhile and causes no false alarms. With --repair
/// just the documents that are wrong are put right (of the cache: dropped),
/// beside a projection that runs; the data folder of a `tidings dev` that is
/// running can be compared, but not repaired.
///
/// Message texts are shown only with --show-texts, else their lengths and
/// hashes. The temporary file holds them too, in $TMPDIR, for this user alone,
/// and is gone when this ends; it takes about as much room as the view.
///
/// It can be interrupted and run again. Exit status: 0 nothing is wrong (with
/// --repair: any more), 1 something is, or it failed, 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings verify history --data ./tidings-data
  tidings verify history --brokers 127.0.0.1:9092 --mongodb-uri mongodb://127.0.0.1/tidings
  tidings verify search --sample 5
  tidings verify cache --conversation 0b0c5d8e-… --json
  tidings verify history --repair --dry-run
  tidings verify history --repair")]
pub(crate) struct VerifyArgs {
    /// The view
    #[arg(value_name = "VIEW")]
    view: ViewName,
    /// Only this conversation
    #[arg(long, value_name = "ID", value_parser = parse_conversation)]
    conversation: Option<ConversationId>,
    /// Only this tenant
    #[arg(long, value_name = "TENANT", value_parser = parse_tenant)]
    tenant: Option<Tenant>,
    /// Only this share of the conversations, always the same ones
    #[arg(
        long,
        value_name = "PERCENT",
        value_parser = parse_percent,
        conflicts_with = "conversation"
    )]
    sample: Option<f64>,
    /// Put right what is wrong
    #[arg(long)]
    repair: bool,
    /// Only say what would be put right
    #[arg(long, requires = "repair")]
    dry_run: bool,
    /// Show texts in what differs
    #[arg(long)]
    show_texts: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    stores: StoreArgs,
}

/// A view, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ViewName {
    /// Events, messages, conversations, members, outcomes
    History,
    /// What is searched
    Search,
    /// Copies of what is read most
    Cache,
}

pub(crate) fn parse_conversation(text: &str) -> Result<ConversationId, String> {
    Uuid::try_parse(text)
        .map(ConversationId)
        .map_err(|_| "expected a UUID".to_owned())
}

pub(crate) fn parse_tenant(text: &str) -> Result<Tenant, String> {
    Tenant::parse(text).map_err(|error| error.to_string())
}

fn parse_percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent),
        _ => Err("expected a number above 0 and up to 100".to_owned()),
    }
}

pub(crate) async fn run(args: VerifyArgs) -> Result<ExitCode> {
    let is_repair = args.repair && !args.dry_run;
    let target = target::open(args.view, is_repair, &args.place, &args.stores).await?;
    let scope = Scope {
        conversation_id: args.conversation,
        tenant: args.tenant,
        sample: args.sample,
    };
    let bar = Arc::new(Bar::new());
    let shown = Arc::clone(&bar);
    let is_text = !args.json;
    let differences = Arc::clone(&bar);
    let options = Options {
        repair: if is_repair { Repair::Yes } else { Repair::No },
        show_texts: args.show_texts,
        rate: None,
        progress: Some(Arc::new(move |progress| shown.show(progress))),
        each: is_text.then(|| -> Arc<dyn Fn(&_) + Send + Sync> {
            Arc::new(move |difference| differences.above(|| print::difference(difference)))
        }),
    };
    let report = verify(target.log, target.codec, &target.view, &scope, &options).await;
    bar.clear();
    let report = report?;
    if args.json {
        output::json(&print::Document::of(&report, args.repair, args.dry_run))?;
    } else {
        print::report(&report, args.repair, args.dry_run)?;
    }
    let is_right = if is_repair {
        report.is_right_now()
    } else {
        report.is_clean()
    };
    Ok(ExitCode::from(u8::from(!is_right)))
}
