//! `lag`, `pause` and `resume` beside a running `tidings dev`, and what wants
//! its folder for itself.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tidings_testkit::{SocketClient, eventually};

use crate::place::{DEADLINE, err, json as document};

/// A `tidings dev`, killed when the test ends.
struct Dev {
    process: Child,
    url: String,
    token: String,
}

impl Dev {
    fn start(data: &Path) -> Self {
        let mut process = command()
            .args(["dev", "--listen", "127.0.0.1:0", "--log", "warn", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let stdout = process.stdout.take().expect("piped");
        let mut words = Vec::new();
        for line in BufReader::new(stdout).lines() {
            let line = line.expect("text");
            let mut of_line = line.split_whitespace();
            if let (Some(name), Some(value)) = (of_line.next(), of_line.next()) {
                words.push((name.to_owned(), value.to_owned()));
            }
            if words.last().is_some_and(|(name, _)| name == "token") {
                break;
            }
        }
        let word = |name: &str| {
            let found = words.iter().find(|(found, _)| found == name);
            found.expect("the greeting says it").1.clone()
        };
        let (url, token) = (word("url"), word("token"));
        Self {
            process,
            url,
            token,
        }
    }

    async fn readiness(&self) -> (u16, Value) {
        let address = self
            .url
            .replace("ws://", "http://")
            .replace("/v1/socket", "/readyz");
        let answer = reqwest::get(address).await.expect("it answers");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    for name in ["TIDINGS_DATA", "TIDINGS_JWT_SECRET", "KAFKA_BROKERS"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn tidings(data: &Path, args: &[&str]) -> Output {
    let output = command().args(args).arg("--data").arg(data).output();
    output.expect("the binary runs")
}

fn lag_of(data: &Path, consumer: &str) -> Value {
    let report = document(&tidings(data, &["lag", "--json", "--consumer", consumer]));
    report["consumers"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_consumer_waits_also_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let dev = Dev::start(data);
    let mut alice = SocketClient::connect(&dev.url, &dev.token).await.unwrap();
    let create = json!({
        "type": "create", "temp_id": "c1", "kind": "group", "title": "Ops", "members": [],
    });
    let created = alice.command(&create).await.unwrap();
    let id = created["conversation_id"].clone();
    let send = |temp_id: &str| {
        json!({
            "type": "send", "temp_id": temp_id, "conversation_id": id,
            "content": {"text": "hello"},
        })
    };
    for consumer in ["sequencer", "history", "search", "cache"] {
        eventually(DEADLINE, || {
            let lag = lag_of(data, consumer);
            lag["records"] == 0 && lag["state"] == "active" && lag["members"] == 1
        });
    }

    let paused = tidings(
        data,
        &[
            "pause",
            "history",
            "--reason",
            "a new disk",
            "--by",
            "olga",
            "--json",
        ],
    );
    assert_eq!(paused.status.code(), Some(0), "{}", err(&paused));
    let mut ready = dev.readiness().await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while ready.1["status"] != "paused" && std::time::Instant::now() < deadline {
        ready = dev.readiness().await;
    }
    let expected = json!({"status": "paused", "paused": ["history view"]});
    assert_eq!(
        ready,
        (200, expected),
        "alive and ready, and says that it is paused"
    );
    let delivered = alice.command(&send("m1")).await.unwrap();
    assert_eq!(delivered["type"], "delivered", "{delivered}");
    eventually(DEADLINE, || lag_of(data, "search")["records"] == 0);
    let lag = lag_of(data, "history");
    assert_eq!(lag["records"], 1, "{lag}");
    assert_eq!(lag["state"], "paused");
    assert_eq!(lag["paused"]["reason"], "a new disk");
    assert_eq!(lag["paused"]["by"], "olga");
    let late = tidings(data, &["lag", "--max-records", "0"]);
    assert_eq!(late.status.code(), Some(1));
    let text = String::from_utf8(late.stdout).unwrap();
    assert!(text.contains("paused by olga"), "{text}");
    assert_eq!(
        tidings(data, &["lag", "--max-records", "1"]).status.code(),
        Some(0)
    );

    // Who wants the folder for themselves is refused while it is in use.
    let redrive = tidings(data, &["dead", "redrive"]);
    assert_eq!(redrive.status.code(), Some(1));
    assert!(
        err(&redrive).contains("in use by process"),
        "{}",
        err(&redrive)
    );

    drop(dev);
    eventually(DEADLINE, || lag_of(data, "history")["members"] == 0);
    let redrive = tidings(data, &["dead", "redrive", "--json"]);
    assert_eq!(redrive.status.code(), Some(0), "{}", err(&redrive));
    assert_eq!(document(&redrive)["redriven"], 0);

    let dev = Dev::start(data);
    let mut alice = SocketClient::connect(&dev.url, &dev.token).await.unwrap();
    let delivered = alice.command(&send("m2")).await.unwrap();
    assert_eq!(delivered["type"], "delivered", "{delivered}");
    eventually(DEADLINE, || lag_of(data, "search")["records"] == 0);
    assert!(lag_of(data, "history")["records"].as_i64().unwrap() >= 2);
    assert_eq!(lag_of(data, "history")["state"], "paused");
    let resumed = document(&tidings(data, &["resume", "history", "--json"]));
    assert_eq!(
        (&resumed["paused"], &resumed["was_paused"]),
        (&false.into(), &true.into())
    );
    eventually(DEADLINE, || {
        let lag = lag_of(data, "history");
        lag["records"] == 0 && lag["state"] == "active"
    });

    // While the sequencer is paused, what is sent is durable and undecided.
    let paused = tidings(data, &["pause", "sequencer", "--reason", "an upgrade"]);
    assert!(err(&paused).contains("stays pending"), "{}", err(&paused));
    eventually(DEADLINE, || lag_of(data, "sequencer")["state"] == "paused");
    tokio::time::timeout(DEADLINE, async {
        while dev.readiness().await.1["paused"] != json!(["sequencer"]) {}
    })
    .await
    .unwrap();
    alice.send(&send("m3")).await.unwrap();
    let pending = alice.expect_type("pending").await.unwrap();
    assert_eq!(pending["temp_id"], "m3");
    eventually(DEADLINE, || lag_of(data, "sequencer")["records"] == 1);
    // Lag is told a moment late: only this says that it is not decided.
    let asked = json!({
        "type": "outcome", "id": "q", "temp_ids": [{"conversation_id": id, "temp_id": "m3"}],
    });
    let answer = alice.ask(&asked).await.unwrap();
    assert_eq!(answer["outcomes"][0]["state"], "pending", "{answer}");
    tidings(data, &["resume", "sequencer"]);
    let delivered = alice.expect_type("delivered").await.unwrap();
    assert_eq!(delivered["temp_id"], "m3");
    eventually(DEADLINE, || lag_of(data, "sequencer")["records"] == 0);
}
