use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use tidings_wire::RegistryConfig;
use tidings_wire::schemas::{self, Report, SubjectReport};

use super::{FolderArgs, sameness_text};

/// Check that every version of every schema reads every other
///
/// Each version of a subject is compared with each other, both as writer and
/// as reader (FULL_TRANSITIVE), by Avro's rules of schema resolution, and each
/// golden record (a value as it was once written) is read with its own and
/// every later version. A breaking change is told with the two versions, the
/// field and the rule. Nothing is asked of a server.
///
/// With --dir the schemas of a folder under edit: a file that is not as
/// lock.json locked it is the draft of the next version, and is compared with
/// all that the folder and this program know.
///
/// With --registry-url also every version that a registry has, and whether it
/// checks new ones by FULL_TRANSITIVE. Registries lay schemas out anew, so they
/// are compared by what they say: field by field, types, defaults, docs.
///
/// Exit status: 0 compatible, 1 failed or a breaking change, 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings schemas check
  tidings schemas check --dir schemas
  tidings schemas check --registry-url http://127.0.0.1:8081 --json")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Compare with this schema registry, too: the base of its Confluent API
    #[arg(long, visible_alias = "registry", value_name = "URL")]
    registry_url: Option<String>,
    /// Put before each registry subject
    #[arg(
        long,
        env = "TIDINGS_TOPIC_PREFIX",
        value_name = "PREFIX",
        default_value = ""
    )]
    topic_prefix: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &CheckArgs) -> Result<ExitCode> {
    let set = args.folder.open()?;
    let mut report = schemas::check(&set);
    if let Some(url) = &args.registry_url {
        let registry = RegistryConfig {
            url: url.clone(),
            topic_prefix: args.topic_prefix.clone(),
        };
        let registered = schemas::registered(&registry).await?;
        schemas::check_registered(&set, &registered, &mut report);
    }
    super::print(args.json, &report, describe)?;
    Ok(ExitCode::from(u8::from(!report.compatible)))
}

fn describe(report: &Report) -> String {
    let mut text = String::new();
    for subject in &report.subjects {
        let versions: Vec<String> = subject.versions.iter().map(ToString::to_string).collect();
        // Writing to a String cannot fail.
        writeln!(
            text,
            "{:<28} {:<14} {:>3} golden records read {} times",
            subject.subject,
            versions.join(" "),
            subject.golden_records,
            subject.golden_reads,
        )
        .ok();
        describe_registry(subject, &mut text);
    }
    for finding in &report.breaking {
        let rule = finding.rule.text();
        writeln!(text, "\nBREAKING {}\n  {rule}", finding.message).ok();
    }
    let sum = |of: fn(&SubjectReport) -> usize| report.subjects.iter().map(of).sum::<usize>();
    let (pairs, reads) = (sum(|it| it.pairs), sum(|it| it.golden_reads));
    let outcome = match report.breaking.len() {
        0 => "Compatible".to_owned(),
        1 => "1 breaking change".to_owned(),
        many => format!("{many} breaking changes"),
    };
    let done = format!("{pairs} pairs of writer and reader, {reads} reads of golden records");
    writeln!(text, "\n{outcome}: {done}.").ok();
    text
}

fn describe_registry(subject: &SubjectReport, text: &mut String) {
    let Some(registry) = &subject.registry else {
        return;
    };
    for version in &registry.versions {
        let same = sameness_text(version.same);
        let is = match version.is {
            Some(label) => format!("{label}, {same}"),
            None => "none of these; compared with each".to_owned(),
        };
        writeln!(
            text,
            "  registry:{} id {}: {is}",
            version.version, version.id
        )
        .ok();
    }
    for label in &registry.missing {
        writeln!(text, "  {label} is not registered").ok();
    }
}
