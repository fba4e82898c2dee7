//! `tidings schemas` on folders and on a real schema registry.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tidings_testkit::{fresh_prefix, registry_url};

fn tidings(prefix: &str, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidings"))
        .env("SCHEMA_REGISTRY_URL", registry_url())
        .env("TIDINGS_TOPIC_PREFIX", prefix)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

fn json_of(output: &Output) -> Value {
    let error = || String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {}", error()))
}

fn outcomes(report: &Value) -> Vec<&str> {
    let subjects = report["subjects"].as_array().unwrap().iter();
    let versions = subjects.flat_map(|it| it["versions"].as_array().unwrap());
    versions.map(|it| it["outcome"].as_str().unwrap()).collect()
}

/// The schema of edits, its current version changed by `edit`.
fn edited(edit: impl FnOnce(&mut Vec<Value>)) -> String {
    let text = include_str!("../../../schemas/message.edited.avsc");
    let mut schema: Value = serde_json::from_str(text).unwrap();
    edit(schema["fields"].as_array_mut().unwrap());
    schema.to_string()
}

/// Registers a schema of edits as it is given.
async fn post(prefix: &str, schema: &str) -> u16 {
    let url = format!(
        "{}/subjects/{prefix}message.edited-value/versions",
        registry_url()
    );
    let body = json!({"schema": schema});
    let answer = reqwest::Client::new().post(url).json(&body).send().await;
    answer.unwrap().status().as_u16()
}

#[test]
fn all_versions_are_registered_once_and_in_order() {
    let prefix = fresh_prefix();
    let register = |more: &[&str]| {
        let output = tidings(
            &prefix,
            &[&["schemas", "register", "--json"], more].concat(),
        );
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        json_of(&output)
    };
    let check = || {
        let url = ["--registry-url", registry_url()];
        tidings(
            &prefix,
            &[&["schemas", "check", "--json"], &url[..]].concat(),
        )
    };
    let dry = register(&["--dry-run"]);
    assert!(
        outcomes(&dry).iter().all(|it| *it == "would_be_new"),
        "{dry}"
    );
    // Nothing is there, so the level is not right, and nothing else is wrong.
    let before = check();
    assert_eq!(before.status.code(), Some(1));
    let found = json_of(&before)["breaking"].as_array().unwrap().clone();
    assert_eq!(found.len(), 8, "{found:?}");
    assert!(
        found.iter().all(|it| it["rule"] == "compatibility_level"),
        "{found:?}"
    );

    let first = register(&[]);
    assert!(outcomes(&first).iter().all(|it| *it == "new"), "{first}");
    let versions = first["subjects"][1]["versions"].as_array().unwrap();
    let versions: Vec<(&Value, &Value)> = versions
        .iter()
        .map(|it| (&it["is"], &it["version"]))
        .collect();
    assert_eq!(
        versions,
        [(&json!("v1"), &json!(1)), (&json!("v2"), &json!(2))]
    );
    let again = register(&[]);
    assert!(outcomes(&again).iter().all(|it| *it == "known"), "{again}");
    let after = check();
    assert_eq!(after.status.code(), Some(0), "{}", json_of(&after));
    assert_eq!(
        json_of(&after)["subjects"][1]["registry"]["missing"],
        json!([])
    );

    let diff = [
        "schemas",
        "diff",
        "message.edited",
        "registry:2",
        "latest",
        "--json",
    ];
    let diff = json_of(&tidings(&prefix, &diff));
    assert_eq!(diff["changes"], json!([]), "{diff}");
    assert!(
        diff["same"] == "text" || diff["same"] == "content",
        "{diff}"
    );
}

#[tokio::test]
async fn what_the_registry_has_otherwise_is_found_and_refused() {
    let prefix = fresh_prefix();
    // Somebody registered a schema of their own before us.
    let other = edited(|fields| {
        fields.retain(|field| field["name"] != "sender");
        fields.push(json!({"name": "device", "type": "string"}));
    });
    assert_eq!(post(&prefix, &other).await, 200);
    for dry_run in [&["--dry-run"][..], &[]] {
        let output = tidings(&prefix, &[&["schemas", "register"], dry_run].concat());
        assert_eq!(output.status.code(), Some(1), "{dry_run:?}: {output:?}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains("message.edited-value"), "{error}");
    }
    let output = tidings(
        &prefix,
        &["schemas", "check", "--json", "--registry", registry_url()],
    );
    assert_eq!(output.status.code(), Some(1));
    let report = json_of(&output);
    let found = report["breaking"].as_array().unwrap();
    let missing: Vec<(&Value, &Value, &Value)> = found
        .iter()
        .filter(|it| it["rule"] == "missing_default")
        .map(|it| (&it["writer"], &it["reader"], &it["path"]))
        .collect();
    let registered = &json!("registry:1");
    for version in [&json!("v1"), &json!("v2")] {
        assert!(
            missing.contains(&(registered, version, &json!("sender"))),
            "{report}"
        );
        assert!(
            missing.contains(&(version, registered, &json!("device"))),
            "{report}"
        );
    }
}

#[tokio::test]
async fn an_older_version_does_not_come_after_a_newer_one() {
    let prefix = fresh_prefix();
    let newest = edited(|_| {});
    assert_eq!(post(&prefix, &newest).await, 200);
    let output = tidings(&prefix, &["schemas", "register", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let versions = json_of(&output)["subjects"][1]["versions"].clone();
    assert_eq!(versions[0]["outcome"], "left_out", "{versions}");
    assert_eq!(versions[1]["outcome"], "known", "{versions}");
    assert_eq!(versions[1]["same"], "content", "{versions}");
}

#[test]
fn a_change_that_breaks_readers_is_told_before_it_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let text = fs::read_to_string(schemas.join("message.sent.avsc")).unwrap();
    let mut schema: Value = serde_json::from_str(&text).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.retain(|field| field["name"] != "content");
    fs::write(folder.path().join("message.sent.avsc"), schema.to_string()).unwrap();
    let dir = folder.path().to_str().unwrap();

    let output = tidings("", &["schemas", "check", "--dir", dir]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let told = "BREAKING field `content` of message.sent draft was removed without a default: \
                readers with v1 cannot read it";
    assert!(text.contains(told), "{text}");

    let output = tidings("", &["schemas", "diff", "message.sent", "--dir", dir]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("Readers with v1 CANNOT read what draft writes."),
        "{text}"
    );
    assert!(text.contains("- `content` Content, default none"), "{text}");

    let usage = tidings("", &["schemas", "diff", "message.nothing"]);
    assert_eq!(usage.status.code(), Some(2));
    let missing = tidings("", &["schemas", "diff", "message.sent", "9"]);
    assert_eq!(missing.status.code(), Some(1));
}
