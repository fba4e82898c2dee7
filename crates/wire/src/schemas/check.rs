use serde::Serialize;

use super::registration::{RegisteredSubject, same_as};
use super::{Break, Label, Rule, Sameness, SchemaSet, Subject, Version, breaks};
use crate::codec::COMPATIBILITY;

/// Something that breaks the promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The subject.
    pub subject: String,
    /// The version that writes, or that it is about.
    pub writer: Option<Label>,
    /// The version that reads.
    pub reader: Option<Label>,
    /// The field, as in [`Break::path`]; of a golden file its name.
    pub path: String,
    /// The rule that is broken.
    pub rule: Rule,
    /// What and why.
    pub message: String,
}

impl Finding {
    fn of_break(subject: &Subject, found: Break) -> Self {
        Self {
            subject: subject.name(),
            writer: Some(found.writer),
            reader: Some(found.reader),
            path: found.path,
            rule: found.rule,
            message: found.message,
        }
    }
}

/// What was checked, and what was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether nothing was found.
    pub compatible: bool,
    /// Every subject.
    pub subjects: Vec<SubjectReport>,
    /// Each breaking change.
    pub breaking: Vec<Finding>,
}

impl Report {
    fn add(&mut self, finding: Finding) {
        self.compatible = false;
        self.breaking.push(finding);
    }
}

/// What was checked of a subject.
#[derive(Clone, Debug, Serialize)]
pub struct SubjectReport {
    /// Its name.
    pub subject: String,
    /// Its versions, oldest first.
    pub versions: Vec<Label>,
    /// How many pairs of a writer and a reader were compared.
    pub pairs: usize,
    /// How many golden records there are.
    pub golden_records: usize,
    /// How often one was read, each with its own and every later version.
    pub golden_reads: usize,
    /// What the registry has; none: it was not asked.
    pub registry: Option<InRegistry>,
}

/// What a registry has of a subject.
#[derive(Clone, Debug, Serialize)]
pub struct InRegistry {
    /// Its compatibility level; none: not set.
    pub compatibility: Option<String>,
    /// Its versions.
    pub versions: Vec<VersionInRegistry>,
    /// Versions that it does not have.
    pub missing: Vec<Label>,
}

/// A version that a registry has.
#[derive(Clone, Debug, Serialize)]
pub struct VersionInRegistry {
    /// By the registry's count.
    pub version: u32,
    /// Its id there.
    pub id: u32,
    /// Which of ours it is; none: none.
    pub is: Option<Label>,
    /// How far it is the same.
    pub same: Option<Sameness>,
}

/// Compares every version of every subject with every other, both as writer
/// and as reader, and reads every golden record with its own and each later
/// version.
#[must_use]
pub fn check(set: &SchemaSet) -> Report {
    let mut report = Report {
        compatible: set.findings.is_empty(),
        subjects: Vec::with_capacity(set.subjects.len()),
        breaking: set.findings.clone(),
    };
    for subject in &set.subjects {
        let mut checked = SubjectReport {
            subject: subject.name(),
            versions: subject.versions.iter().map(|it| it.label).collect(),
            pairs: 0,
            golden_records: 0,
            golden_reads: 0,
            registry: None,
        };
        for writer in &subject.versions {
            for reader in &subject.versions {
                if writer.label != reader.label {
                    checked.pairs += 1;
                    compare(subject, writer, reader, &mut report);
                }
            }
        }
        check_goldens(set, subject, &mut checked, &mut report);
        report.subjects.push(checked);
    }
    report
}

fn compare(subject: &Subject, writer: &Version, reader: &Version, report: &mut Report) {
    for found in breaks(subject.topic.name(), writer.side(), reader.side()) {
        report.add(Finding::of_break(subject, found));
    }
}

fn check_goldens(
    set: &SchemaSet,
    subject: &Subject,
    checked: &mut SubjectReport,
    report: &mut Report,
) {
    for golden in set.goldens.iter().filter(|it| it.topic == subject.topic) {
        checked.golden_records += 1;
        let finding = |reader: Option<Label>, message: String| Finding {
            subject: subject.name(),
            writer: Some(golden.label()),
            reader,
            path: golden.name.clone(),
            rule: Rule::Golden,
            message: format!("golden record {} {message}", golden.name),
        };
        let Some(writer) = subject.version(golden.label()) else {
            report.add(finding(
                None,
                "is of a version that there is not".to_owned(),
            ));
            continue;
        };
        let later = |it: &&Version| !it.label.is_before(golden.label());
        for reader in subject.versions.iter().filter(later) {
            checked.golden_reads += 1;
            if let Err(message) = golden.read(writer, reader) {
                report.add(finding(Some(reader.label), message));
            }
        }
    }
}

/// Adds to a report what a registry has: every version there is compared with
/// every one of ours that it is not, both ways, and the level that the registry
/// itself checks new versions by.
pub fn check_registered(set: &SchemaSet, registered: &[RegisteredSubject], report: &mut Report) {
    for there in registered {
        let Some(subject) = set.of(there.topic) else {
            continue;
        };
        let mut versions = Vec::with_capacity(there.versions.len());
        for theirs in &there.versions {
            let same = same_as(subject, theirs);
            versions.push(VersionInRegistry {
                version: theirs.version,
                id: theirs.id,
                is: same.map(|(label, _)| label),
                same: same.map(|(_, same)| same),
            });
            if same.is_none() {
                compare_registered(subject, theirs, report);
            }
        }
        let is_there = |label: Label| versions.iter().any(|it| it.is == Some(label));
        let ours = subject.versions.iter().map(|it| it.label);
        let in_registry = InRegistry {
            compatibility: there.compatibility.clone(),
            missing: ours.filter(|label| !is_there(*label)).collect(),
            versions,
        };
        if there.compatibility.as_deref() != Some(COMPATIBILITY) {
            let found = there.compatibility.as_deref().unwrap_or("not set");
            report.add(Finding {
                subject: there.subject.clone(),
                writer: None,
                reader: None,
                path: String::new(),
                rule: Rule::CompatibilityLevel,
                message: format!(
                    "the compatibility of {} is {found} in the registry and must be \
                     {COMPATIBILITY}: `tidings schemas register` sets it",
                    there.subject
                ),
            });
        }
        let checked = report.subjects.iter_mut();
        for checked in checked.filter(|it| it.subject == subject.name()) {
            checked.registry = Some(in_registry.clone());
        }
    }
}

fn compare_registered(subject: &Subject, theirs: &super::RegisteredVersion, report: &mut Report) {
    let label = Label::Registered(theirs.version);
    let theirs = match Version::parse(label, Some(theirs.id), theirs.schema.clone()) {
        Ok(version) => version,
        Err(error) => {
            report.add(Finding {
                subject: subject.name(),
                writer: Some(label),
                reader: None,
                path: String::new(),
                rule: Rule::TypeMismatch,
                message: format!("{} {label} is no Avro schema: {error}", subject.topic),
            });
            return;
        }
    };
    for ours in &subject.versions {
        compare(subject, &theirs, ours, report);
        compare(subject, ours, &theirs, report);
    }
}
