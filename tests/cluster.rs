//! The whole system as real processes on real servers, killed and paused in
//! the middle of an import. Afterwards every acknowledged message is there
//! exactly once and in order, in the log and in the view.

mod support;

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use serde_json::json;
use support::cluster::{Cluster, repository};
use support::history::History;
use tempfile::TempDir;
use tidings_testkit::{CollectedSpan, Collector, SocketClient, eventually};

const PATIENCE: Duration = Duration::from_secs(180);
/// Copies of the two samples in one import: some 2,400 lines.
const COPIES: usize = 4;

/// Copies of the sample logs, each a conversation of its own; `copies` are
/// their numbers.
fn logs(folder: &TempDir, copies: Range<usize>) -> Vec<PathBuf> {
    let samples = repository().join("tests/data/irc");
    let mut logs = Vec::new();
    for copy in copies {
        for name in ["2004-11-15_03.sample", "2009-10-01_17.sample"] {
            for part in ["raw", "annotation"] {
                let from = samples.join(format!("{name}.{part}.txt"));
                let to = folder.path().join(format!("{name}-{copy}.{part}.txt"));
                std::fs::copy(&from, &to).expect("a sample can be copied");
                if part == "raw" {
                    logs.push(to);
                }
            }
        }
    }
    logs
}

/// Imports of copies of the samples, one after another: on a fast machine one
/// is over before a test has done to the cluster all that it wants to.
struct Imports<'a> {
    cluster: &'a Cluster,
    folder: TempDir,
    imported: Vec<PathBuf>,
    sent: u64,
    running: Child,
}

impl<'a> Imports<'a> {
    fn start(cluster: &'a Cluster) -> Self {
        let folder = TempDir::new().expect("a folder");
        let imported = logs(&folder, 0..COPIES);
        let running = cluster.start_import(&imported);
        Self {
            cluster,
            folder,
            imported,
            sent: 0,
            running,
        }
    }

    /// Waits until `more` further records were delivered, with an import
    /// still running.
    fn go_on(&mut self, more: usize) {
        let wanted = self.cluster.delivered().len() + more;
        eventually(PATIENCE, || {
            let status = self.running.try_wait();
            if status.expect("the import can be asked").is_some() {
                self.start_another();
                return false;
            }
            self.cluster.delivered().len() >= wanted
        });
    }

    fn start_another(&mut self) {
        self.sent += sent(&self.cluster.finish_import(&mut self.running));
        let copies = self.imported.len() / 2;
        let more = logs(&self.folder, copies..copies + COPIES);
        self.running = self.cluster.start_import(&more);
        self.imported.extend(more);
    }

    /// Waits for the last import. What is imported then, and how many messages
    /// were sent.
    fn finish(mut self) -> (Vec<PathBuf>, u64, TempDir) {
        let sent = self.sent + sent(&self.cluster.finish_import(&mut self.running));
        (self.imported, sent, self.folder)
    }
}

/// What `sync` gives of every conversation is what the log holds.
async fn check_view(cluster: &Cluster, history: &History) {
    let urls = cluster.edge_urls();
    for (conversation_id, events) in &history.conversations {
        let member = events[0]["event"]["members"][0]["user_id"]
            .as_str()
            .expect("a member");
        let url = urls.split(',').next().expect("an edge");
        let mut client = SocketClient::connect(url, &cluster.token(member))
            .await
            .expect("a socket");
        let mut after = 0;
        loop {
            let question = json!({"type": "sync", "id": "s", "conversation_id": conversation_id,
                "after": after, "limit": 100});
            let answer = client.ask(&question).await.expect("an answer");
            assert_eq!(answer["type"], "changes", "{answer}");
            assert_eq!(answer["last_seq"], events.len(), "{answer}");
            for event in answer["events"].as_array().expect("events") {
                after += 1;
                let logged = &events[after - 1];
                assert_eq!(event["seq"], after);
                assert_eq!(event["by"], logged["sender"]);
                for field in ["kind", "message_id", "no"] {
                    assert_eq!(
                        event["event"].get(field).cloned().unwrap_or_default(),
                        logged["event"][field],
                        "{field} of {event}"
                    );
                }
                assert_eq!(
                    event["event"]["content"]["text"],
                    logged["event"]["content"]["text"]
                );
            }
            if answer["more"] == false {
                break;
            }
        }
        assert_eq!(after, events.len());
        client.close().await.expect("the socket closes");
    }
}

