//! A data folder is backed up while `tidings dev` writes to it, and restored.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Dev, command, run};
use tempfile::TempDir;
use tidings_testkit::{SocketClient, eventually};

const PATIENCE: Duration = Duration::from_secs(60);
const ANY_PORT: &str = "127.0.0.1:0";

/// Alice, who keeps on writing until she is stopped.
struct Writer {
    stop: Arc<AtomicBool>,
    /// How many of her messages were delivered.
    delivered: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
    conversation_id: String,
}

impl Writer {
    fn start(dev: &Dev) -> Self {
        let (stop, delivered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (telling, told) = mpsc::channel();
        let thread = {
            let (url, token) = (dev.url.clone(), dev.token.clone());
            let (stop, delivered) = (Arc::clone(&stop), Arc::clone(&delivered));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime");
                runtime.block_on(async {
                    let mut client = SocketClient::connect(&url, &token).await.expect("a socket");
                    let create = json!({"type": "create", "temp_id": "c", "kind": "group",
                        "title": "Ops", "members": ["bob"]});
                    let created = client.command(&create).await.expect("an answer");
                    let id = created["conversation_id"].as_str().expect("an id");
                    telling.send(id.to_owned()).expect("somebody waits");
                    while !stop.load(Ordering::Relaxed) {
                        let number = delivered.load(Ordering::Relaxed) + 1;
                        let answer = send(&mut client, id, number).await;
                        assert_eq!(answer["no"], number, "{answer}");
                        delivered.store(number, Ordering::Relaxed);
                    }
                });
            })
        };
        Self {
            stop,
            delivered,
            thread,
            conversation_id: told.recv_timeout(PATIENCE).expect("a conversation"),
        }
    }

    fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    fn wait_for(&self, more: u64) {
        let wanted = self.delivered() + more;
        eventually(PATIENCE, || self.delivered() >= wanted);
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("all was delivered in order");
    }
}

async fn send(client: &mut SocketClient, conversation_id: &str, number: u64) -> Value {
    let send = json!({"type": "send", "temp_id": format!("m{number}"),
        "conversation_id": conversation_id, "content": {"text": format!("message {number}")}});
    let answer = client.command(&send).await.expect("an answer");
    assert_eq!(answer["type"], "delivered", "{answer}");
    answer
}

/// The records of each partition of a topic.
fn lines(data: &Path, topic: &str) -> BTreeMap<i64, Vec<Value>> {
    let output = run(command().args(["tail", topic, "--data"]).arg(data));
    let text = String::from_utf8(output.stdout).expect("text");
    let mut lines: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("one object a line");
        let partition = line["partition"].as_i64().expect("a partition");
        lines.entry(partition).or_default().push(line);
    }
    lines
}

/// Runs a command that prints one JSON document.
fn report(arguments: &[&str], paths: &[(&str, &Path)]) -> Value {
    let mut command = command();
    command.args(arguments).arg("--json");
    for (flag, path) in paths {
        if !flag.is_empty() {
            command.arg(flag);
        }
        command.arg(path);
    }
    serde_json::from_slice(&run(&mut command).stdout).expect("one JSON document")
}

/// Runs a command that is to exit with 1; what it says.
fn refused(arguments: &[&str], paths: &[(&str, &Path)]) -> String {
    let mut command = command();
    command.args(arguments);
    for (flag, path) in paths {
        if !flag.is_empty() {
            command.arg(flag);
        }
        command.arg(path);
    }
    let output = command.output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_backed_up_while_it_is_written_and_goes_on_where_it_is_restored() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (data, backup, restored) = (path("data"), path("backup"), path("restored"));
    let dev = Dev::start(&data, ANY_PORT);
    let writer = Writer::start(&dev);
    writer.wait_for(50);

    let looked = report(
        &["backup", "--dry-run"],
        &[("", &backup), ("--data", &data)],
    );
    assert_eq!(looked["dry_run"], true, "{looked}");
    assert!(!backup.exists());
    let before = writer.delivered();
    let backed_up = report(&["backup"], &[("", &backup), ("--data", &data)]);
    assert_eq!(backed_up["secret"], true, "{backed_up}");
    writer.wait_for(20);
    let conversation_id = writer.conversation_id.clone();
    writer.stop();
    drop(dev);

    let looked = report(
        &["restore", "--dry-run"],
        &[("", &backup), ("--data", &restored)],
    );
    assert_eq!(looked["records"], backed_up["records"]);
    assert!(!restored.exists());
    let done = report(&["restore"], &[("", &backup), ("--data", &restored)]);
    assert_eq!(done["records"], backed_up["records"]);
    assert_eq!(
        fs::read(restored.join("jwt-secret")).expect("the secret"),
        fs::read(data.join("jwt-secret")).expect("the secret"),
    );
    // Record by record it is the beginning of what the folder holds now.
    for topic in ["message.sent", "message.delivered"] {
        let (all, kept) = (lines(&data, topic), lines(&restored, topic));
        let count = |all: &BTreeMap<i64, Vec<Value>>| all.values().map(Vec::len).sum::<usize>();
        assert!(count(&kept) as u64 > before, "{} of {before}", count(&kept));
        assert!(count(&kept) < count(&all));
        for (partition, kept) in kept {
            assert_eq!(
                kept,
                all[&partition][..kept.len()],
                "{topic} partition {partition}"
            );
        }
    }

    let dev = Dev::start(&restored, ANY_PORT);
    let mut client = SocketClient::connect(&dev.url, &dev.token)
        .await
        .expect("a socket");
    let sync = json!({"type": "sync", "id": "q", "conversation_id": conversation_id,
        "after": 0, "limit": 1});
    let last = client.ask(&sync).await.expect("an answer")["last_seq"].clone();
    let last = last.as_u64().expect("a seq");
    assert!(last > before, "{last} of {before}");
    // The create was 1, so a message's seq is its number and one.
    let again = send(&mut client, &conversation_id, last - 1).await;
    assert_eq!(
        (&again["duplicate"], &again["seq"]),
        (&json!(true), &json!(last))
    );
    let next = send(&mut client, &conversation_id, last).await;
    assert_eq!(
        (&next["seq"], &next["no"]),
        (&json!(last + 1), &json!(last))
    );
}

