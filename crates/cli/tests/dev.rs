//! `tidings dev` as a process: chat, import, kill, start again, look.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Dev, command, run};
use tidings_testkit::{SocketClient, eventually, eventually_async};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/irc");
const PATIENCE: Duration = Duration::from_secs(60);

/// An import of the samples.
fn import_into(dev: &Dev) -> Command {
    let mut import = command();
    import
        .args(["import", "irc", "--json", "--url", &dev.url, "--data"])
        .arg(&dev.data);
    import.args(samples());
    import
}

fn samples() -> Vec<PathBuf> {
    [
        "2004-11-15_03.sample.raw.txt",
        "2009-10-01_17.sample.raw.txt",
    ]
    .map(|name| Path::new(SAMPLES).join(name))
    .to_vec()
}

/// An address for a server that is to come back on it. Below the ports that
/// outgoing connections take: a client that dials while the server is down
/// could get the server's own.
fn free_address() -> String {
    // Not the same for every process that runs these tests.
    let first = 20_000 + u16::try_from(std::process::id() % 9_000).expect("below 9,000");
    let free = (first..30_000)
        .map(|port| format!("127.0.0.1:{port}"))
        .find(|address| TcpListener::bind(address).is_ok());
    free.expect("a free port")
}

fn tail(data: &Path, topic: &str) -> Vec<Value> {
    let output = run(command()
        .args(["tail", topic, "--from", "beginning", "--data"])
        .arg(data));
    let lines = output.stdout.lines().map(|line| line.expect("text"));
    lines
        .map(|line| serde_json::from_str(&line).expect("one object a line"))
        .collect()
}

/// The accepted events of each conversation by its title, in log order.
fn events(records: &[Value]) -> BTreeMap<String, Vec<&Value>> {
    let mut titles = BTreeMap::new();
    let mut events: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for value in records.iter().map(|record| &record["value"]) {
        if value["outcome"] == "accepted" {
            let id = value["conversation_id"].as_str().expect("an id");
            if value["event"]["op"] == "create" {
                let title = value["event"]["conversation"]["title"].as_str();
                titles.insert(id, title.expect("a title").to_owned());
            }
            events.entry(id).or_default().push(value);
        }
    }
    events
        .into_iter()
        .map(|(id, events)| (titles[id].clone(), events))
        .collect()
}

/// What a sample says, by a way of its own: messages, and actions of 2004.
fn expected_texts(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("a sample");
    let speaker = |line: &str| Some(line.split_once("] <")?.1.split_once('>')?.0.to_owned());
    let nicks: BTreeSet<String> = text.lines().filter_map(speaker).collect();
    let said = |line: &str| {
        if let Some((_, rest)) = line.split_once("] <") {
            return Some(rest.split_once("> ")?.1.to_owned());
        }
        if let Some((_, rest)) = line.split_once("]  * ") {
            return Some(rest.split_once(' ')?.1.to_owned());
        }
        let (nick, rest) = line.strip_prefix("=== ")?.split_once(' ')?;
        let other = ["has joined #", "has left #", "is now known as"];
        let acts = nicks.contains(nick) && !other.iter().any(|other| rest.contains(other));
        acts.then(|| rest.to_owned())
    };
    text.lines().filter_map(said).collect()
}

fn check_imported(records: &[Value]) {
    let events = events(records);
    for file in samples() {
        let title = file
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let events = &events[title];
        let seqs: Vec<u64> = events
            .iter()
            .filter_map(|event| event["seq"].as_u64())
            .collect();
        assert_eq!(
            seqs,
            (1..=events.len() as u64).collect::<Vec<_>>(),
            "{title}"
        );
        let texts: Vec<&str> = events
            .iter()
            .filter_map(|value| value["event"]["content"]["text"].as_str())
            .collect();
        assert_eq!(texts, expected_texts(&file), "{title}");
    }
}

#[tokio::test]
async fn two_users_chat() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Dev::start(dir.path(), "127.0.0.1:0");
    let mut alice = SocketClient::connect(&dev.url, &dev.token).await.unwrap();
    let mut bob = SocketClient::connect(&dev.url, &dev.token("bob"))
        .await
        .unwrap();
    let create = json!({"type": "create", "temp_id": "c1", "kind": "group", "title": "Ops",
        "members": ["bob"]});
    let created = alice.command(&create).await.unwrap();
    let conversation_id = created["conversation_id"].clone();
    let send = json!({"type": "send", "temp_id": "m1", "conversation_id": conversation_id,
        "content": {"text": "hello"}});
    let sent = alice.command(&send).await.unwrap();
    assert_eq!((&sent["seq"], &sent["no"]), (&json!(2), &json!(1)));
    let event = bob.wait_for(|frame| frame["seq"] == 2).await.unwrap();
    assert_eq!(event["event"]["content"]["text"], "hello");

    // A second one on the same folder says who has it.
    let output = command()
        .args(["dev", "--listen", "127.0.0.1:0", "--data"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains(&dev.process.id().to_string()), "{error}");

    assert_eq!(dev.stop(), Some(0));
    assert_eq!(alice.closed().await.unwrap(), 4012);
    let sent = tail(dir.path(), "message.sent");
    assert_eq!(sent.len(), 1);
    for name in ["topic", "partition", "offset", "key", "headers", "value"] {
        assert!(sent[0].get(name).is_some(), "{name}");
    }
    assert_eq!(sent[0]["value"]["content"]["text"], "hello");
}

