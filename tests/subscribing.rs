//! The examples of `docs/subscribing.md` read what the log really holds, as our
//! own readers do: claims, an old owner's void decisions, and outcomes that are
//! no events are among it.

mod support;

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};
use support::cluster::repository;
use support::installed::{made_once, python, run};
use support::traffic::{Traffic, user};
use tidings_domain::{
    CommandBody, Content, Decision, DeleteScope, Epoch, Event, Outcome, OwnerId, Ownership,
    ReactionOp, TempId, Timestamp, Update,
};
use tidings_log::LogReader;
use tidings_wire::{Codec, DeliveredStream, Judged, Stored, Topic};
use uuid::Uuid;

const PARTITIONS: i32 = 3;

/// What a test asks the examples for, and what our own reader says.
struct Scene {
    traffic: Traffic,
    asked: usize,
}

impl Scene {
    async fn fresh() -> Self {
        Self {
            traffic: Traffic::fresh(PARTITIONS).await,
            asked: 0,
        }
    }

    /// Conversations in which everything happens that can.
    fn chat(&mut self, names: &[&str]) {
        for name in names {
            let traffic = &self.traffic;
            let id = traffic.create(name);
            let ask = |sender: &str, temp_id: &str, body| traffic.ask(id, sender, temp_id, body);
            let first = traffic.send(id, "alice", "m1");
            let first = traffic.codec.decode_command(first.topic, &first.record);
            let message_id = first.expect("a command").message_id().expect("a message");
            traffic.send(id, "bob", "m2");
            // A duplicate, and two that are rejected.
            traffic.send(id, "bob", "m2");
            traffic.send(id, "mallory", "m3");
            ask("mallory", "l1", CommandBody::Update(Update::Leave));
            let edit = CommandBody::Edit {
                message_id,
                content: Content::text("edited \"\\\n"),
                author: Some(user("alice")),
                posted_at: Some(traffic.clock.now()),
            };
            ask("alice", "e1", edit);
            let react = CommandBody::React {
                message_id,
                emoji: "👍".to_owned(),
                op: ReactionOp::Add,
            };
            ask("bob", "r1", react);
            // The sender's own: no events.
            ask("bob", "k1", CommandBody::Read { up_to: 2 });
            let until = Some(Timestamp(1_900_000_000_123));
            ask("bob", "u1", CommandBody::Update(Update::Mute { until }));
            let added = Update::AddMembers(vec![user("carol"), user("dave")]);
            ask("alice", "u2", CommandBody::Update(added));
            let delete = CommandBody::Delete {
                message_id,
                scope: DeleteScope::Purge,
                author: Some(user("alice")),
            };
            ask("alice", "d1", delete);
            self.asked += 12;
        }
        // A command that nobody can read.
        let mut poison = self.traffic.delivered(0).first().map_or_else(
            || Codec::claim(ownership(0), self.traffic.clock.now()),
            |stored| stored.record.clone(),
        );
        poison.key = Some("no conversation".into());
        poison.value = Some("no avro".into());
        self.traffic.append(Topic::MessageSent, 0, poison);
        self.asked += 1;
    }

    fn decided(&self) {
        self.traffic.decided(self.asked);
    }

    /// A new owner claims every partition while the old one still decides: what
    /// the old one writes is void, as is what is written by one whose claim
    /// came too late.
    fn overtake(&mut self) {
        for partition in 0..PARTITIONS {
            let records = self.traffic.delivered(partition);
            let mut stream = DeliveredStream::default();
            let mut last_valid = None;
            for stored in &records {
                if let Judged::Valid(marked) = stream.judge(stored).expect("our headers") {
                    last_valid = Some((marked, stored));
                }
            }
            let old = stream.current(partition).expect("an owner");
            let (winner, loser) = (ownership(old.epoch.0 + 1), ownership(old.epoch.0 + 1));
            let now = self.traffic.clock.now();
            for by in [winner, loser] {
                let claim = Codec::claim(by, now);
                self.traffic
                    .append(Topic::MessageDelivered, partition, claim);
            }
            let Some((marked, _)) = last_valid else {
                continue;
            };
            let events = records.iter().filter_map(|stored| self.event(stored));
            let Some((last, seq)) = events.last() else {
                continue;
            };
            // The next owner decides this command; these two do in vain.
            let command = self.traffic.send(last.conversation_id, "bob", "overtaken");
            self.asked += 1;
            for by in [old, loser] {
                let decision = overtaken(&last, seq + 1);
                let record =
                    self.traffic
                        .codec
                        .encode_decision(&decision, &command, by, marked.digest);
                let record = record.expect("a decision can be written");
                self.traffic
                    .append(Topic::MessageDelivered, partition, record);
            }
        }
    }

