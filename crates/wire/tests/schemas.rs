//! The schemas checked as a set: those compiled in, and folders under edit.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_wire::Topic;
use tidings_wire::schemas::{Finding, Kind, Label, Rule, SchemaSet, Version, check, difference};

const SENT: &str = "message.sent.avsc";

/// A copy of `schemas/`, to be edited.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
        for below in ["", "history", "golden"] {
            fs::create_dir_all(folder.path().join(below)).unwrap();
            for entry in fs::read_dir(schemas.join(below)).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    let to = folder.path().join(below).join(entry.file_name());
                    fs::copy(entry.path(), to).unwrap();
                }
            }
        }
        Self(folder)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Changes a file that is JSON.
    fn edit(&self, file: &str, edit: impl FnOnce(&mut Value)) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        let mut value = serde_json::from_str(&text).unwrap();
        edit(&mut value);
        fs::write(self.path(file), format!("{value:#}")).unwrap();
    }

    fn breaking(&self) -> Vec<Finding> {
        check(&SchemaSet::in_folder(self.0.path()).unwrap()).breaking
    }
}

fn fields(schema: &mut Value) -> &mut Vec<Value> {
    schema["fields"].as_array_mut().unwrap()
}

fn remove(schema: &mut Value, name: &str) {
    fields(schema).retain(|field| field["name"] != name);
}

#[test]
fn what_is_compiled_in_is_compatible() {
    let report = check(&SchemaSet::built_in());
    assert!(report.compatible, "{:#?}", report.breaking);
    assert_eq!(report.subjects.len(), Topic::WITH_SCHEMA.len());
    let edited = &report.subjects[1];
    assert_eq!(edited.versions, [Label::Version(1), Label::Version(2)]);
    assert_eq!(edited.pairs, 2);
    // One of v1, read with both; two of v2.
    assert_eq!((edited.golden_records, edited.golden_reads), (3, 4));
}

#[test]
fn a_folder_that_is_not_edited_is_what_is_compiled_in() {
    let folder = Folder::new();
    let set = SchemaSet::in_folder(folder.0.path()).unwrap();
    let built_in = SchemaSet::built_in();
    for (folder, built_in) in set.subjects.iter().zip(&built_in.subjects) {
        let labels = |versions: &[Version]| -> Vec<(Label, Option<u32>)> {
            versions.iter().map(|it| (it.label, it.id)).collect()
        };
        assert_eq!(labels(&folder.versions), labels(&built_in.versions));
    }
    assert_eq!(set.goldens.len(), built_in.goldens.len());
    assert_eq!(folder.breaking(), []);
}

#[test]
fn an_edited_schema_is_a_draft_that_is_compared_with_what_was() {
    let folder = Folder::new();
    folder.edit(SENT, |schema| {
        let field = json!({"name": "device", "type": ["null", "string"], "default": null});
        fields(schema).push(field);
    });
    assert_eq!(folder.breaking(), []);
    let set = SchemaSet::in_folder(folder.0.path()).unwrap();
    let labels = set.of(Topic::MessageSent).unwrap().versions.iter();
    let labels: Vec<Label> = labels.map(|it| it.label).collect();
    assert_eq!(labels, [Label::Version(1), Label::Draft]);

    folder.edit(SENT, |schema| remove(schema, "content"));
    let found = folder.breaking();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        found[0].message,
        "field `content` of message.sent draft was removed without a default: readers with v1 \
         cannot read it"
    );
    assert_eq!(found[0].subject, "message.sent-value");
    assert_eq!(found[0].path, "content");
    assert_eq!(found[0].rule, Rule::MissingDefault);
    let labels = (found[0].writer, found[0].reader);
    assert_eq!(labels, (Some(Label::Draft), Some(Label::Version(1))));
}

#[test]
fn a_golden_record_that_is_read_otherwise_is_found() {
    let folder = Folder::new();
    let golden = "golden/message.sent.v1.01";
    folder.edit(&format!("{golden}.json"), |says| {
        says["content"]["text"] = "something else".into();
    });
    let found = folder.breaking();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].rule, Rule::Golden);
    assert_eq!(
        found[0].message,
        "golden record message.sent.v1.01 says something else in `content.text` when it is read \
         with v1"
    );

    let file = folder.path(&format!("{golden}.bin"));
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let found = folder.breaking();
    assert_eq!(found.len(), 1, "{found:#?}");
    let message = &found[0].message;
    assert!(
        message.contains("cannot be read with v1: the value ends too early"),
        "{message}"
    );
}

