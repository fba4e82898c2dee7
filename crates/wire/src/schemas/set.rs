use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, fs, io};

use apache_avro::Schema;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::check::Finding;
use super::{Golden, Rule, Side};
use crate::Topic;
use crate::codec::lock;

/// Which version of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// A version of `lock.json`.
    Version(u32),
    /// What is in a folder, and is not locked yet: the next version.
    Draft,
    /// A version that a registry has, by the registry's count.
    Registered(u32),
}

impl Label {
    /// Whether this is known to be the older one.
    #[must_use]
    pub fn is_before(self, other: Self) -> bool {
        match (self, other) {
            (Self::Registered(one), Self::Registered(other)) => one < other,
            (Self::Registered(_), _) | (_, Self::Registered(_)) => false,
            (one, other) => one < other,
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "v{version}"),
            Self::Draft => f.write_str("draft"),
            Self::Registered(version) => write!(f, "registry:{version}"),
        }
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A version of a schema.
#[derive(Clone, Debug)]
pub struct Version {
    /// Which.
    pub label: Label,
    /// Its id: in the embedded log, or in the registry. A draft has none.
    pub id: Option<u32>,
    /// The schema as it is written.
    pub text: Cow<'static, str>,
    schema: Schema,
}

impl Version {
    /// Reads a schema.
    ///
    /// # Errors
    /// Why it is no schema.
    pub fn parse(
        label: Label,
        id: Option<u32>,
        text: impl Into<Cow<'static, str>>,
    ) -> Result<Self, String> {
        let text = text.into();
        let schema = Schema::parse_str(&text).map_err(|error| error.to_string())?;
        Ok(Self {
            label,
            id,
            text,
            schema,
        })
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// One side of a comparison.
    #[must_use]
    pub fn side(&self) -> Side<'_> {
        Side {
            label: self.label,
            schema: &self.schema,
        }
    }
}

/// The versions of a topic's schema.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The topic.
    pub topic: Topic,
    /// Oldest first, a draft last.
    pub versions: Vec<Version>,
}

impl Subject {
    /// The subject's name, without a deployment's prefix.
    #[must_use]
    pub fn name(&self) -> String {
        lock::subject(self.topic)
    }

    /// The version of this label.
    #[must_use]
    pub fn version(&self, label: Label) -> Option<&Version> {
        self.versions.iter().find(|it| it.label == label)
    }
}

/// Every version of every schema, and what was once written with them.
#[derive(Clone, Debug)]
pub struct SchemaSet {
    /// In the order of [`Topic::WITH_SCHEMA`].
    pub subjects: Vec<Subject>,
    /// As they are named.
    pub goldens: Vec<Golden>,
    /// Locked versions that are not as they were.
    pub(super) findings: Vec<Finding>,
}

/// A file of schemas that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {message}")]
pub struct SchemaSetError {
    /// Which, below the folder.
    pub file: String,
    /// Why.
    pub message: String,
}

impl SchemaSetError {
    fn new(file: impl Into<String>, error: impl fmt::Display) -> Self {
        Self {
            file: file.into(),
            message: error.to_string(),
        }
    }
}

impl SchemaSet {
    /// The schemas that this program writes and reads.
    ///
    /// # Panics
    /// Never: they are checked by tests.
    #[must_use]
    pub fn built_in() -> Self {
        const WHY: &str = "the schemas compiled in are checked by tests";
        let subject = |topic| Subject {
            topic,
            versions: built_in(topic).expect(WHY),
        };
        Self {
            subjects: Topic::WITH_SCHEMA.map(subject).to_vec(),
            goldens: Golden::built_in().expect(WHY),
            findings: Vec::new(),
        }
    }

    /// The schemas of a folder like `schemas/`: `<topic>.avsc`, `history/`,
    /// `lock.json` and `golden/`, each where it is there. A file that is not
    /// as `lock.json` locked it is a draft of the next version.
    ///
    /// # Errors
    /// [`SchemaSetError`]: a file that cannot be read, or is no schema.
    pub fn in_folder(folder: &Path) -> Result<Self, SchemaSetError> {
        let lock = match read(folder, "lock.json")? {
            Some(text) => {
                let lock = serde_json::from_str(&text);
                Some(lock.map_err(|error| SchemaSetError::new("lock.json", error))?)
            }
            None => None,
        };
        let mut set = Self {
            subjects: Vec::new(),
            goldens: goldens(folder)?,
            findings: Vec::new(),
        };
        let mut files = 0;
        for topic in Topic::WITH_SCHEMA {
            let subject = set.subject(folder, topic, lock.as_ref(), &mut files)?;
            set.subjects.push(subject);
        }
        if files == 0 {
            let expected = format!("no schemas here, such as {}.avsc", Topic::WITH_SCHEMA[0]);
            return Err(SchemaSetError::new(folder.display().to_string(), expected));
        }
        Ok(set)
    }

