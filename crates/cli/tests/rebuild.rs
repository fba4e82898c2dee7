//! `tidings rebuild` on a data folder, as a process: killed anywhere, switched,
//! switched back, pruned.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use support::{Dev, command};
use tidings_testkit::{SocketClient, eventually};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/irc");
const PATIENCE: Duration = Duration::from_secs(60);

/// Tables of each view, and the columns that tell rows apart and say what is in
/// them. Numbers of rows go by when they were written, and are left out.
const TABLES: [(&str, &[(&str, &str)]); 2] = [
    (
        "history",
        &[
            ("events", "*"),
            ("messages", "*"),
            ("edits", "*"),
            ("hidden", "*"),
            ("conversations", "*"),
            ("members", "*"),
            ("outcomes", "*"),
            ("positions", "*"),
        ],
    ),
    (
        "search",
        &[
            (
                "messages",
                "message_id, conversation_id, tenant, no, sender, at, text, has_attachment, version",
            ),
            ("hidden", "*"),
            (
                "conversations",
                "conversation_id, tenant, kind, title, version",
            ),
            ("members", "*"),
            ("users", "*"),
            ("positions", "*"),
        ],
    ),
];

fn of_view(verb: &str, view: &str, data: &Path) -> Command {
    let mut command = command();
    command.args([verb, view, "--json", "--data"]).arg(data);
    command
}

/// Runs a command that succeeds, and gives its document.
fn done(command: &mut Command) -> Value {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the binary runs");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).expect("one document")
}

/// A folder with two days of IRC in it.
async fn folder(dir: &Path) {
    let dev = Dev::start(dir, "127.0.0.1:0");
    let mut import = command();
    import.args(["import", "irc", "--json", "--url", &dev.url, "--data"]);
    import.arg(dir);
    import.args(
        [
            "2004-11-15_03.sample.raw.txt",
            "2009-10-01_17.sample.raw.txt",
        ]
        .map(|name| PathBuf::from(SAMPLES).join(name)),
    );
    assert!(done(&mut import)["total"]["delivered"].as_u64() > Some(300));
    assert_eq!(dev.stop(), Some(0));
    // What a view had not applied yet when it was told to stop.
    let dev = Dev::start(dir, "127.0.0.1:0");
    eventually(PATIENCE, || is_caught_up(dir));
    assert_eq!(dev.stop(), Some(0));
}

fn open(dir: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    Connection::open_with_flags(dir.join("tidings.sqlite"), flags).expect("opens")
}

fn count(connection: &Connection, query: &str) -> i64 {
    let counted = connection.query_row(query, [], |row| row.get(0));
    counted.unwrap_or_else(|error| panic!("{query}: {error}"))
}

fn is_caught_up(dir: &Path) -> bool {
    let connection = open(dir);
    let of = |table: &str, column: &str| {
        count(
            &connection,
            &format!("SELECT coalesce(sum({column}), 0) FROM {table}"),
        )
    };
    let history = of("history_positions", "next_offset");
    history > 0 && history == of("search_positions", "\"offset\"")
}