#[test]
fn what_is_damaged_or_in_the_way_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (data, backup, target) = (path("data"), path("backup"), path("target"));
    let to_target: &[(&str, &Path)] = &[("", &backup), ("--data", &target)];
    let from_data: &[(&str, &Path)] = &[("", &backup), ("--data", &data)];

    refused(&["backup"], from_data);
    refused(&["restore"], to_target);
    let dev = Dev::start(&data, ANY_PORT);
    let writer = Writer::start(&dev);
    writer.wait_for(5);
    // What an interrupted run left is in nobody's way.
    fs::create_dir_all(backup.join("partial")).expect("made");
    fs::write(backup.join("partial/tidings.sqlite"), "half of it").expect("written");
    let report = report(&["backup", "--without-secret"], from_data);
    assert_eq!(report["secret"], false, "{report}");
    assert!(!backup.join("jwt-secret").exists());
    writer.stop();
    let said = refused(&["backup"], from_data);
    assert!(said.contains("is not empty"), "{said}");
    let said = refused(&["restore"], from_data);
    assert!(said.contains("is not empty"), "{said}");

    let file = backup.join("tidings.sqlite");
    let sound = fs::read(&file).expect("the file");
    let mut damaged = sound.clone();
    damaged[sound.len() / 2] ^= 1;
    fs::write(&file, &damaged).expect("written");
    let said = refused(&["restore"], to_target);
    assert!(said.contains("damaged"), "{said}");
    assert!(!target.join("tidings.sqlite").exists());
    fs::write(&file, &sound).expect("written");

    // A file that is what the manifest's sum says, and another log.
    let manifest = backup.join("backup.json");
    let text = fs::read_to_string(&manifest).expect("the manifest");
    let mut other: Value = serde_json::from_str(&text).expect("JSON");
    let records = other["partitions"][0]["records"].as_u64().expect("a count");
    other["partitions"][0]["records"] = (records + 1).into();
    fs::write(&manifest, other.to_string()).expect("written");
    let said = refused(&["restore"], to_target);
    assert!(said.contains("its log is not the one"), "{said}");
    assert!(!target.join("tidings.sqlite").exists());
    fs::write(&manifest, &text).expect("written");
    let other = text.replace("\"version\": 1,", "\"version\": 2,");
    assert_ne!(other, text);
    fs::write(&manifest, other).expect("written");
    let said = refused(&["restore"], to_target);
    assert!(said.contains("version 2"), "{said}");

    // And then, as it was, it is restored all the same.
    fs::write(&manifest, &text).expect("written");
    run(command()
        .arg("restore")
        .arg(&backup)
        .arg("--data")
        .arg(&target));
    assert!(!target.join("jwt-secret").exists());
    let tail = run(command()
        .args(["tail", "message.delivered", "--data"])
        .arg(&target));
    assert!(tail.stdout.iter().filter(|byte| **byte == b'\n').count() > 5);
}

/// What is in the log is compared in the tests of the whole; here only that the
/// command reaches a cluster.
#[test]
fn a_cluster_is_reached() {
    let folder = TempDir::new().expect("a folder");
    let backup = folder.path().join("backup");
    let on = |prefix: &str, arguments: &[&str]| {
        let mut command = command();
        command
            .env("KAFKA_BROKERS", tidings_testkit::brokers())
            .env("SCHEMA_REGISTRY_URL", tidings_testkit::registry_url())
            .env("TIDINGS_TOPIC_PREFIX", prefix)
            .args(arguments)
            .arg("--json");
        command
    };
    let prefixes = [(); 2].map(|()| tidings_testkit::fresh_prefix());
    for prefix in &prefixes {
        run(&mut on(
            prefix,
            &["topics", "apply", "--replication-factor", "1"],
        ));
    }
    let path = backup.to_str().expect("a path");
    let document = |command: &mut std::process::Command| -> Value {
        serde_json::from_slice(&run(command).stdout).expect("one JSON document")
    };
    let looked = document(&mut on(&prefixes[0], &["backup", path, "--dry-run"]));
    assert_eq!(looked["dry_run"], true, "{looked}");
    assert!(!backup.exists());
    let backed_up = document(&mut on(&prefixes[0], &["backup", path]));
    assert_eq!(
        (&backed_up["added"], &backed_up["partitions"]),
        (&json!(0), &json!(12))
    );
    let restored = document(&mut on(&prefixes[1], &["restore", path]));
    assert_eq!(restored["written"], 0, "{restored}");
    // It is no data folder's.
    let said = refused(
        &["restore"],
        &[("", &backup), ("--data", &folder.path().join("data"))],
    );
    assert!(said.contains("--brokers"), "{said}");
    let mut without = on(&prefixes[0], &["backup", path]);
    let output = without.env_remove("SCHEMA_REGISTRY_URL").output();
    let output = output.expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--registry-url"));
}
