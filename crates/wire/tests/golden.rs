//! What was once written must be readable for ever.
//!
//! `schemas/golden` keeps, for each version of each schema, framed values as
//! they were written (`<topic>.v<version>.<n>.bin`), each with what it says
//! beside it (`.json`). They are never changed. After a new schema version,
//! `TIDINGS_WRITE_GOLDEN=1 cargo test -p tidings-wire --test golden` adds those
//! of that version.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod values;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use bytes::Bytes;
use serde_json::Value;
use tidings_domain::{Digest, Timestamp};
use tidings_wire::{Codec, DeliveredBody, Headers, Record, Topic};

fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas")
}

/// Every sample's framed value, by topic.
fn samples(codec: &Codec) -> BTreeMap<&'static str, Vec<Bytes>> {
    let mut samples: BTreeMap<&str, Vec<Bytes>> = BTreeMap::new();
    let mut add = |topic: Topic, record: Record| {
        samples
            .entry(topic.name())
            .or_default()
            .push(record.value.unwrap());
    };
    for command in values::commands() {
        let record = codec.encode_command(&command, values::trace()).unwrap();
        add(Topic::of_command(&command), record);
    }
    for decision in values::decisions() {
        let (input, by) = (values::input(), values::owner());
        let record = codec
            .encode_decision(&decision, &input, by, Digest::default())
            .unwrap();
        add(Topic::MessageDelivered, record);
    }
    let mut command = values::input();
    command.record.key = Some(values::commands()[0].conversation_id.to_string().into());
    for command in [command, values::input()] {
        let by = values::owner();
        let record = codec
            .encode_dead(&command, Timestamp(5), by, Digest::default())
            .unwrap();
        add(Topic::MessageDelivered, record);
    }
    for state in values::states() {
        add(
            Topic::ConversationState,
            codec.encode_state(0, &state).unwrap(),
        );
    }
    samples
}

fn record(value: Bytes) -> Record {
    Record {
        key: None,
        value: Some(value),
        headers: Headers::default(),
        timestamp: Timestamp(0),
    }
}

/// Reads a value as our domain has it, and writes it again.
fn rewritten(codec: &Codec, topic: Topic, json: &Value, value: Bytes) -> Record {
    let mut record = record(value);
    record.key = json["conversation_id"]
        .as_str()
        .map(|id| Bytes::from(id.to_owned()));
    match topic {
        Topic::ConversationState => {
            let state = codec.decode_state(&record).unwrap().unwrap();
            codec.encode_state(0, &state).unwrap()
        }
        Topic::MessageDelivered => {
            let (mut input, by) = (values::input(), values::owner());
            match codec.decode_delivered(&record).unwrap() {
                DeliveredBody::Decision(decision) => codec
                    .encode_decision(&decision, &input, by, Digest::default())
                    .unwrap(),
                DeliveredBody::Dead { at, .. } => {
                    input.record.key = record.key;
                    codec
                        .encode_dead(&input, at, by, Digest::default())
                        .unwrap()
                }
            }
        }
        commands => {
            let command = codec.decode_command(commands, &record).unwrap();
            codec.encode_command(&command, values::trace()).unwrap()
        }
    }
}

/// Whether `new` says all that `old` says; it may have fields of its own.
fn says_all(new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => old
            .iter()
            .all(|(name, value)| new.get(name).is_some_and(|new| says_all(new, value))),
        (Value::Array(new), Value::Array(old)) => {
            new.len() == old.len() && new.iter().zip(old).all(|(new, old)| says_all(new, old))
        }
        _ => new == old,
    }
}

/// Adds the golden files that the newest versions lack, if that is asked for.
fn write_missing(codec: &Codec) {
    static ONCE: Once = Once::new();
    if std::env::var_os("TIDINGS_WRITE_GOLDEN").is_none() {
        return;
    }
    ONCE.call_once(|| {
        for (path, value) in newest_goldens(codec) {
            if !path.exists() {
                let json = codec.to_json(&record(value.clone())).unwrap();
                fs::write(&path, &value).unwrap();
                fs::write(path.with_extension("json"), format!("{json:#}\n")).unwrap();
            }
        }
    });
}

/// The versions that the lock file has of a topic's schema.
fn versions(topic: &str) -> usize {
    let lock = fs::read_to_string(schemas().join("lock.json")).unwrap();
    let lock: Value = serde_json::from_str(&lock).unwrap();
    lock[format!("{topic}-value")].as_array().unwrap().len()
}

fn golden(topic: &str, version: usize, n: usize) -> PathBuf {
    schemas().join(format!("golden/{topic}.v{version}.{n:02}.bin"))
}

/// The golden files that there must be of each topic's newest version.
fn newest_goldens(codec: &Codec) -> Vec<(PathBuf, Bytes)> {
    let mut goldens = Vec::new();
    for (topic, samples) in samples(codec) {
        let newest = versions(topic);
        let numbered = samples.into_iter().zip(1..);
        goldens.extend(numbered.map(|(value, n)| (golden(topic, newest, n), value)));
    }
    goldens
}

#[test]
fn goldens_are_read_as_ever() {
    let codec = Codec::locked();
    write_missing(&codec);
    let mut read = 0;
    for entry in fs::read_dir(schemas().join("golden")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "bin") {
            continue;
        }
        let file = path.file_name().unwrap().to_str().unwrap();
        let (topic, _) = file.split_once(".v").unwrap();
        let topic = Topic::parse(topic).unwrap();
        let value = Bytes::from(fs::read(&path).unwrap());
        let expected = fs::read_to_string(path.with_extension("json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();

        assert_eq!(
            codec.to_json(&record(value.clone())).unwrap(),
            expected,
            "{file}"
        );
        let again = rewritten(&codec, topic, &expected, value);
        let again = codec.to_json(&again).unwrap();
        assert!(
            says_all(&again, &expected),
            "{file} is now read as\n{again:#}"
        );
        read += 1;
    }
    assert!(read > 50, "only {read} golden files were found");
}

#[test]
fn every_schema_version_has_its_goldens() {
    let codec = Codec::locked();
    write_missing(&codec);
    for topic in Topic::WITH_SCHEMA {
        for version in 1..versions(topic.name()) {
            assert!(
                golden(topic.name(), version, 1).exists(),
                "{topic}: none of {version}"
            );
        }
    }
    for (path, _) in newest_goldens(&codec) {
        assert!(
            path.exists(),
            "{} is missing: run TIDINGS_WRITE_GOLDEN=1 cargo test -p tidings-wire --test golden",
            path.display(),
        );
    }
}
