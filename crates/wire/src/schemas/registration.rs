use serde::Serialize;

use super::{Label, Sameness, SchemaSet, Subject, Version, breaks, sameness};
use crate::codec::COMPATIBILITY;
use crate::codec::registry::Registry;
use crate::{RegistryConfig, RegistryError, Topic};

/// A version that a registry has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredVersion {
    /// By the registry's count.
    pub version: u32,
    /// Its id there.
    pub id: u32,
    /// The schema, laid out as the registry likes.
    pub schema: String,
}

/// What a registry has of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredSubject {
    /// The topic.
    pub topic: Topic,
    /// The subject, with the deployment's prefix.
    pub subject: String,
    /// Its compatibility level, its own or the registry's.
    pub compatibility: Option<String>,
    /// Its versions, oldest first.
    pub versions: Vec<RegisteredVersion>,
}

/// What was done with a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// The subject, with the deployment's prefix.
    pub subject: String,
    /// The compatibility level that it had, its own or the registry's.
    pub compatibility_was: Option<String>,
    /// The level that it has, or with a dry run would have.
    pub compatibility: &'static str,
    /// Each of our versions, oldest first.
    pub versions: Vec<Registered>,
}

/// What was done with a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Registered {
    /// Which of ours.
    pub is: Label,
    /// Its number in the registry, where it is there.
    pub version: Option<u32>,
    /// Its id in the registry, where it is there.
    pub id: Option<u32>,
    /// What was done.
    pub outcome: Outcome,
    /// How far what the registry has is the same, where it is there.
    pub same: Option<Sameness>,
}

/// What was done with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was there.
    Known,
    /// It is there now.
    New,
    /// A dry run: it would be there.
    WouldBeNew,
    /// A newer one is there and it is not: no record of this log can have been
    /// written with it, and after the newer one it would pass for the latest.
    LeftOut,
}

/// What a registry has of every subject. Must be called in a tokio runtime.
///
/// # Errors
/// [`RegistryError`].
pub async fn registered(config: &RegistryConfig) -> Result<Vec<RegisteredSubject>, RegistryError> {
    let registry = Registry::new(config)?;
    let mut subjects = Vec::with_capacity(Topic::WITH_SCHEMA.len());
    for topic in Topic::WITH_SCHEMA {
        subjects.push(RegisteredSubject {
            topic,
            subject: registry.subject(topic),
            compatibility: registry.compatibility(topic).await?,
            versions: versions(&registry, topic).await?,
        });
    }
    Ok(subjects)
}

/// Sets `FULL_TRANSITIVE` and registers every version of every schema that this
/// program knows, oldest first. What is there already stays. With `dry_run`
/// nothing is changed, and the registry is asked whether it would take what is
/// missing. Must be called in a tokio runtime.
///
/// # Errors
/// [`RegistryError`]. What was registered until then is, and stays so when this
/// is done again.
pub async fn register(
    config: &RegistryConfig,
    dry_run: bool,
) -> Result<Vec<Registration>, RegistryError> {
    let registry = Registry::new(config)?;
    let mut registrations = Vec::new();
    for subject in &SchemaSet::built_in().subjects {
        registrations.push(register_subject(&registry, subject, dry_run).await?);
    }
    Ok(registrations)
}

