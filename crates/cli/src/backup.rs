//! `tidings backup` and `tidings restore`.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidings_log::kafka::KafkaLog;
use tidings_operate::backup::{
    FolderOptions, FolderReport, LogReport, Phase, Progress, RestoreReport, RestoreTarget, Schemas,
    back_up_folder, back_up_log, restore_folder, restore_log,
};

use crate::output;
use crate::place::{Place, PlaceArgs};

/// Back up a data folder, or the decisions in Kafka, to files
///
/// Of a data folder: log, views and the secret that tokens are signed with, as
/// they are at one moment, also while `tidings dev` runs. The backup's folder
/// must be new or empty.
///
/// Of a cluster: all of message.delivered, byte by byte. Everything else can be
/// made of it, but for commands that are not decided yet. A run on a folder that
/// holds a backup of the same log adds what is new, and goes on where an earlier
/// one was interrupted.
///
/// A backup is as confidential as what it is of: nothing in it is encrypted.
///
/// Exit status: 0 done, 1 failed or refused, 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings backup /backup/monday
  tidings backup /backup/monday --data /srv/tidings --without-secret
  tidings backup /backup/decisions --brokers 127.0.0.1:9092 --registry-url http://127.0.0.1:8081")]
pub(crate) struct BackupArgs {
    /// Folder of the backup
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    #[command(flatten)]
    place: PlaceArgs,
    /// Leave out the secret of a data folder: its clients need new tokens after a restore
    #[arg(long)]
    without_secret: bool,
    /// Only tell what would be backed up
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Restore a data folder, or the decisions in Kafka, from a backup
///
/// Everything is verified by its digests before anything is put in place, and
/// what was put in place again after it.
///
/// A data folder must be new or empty; then `tidings dev` goes on with it.
///
/// A cluster's topics must be made (`tidings topics apply`) and empty, with as
/// many partitions, edges and sequencers stopped, and the registry must have the
/// same schemas by the same ids. Every record gets the offset it had, and the
/// command topics go on where they had been. Views are then built anew by their
/// projections. One that was interrupted goes on when it is run again.
///
/// Exit status: 0 done, 1 failed or refused, 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings restore /backup/monday --data /srv/tidings
  tidings restore /backup/decisions --brokers 127.0.0.1:9092 --registry-url http://127.0.0.1:8081
  tidings restore /backup/decisions --brokers 127.0.0.1:9092 --dry-run")]
pub(crate) struct RestoreArgs {
    /// Folder of the backup
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    #[command(flatten)]
    place: PlaceArgs,
    /// Restore what there is of a cluster's backup that was interrupted
    #[arg(long)]
    allow_incomplete: bool,
    /// Leave out the secret of a data folder: its clients need new tokens
    #[arg(long)]
    without_secret: bool,
    /// Only verify, and tell what would be restored
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) async fn back_up(args: BackupArgs) -> Result<()> {
    let bar = Bar::default();
    let watch = |progress| bar.show(progress);
    let shown = args.backup.display();
    match args.place.place() {
        Place::Folder(data) => {
            let options = FolderOptions {
                without_secret: args.without_secret,
                dry_run: args.dry_run,
            };
            let report = tokio::task::block_in_place(|| {
                back_up_folder(&data, &args.backup, options, &watch)
            })?;
            bar.end();
            if report.secret && !report.dry_run {
                tell(&format!(
                    "{shown}/jwt-secret is the secret that tokens are signed with: who has it can \
                     speak for anybody. Keep the backup as safe, or leave it out with \
                     --without-secret."
                ));
            }
            if args.json {
                return output::json(&report);
            }
            output::line(&match report.records {
                Some(records) => format!(
                    "Backed up {} to {shown}: {} records.",
                    HumanBytes(report.bytes),
                    HumanCount(records)
                ),
                None => format!(
                    "Would back up {} at most to {shown}.",
                    HumanBytes(report.bytes)
                ),
            })
        }
        Place::Kafka(brokers) => {
            let (log, schemas) = cluster(&args.place, brokers).await?;
            let report = back_up_log(&log, &schemas, &args.backup, args.dry_run, &watch).await?;
            bar.end();
            if args.json {
                return output::json(&report);
            }
            output::line(&of_log_backup(&report, &shown.to_string()))
        }
    }
}

fn of_log_backup(report: &LogReport, shown: &str) -> String {
    let LogReport {
        held,
        added,
        partitions,
        dry_run,
    } = report;
    let verb = if *dry_run {
        "Would back up"
    } else {
        "Backed up"
    };
    format!(
        "{verb} {} records of {partitions} partitions to {shown}, which held {}.",
        HumanCount(*added),
        HumanCount(*held)
    )
}

pub(crate) async fn restore(args: RestoreArgs) -> Result<()> {
    let bar = Bar::default();
    let watch = |progress| bar.show(progress);
    match args.place.place() {
        Place::Folder(data) => {
            let options = FolderOptions {
                without_secret: args.without_secret,
                dry_run: args.dry_run,
            };
            let report = tokio::task::block_in_place(|| {
                restore_folder(&args.backup, &data, options, &watch)
            })?;
            bar.end();
            if args.json {
                return output::json(&report);
            }
            output::line(&of_folder_restore(&report, &data.display().to_string()))
        }
        Place::Kafka(brokers) => {
            let (log, schemas) = cluster(&args.place, brokers.clone()).await?;
            let target = RestoreTarget {
                log: &log,
                schemas: &schemas,
                allow_incomplete: args.allow_incomplete,
                dry_run: args.dry_run,
            };
            let report = restore_log(&args.backup, target, &watch).await?;
            bar.end();
            if args.json {
                return output::json(&report);
            }
            output::line(&of_log_restore(&report, &brokers))
        }
    }
}

fn of_folder_restore(report: &FolderReport, shown: &str) -> String {
    let what = match report.dry_run {
        true => "The backup is as it was written; would restore",
        false => "Restored",
    };
    let secret = match report.secret {
        true => "with the secret that tokens are signed with",
        false => "without a secret: clients need new tokens",
    };
    format!(
        "{what} {} to {shown}: {} records, {secret}.",
        HumanBytes(report.bytes),
        HumanCount(report.records.unwrap_or_default())
    )
}

fn of_log_restore(report: &RestoreReport, shown: &str) -> String {
    let RestoreReport {
        held,
        written,
        filled,
        partitions,
        dry_run,
    } = report;
    let what = match dry_run {
        true => "The backup is as it was written; would restore",
        false => "Restored",
    };
    format!(
        "{what} {} records of {partitions} partitions to {shown}, which held {}; command topics go \
         on {} offsets later.",
        HumanCount(*written),
        HumanCount(*held),
        HumanCount(*filled)
    )
}

/// The log of a cluster and its registry. Not by a codec, which would register
/// schemas: a restore must not.
async fn cluster(place: &PlaceArgs, brokers: String) -> Result<(KafkaLog, Schemas)> {
    let registry = place.registry.config().context(
        "records name their schemas by the registry's ids: set SCHEMA_REGISTRY_URL or give \
         --registry-url",
    )?;
    let schemas = Schemas::new(&registry.url)?;
    Ok((place.connect(&brokers).await?, schemas))
}

fn tell(text: &str) {
    // Nothing is left to tell it to if stderr is gone.
    use std::io::Write;
    writeln!(io::stderr(), "tidings: {text}").ok();
}

/// A progress bar a phase, on a terminal only.
#[derive(Default)]
struct Bar {
    now: Mutex<Option<(Phase, ProgressBar)>>,
}

impl Bar {
    fn show(&self, progress: Progress) {
        if !io::stderr().is_terminal() {
            return;
        }
        let Ok(mut now) = self.now.lock() else {
            return;
        };
        if now
            .as_ref()
            .is_none_or(|(phase, _)| *phase != progress.phase)
        {
            if let Some((_, bar)) = now.take() {
                bar.finish_and_clear();
            }
            *now = Some((progress.phase, bar_of(progress.phase)));
        }
        if let Some((_, bar)) = now.as_ref() {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        }
    }

    fn end(&self) {
        if let Ok(mut now) = self.now.lock()
            && let Some((_, bar)) = now.take()
        {
            bar.finish_and_clear();
        }
    }
}

fn bar_of(phase: Phase) -> ProgressBar {
    let template = match phase.in_bytes() {
        true => "{msg} {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
        false => "{msg} {wide_bar} {pos}/{len} records  {per_sec}  {eta} left",
    };
    let style = ProgressStyle::with_template(template);
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(phase.name())
}
