//! `tidings reset`, and a part of a view rebuilt, on a data folder.

mod support;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use support::{Dev, command};
use tidings_testkit::{SocketClient, eventually};

const PATIENCE: Duration = Duration::from_secs(60);

fn tidings(data: &Path, args: &[&str]) -> Output {
    let output = command().args(args).arg("--data").arg(data).output();
    output.expect("the binary runs")
}

/// The one document of a command that succeeds.
fn done(data: &Path, args: &[&str]) -> Value {
    let output = tidings(data, args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", err(&output));
    serde_json::from_slice(&output.stdout).expect("one document")
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn records_behind(data: &Path, consumer: &str) -> i64 {
    let report = done(data, &["lag", "--json", "--consumer", consumer]);
    report["consumers"][0]["records"]
        .as_i64()
        .expect("a number")
}

/// A folder with a conversation of six messages, and its id.
async fn folder(data: &Path) -> String {
    let dev = Dev::start(data, "127.0.0.1:0");
    let mut alice = SocketClient::connect(&dev.url, &dev.token)
        .await
        .expect("connects");
    let create = json!({
        "type": "create", "temp_id": "c1", "kind": "group", "title": "Ops", "members": [],
    });
    let created = alice.command(&create).await.expect("is answered");
    let id = created["conversation_id"].clone();
    for n in 0..6 {
        let send = json!({
            "type": "send", "temp_id": format!("m{n}"), "conversation_id": id,
            "content": {"text": "hello"},
        });
        let sent = alice.command(&send).await.expect("is answered");
        assert_eq!(sent["type"], "delivered", "{sent}");
    }
    caught_up(data);
    drop(alice);
    assert_eq!(dev.stop(), Some(0));
    id.as_str().expect("an id").to_owned()
}

fn caught_up(data: &Path) {
    for consumer in ["history", "search"] {
        eventually(PATIENCE, || records_behind(data, consumer) == 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_goes_on_from_where_it_is_set() {
    let folder_of = tempfile::tempdir().expect("a folder");
    let data = folder_of.path();
    folder(data).await;
    for consumer in ["history", "search"] {
        let undo = tidings(data, &["reset", consumer, "--undo"]);
        assert_eq!(undo.status.code(), Some(1));
        assert!(err(&undo).contains("no reset to undo"), "{}", err(&undo));
        let to_beginning = ["reset", consumer, "--to", "beginning", "--json"];
        let planned = done(data, &[&to_beginning[..], &["--dry-run"]].concat());
        assert_eq!(records_behind(data, consumer), 0);
        let reset = done(data, &to_beginning);
        assert_eq!(reset["changes"], planned["changes"]);
        let again = reset["again"].as_i64().expect("a number");
        assert!(again >= 7, "{reset}");
        assert_eq!(reset["skipped"], 0);
        assert_eq!(records_behind(data, consumer), again);
        let undo = format!("tidings reset {consumer} --undo --data {}", data.display());
        assert_eq!(reset["undo"], undo.as_str());
        // The command that it prints.
        let words: Vec<&str> = undo.split(' ').skip(1).chain(["--json"]).collect();
        let undone = command().args(words).output().expect("the binary runs");
        assert_eq!(undone.status.code(), Some(0), "{}", err(&undone));
        assert_eq!(records_behind(data, consumer), 0);
        done(data, &to_beginning);
    }
    // What is skipped must be said to be.
    let forward = tidings(data, &["reset", "history", "--to", "end"]);
    assert_eq!(forward.status.code(), Some(1));
    assert!(err(&forward).contains("--skip"), "{}", err(&forward));

    let dev = Dev::start(data, "127.0.0.1:0");
    let refused = tidings(data, &["reset", "history", "--to", "beginning"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        err(&refused).contains("in use by process"),
        "{}",
        err(&refused)
    );
    caught_up(data);
    assert_eq!(dev.stop(), Some(0));
    for view in ["history", "search"] {
        let verified = done(data, &["verify", view, "--json"]);
        assert_eq!(verified["ok"], true, "{verified}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_rebuilt_in_place() {
    let folder_of = tempfile::tempdir().expect("a folder");
    let data = folder_of.path();
    let id = folder(data).await;
    for view in ["history", "search"] {
        let database = Connection::open(data.join("tidings.sqlite")).expect("opens");
        let sql = format!("DELETE FROM {view}_messages");
        assert_eq!(database.execute(&sql, []).expect("deletes"), 6);
        drop(database);
        let part = ["rebuild", view, "--conversation", &id, "--json"];
        let planned = done(data, &[&part[..], &["--dry-run"]].concat());
        assert_eq!(
            (&planned["rewritten"], &planned["missing"]),
            (&json!(6), &json!(6))
        );
        let rebuilt = done(data, &[&part[..], &["--rate", "100"]].concat());
        assert_eq!(rebuilt["rewritten"], 6, "{rebuilt}");
        assert_eq!(rebuilt["verified"], true, "{rebuilt}");
        assert_eq!(rebuilt["generation"], 1, "in place");
        let verified = done(data, &["verify", view, "--json"]);
        assert_eq!(verified["ok"], true, "{verified}");
        let of_tenant = done(data, &["rebuild", view, "--tenant", "default", "--json"]);
        assert_eq!(
            (&of_tenant["rewritten"], &of_tenant["verified"]),
            (&json!(0), &json!(true))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told() {
    let folder_of = tempfile::tempdir().expect("a folder");
    let data = folder_of.path();
    folder(data).await;
    let nobody = "00000000-0000-0000-0000-000000004711";
    let table: &[(&[&str], i32, &str)] = &[
        (&["rebuild", "history", "--conversation", nobody], 1, nobody),
        (&["rebuild", "search", "--tenant", "nobody"], 1, "nobody"),
        (&["rebuild", "history", "--conversation", "x"], 2, "a UUID"),
        (
            &["rebuild", "history", "--tenant", "default", "--prune"],
            2,
            "cannot be used with",
        ),
        (&["reset", "history"], 2, "--to"),
        (&["reset", "history", "--to", "monday"], 2, "2004-11-15"),
        (&["reset", "history", "--to", "0=x"], 2, "PARTITION=OFFSET"),
        (&["reset", "history", "--to", "99=0"], 1, "no partition 99"),
        (
            &["reset", "history", "--to", "end", "--partition", "99"],
            1,
            "no partition 99",
        ),
        (
            &["reset", "history.g7", "--to", "end"],
            1,
            "there is history",
        ),
        (
            &["reset", "sequencer", "--to", "end"],
            2,
            "no position to set",
        ),
        (&["reset", "cache", "--to", "end"], 1, "in the memory of"),
        (
            &["reset", "history", "--undo", "--skip"],
            2,
            "cannot be used with",
        ),
    ];
    for (args, code, says) in table {
        let output = tidings(data, args);
        let error = err(&output);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {error}");
        assert!(error.contains(says), "{args:?}: {error}");
    }
}