/// That two generations of a view hold the same rows.
fn assert_same(dir: &Path, view: &str, other: u32) {
    let connection = open(dir);
    let (_, tables) = TABLES
        .iter()
        .find(|(name, _)| *name == view)
        .expect("a view");
    let mut rows = 0;
    for (table, columns) in *tables {
        let first = format!("SELECT {columns} FROM {view}_{table}");
        let second = format!("SELECT {columns} FROM {view}_g{other}_{table}");
        for (one, another) in [(&first, &second), (&second, &first)] {
            let query = format!("SELECT count(*) FROM ({one} EXCEPT {another})");
            assert_eq!(count(&connection, &query), 0, "{query}");
        }
        let sizes = [first, second].map(|rows| format!("SELECT count(*) FROM ({rows})"));
        let [first, second] = sizes.map(|query| count(&connection, &query));
        assert_eq!(first, second, "{table}");
        rows += first;
    }
    assert!(rows > 300, "{rows} rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_it_ends_as_in_one_go() {
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path()).await;
    for view in ["history", "search"] {
        // Each time a little further, wherever that is.
        let mut seen = Vec::new();
        for kill in 1..=20_u32 {
            let mut rebuild = of_view("rebuild", view, dir.path());
            rebuild.args(["--rate", "2000", "--batch", "7"]);
            let mut process = rebuild.stdout(Stdio::null()).spawn().unwrap();
            let applied = || {
                let table = format!("{view}_g2_positions");
                let connection = open(dir.path());
                let is_there = format!("SELECT count(*) FROM sqlite_schema WHERE name = '{table}'");
                if count(&connection, &is_there) == 0 {
                    return 0;
                }
                let offset = match view {
                    "history" => "next_offset",
                    _ => "\"offset\"",
                };
                count(
                    &connection,
                    &format!("SELECT coalesce(sum({offset}), 0) FROM {table}"),
                )
            };
            let before = applied();
            eventually(PATIENCE, || {
                applied() >= before + i64::from(kill) || process.try_wait().unwrap().is_some()
            });
            process.kill().ok();
            process.wait().unwrap();
            seen.push(applied());
        }
        assert!(seen.is_sorted(), "it goes on where it was: {seen:?}");
        assert!(seen.first() < seen.last(), "{seen:?}");
        let rebuilt = done(&mut of_view("rebuild", view, dir.path()));
        assert_eq!(rebuilt["switched"], true, "{rebuilt}");
        assert_eq!(rebuilt["generation"], 2, "{rebuilt}");
        assert_same(dir.path(), view, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_read_in_the_generation_that_serves() {
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path()).await;
    for view in ["history", "search"] {
        let built = done(of_view("rebuild", view, dir.path()).arg("--no-switch"));
        assert_eq!(
            (&built["switched"], &built["before"]),
            (&json!(false), &Value::Null)
        );
        let switched = done(&mut of_view("rebuild", view, dir.path()));
        assert_eq!(
            (&switched["generation"], &switched["before"]),
            (&json!(2), &json!(1))
        );
        assert_eq!(switched["applied"], 0, "it was built before");
        let back = done(&mut of_view("rollback", view, dir.path()));
        assert_eq!((&back["from"], &back["to"]), (&json!(2), &json!(1)));
        done(&mut of_view("rollback", view, dir.path()));
    }
    let looked = done(of_view("rebuild", "history", dir.path()).arg("--dry-run"));
    let states: Vec<_> = looked["generations"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["state"].clone())
        .collect();
    assert_eq!(states, ["kept", "serving"]);

    // Both are kept in step, and the one that serves is read.
    let dev = Dev::start(dir.path(), "127.0.0.1:0");
    let mut alice = SocketClient::connect(&dev.url, &dev.token).await.unwrap();
    let create = json!({"type": "create", "temp_id": "c1", "kind": "group", "title": "Ops"});
    let created = alice.command(&create).await.unwrap();
    let id = created["conversation_id"].clone();
    let send = json!({"type": "send", "temp_id": "m1", "conversation_id": id,
        "content": {"text": "generational"}});
    alice.command(&send).await.unwrap();
    let page = json!({"type": "history", "id": "q1", "conversation_id": id});
    let page = alice.ask(&page).await.unwrap();
    assert_eq!(page["messages"][0]["content"]["text"], "generational");
    let in_the_way = of_view("rebuild", "history", dir.path()).output().unwrap();
    assert_eq!(in_the_way.status.code(), Some(1));
    let error = String::from_utf8_lossy(&in_the_way.stderr).into_owned();
    assert!(error.contains(&dev.process.id().to_string()), "{error}");
    let sum = |view: &str, generation: &str| {
        let offset = match view {
            "history" => "next_offset",
            _ => "\"offset\"",
        };
        let query = format!("SELECT sum({offset}) FROM {view}_{generation}positions");
        count(&open(dir.path()), &query)
    };
    for view in ["history", "search"] {
        let end = sum("history", "g2_");
        eventually(PATIENCE, || {
            sum(view, "") >= end && sum(view, "") == sum(view, "g2_")
        });
        assert_same(dir.path(), view, 2);
    }
    drop(alice);
    assert_eq!(dev.stop(), Some(0));

    for view in ["history", "search"] {
        let planned = done(of_view("rebuild", view, dir.path()).args(["--prune", "--dry-run"]));
        assert_eq!(
            (&planned["deleted"], &planned["done"]),
            (&json!([1]), &json!(false))
        );
        let pruned = done(of_view("rebuild", view, dir.path()).arg("--prune"));
        assert_eq!(
            (&pruned["deleted"], &pruned["serving"]),
            (&json!([1]), &json!(2))
        );
        let left = format!(
            "SELECT count(*) FROM sqlite_schema WHERE name GLOB '{view}_*' \
             AND name NOT GLOB '{view}_g[0-9]*'"
        );
        assert_eq!(count(&open(dir.path()), &left), 0);
        let refused = of_view("rollback", view, dir.path()).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
    }
    let dev = Dev::start(dir.path(), "127.0.0.1:0");
    let mut alice = SocketClient::connect(&dev.url, &dev.token).await.unwrap();
    let page = json!({"type": "history", "id": "q2", "conversation_id": id});
    let page = alice.ask(&page).await.unwrap();
    assert_eq!(page["messages"][0]["content"]["text"], "generational");
    let search = json!({"type": "search", "id": "q3", "in": "messages", "query": "generational"});
    let results = alice.ask(&search).await.unwrap();
    assert_eq!(results["total"], 1);
    drop(alice);
    assert_eq!(dev.stop(), Some(0));
}

#[test]
fn what_cannot_be_rebuilt_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let table = [
        (vec!["rebuild", "history", "--data"], 1, "no log in"),
        (vec!["rebuild", "cache", "--data"], 1, "in the memory of"),
        (
            vec!["rebuild", "everything", "--data"],
            2,
            "possible values",
        ),
        (
            vec!["rebuild", "history", "--rate", "0", "--data"],
            2,
            "rate",
        ),
        (vec!["rollback", "history", "--data"], 1, "no log in"),
    ];
    for (args, code, says) in table {
        let output = command().args(&args).arg(dir.path()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(error.contains(says), "{args:?}: {error}");
    }
    let nowhere = command()
        .args(["rebuild", "search", "--brokers", "127.0.0.1:1"])
        .args(["--registry-url", "http://127.0.0.1:1"])
        .env_remove("SEARCH_URL")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(error.contains("SEARCH_URL"), "{error}");
}