    fn event(&self, stored: &Stored) -> Option<(Decision, u64)> {
        let body = self.traffic.codec.decode_delivered(&stored.record).ok()?;
        match body {
            tidings_wire::DeliveredBody::Decision(decision) => {
                let seq = decision.seq()?;
                Some((decision, seq))
            }
            tidings_wire::DeliveredBody::Dead { .. } => None,
        }
    }

    /// The lines that an example is to print, of each partition, by our reader.
    fn expected(&self) -> BTreeMap<i64, Vec<Value>> {
        let mut lines: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
        for (_, stored) in self.traffic.valid() {
            if self.event(&stored).is_none() {
                continue;
            }
            let value = self.traffic.codec.to_json(&stored.record).expect("decoded");
            let header = |name| stored.record.headers.text(name).expect("a header");
            let line = json!({
                "partition": stored.partition,
                "offset": stored.offset,
                "id": header("ce_id"),
                "type": header("ce_type"),
                "tenant": value["tenant"],
                "conversation_id": value["conversation_id"],
                "seq": value["seq"],
                "at": value["at"],
                "by": value["sender"],
                "event": value["event"],
            });
            lines.entry(stored.partition.into()).or_default().push(line);
        }
        lines
    }

    /// Runs an example to the end of the log, and again after more has
    /// happened: it prints each event once, as our reader has it.
    async fn check(mut self, example: impl Fn(&Traffic) -> Command) {
        let sequencer = self.traffic.sequencer();
        self.chat(&["c1", "c2", "c3", "c4"]);
        self.decided();
        sequencer.stop().await;
        self.overtake();
        let sequencer = self.traffic.sequencer();
        self.decided();
        let mut printed = printed_by(example(&self.traffic));
        assert_eq!(printed, self.expected());

        // It goes on within the same owner's decisions, then with another's.
        self.chat(&["c5", "c6"]);
        self.decided();
        sequencer.stop().await;
        self.overtake();
        let sequencer = self.traffic.sequencer();
        self.decided();
        sequencer.stop().await;
        for (partition, lines) in printed_by(example(&self.traffic)) {
            printed.entry(partition).or_default().extend(lines);
        }
        assert_eq!(printed, self.expected());
        assert_eq!(self.traffic.log.partitions(), PARTITIONS);
    }
}

fn ownership(epoch: u64) -> Ownership {
    Ownership {
        epoch: Epoch(epoch),
        owner: OwnerId(Uuid::new_v4()),
    }
}

/// What an owner that was overtaken makes of the command.
fn overtaken(last: &Decision, seq: u64) -> Decision {
    let mut decision = last.clone();
    decision.sender = user("bob");
    decision.temp_id = TempId::parse("overtaken").expect("a temp_id");
    decision.message_id = Some(decision.key().message_id());
    decision.outcome = Outcome::Accepted {
        seq,
        event: Event::MessageSent {
            message_id: decision.key().message_id(),
            no: 3,
            content: Content::text("void"),
            reply_to: None,
            thread: None,
            forwarded_from: None,
        },
    };
    decision
}

/// The lines that a program prints, of each partition.
fn printed_by(mut program: Command) -> BTreeMap<i64, Vec<Value>> {
    let output = program.output().expect("the example can be run");
    assert!(
        output.status.success(),
        "{program:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut lines: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("a JSON object a line");
        let partition = line["partition"].as_i64().expect("a partition");
        lines.entry(partition).or_default().push(line);
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_reads_what_counts() {
    let example = repository().join("docs/examples/python");
    let python = python("examples", &example.join("requirements.txt"));
    let scene = Scene::fresh().await;
    scene
        .check(|traffic| {
            let mut program = Command::new(&python);
            program
                .arg(example.join("subscriber.py"))
                .args(["--brokers", tidings_testkit::brokers()])
                .args(["--registry", tidings_testkit::registry_url()])
                .args(["--group", &format!("{}python", traffic.prefix)])
                .args(["--topic-prefix", &traffic.prefix])
                .arg("--exit-at-end");
            program
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_java_example_reads_what_counts() {
    let example = repository().join("docs/examples/java");
    let pom = example.join("pom.xml");
    let installed = made_once("java", &pom, |folder| {
        run(Command::new("mvn")
            .args(["--batch-mode", "--quiet", "--strict-checksums", "--file"])
            .arg(&pom)
            .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", folder.display())));
    });
    let scene = Scene::fresh().await;
    scene
        .check(|traffic| {
            let mut program = Command::new("java");
            program
                .args(["-Dfile.encoding=UTF-8", "-XX:+UseSerialGC", "-cp"])
                .arg(installed.join("*"))
                .arg(example.join("Subscriber.java"))
                .args([tidings_testkit::brokers(), tidings_testkit::registry_url()])
                .arg(format!("{}java", traffic.prefix))
                .args(["--topic-prefix", &traffic.prefix, "--exit-at-end"]);
            program
        })
        .await;
}
