use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tidings_wire::Topic;
use tidings_wire::schemas::{
    self, Difference, Facts, FieldChange, Kind, Label, RegisteredSubject, SchemaSet, Version,
    difference,
};

use super::{FolderArgs, parse_topic, sameness_text};
use crate::place::RegistryUrlArgs;

/// Show what is different between two versions of a schema
///
/// Fields and named types that were added, removed or changed, with types,
/// defaults and docs, and who can read whom. A version is a number (of
/// lock.json), `latest`, `draft` (what is in --dir and not locked yet), or one
/// that the registry has, by its count: `registry:2`, `registry:latest`.
/// Registries lay schemas out anew, so content is compared, not text.
///
/// Exit status: 0 each can read the other, 1 failed or one cannot, 2 wrong
/// usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings schemas diff message.edited
  tidings schemas diff message.delivered 1 2
  tidings schemas diff message.sent latest draft --dir schemas
  tidings schemas diff message.sent registry:latest latest --registry-url http://127.0.0.1:8081")]
pub(crate) struct DiffArgs {
    /// The topic, or its subject
    #[arg(value_name = "SUBJECT", value_parser = parse_topic)]
    topic: Topic,
    /// The version that was [default: the one before TO]
    #[arg(value_name = "FROM", value_parser = parse_which)]
    from: Option<Which>,
    /// The version that is [default: the draft, or else the latest]
    #[arg(value_name = "TO", value_parser = parse_which)]
    to: Option<Which>,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    registry: RegistryUrlArgs,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Which version is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// A version by its label.
    Labelled(Label),
    /// The newest that is locked.
    Latest,
    /// The newest that the registry has.
    LatestRegistered,
}

fn parse_which(text: &str) -> Result<Which, String> {
    let number = |text: &str| match text.parse() {
        Ok(number) if number > 0 => Some(number),
        _ => None,
    };
    let which = match text {
        "latest" => Some(Which::Latest),
        "draft" => Some(Which::Labelled(Label::Draft)),
        "registry:latest" => Some(Which::LatestRegistered),
        text => match text.strip_prefix("registry:") {
            Some(version) => number(version).map(|it| Which::Labelled(Label::Registered(it))),
            None => number(text.strip_prefix('v').unwrap_or(text))
                .map(|it| Which::Labelled(Label::Version(it))),
        },
    };
    which.ok_or_else(|| {
        "expected a version's number, latest, draft, registry:NUMBER or registry:latest".to_owned()
    })
}

impl Which {
    fn is_registered(self) -> bool {
        matches!(
            self,
            Self::LatestRegistered | Self::Labelled(Label::Registered(_))
        )
    }
}

#[derive(Serialize)]
struct Report {
    subject: String,
    #[serde(flatten)]
    difference: Difference,
}

pub(super) async fn run(args: &DiffArgs) -> Result<ExitCode> {
    let set = args.folder.open()?;
    let asked = [args.from, args.to].into_iter().flatten();
    let registered = match asked.into_iter().any(Which::is_registered) {
        true => Some(registered(args).await?),
        false => None,
    };
    let versions = Versions::of(&set, args.topic, registered)?;
    let to = match args.to {
        Some(which) => versions.find(which)?,
        None => versions.local.last().context("it has no version")?,
    };
    let from = match args.from {
        Some(which) => versions.find(which)?,
        None => versions.before(to)?,
    };
    let report = Report {
        subject: format!("{}-value", args.topic),
        difference: difference(args.topic, from, to),
    };
    super::print(args.json, &report, describe)?;
    let is_compatible = report.difference.backward && report.difference.forward;
    Ok(ExitCode::from(u8::from(!is_compatible)))
}

async fn registered(args: &DiffArgs) -> Result<RegisteredSubject> {
    let registry = args
        .registry
        .config()
        .context("which registry? Set SCHEMA_REGISTRY_URL or give --registry-url")?;
    let all = schemas::registered(&registry).await?;
    let mut all = all.into_iter();
    let found = all.find(|subject| subject.topic == args.topic);
    found.context("the registry has no such subject")
}

/// The versions that can be compared.
struct Versions {
    topic: Topic,
    local: Vec<Version>,
    registered: Vec<Version>,
}

impl Versions {
    fn of(set: &SchemaSet, topic: Topic, there: Option<RegisteredSubject>) -> Result<Self> {
        let local = set.of(topic).context("it has no schema")?.versions.clone();
        let mut registered = Vec::new();
        for version in there.into_iter().flat_map(|it| it.versions) {
            let label = Label::Registered(version.version);
            let parsed = Version::parse(label, Some(version.id), version.schema);
            let parsed = parsed
                .map_err(|error| anyhow::anyhow!("{topic} {label} is no Avro schema: {error}"))?;
            registered.push(parsed);
        }
        Ok(Self {
            topic,
            local,
            registered,
        })
    }

