//! `schemas/`, compiled in: the schemas, and the ids of the lock file.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::Topic;

/// Every file that `schemas/lock.json` names.
const FILES: &[(&str, &str)] = &[
    (
        "message.sent.avsc",
        include_str!("../../../../schemas/message.sent.avsc"),
    ),
    (
        "message.edited.avsc",
        include_str!("../../../../schemas/message.edited.avsc"),
    ),
    (
        "message.deleted.avsc",
        include_str!("../../../../schemas/message.deleted.avsc"),
    ),
    (
        "message.reacted.avsc",
        include_str!("../../../../schemas/message.reacted.avsc"),
    ),
    (
        "message.read.avsc",
        include_str!("../../../../schemas/message.read.avsc"),
    ),
    (
        "conversation.updated.avsc",
        include_str!("../../../../schemas/conversation.updated.avsc"),
    ),
    (
        "message.delivered.avsc",
        include_str!("../../../../schemas/message.delivered.avsc"),
    ),
    (
        "conversation.state.avsc",
        include_str!("../../../../schemas/conversation.state.avsc"),
    ),
];

static LOCK: LazyLock<BTreeMap<String, Vec<Version>>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../../schemas/lock.json"))
        .expect("schemas/lock.json is checked by a test")
});

/// A version of a subject's schema, as the lock file has it.
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    /// Its place in the subject's history: 1, 2, 3 …
    #[cfg(test)]
    pub(super) version: u32,
    /// The schema id in records of the embedded log.
    pub(super) id: u32,
    /// The schema's file, below `schemas/`.
    pub(super) file: String,
    /// SHA-256 of the file, in hex.
    #[cfg(test)]
    pub(super) sha256: String,
}

/// The registry subject of a topic's values, without a deployment's prefix.
pub(super) fn subject(topic: Topic) -> String {
    format!("{topic}-value")
}

/// Every version of a topic's schema, oldest first.
pub(super) fn versions(topic: Topic) -> &'static [Version] {
    LOCK.get(&subject(topic)).map_or(&[], Vec::as_slice)
}

/// The id of the newest version of a topic's schema.
pub(super) fn id(topic: Topic) -> Option<u32> {
    versions(topic).last().map(|newest| newest.id)
}

/// The text of the newest version of a topic's schema.
pub(super) fn schema(topic: Topic) -> Option<&'static str> {
    versions(topic).last().and_then(|newest| file(&newest.file))
}

/// The text of the schema with this id.
pub(super) fn schema_of_id(id: u32) -> Option<&'static str> {
    let version = LOCK.values().flatten().find(|version| version.id == id)?;
    file(&version.file)
}

/// The text of a file of `schemas/`.
pub(super) fn file(name: &str) -> Option<&'static str> {
    FILES
        .iter()
        .find(|(file, _)| *file == name)
        .map(|(_, text)| *text)
}
