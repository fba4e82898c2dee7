//! The command line itself: help, usage, exit codes, what goes where.

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn tidings(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    for name in [
        "TIDINGS_DATA",
        "TIDINGS_JWT_SECRET",
        "TIDINGS_JWT_SECRET_FILE",
        "KAFKA_BROKERS",
    ] {
        command.env_remove(name);
    }
    command
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[test]
fn every_command_explains_itself() {
    let commands: [&[&str]; 21] = [
        &[],
        &["dev"],
        &["token"],
        &["topics"],
        &["topics", "plan"],
        &["topics", "apply"],
        &["tail"],
        &["lag"],
        &["pause"],
        &["resume"],
        &["replay"],
        &["dead"],
        &["dead", "ls"],
        &["dead", "show"],
        &["dead", "redrive"],
        &["dead", "drop"],
        &["import"],
        &["import", "irc"],
        &["bench"],
        &["bench", "idle"],
        &["bench", "raw"],
    ];
    for command in commands {
        let output = tidings(&[command, &["--help"]].concat());
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        let help = out(&output);
        assert!(help.contains("Usage: tidings"), "{command:?}: {help}");
        assert!(err(&output).is_empty(), "{command:?}");
    }
}

#[test]
fn wrong_usage_is_status_2_and_says_what_is_wrong() {
    let cases: [(&[&str], &str); 23] = [
        (&[], "Usage"),
        (&["frobnicate"], "frobnicate"),
        (&["token"], "--user"),
        (&["token", "--user", "al ice"], "A-Z"),
        (&["token", "--user", "a", "--tenant", ""], "1 to 64"),
        (&["token", "--user", "a", "--ttl", "soon"], "30d"),
        (&["tail", "message.snet"], "message.sent"),
        (&["tail", "message.sent", "--from", "monday"], "beginning"),
        (
            &["tail", "message.sent", "--data", "x", "--brokers", "y"],
            "cannot be used with",
        ),
        (&["import", "irc"], "FILE"),
        (&["dev", "--listen", "7700"], "127.0.0.1:7700"),
        (&["bench", "--rate=-1"], "not negative"),
        (&["lag", "--consumer", "histori"], "history.g2"),
        (&["lag", "--max-seconds=-1"], "not negative"),
        (&["pause", "history"], "--reason"),
        (&["pause", "edge", "--reason", "x"], "sequencer, history"),
        (&["resume"], "CONSUMER"),
        (&["replay", "--from", "monday"], "beginning"),
        (&["replay", "--format", "records"], "--output"),
        (
            &["replay", "--output", "f", "--to-topic", "t"],
            "cannot be used with",
        ),
        (&["dead", "show", "17"], "dead.history/3/17"),
        (&["dead", "ls", "--filter", "colour=red"], "one of consumer"),
        (
            &["dead", "drop", "--all", "--filter", "cause=x"],
            "cannot be used with",
        ),
    ];
    for (args, expected) in cases {
        let output = tidings(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            err(&output).contains(expected),
            "{args:?}: {}",
            err(&output)
        );
        assert!(out(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn failures_are_status_1_and_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["dead", "drop", "--data", data], "--filter"),
        (&["lag", "--data", data], "--brokers"),
        (
            &["token", "--user", "alice", "--data", data],
            "TIDINGS_JWT_SECRET",
        ),
        (&["tail", "message.sent", "--data", data], "--brokers"),
        (
            &["import", "irc", "--data", data, "missing.txt"],
            "missing.txt",
        ),
        (
            &["bench", "--data", data, "--connections", "1"],
            "TIDINGS_JWT_SECRET",
        ),
    ];
    for (args, expected) in cases {
        let output = tidings(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(
            err(&output).starts_with("tidings: "),
            "{args:?}: {}",
            err(&output)
        );
        assert!(
            err(&output).contains(expected),
            "{args:?}: {}",
            err(&output)
        );
        assert!(out(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn a_token_stands_alone_on_stdout() {
    let dir = tempfile::tempdir().unwrap();
    let secret = "s".repeat(40);
    std::fs::write(dir.path().join("jwt-secret"), format!("{secret}\n")).unwrap();
    let data = dir.path().to_str().unwrap();
    let output = tidings(&[
        "token", "--user", "alice", "--tenant", "acme", "--data", data,
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let token = out(&output);
    assert_eq!(token.lines().count(), 1);
    assert_eq!(token.trim_end().split('.').count(), 3);
    assert!(err(&output).is_empty());

    let given = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["token", "--user", "alice", "--data", data])
        .env("TIDINGS_JWT_SECRET", "too-secret")
        .output()
        .unwrap();
    assert_eq!(given.status.code(), Some(1));
    assert!(
        err(&given).contains("TIDINGS_JWT_SECRET"),
        "{}",
        err(&given)
    );
    assert!(!err(&given).contains("too-secret"), "{}", err(&given));
}

#[test]
fn completions_are_made_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = tidings(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(out(&output).contains("completions"), "{shell}");
    }
}

#[test]
fn a_data_folder_needs_no_topics() {
    let output = tidings(&["topics", "plan", "--data", "nowhere"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        out(&output).starts_with("Nothing to do"),
        "{}",
        out(&output)
    );
    let output = tidings(&["topics", "apply", "--json", "--data", "nowhere"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["applied"], false);
    assert!(!Path::new("nowhere").exists());
}

#[test]
fn raw_sqlite_is_measured_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let output = tidings(&["bench", "raw", "--data", data, "--seconds", "0.3", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["sqlite"]["pipeline_rate"].as_f64().unwrap() > 0.0);
    assert!(report["sqlite"]["commit_ms"]["p99"].as_f64().unwrap() > 0.0);
    assert!(err(&output).is_empty());
}
