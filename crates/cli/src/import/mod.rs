//! `tidings import`.

mod report;
mod room;
mod sockets;

use std::collections::HashSet;
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context, Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidings_domain::UserId;
use tidings_irc::Script;
use tidings_service::config::parse_duration;
use tidings_service::lifecycle::Backoff;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::report::Summary;
use self::room::Settings;
use crate::client::{Bye, ClientArgs, Dialer};
use crate::output;

/// How long a server that was never reached is waited for.
const FIRST_CONTACT: Duration = Duration::from_secs(5);

/// Import chat logs through the socket protocol
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Import {
    Irc(IrcArgs),
}

/// Import IRC logs, one conversation a file
///
/// Every nick speaks for itself, over a socket of its own: joins, leaves and
/// renames become membership, actions (/me) are kept, and where X.raw.txt has
/// an X.annotation.txt beside it, its replies become replies. Lines keep their
/// order. Importing a file again makes no duplicate, and finishes an import
/// that was cut off.
///
/// Exit status: 0 all is in the log, 1 something is missing or was rejected,
/// 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings import irc logs/*.raw.txt
  tidings import irc --url ws://127.0.0.1:7701,ws://127.0.0.1:7702 --json chat.raw.txt")]
pub(crate) struct IrcArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The logs
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Files imported at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    parallel: u16,
    /// Sockets open at the same time, for each file
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..))]
    sockets: u16,
    /// Stop after this long without any answer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    give_up_after: Duration,
    /// Print the summary as one JSON document
    #[arg(long)]
    json: bool,
}

/// A file, read.
struct Source {
    name: String,
    script: Script,
}

pub(crate) async fn run(import: Import) -> Result<ExitCode> {
    let Import::Irc(args) = import;
    let sources = read_all(&args.files)?;
    let dialer = Dialer::new(&args.client)?;
    make_contact(&dialer).await?;
    let settings = Settings {
        dialer,
        sockets: args.sockets.into(),
        give_up_after: args.give_up_after,
    };

    let begun = Instant::now();
    let lines = sources
        .iter()
        .map(|source| source.script.counts.lines as u64)
        .sum();
    let bar = progress_bar(lines);
    let turns = Arc::new(Semaphore::new(args.parallel.into()));
    let mut imports = JoinSet::new();
    let count = sources.len();
    for (index, source) in sources.into_iter().enumerate() {
        let (settings, bar, turns) = (settings.clone(), bar.clone(), Arc::clone(&turns));
        imports.spawn(async move {
            let turn = turns.acquire().await;
            let report = room::import(&settings, &source.name, &source.script, &bar).await;
            drop(turn);
            (index, report)
        });
    }
    let mut reports = Vec::with_capacity(count);
    while let Some(report) = imports.join_next().await {
        reports.push(report?);
    }
    bar.finish_and_clear();
    reports.sort_by_key(|(index, _)| *index);
    let reports = reports.into_iter().map(|(_, report)| report).collect();

    let summary = Summary::new(reports, begun.elapsed().as_secs_f64());
    if args.json {
        output::json(&summary)?;
    } else {
        output::line(&summary.describe())?;
    }
    let complete = summary.files.iter().all(report::Report::is_complete);
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn read_all(files: &[PathBuf]) -> Result<Vec<Source>> {
    let mut names = HashSet::new();
    let mut sources = Vec::with_capacity(files.len());
    for path in files {
        let source = read(path)?;
        if !names.insert(source.name.clone()) {
            bail!(
                "two files are named {}: each name is one conversation",
                source.name
            );
        }
        sources.push(source);
    }
    Ok(sources)
}

fn read(path: &Path) -> Result<Source> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path
        .file_name()
        .ok_or_else(|| anyhow!("{} is no file", path.display()))?;
    let name = name.to_string_lossy().into_owned();
    tidings_domain::check_title(&name).map_err(|error| {
        anyhow!(
            "the name of {} cannot be a title: {}",
            path.display(),
            error.message
        )
    })?;
    let log = tidings_irc::parse(&bytes);
    let replies = match annotation_file(path) {
        None => Default::default(),
        Some(annotations) => match fs::read_to_string(&annotations) {
            Ok(text) => tidings_irc::parse_annotations(&text, &log),
            Err(error) if error.kind() == ErrorKind::NotFound => Default::default(),
            Err(error) => {
                let shown = annotations.display();
                return Err(error).with_context(|| format!("cannot read {shown}"));
            }
        },
    };
    Ok(Source {
        name,
        script: tidings_irc::script(&log, &replies),
    })
}

/// `X.annotation.txt` of `X.raw.txt`.
fn annotation_file(path: &Path) -> Option<PathBuf> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".raw.txt")?;
    Some(path.with_file_name(format!("{stem}.annotation.txt")))
}

/// Sees that there is a server at all, so that a wrong address is told at once
/// and not after a minute.
async fn make_contact(dialer: &Dialer) -> Result<()> {
    let probe = UserId::parse("irc:import").map_err(|error| anyhow!(error.message))?;
    let begun = Instant::now();
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    loop {
        let error = match dialer.open(&probe).await {
            Ok(mut socket) => {
                socket.close(None).await.ok();
                return Ok(());
            }
            Err(error) => error,
        };
        if let Some(bye) = error.downcast_ref::<Bye>().filter(|bye| bye.is_final()) {
            return Err(anyhow!(bye.clone()).context(
                "the server refuses our tokens: TIDINGS_JWT_SECRET (or --data) must be the server's",
            ));
        }
        if begun.elapsed() > FIRST_CONTACT {
            let shown = dialer.shown();
            return Err(error.context(format!(
                "no server at {shown}: start one with `tidings dev`, or say with --url where it is"
            )));
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

fn progress_bar(lines: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(Some(lines), ProgressDrawTarget::hidden());
    }
    let template = "{wide_bar} {pos}/{len} lines  {per_sec}  {eta} left";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(lines).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_stand_beside_raw_logs() {
        let beside = |path: &str| annotation_file(Path::new(path));
        assert_eq!(
            beside("a/x.raw.txt"),
            Some(PathBuf::from("a/x.annotation.txt"))
        );
        assert_eq!(beside("a/x.txt"), None);
    }
}
