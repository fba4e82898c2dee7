use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tidings_service::lifecycle::{retry_with_backoff, shutdown_signal};
use tidings_wire::RegistryError;
use tidings_wire::schemas::{self, Outcome, Registration};

use super::sameness_text;
use crate::place::RegistryUrlArgs;

/// Register every version of every schema in the registry, in order
///
/// Sets the compatibility of each subject to FULL_TRANSITIVE first. What is
/// there already stays, so this can be done again; a version that is there in
/// another layout is there. One that is older than what the registry has is
/// left out: no record can have been written with it there. What the registry
/// refuses ends it; what was registered until then is.
///
/// A registry that does not answer is waited for.
///
/// Exit status: 0 all is registered (with --dry-run: could be), 1 failed or
/// refused, 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings schemas register --registry-url http://127.0.0.1:8081 --dry-run
  SCHEMA_REGISTRY_URL=http://127.0.0.1:8081 tidings schemas register")]
pub(crate) struct RegisterArgs {
    #[command(flatten)]
    registry: RegistryUrlArgs,
    /// Change nothing: show what is missing, and ask whether it would be taken
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    subjects: Vec<Registration>,
}

pub(super) async fn run(args: &RegisterArgs) -> Result<ExitCode> {
    let registry = args
        .registry
        .config()
        .context("which registry? Set SCHEMA_REGISTRY_URL or give --registry-url")?;
    let stop = shutdown_signal().context("cannot catch signals")?;
    let done = retry_with_backoff("the schema registry", &stop, async || {
        match schemas::register(&registry, args.dry_run).await {
            Err(error @ RegistryError::Unavailable { .. }) => {
                // Nothing is left to tell it to if stderr is gone.
                writeln!(io::stderr(), "tidings: waiting for the registry: {error}").ok();
                Err(error)
            }
            other => Ok(other),
        }
    });
    let Some(done) = done.await else {
        bail!("ended before the registry answered; the same command goes on");
    };
    let report = Report {
        dry_run: args.dry_run,
        subjects: done?,
    };
    super::print(args.json, &report, describe)?;
    Ok(ExitCode::SUCCESS)
}

fn describe(report: &Report) -> String {
    let mut text = format!(
        "{:<32} {:<8} {:>8} {:>6}\n",
        "SUBJECT", "VERSION", "REGISTRY", "ID"
    );
    let number = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
    for subject in &report.subjects {
        for version in &subject.versions {
            let outcome = match version.outcome {
                Outcome::Known => format!("is there, {}", sameness_text(version.same)),
                Outcome::New => "new".to_owned(),
                Outcome::WouldBeNew => "would be new".to_owned(),
                Outcome::LeftOut => "left out, a newer one is there".to_owned(),
            };
            // Writing to a String cannot fail.
            writeln!(
                text,
                "{:<32} {:<8} {:>8} {:>6}  {outcome}",
                subject.subject,
                version.is.to_string(),
                number(version.version),
                number(version.id),
            )
            .ok();
        }
        let is = subject.compatibility;
        if subject.compatibility_was.as_deref() != Some(is) {
            let was = subject.compatibility_was.as_deref().unwrap_or("not set");
            let verb = if report.dry_run { "would be" } else { "is now" };
            writeln!(text, "  its compatibility was {was} and {verb} {is}").ok();
        }
    }
    text
}
