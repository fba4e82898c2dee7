//! What `tidings dev` sends to an OpenTelemetry collector.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_testkit::{CollectedSpan, Collector, SocketClient, eventually};

const PATIENCE: Duration = Duration::from_secs(60);
const TEXT: &str = "a text that is nobody's business";

/// A `tidings dev` with a collector, killed when the test ends.
struct Dev {
    process: Child,
    url: String,
    token: String,
    _data: TempDir,
}

impl Dev {
    /// `send_every_ms`: how often it sends the spans that have ended.
    fn start(endpoint: &str, ratio: &str, send_every_ms: &str) -> Self {
        let data = TempDir::new().expect("a folder");
        let mut process = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(["dev", "--listen", "127.0.0.1:0", "--log", "warn", "--data"])
            .arg(data.path())
            .args(["--otlp-endpoint", endpoint, "--trace-ratio", ratio])
            .env("OTEL_BSP_SCHEDULE_DELAY", send_every_ms)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut said = |name: &str| loop {
            let line = lines.next().expect("it says where it is").expect("text");
            let mut words = line.split_whitespace();
            if words.next() == Some(name) {
                return words.next().expect("a value").to_owned();
            }
        };
        Self {
            url: said("url"),
            token: said("token"),
            process,
            _data: data,
        }
    }

    /// Makes a conversation and sends a message.
    fn say_something(&self) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let mut client = SocketClient::connect(&self.url, &self.token)
                .await
                .expect("a socket");
            let create = json!({"type": "create", "temp_id": "c1", "kind": "group",
                "title": "Ops", "members": ["bob"]});
            let created = delivered(&mut client, &create).await;
            let send = json!({"type": "send", "temp_id": "m1",
                "conversation_id": created["conversation_id"], "content": {"text": TEXT}});
            delivered(&mut client, &send).await;
        });
    }

    /// SIGTERM; the exit code.
    fn stop(mut self) -> Option<i32> {
        let sent = Command::new("kill")
            .args(["-TERM", &self.process.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        self.process.wait().expect("it ran").code()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

async fn delivered(client: &mut SocketClient, command: &Value) -> Value {
    let answer = client.command(command).await.expect("an answer");
    assert_eq!(answer["type"], "delivered", "{answer}");
    answer
}

/// The span of this part, of a record of this topic.
fn span<'a>(spans: &'a [CollectedSpan], part: &str, topic: &str) -> Option<&'a CollectedSpan> {
    spans.iter().find(|span| {
        span.attribute("tidings.part") == part
            && span.attribute("messaging.destination.name") == topic
    })
}

/// The children of a span.
fn children<'a>(spans: &'a [CollectedSpan], parent: &CollectedSpan) -> Vec<&'a CollectedSpan> {
    let is_child = |span: &&CollectedSpan| span.parent_id == parent.span_id;
    spans.iter().filter(is_child).collect()
}

/// The views, as the spans of their projections name them.
const VIEWS: [&str; 3] = ["history", "search", "cache"];

#[test]
fn a_message_is_one_trace_from_its_frame_to_each_view() {
    let collector = Collector::start();
    let dev = Dev::start(&collector.url(), "1", "20");
    dev.say_something();

    let trace_of = |spans: &[CollectedSpan]| {
        let edge = span(spans, "edge", "message.sent")?;
        let sequencer = *children(spans, edge).first()?;
        let written = children(spans, sequencer);
        let of_view = |view: &str| {
            let mut own = written
                .iter()
                .filter(|span| span.attribute("tidings.part") == view);
            let first = own.next().copied().cloned();
            assert!(own.next().is_none(), "{view} has written it twice");
            first
        };
        let views = VIEWS.map(of_view).into_iter().collect::<Option<Vec<_>>>()?;
        Some((edge.clone(), sequencer.clone(), views))
    };
    eventually(PATIENCE, || trace_of(&collector.spans()).is_some());
    let (edge, sequencer, views) = trace_of(&collector.spans()).expect("found before");
    assert_eq!(edge.name, "send message.sent");
    assert_eq!(edge.parent_id, Vec::<u8>::new());
    assert_eq!(edge.attribute("tidings.outcome"), "accepted");
    assert_eq!(sequencer.name, "process message.sent");
    assert_eq!(sequencer.attribute("tidings.part"), "sequencer");
    assert_eq!(sequencer.attribute("tidings.outcome"), "accepted");
    let offset = "messaging.kafka.offset";
    for view in &views {
        assert_eq!(view.name, "process message.delivered");
        assert_eq!(view.attribute(offset), views[0].attribute(offset));
    }
    for later in views.iter().chain([&sequencer]) {
        assert_eq!(later.trace_id, edge.trace_id);
        assert!(
            later.time.0 >= edge.time.0,
            "{later:?} began before {edge:?}"
        );
    }
    for span in views.iter().chain([&edge, &sequencer]) {
        assert_eq!(span.service, "tidings");
        assert!(span.time.1 >= span.time.0, "{span:?}");
        assert_ne!(span.attribute(offset), "");
    }

    // The conversation's own command is another trace.
    let create = span(&collector.spans(), "edge", "conversation.updated").cloned();
    assert_ne!(create.expect("a span").trace_id, edge.trace_id);
    assert!(
        !collector.was_sent(TEXT),
        "a message's text left the system"
    );
}

#[test]
fn the_last_spans_are_sent_when_it_stops() {
    let collector = Collector::start();
    let dev = Dev::start(&collector.url(), "1", "3600000");
    dev.say_something();
    assert_eq!(collector.spans(), []);
    assert_eq!(dev.stop(), Some(0));
    let spans = collector.spans();
    assert!(span(&spans, "edge", "message.sent").is_some(), "{spans:?}");
    assert!(
        span(&spans, "sequencer", "message.sent").is_some(),
        "{spans:?}"
    );
}

#[test]
fn a_ratio_of_none_sends_nothing() {
    let collector = Collector::start();
    let dev = Dev::start(&collector.url(), "0", "20");
    dev.say_something();
    assert_eq!(dev.stop(), Some(0));
    assert_eq!(collector.spans(), []);
}

#[test]
fn a_collector_that_is_not_there_holds_nothing_up() {
    // Nobody listens there, or it would not be free.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", nowhere.local_addr().expect("it is bound"));
    drop(nowhere);
    let dev = Dev::start(&endpoint, "1", "20");
    dev.say_something();
    assert_eq!(dev.stop(), Some(0));
}
