//! `tidings pause` and `tidings resume`.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde::Serialize;
use tidings_log::Pause;
use tidings_wire::format_time;

use crate::lag::parse_consumer;
use crate::output;
use crate::place::PlaceArgs;

/// Let a consumer wait, until it is resumed
///
/// It stops within a second, stays alive, and is paused after a restart too.
/// `tidings lag` shows who paused it and why. Works on the data folder of a
/// `tidings dev` that is running, too. Of a view with several generations,
/// `history` pauses all of them and `history.g2` that one.
///
/// A sequencer that is paused decides nothing: commands become durable and are
/// `pending` until it goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings pause search --reason \"OpenSearch gets a new disk\"
  tidings pause history --reason \"redriving dead letters\" --by alice")]
pub(crate) struct PauseArgs {
    /// The consumer: sequencer, history, search, cache, or a generation such as history.g2
    #[arg(value_name = "CONSUMER", value_parser = parse_consumer)]
    consumer: String,
    /// Why, for whoever looks
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    reason: String,
    /// Who pauses it
    #[arg(long, env = "USER", value_name = "NAME")]
    by: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Let a paused consumer go on
///
/// It goes on within a second, where it was. One that is not paused stays as
/// it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings resume search")]
pub(crate) struct ResumeArgs {
    /// The consumer: sequencer, history, search, cache, or a generation such as history.g2
    #[arg(value_name = "CONSUMER", value_parser = parse_consumer)]
    consumer: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    consumer: &'a str,
    /// Whether it is paused now.
    paused: bool,
    /// Whether it was before.
    was_paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

fn parse_reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        1..=500 if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err("expected a line of 1 to 500 characters".to_owned()),
    }
}

pub(crate) fn pause(args: &PauseArgs) -> Result<ExitCode> {
    let runtime = crate::runtime()?;
    let log = runtime.block_on(args.place.open_log())?;
    let mut pauses = log.pauses()?;
    let was_paused = pauses.look()?.contains_key(&args.consumer);
    let pause = Pause::now(args.reason.clone(), args.by.clone());
    pauses.pause(&args.consumer, &pause)?;
    if !pauses.look()?.contains_key(&args.consumer) {
        bail!("somebody has resumed {} at this moment", args.consumer);
    }
    if args.consumer.starts_with("sequencer") {
        let warning = "tidings: while the sequencer is paused nothing is decided: what clients \
             send stays pending, and comes late";
        // Nothing is left to tell it to if stderr is gone.
        writeln!(io::stderr(), "{warning}").ok();
    }
    if args.json {
        output::json(&Report {
            consumer: &args.consumer,
            paused: true,
            was_paused,
            reason: Some(&pause.reason),
            since: Some(format_time(pause.since())),
        })?;
    } else {
        output::line(&format!("{} is paused", args.consumer))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn resume(args: &ResumeArgs) -> Result<ExitCode> {
    let runtime = crate::runtime()?;
    let log = runtime.block_on(args.place.open_log())?;
    let mut pauses = log.pauses()?;
    let known = pauses.look()?;
    let was_paused = known.contains_key(&args.consumer);
    let view = args.consumer.split('.').next().unwrap_or(&args.consumer);
    if !was_paused && known.contains_key(view) {
        bail!("{view} is paused as a whole: resume {view}");
    }
    if was_paused {
        pauses.resume(&args.consumer)?;
    }
    if args.json {
        output::json(&Report {
            consumer: &args.consumer,
            paused: false,
            was_paused,
            reason: None,
            since: None,
        })?;
    } else if was_paused {
        output::line(&format!("{} goes on", args.consumer))?;
    } else {
        output::line(&format!("{} was not paused", args.consumer))?;
    }
    Ok(ExitCode::SUCCESS)
}