/// However much is logged, and whatever is asked for or refused.
#[tokio::test]
async fn neither_texts_nor_secrets_are_logged() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("log");
    let file = std::fs::File::create(&path).expect("a file");
    let data = dir.path().join("data");
    let dev = Dev::start_logging(&data, "127.0.0.1:0", "trace", file.into());
    let alice = dev.token("alice");
    let mut socket = SocketClient::connect(&dev.url, &alice)
        .await
        .expect("is welcome");
    let group = json!({"type": "create", "temp_id": "c", "kind": "group",
        "title": "zanzibar", "members": ["bob"]});
    let created = socket.command(&group).await.expect("is decided");
    let id = created["conversation_id"].as_str().expect("an id");
    let send = json!({"type": "send", "temp_id": "m", "conversation_id": id,
        "content": {"text": "xylophone"}});
    let sent = socket.command(&send).await.expect("is decided");
    let edit = json!({"type": "edit", "temp_id": "e", "conversation_id": id,
        "message_id": sent["message_id"], "content": {"text": "glockenspiel"}});
    socket.command(&edit).await.expect("is decided");
    let search = json!({"type": "search", "id": "q", "in": "all", "query": "glockenspiel"});
    eventually_async(PATIENCE, async || {
        let found = socket.ask(&search).await.expect("an answer");
        found["hits"]
            .as_array()
            .is_some_and(|hits| !hits.is_empty())
    })
    .await;
    // Refused: no such field, and no such token.
    let refused = json!({"type": "send", "temp_id": "n", "conversation_id": id,
        "content": {"text": ["vibraphone"]}});
    socket.send(&refused).await.expect("is sent");
    socket
        .wait_for(|frame| frame["code"] == "invalid")
        .await
        .expect("is refused");
    let forged = format!("{alice}x");
    assert!(SocketClient::connect(&dev.url, &forged).await.is_err());
    assert_eq!(dev.stop(), Some(0));

    let log = std::fs::read_to_string(&path).expect("the log");
    assert!(log.contains("TRACE"), "everything is logged that may be");
    let secret = std::fs::read_to_string(data.join("jwt-secret")).expect("the secret");
    let signature = alice.rsplit('.').next().expect("a part");
    for hidden in [
        "xylophone",
        "glockenspiel",
        "vibraphone",
        "zanzibar",
        secret.trim(),
        signature,
    ] {
        let line = log.lines().find(|line| line.contains(hidden));
        assert_eq!(line, None, "{hidden}");
    }
}

#[test]
fn an_import_outlives_kills_and_makes_no_duplicate() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let mut dev = Dev::start(dir.path(), &address);
    let mut import = import_into(&dev).stdout(Stdio::piped()).spawn().unwrap();
    for reached in [100, 300] {
        eventually(PATIENCE, || {
            tail(dir.path(), "message.delivered").len() > reached
        });
        let data = dev.kill();
        dev = Dev::start(&data, &address);
    }
    assert!(import.wait().unwrap().success());
    let summary: Value = serde_json::from_reader(import.stdout.take().unwrap()).unwrap();
    let total = &summary["total"];
    assert_eq!(total["lines"], 600);
    assert_eq!(total["delivered"], total["sent"]);
    assert_eq!(total["rejected"], json!({}));
    assert!(total["resent"].as_u64().unwrap() > 0);
    let records = tail(dir.path(), "message.delivered");
    check_imported(&records);

    // Once more: every message is there already.
    let again = run(&mut import_into(&dev));
    let summary: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(summary["total"]["delivered"], 0);
    assert_eq!(summary["total"]["duplicates"], total["sent"]);
    assert_eq!(dev.stop(), Some(0));
    let after = tail(dir.path(), "message.delivered");
    let count = |records: &[Value]| events(records).values().map(Vec::len).sum::<usize>();
    assert_eq!(count(&after), count(&records));
}

#[test]
fn a_small_load_arrives_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Dev::start(dir.path(), "127.0.0.1:0");
    let output = command()
        .args([
            "bench",
            "--connections",
            "20",
            "--rate",
            "100",
            "--seconds",
            "1",
            "--json",
        ])
        .args([
            "--members",
            "5",
            "--warmup",
            "0.2",
            "--url",
            &dev.url,
            "--data",
        ])
        .arg(dir.path())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{report}");
    assert_eq!(
        (&report["sent"], &report["delivered"]),
        (&json!(120), &json!(120))
    );
    assert_eq!(report["received"], 480);
    assert!(report["pending_ms"]["p50"].as_f64().unwrap() > 0.0);

    let pid = dev.process.id().to_string();
    let idle = run(command()
        .args([
            "bench",
            "idle",
            "--connections",
            "10",
            "--json",
            "--pid",
            &pid,
            "--url",
            &dev.url,
        ])
        .arg("--data")
        .arg(dir.path()));
    let report: Value = serde_json::from_slice(&idle.stdout).unwrap();
    assert_eq!(report["connections"], 10);
}