    fn find(&self, which: Which) -> Result<&Version> {
        let mut all = self.local.iter().chain(&self.registered);
        let found = match which {
            Which::Labelled(label) => all.find(|it| it.label == label),
            Which::Latest => self.local.iter().rfind(|it| it.label != Label::Draft),
            Which::LatestRegistered => self.registered.last(),
        };
        if let Some(found) = found {
            return Ok(found);
        }
        let topic = self.topic;
        match which {
            Which::Labelled(Label::Draft) => bail!(
                "{topic} has no draft: give --dir a folder whose {topic}.avsc is not as locked"
            ),
            Which::Labelled(label) => {
                let all = self.local.iter().chain(&self.registered);
                let there: Vec<String> = all.map(|it| it.label.to_string()).collect();
                bail!("{topic} has no {label}, but {}", there.join(", "))
            }
            _ => bail!("the registry has no version of {topic}"),
        }
    }

    /// The version before another one.
    fn before(&self, version: &Version) -> Result<&Version> {
        let all = match version.label {
            Label::Registered(_) => &self.registered,
            _ => &self.local,
        };
        let before = all.iter().take_while(|it| it.label != version.label).last();
        let topic = self.topic;
        before.with_context(|| {
            format!(
                "{topic} has no version before {}: there is nothing to compare",
                version.label
            )
        })
    }
}

fn describe(report: &Report) -> String {
    let found = &report.difference;
    let (from, to) = (found.from, found.to);
    let mut text = format!(
        "{} {from} → {to}: {}\n",
        report.subject,
        sameness_text(found.same)
    );
    for change in &found.changes {
        describe_change(change, &mut text);
    }
    let can = |it: bool| if it { "can" } else { "CANNOT" };
    // Writing to a String cannot fail.
    writeln!(
        text,
        "Readers with {to} {} read what {from} wrote.",
        can(found.backward)
    )
    .ok();
    writeln!(
        text,
        "Readers with {from} {} read what {to} writes.",
        can(found.forward)
    )
    .ok();
    for found in &found.breaking {
        writeln!(text, "BREAKING {}\n  {}", found.message, found.rule.text()).ok();
    }
    text
}

fn describe_change(change: &FieldChange, text: &mut String) {
    let name = match change.kind {
        Kind::Field => format!("`{}`", change.path),
        Kind::Type => format!("type {}", change.path),
    };
    match (&change.from, &change.to) {
        (None, Some(to)) => describe_whole("+", &name, to, text),
        (Some(from), None) => describe_whole("-", &name, from, text),
        (Some(from), Some(to)) => {
            writeln!(text, "~ {name}").ok();
            let mut aspect = |what: &str, from: &str, to: &str| {
                if from != to {
                    writeln!(text, "    {what}: {from}\n    {:>1$} {to}", "→", what.len()).ok();
                }
            };
            aspect("type", &from.type_name, &to.type_name);
            aspect("default", &default(from), &default(to));
            aspect("aliases", &from.aliases.join(", "), &to.aliases.join(", "));
            let doc = |facts: &Facts| facts.doc.clone().unwrap_or_else(|| "none".to_owned());
            aspect("doc", &doc(from), &doc(to));
        }
        (None, None) => {}
    }
}

fn describe_whole(sign: &str, name: &str, facts: &Facts, text: &mut String) {
    let (kind, default) = (&facts.type_name, default(facts));
    writeln!(text, "{sign} {name} {kind}, default {default}").ok();
    if let Some(doc) = &facts.doc {
        writeln!(text, "    {doc}").ok();
    }
}

fn default(facts: &Facts) -> String {
    match &facts.default {
        Some(default) => default.to_string(),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let label = |label| Ok(Which::Labelled(label));
        assert_eq!(parse_which("2"), label(Label::Version(2)));
        assert_eq!(parse_which("v2"), label(Label::Version(2)));
        assert_eq!(parse_which("draft"), label(Label::Draft));
        assert_eq!(parse_which("registry:3"), label(Label::Registered(3)));
        assert_eq!(parse_which("latest"), Ok(Which::Latest));
        assert_eq!(parse_which("registry:latest"), Ok(Which::LatestRegistered));
        for text in ["", "0", "-1", "registry:", "registry:x", "newest"] {
            assert!(parse_which(text).is_err(), "{text}");
        }
    }

    #[test]
    fn subjects_are_read() {
        assert_eq!(parse_topic("message.sent"), Ok(Topic::MessageSent));
        assert_eq!(parse_topic("message.sent-value"), Ok(Topic::MessageSent));
        assert!(parse_topic("dead.history").is_err());
        assert!(parse_topic("message").is_err());
    }
}
