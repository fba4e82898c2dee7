//! What the commands do with a real Kafka and a real schema registry.

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tidings_testkit::{brokers, fresh_prefix, registry_url};

fn tidings(prefix: &str, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidings"))
        .env_remove("TIDINGS_DATA")
        .env("KAFKA_BROKERS", brokers())
        .env("SCHEMA_REGISTRY_URL", registry_url())
        .env("TIDINGS_TOPIC_PREFIX", prefix)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

fn json(output: &Output) -> Value {
    let error = || String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {}", error()))
}

#[test]
fn topics_are_planned_applied_and_then_as_declared() {
    let prefix = fresh_prefix();
    let one_replica = ["--replication-factor", "1", "--json"];
    let topics = |what: &str| tidings(&prefix, &[&["topics", what], &one_replica[..]].concat());

    let planned = topics("plan");
    assert_eq!(planned.status.code(), Some(1));
    let report = json(&planned);
    assert_eq!(
        report["actions"].as_array().map(Vec::len),
        Some(13),
        "{report}"
    );
    assert_eq!(report["applied"], false);

    let applied = topics("apply");
    assert_eq!(applied.status.code(), Some(0));
    let report = json(&applied);
    assert_eq!(report["applied"], true);
    assert_eq!(
        report["schemas"].as_array().map(Vec::len),
        Some(8),
        "{report}"
    );

    let planned = topics("plan");
    assert_eq!(planned.status.code(), Some(0), "{}", json(&planned));

    // The count of partitions is chosen once: then it is refused to change it.
    let wide = fresh_prefix();
    let of_three = [
        "topics",
        "apply",
        "--partitions",
        "3",
        "--replication-factor",
        "1",
    ];
    assert_eq!(tidings(&wide, &of_three).status.code(), Some(0));
    let planned = tidings(&wide, &["topics", "plan", "--partitions", "3"]);
    assert_eq!(planned.status.code(), Some(0));
    let changed = tidings(&wide, &["topics", "apply", "--json"]);
    assert_eq!(changed.status.code(), Some(1));
    let report = json(&changed);
    assert_eq!(report["applied"], false);
    assert_eq!(
        report["refusals"].as_array().map(Vec::len),
        Some(13),
        "{report}"
    );

    // More replicas than brokers are refused, before anything is made.
    let other = fresh_prefix();
    let refused = tidings(
        &other,
        &["topics", "apply", "--replication-factor", "9", "--json"],
    );
    assert_eq!(refused.status.code(), Some(1));
    let report = json(&refused);
    assert_eq!(report["applied"], false);
    assert_eq!(
        report["refusals"].as_array().map(Vec::len),
        Some(13),
        "{report}"
    );

    let tail = tidings(
        &prefix,
        &["tail", "message.delivered", "--from", "beginning"],
    );
    assert_eq!(
        tail.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&tail.stderr)
    );
    assert!(tail.stdout.is_empty());
}

#[test]
fn a_topic_that_is_missing_is_told() {
    let output = tidings(&fresh_prefix(), &["tail", "message.sent"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("tidings: "));
}

#[test]
fn the_raw_pipeline_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let args = [
        "bench",
        "raw",
        "--data",
        data,
        "--seconds",
        "1",
        "--rate",
        "100",
        "--json",
    ];
    let report = json(&tidings("", &args));
    // How fast, depends on what else the machine does.
    assert!(
        report["kafka"]["pipeline_ms"]["count"].as_u64().unwrap() > 0,
        "{report}"
    );
    assert!(
        report["kafka"]["at_rate_ms"]["p50"].as_f64().unwrap() > 0.0,
        "{report}"
    );
}
