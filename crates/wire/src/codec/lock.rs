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
    (
        "history/message.edited.v1.avsc",
        include_str!("../../../../schemas/history/message.edited.v1.avsc"),
    ),
    (
        "history/message.delivered.v1.avsc",
        include_str!("../../../../schemas/history/message.delivered.v1.avsc"),
    ),
    (
        "history/conversation.state.v1.avsc",
        include_str!("../../../../schemas/history/conversation.state.v1.avsc"),
    ),
];

static LOCK: LazyLock<BTreeMap<String, Vec<Version>>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../../schemas/lock.json"))
        .expect("schemas/lock.json is checked by a test")
});

/// A version of a subject's schema, as the lock file has it.
#[derive(Debug, Deserialize)]
#[cfg_attr(
    not(feature = "registry"),
    expect(dead_code, reason = "what schemas are compared by")
)]
pub(crate) struct Version {
    /// Its place in the subject's history: 1, 2, 3 …
    pub(crate) version: u32,
    /// The schema id in records of the embedded log.
    pub(crate) id: u32,
    /// The schema's file, below `schemas/`.
    pub(crate) file: String,
    /// SHA-256 of the file, in hex.
    pub(crate) sha256: String,
}

/// The registry subject of a topic's values, without a deployment's prefix.
pub(crate) fn subject(topic: Topic) -> String {
    format!("{topic}-value")
}

/// Every version of a topic's schema, oldest first.
pub(crate) fn versions(topic: Topic) -> &'static [Version] {
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
pub(crate) fn file(name: &str) -> Option<&'static str> {
    FILES
        .iter()
        .find(|(file, _)| *file == name)
        .map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use apache_avro::Schema;
    use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
    use serde_json::Value;
    use sha2::{Digest as _, Sha256};

    use super::{FILES, LOCK, file, schema, versions};
    use crate::Topic;

    fn parse(text: &str) -> Schema {
        Schema::parse_str(text).unwrap()
    }

    fn mutual(one: &Schema, other: &Schema) -> bool {
        matches!(
            SchemaCompatibility::mutual_read(one, other),
            Ok(Compatibility::Full)
        )
    }

    #[test]
    fn a_locked_schema_never_changes() {
        for version in LOCK.values().flatten() {
            let text = file(&version.file).expect("a file that lock.json names is compiled in");
            let bytes = Sha256::digest(text.as_bytes());
            let sha256: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(
                sha256, version.sha256,
                "schemas/{0} is not what schemas/lock.json locked. A schema that has been \
                 written with must not change: move the locked text to schemas/history, and \
                 give the new one a version of its own, as schemas/README.md tells.",
                version.file,
            );
        }
    }

    #[test]
    fn ids_and_versions_are_in_order() {
        let mut ids = BTreeSet::new();
        for (subject, versions) in &*LOCK {
            for (expected, version) in (1..).zip(versions) {
                assert_eq!(version.version, expected, "{subject}");
                assert!(ids.insert(version.id), "id {} is given twice", version.id);
            }
        }
        let named: BTreeSet<&str> = LOCK
            .values()
            .flatten()
            .map(|version| version.file.as_str())
            .collect();
        let compiled: BTreeSet<&str> = FILES.iter().map(|(file, _)| *file).collect();
        assert_eq!(named, compiled);
        for topic in Topic::WITH_SCHEMA {
            assert_eq!(
                versions(topic).last().unwrap().file,
                format!("{topic}.avsc")
            );
        }
    }

    #[test]
    fn every_version_reads_every_other() {
        for topic in Topic::WITH_SCHEMA {
            let newest = parse(schema(topic).unwrap());
            for version in versions(topic) {
                let other = parse(file(&version.file).unwrap());
                assert!(
                    mutual(&newest, &other),
                    "{topic}: its newest schema and version {} cannot read each other; a new \
                     field needs a default, and a field without one cannot go",
                    version.version,
                );
            }
        }
    }

    #[test]
    fn an_incompatible_change_would_be_noticed() {
        let text = schema(Topic::MessageRead).unwrap();
        let mut json: Value = serde_json::from_str(text).unwrap();
        let fields = json["fields"].as_array_mut().unwrap();
        fields.push(serde_json::json!({"name": "device", "type": "string"}));
        assert!(!mutual(&parse(text), &parse(&json.to_string())));
        let fields = json["fields"].as_array_mut().unwrap();
        fields.pop();
        fields.push(serde_json::json!({"name": "device", "type": "string", "default": ""}));
        assert!(mutual(&parse(text), &parse(&json.to_string())));
    }

    #[test]
    fn every_field_says_what_it_is_and_what_is_optional_defaults_to_null() {
        fn check(topic: Topic, schema: &Value) {
            match schema {
                Value::Object(object) => {
                    if object.get("type").is_some_and(|kind| kind == "record") {
                        assert!(object.contains_key("doc"), "{topic}: {}", object["name"]);
                        for field in object["fields"].as_array().unwrap() {
                            let name = &field["name"];
                            assert!(field["doc"].is_string(), "{topic}: {name} has no doc");
                            if let Some(union) = field["type"].as_array() {
                                assert_eq!(union.len(), 2, "{topic}: {name}");
                                assert_eq!(union[0], "null", "{topic}: {name}");
                                assert_eq!(field.get("default"), Some(&Value::Null), "{name}");
                            }
                        }
                    }
                    object.values().for_each(|value| check(topic, value));
                }
                Value::Array(values) => values.iter().for_each(|value| check(topic, value)),
                Value::String(kind) => assert_ne!(kind, "enum", "{topic}: an enum cannot grow"),
                _ => {}
            }
        }
        for topic in Topic::WITH_SCHEMA {
            check(
                topic,
                &serde_json::from_str(schema(topic).unwrap()).unwrap(),
            );
        }
    }
}