/// How many messages an import sent.
fn sent(summary: &serde_json::Value) -> u64 {
    summary["total"]["sent"].as_u64().expect("a count")
}

/// The log and the view after an import that was disturbed; a second import
/// then changes nothing.
fn check_all(cluster: &Cluster, logs: &[PathBuf], sent: u64) -> History {
    let history = History::read(&cluster.delivered());
    assert_eq!(
        history.messages(),
        sent,
        "one message for each that was sent"
    );
    assert_eq!(history.conversations.len(), logs.len());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(check_view(cluster, &history));

    let again = cluster.finish_import(&mut cluster.start_import(logs));
    assert_eq!(again["total"]["delivered"], 0, "{:#}", again["total"]);
    assert_eq!(again["total"]["duplicates"], sent);
    let after = History::read(&cluster.delivered());
    assert_eq!(
        after.conversations, history.conversations,
        "a second import changed something"
    );
    after
}

#[test]
fn an_import_survives_the_death_of_every_process() {
    let cluster = Cluster::up(&[]);
    let mut imports = Imports::start(&cluster);
    for name in [
        "sequencer",
        "edge-1",
        "history",
        "kafka",
        "edge-2",
        "mongodb",
        "registry",
        "search",
        "opensearch",
        "cache",
        "redis",
        "api",
    ] {
        imports.go_on(50);
        cluster.signal(name, "-KILL");
        cluster.script(&["restart", name]);
    }
    let (logs, sent, _folder) = imports.finish();
    check_all(&cluster, &logs, sent);
}

#[test]
fn a_paused_sequencer_wakes_up_to_a_successor() {
    let collector = Collector::start();
    let cluster = Cluster::up(&[
        ("TIDINGS_SESSION_TIMEOUT_MS", "3000"),
        ("TIDINGS_OTLP_ENDPOINT", &collector.url()),
        ("TIDINGS_TRACE_RATIO", "0.05"),
    ]);
    let mut imports = Imports::start(&cluster);
    imports.go_on(50);
    cluster.script(&["add", "sequencer"]);
    imports.go_on(100);
    let claims = History::read(&cluster.delivered()).claims;
    cluster.signal("sequencer", "-STOP");
    // Past the session's timeout the other one claims what the first owned.
    eventually(PATIENCE, || {
        History::read(&cluster.delivered()).claims >= claims + 3
    });
    cluster.signal("sequencer", "-CONT");
    let (logs, sent, _folder) = imports.finish();
    check_all(&cluster, &logs, sent);
    eventually(PATIENCE, || goes_through_every_process(&collector.spans()));
}

/// Whether there is a trace of an edge's span, the sequencer's below it, and
/// below that the view's.
fn goes_through_every_process(spans: &[CollectedSpan]) -> bool {
    let by_id: HashMap<&[u8], &CollectedSpan> = spans
        .iter()
        .map(|span| (span.span_id.as_slice(), span))
        .collect();
    spans.iter().any(|view| {
        let parent = |span: &CollectedSpan| {
            let parent = by_id.get(span.parent_id.as_slice()).copied();
            parent.filter(|parent| parent.trace_id == view.trace_id)
        };
        let Some(sequencer) = parent(view) else {
            return false;
        };
        let services = [
            parent(sequencer).map(|edge| edge.service.as_str()),
            Some(sequencer.service.as_str()),
            Some(view.service.as_str()),
        ];
        services == ["tidings-edge", "tidings-sequencer", "tidings-history"].map(Some)
    })
}
