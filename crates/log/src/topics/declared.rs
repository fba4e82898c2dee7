use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use tidings_wire::Topic;

use super::TopicsError;

/// The declarations this build was made with, by file name.
const BUILT_IN: [(&str, &str); 5] = [
    (
        "commands.toml",
        include_str!("../../../../topics/commands.toml"),
    ),
    (
        "dead-letters.toml",
        include_str!("../../../../topics/dead-letters.toml"),
    ),
    (
        "decisions.toml",
        include_str!("../../../../topics/decisions.toml"),
    ),
    ("notes.toml", include_str!("../../../../topics/notes.toml")),
    (
        "snapshots.toml",
        include_str!("../../../../topics/snapshots.toml"),
    ),
];

/// How every topic should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    topics: BTreeMap<Topic, DeclaredTopic>,
    prefix: String,
}

/// How a topic should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredTopic {
    /// How many partitions; the same of all topics.
    pub partitions: i32,
    /// How many brokers are to hold each partition, where it is made anew.
    pub replication_factor: i32,
    /// Its settings, as Kafka names them.
    pub configs: BTreeMap<String, String>,
}

/// One file: topics that are alike.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    topics: Vec<String>,
    partitions: i32,
    replication_factor: i32,
    configs: BTreeMap<String, toml::Value>,
}

impl Declared {
    /// The declarations in `topics/` of this version.
    #[must_use]
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the declarations of this version were tested")
    }

    /// The declarations in the `*.toml` files of a folder.
    ///
    /// # Errors
    /// [`TopicsError::Declaration`] where a file cannot be read, or they do not
    /// declare every topic once and with the same number of partitions.
    pub fn from_dir(dir: &Path) -> Result<Self, TopicsError> {
        let wrong = |path: &Path, err: std::io::Error| TopicsError::Declaration {
            file: path.display().to_string(),
            message: err.to_string(),
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(|err| wrong(dir, err))? {
            let path = entry.map_err(|err| wrong(dir, err))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                let text = std::fs::read_to_string(&path).map_err(|err| wrong(&path, err))?;
                files.push((path.display().to_string(), text));
            }
        }
        files.sort();
        Self::parse(
            files
                .iter()
                .map(|(file, text)| (file.as_str(), text.as_str())),
        )
    }

    /// The declarations in the texts of files, each with its name.
    ///
    /// # Errors
    /// [`TopicsError::Declaration`], as [`from_dir`](Self::from_dir).
    pub fn parse<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, TopicsError> {
        let mut topics = BTreeMap::new();
        for (file, text) in files {
            let wrong = |message: String| TopicsError::Declaration {
                file: file.to_owned(),
                message,
            };
            let group: File = toml::from_str(text).map_err(|err| wrong(err.to_string()))?;
            if group.partitions < 1 || group.replication_factor < 1 {
                return Err(wrong(
                    "partitions and replication_factor are at least 1".into(),
                ));
            }
            let declared = DeclaredTopic {
                partitions: group.partitions,
                replication_factor: group.replication_factor,
                configs: config_texts(group.configs).map_err(&wrong)?,
            };
            for name in group.topics {
                let topic =
                    Topic::parse(&name).ok_or_else(|| wrong(format!("no topic '{name}'")))?;
                if topics.insert(topic, declared.clone()).is_some() {
                    return Err(wrong(format!("'{name}' is declared twice")));
                }
            }
            if let Some((other, _)) = topics
                .iter()
                .find(|(_, t)| t.partitions != group.partitions)
            {
                return Err(wrong(format!(
                    "all topics have the same number of partitions, and '{other}' has another"
                )));
            }
        }
        let all = "the topics' declarations".to_owned();
        match Topic::ALL
            .into_iter()
            .find(|topic| !topics.contains_key(topic))
        {
            Some(missing) => Err(TopicsError::Declaration {
                file: all,
                message: format!("'{missing}' is not declared"),
            }),
            None => Ok(Self {
                topics,
                prefix: String::new(),
            }),
        }
    }

    /// The same, with `prefix` before each topic's name.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// The same, with another number of partitions for every topic.
    #[must_use]
    pub fn with_partitions(mut self, partitions: i32) -> Self {
        self.topics
            .values_mut()
            .for_each(|topic| topic.partitions = partitions);
        self
    }

    /// The same, with another number of replicas for every topic that is made.
    #[must_use]
    pub fn with_replication_factor(mut self, replication_factor: i32) -> Self {
        self.topics
            .values_mut()
            .for_each(|t| t.replication_factor = replication_factor);
        self
    }

    /// How a topic should be, to be changed.
    ///
    /// # Panics
    /// Never: every topic is declared.
    pub fn topic_mut(&mut self, topic: Topic) -> &mut DeclaredTopic {
        self.topics
            .get_mut(&topic)
            .expect("every topic is declared")
    }

    /// Each topic, its name in the cluster, and how it should be.
    pub fn iter(&self) -> impl Iterator<Item = (Topic, String, &DeclaredTopic)> {
        self.topics
            .iter()
            .map(|(topic, declared)| (*topic, format!("{}{topic}", self.prefix), declared))
    }
}

/// Kafka's settings are texts; in the files they may be numbers and booleans.
fn config_texts(
    configs: BTreeMap<String, toml::Value>,
) -> Result<BTreeMap<String, String>, String> {
    let text = |name: &str, value: toml::Value| match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(yes) => Ok(yes.to_string()),
        _ => Err(format!(
            "'{name}' is neither a text nor a number nor a boolean"
        )),
    };
    configs
        .into_iter()
        .map(|(name, value)| Ok((name.clone(), text(&name, value)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{BUILT_IN, Declared};
    use tidings_wire::Topic;

    #[test]
    fn the_built_in_declarations_keep_the_history_for_ever() {
        let mut declared = Declared::built_in();
        let delivered = &declared.topic_mut(Topic::MessageDelivered).configs;
        assert_eq!(delivered["cleanup.policy"], "delete");
        assert_eq!(delivered["retention.ms"], "-1");
        assert_eq!(delivered["retention.bytes"], "-1");
        let state = &declared.topic_mut(Topic::ConversationState).configs;
        assert_eq!(state["cleanup.policy"], "compact");
        assert_eq!(state["min.cleanable.dirty.ratio"], "0.2");
    }

    #[test]
    fn the_folder_in_the_source_is_what_is_built_in() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topics");
        assert_eq!(Declared::from_dir(&dir).unwrap(), Declared::built_in());
    }

    #[test]
    fn wrong_declarations_say_what_is_wrong() {
        let commands = BUILT_IN[0].1;
        let wrong = |text: &str| {
            let mut files = BUILT_IN;
            files[0].1 = text;
            Declared::parse(files).unwrap_err().to_string()
        };
        let cases = [
            (
                commands.replace("\"message.read\",", ""),
                "'message.read' is not declared",
            ),
            (
                commands.replace("message.read", "message.red"),
                "no topic 'message.red'",
            ),
            (
                commands.replace("message.read", "message.sent"),
                "'message.sent' is declared twice",
            ),
            (
                commands.replace("partitions = 12", "partitions = 6"),
                "the same number of partitions",
            ),
            (
                commands.replace("partitions = 12", "partitions = 0"),
                "at least 1",
            ),
            (
                commands.replace("partitions = 12", "partition = 12"),
                "unknown field `partition`",
            ),
        ];
        for (text, expected) in cases {
            let message = wrong(&text);
            assert!(message.contains(expected), "{expected:?} in {message:?}");
        }
    }
}