    /// The subject of a topic.
    #[must_use]
    pub fn of(&self, topic: Topic) -> Option<&Subject> {
        self.subjects.iter().find(|subject| subject.topic == topic)
    }

    fn subject(
        &mut self,
        folder: &Path,
        topic: Topic,
        lock: Option<&BTreeMap<String, Vec<lock::Version>>>,
        files: &mut usize,
    ) -> Result<Subject, SchemaSetError> {
        let mut versions = built_in(topic)?;
        let known: &[lock::Version] = lock
            .and_then(|lock| lock.get(&lock::subject(topic)))
            .map_or(&[], Vec::as_slice);
        for locked in known {
            let text = read(folder, &locked.file)?.ok_or_else(|| {
                SchemaSetError::new(&locked.file, "lock.json names it, and it is not there")
            })?;
            let label = Label::Version(locked.version);
            let built = lock::versions(topic)
                .iter()
                .find(|it| it.version == locked.version);
            if built.is_some_and(|built| built.sha256 != locked.sha256) {
                self.add_finding(topic, label, "is not the schema that was released as it");
            }
            if sha256(&text) == locked.sha256 {
                let version = Version::parse(label, Some(locked.id), text);
                let version = version.map_err(|error| SchemaSetError::new(&locked.file, error))?;
                versions.retain(|it| it.label != label);
                versions.push(version);
            } else if built.is_none() || locked.file != format!("{topic}.avsc") {
                let what = format!("is not as lock.json locked it: {} has changed", locked.file);
                self.add_finding(topic, label, &what);
            }
        }
        if lock.is_some() {
            for built in lock::versions(topic) {
                if !known.iter().any(|it| it.version == built.version) {
                    let label = Label::Version(built.version);
                    self.add_finding(topic, label, "is in lock.json no more");
                }
            }
        }
        versions.sort_by_key(|version| version.label);

        let file = format!("{topic}.avsc");
        if let Some(text) = read(folder, &file)? {
            *files += 1;
            if !versions.iter().any(|version| version.text == text) {
                let draft = Version::parse(Label::Draft, None, text);
                versions.push(draft.map_err(|error| SchemaSetError::new(&file, error))?);
            }
        }
        Ok(Subject { topic, versions })
    }

    fn add_finding(&mut self, topic: Topic, label: Label, what: &str) {
        self.findings.push(Finding {
            subject: lock::subject(topic),
            writer: Some(label),
            reader: None,
            path: String::new(),
            rule: Rule::Locked,
            message: format!("{topic} {label} {what}"),
        });
    }
}

fn built_in(topic: Topic) -> Result<Vec<Version>, SchemaSetError> {
    let version = |locked: &'static lock::Version| {
        let text = lock::file(&locked.file);
        let text = text.ok_or_else(|| SchemaSetError::new(&locked.file, "not compiled in"))?;
        Version::parse(Label::Version(locked.version), Some(locked.id), text)
            .map_err(|error| SchemaSetError::new(&locked.file, error))
    };
    lock::versions(topic).iter().map(version).collect()
}

/// The golden files of a folder; where it has none, those compiled in.
fn goldens(folder: &Path) -> Result<Vec<Golden>, SchemaSetError> {
    let entries = match fs::read_dir(folder.join("golden")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Golden::built_in(),
        other => other.map_err(|error| SchemaSetError::new("golden", error))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| SchemaSetError::new("golden", error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".bin") {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    let golden = |name: &String| {
        let file = format!("golden/{name}.bin");
        let value = fs::read(folder.join(&file));
        let value = value.map_err(|error| SchemaSetError::new(&file, error))?;
        let file = format!("golden/{name}.json");
        let says = read(folder, &file)?;
        let says = says.ok_or_else(|| SchemaSetError::new(&file, "is not there"))?;
        Golden::new(name, Cow::Owned(value), &says)
    };
    names.iter().map(golden).collect()
}

fn read(folder: &Path, file: &str) -> Result<Option<String>, SchemaSetError> {
    match fs::read_to_string(folder.join(file)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SchemaSetError::new(file, error)),
    }
}

fn sha256(text: &str) -> String {
    let bytes = Sha256::digest(text.as_bytes());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