async fn register_subject(
    registry: &Registry,
    subject: &Subject,
    dry_run: bool,
) -> Result<Registration, RegistryError> {
    let topic = subject.topic;
    let compatibility_was = registry.compatibility(topic).await?;
    // First, so that the registry checks our schemas by it. Where there is no
    // subject yet there is nothing to check.
    let mut is_set = dry_run || registry.set_compatibility(topic).await?;
    let there = versions(registry, topic).await?;
    let newest = subject
        .versions
        .iter()
        .rposition(|it| find(&there, it).is_some());
    let mut done = Vec::with_capacity(subject.versions.len());
    let mut ids = vec![None; subject.versions.len()];
    for (at, version) in subject.versions.iter().enumerate() {
        let found = find(&there, version);
        let outcome = match (found, newest) {
            (Some(_), _) => Outcome::Known,
            (None, Some(newest)) if at < newest => Outcome::LeftOut,
            (None, _) if dry_run => {
                let theirs = registry.objection(topic, &version.text).await?;
                // Where its level is not set yet it would object only later.
                let objection = theirs.or_else(|| objection(topic, version, &there));
                if let Some(message) = objection {
                    return Err(RegistryError::Refused {
                        subject: registry.subject(topic),
                        message: format!("{} would be refused: {message}", version.label),
                    });
                }
                Outcome::WouldBeNew
            }
            (None, _) => {
                let id = registry.register_text(topic, &version.text).await?;
                if !is_set {
                    is_set = registry.set_compatibility(topic).await?;
                }
                ids[at] = Some(id);
                // A registry may take it for one that it has.
                match there.iter().any(|it| it.id == id) {
                    true => Outcome::Known,
                    false => Outcome::New,
                }
            }
        };
        done.push(outcome);
    }
    if !dry_run {
        registry.check_compatibility(topic).await?;
    }
    let there = match done.contains(&Outcome::New) {
        true => versions(registry, topic).await?,
        false => there,
    };
    let ours = subject.versions.iter().zip(ids).zip(done);
    let versions = ours.map(|((version, id), outcome)| {
        let by_id = || {
            let found = there.iter().find(|it| Some(it.id) == id)?;
            Some((found, sameness(&found.schema, &version.text)))
        };
        let found = find(&there, version).map(|(it, same)| (it, Some(same)));
        let found = found.or_else(by_id);
        Registered {
            is: version.label,
            version: found.map(|(it, _)| it.version),
            id: found.map(|(it, _)| it.id).or(id),
            outcome,
            same: found.and_then(|(_, same)| same),
        }
    });
    Ok(Registration {
        subject: registry.subject(topic),
        compatibility_was,
        compatibility: COMPATIBILITY,
        versions: versions.collect(),
    })
}

/// What `FULL_TRANSITIVE` has against a version beside those that are there.
fn objection(topic: Topic, version: &Version, there: &[RegisteredVersion]) -> Option<String> {
    there.iter().find_map(|theirs| {
        let label = Label::Registered(theirs.version);
        let theirs = match Version::parse(label, Some(theirs.id), theirs.schema.clone()) {
            Ok(theirs) => theirs,
            Err(error) => return Some(format!("{label} is no Avro schema: {error}")),
        };
        let (ours, theirs) = (version.side(), theirs.side());
        let mut found = breaks(topic.name(), theirs, ours);
        found.extend(breaks(topic.name(), ours, theirs));
        found.into_iter().next().map(|found| found.message)
    })
}

async fn versions(
    registry: &Registry,
    topic: Topic,
) -> Result<Vec<RegisteredVersion>, RegistryError> {
    let version = |(version, id, schema)| RegisteredVersion {
        version,
        id,
        schema,
    };
    Ok(registry
        .versions(topic)
        .await?
        .into_iter()
        .map(version)
        .collect())
}

/// The registered version that is this one of ours, but for its layout. One
/// with other docs is another: registries number it anew.
fn find<'a>(
    there: &'a [RegisteredVersion],
    ours: &Version,
) -> Option<(&'a RegisteredVersion, Sameness)> {
    let same = there
        .iter()
        .filter_map(|it| sameness(&it.schema, &ours.text).map(|same| (it, same)))
        .filter(|(_, same)| *same <= Sameness::Content);
    same.min_by_key(|(_, same)| *same)
}

/// Which of a subject's versions a registered one is.
pub(super) fn same_as(subject: &Subject, theirs: &RegisteredVersion) -> Option<(Label, Sameness)> {
    let same = subject.versions.iter().filter_map(|ours| {
        let same = sameness(&theirs.schema, &ours.text)?;
        Some((ours.label, same))
    });
    same.min_by_key(|(_, same)| *same)
}