#[test]
fn a_change_of_type_breaks_readers_and_golden_records() {
    let folder = Folder::new();
    folder.edit(SENT, |schema| {
        let fields = fields(schema).iter_mut();
        for field in fields.filter(|field| field["name"] == "temp_id") {
            field["type"] = "long".into();
        }
    });
    let found = folder.breaking();
    let of = |rule| found.iter().filter(|it| it.rule == rule).count();
    assert_eq!(of(Rule::TypeMismatch), 2, "{found:#?}");
    assert_eq!(of(Rule::Golden), 2, "{found:#?}");
}

#[test]
fn a_locked_version_stays() {
    let folder = Folder::new();
    folder.edit("history/message.edited.v1.avsc", |schema| {
        schema["doc"] = "Another doc.".into();
    });
    folder.edit("lock.json", |lock| {
        lock["message.delivered-value"]
            .as_array_mut()
            .unwrap()
            .remove(0);
        lock["conversation.state-value"][0]["sha256"] = "0".into();
    });
    let found = folder.breaking();
    assert!(found.iter().all(|it| it.rule == Rule::Locked), "{found:#?}");
    let about = |topic: &str| {
        let of = found.iter().filter(|it| it.subject.starts_with(topic));
        of.map(|it| it.message.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(
        about("message.edited"),
        "message.edited v1 is not as lock.json locked it: history/message.edited.v1.avsc has \
         changed"
    );
    assert_eq!(
        about("message.delivered"),
        "message.delivered v1 is in lock.json no more"
    );
    let state = about("conversation.state");
    assert!(
        state.contains("is not the schema that was released as it"),
        "{state}"
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = Folder::new();
    fs::write(folder.path(SENT), "{").unwrap();
    let error = SchemaSet::in_folder(folder.0.path()).unwrap_err();
    assert_eq!(error.file, SENT);
    fs::remove_file(folder.path(SENT)).unwrap();
    let error = SchemaSet::in_folder(folder.0.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("message.sent.avsc: lock.json names it"),
        "{error}"
    );
    let empty = tempfile::tempdir().unwrap();
    let error = SchemaSet::in_folder(empty.path()).unwrap_err();
    assert!(error.to_string().contains("no schemas here"), "{error}");
}

#[test]
fn a_difference_names_fields_types_defaults_and_docs() {
    let set = SchemaSet::built_in();
    let subject = set.of(Topic::MessageEdited).unwrap();
    let [from, to] = [1, 2].map(|it| subject.version(Label::Version(it)).unwrap());
    let found = difference(subject.topic, from, to);
    assert!(found.backward && found.forward);
    assert_eq!(found.same, None);
    let paths: Vec<&str> = found.changes.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["author", "posted_at"]);
    let author = &found.changes[0];
    assert_eq!((author.kind, &author.from), (Kind::Field, &None));
    let is = author.to.as_ref().unwrap();
    assert_eq!(is.type_name, "null | string");
    assert_eq!(is.default, Some(Value::Null));
    assert!(is.doc.as_ref().unwrap().starts_with("The user who wrote"));

    let mut schema: Value = serde_json::from_str(&to.text).unwrap();
    remove(&mut schema, "sender");
    schema["doc"] = "Another doc.".into();
    let draft = Version::parse(Label::Draft, None, schema.to_string()).unwrap();
    let found = difference(subject.topic, to, &draft);
    assert!(found.backward && !found.forward);
    let changes: Vec<(&str, Kind, bool, bool)> = found
        .changes
        .iter()
        .map(|it| {
            (
                it.path.as_str(),
                it.kind,
                it.from.is_some(),
                it.to.is_some(),
            )
        })
        .collect();
    assert_eq!(
        changes,
        [
            ("sender", Kind::Field, true, false),
            ("tidings.EditCommand", Kind::Type, true, true),
        ]
    );
    assert_eq!(found.breaking.len(), 1);
}
