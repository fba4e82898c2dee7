//! Over the embedded log, on its own thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_domain::{Command, CommandBody, Content, Kind, TempId, Timestamp};
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{Appender, Log, LogReader};
use tidings_sequencer::{Clock, Parts, Sequencer, SequencerHandle, SequencerOptions};
use tidings_service::health::Condition;
use tidings_sqlite::Database;
use tidings_wire::{Codec, Delivered, Stored, Topic, TraceParent, delivered_header, partition_of};
use tokio_util::sync::CancellationToken;

use crate::scene::{START, group, tenant, user};

const PARTITIONS: i32 = 4;
const DEADLINE: Duration = Duration::from_secs(20);

struct Running {
    log: EmbeddedLog,
    codec: Codec,
    ready: Condition,
    stop: CancellationToken,
    sequencer: SequencerHandle,
}

fn start(dir: &std::path::Path) -> Running {
    let log = EmbeddedLog::open(Database::open(dir).unwrap(), PARTITIONS).unwrap();
    let (codec, stop) = (Codec::locked(), CancellationToken::new());
    let ready = Condition::new("partitions");
    let sequencer = Sequencer::spawn(Parts {
        log: log.sequencer().unwrap(),
        reader: Arc::new(log.clone()),
        codec: codec.clone(),
        clock: Clock::system(),
        options: SequencerOptions::default(),
        ready: ready.clone(),
        stop: stop.clone(),
    })
    .unwrap();
    Running {
        log,
        codec,
        ready,
        stop,
        sequencer,
    }
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.sequencer.wait().await.unwrap();
    }

    fn ask(&self, conversation: &str, temp_id: &str, body: CommandBody) {
        let id = group(conversation);
        let command = Command {
            tenant: tenant(),
            conversation_id: id,
            sender: user("alice"),
            temp_id: TempId::parse(temp_id).unwrap(),
            at: Timestamp(START),
            body,
        };
        let record = self
            .codec
            .encode_command(&command, TraceParent::new(1, 1, true).unwrap())
            .unwrap();
        let partition = partition_of(id.to_string().as_bytes(), PARTITIONS);
        let topic = Topic::of_command(&command);
        self.log.append(
            topic,
            partition,
            record,
            Box::new(|result| {
                result.unwrap();
            }),
        );
    }

    /// The decisions from each partition's start, when there are `count`.
    fn decisions(&self, count: usize) -> Vec<Stored> {
        let starts: Vec<_> = (0..PARTITIONS)
            .map(|p| (Topic::MessageDelivered, p, 0))
            .collect();
        let mut follower = self.log.follow(&starts).unwrap();
        let deadline = Instant::now() + DEADLINE;
        let mut found = Vec::new();
        while found.len() < count {
            assert!(
                Instant::now() < deadline,
                "{} of {count} decisions",
                found.len()
            );
            let mut batch = Vec::new();
            follower
                .poll(1_000, Duration::from_millis(50), &mut batch)
                .unwrap();
            found.extend(batch.into_iter().filter(|stored| {
                matches!(
                    delivered_header(&stored.record).unwrap(),
                    Delivered::Decided(_)
                )
            }));
        }
        found
    }
}

fn create() -> CommandBody {
    CommandBody::Create {
        kind: Kind::Group,
        title: None,
        members: vec![user("bob")],
    }
}

fn send() -> CommandBody {
    CommandBody::Send {
        content: Content::text("hello"),
        reply_to: None,
        thread: None,
        forwarded_from: None,
    }
}

#[tokio::test]
async fn decides_stops_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path());
    for n in 0..10 {
        let conversation = format!("c{n}");
        running.ask(&conversation, &conversation, create());
    }
    running.decisions(10);
    for n in 0..200 {
        running.ask(&format!("c{}", n % 10), &format!("m{n}"), send());
    }
    running.decisions(210);
    assert!(running.ready.is_ready());
    running.stop().await;

    // The same folder again: nothing is decided twice, and the state is there.
    let running = start(dir.path());
    for n in 150..250 {
        running.ask(&format!("c{}", n % 10), &format!("m{n}"), send());
    }
    let decided = running.decisions(310);
    let mut outcomes = std::collections::BTreeMap::new();
    for stored in &decided {
        let body = running.codec.to_json(&stored.record).unwrap();
        *outcomes
            .entry(body["outcome"].as_str().unwrap().to_owned())
            .or_insert(0) += 1;
    }
    assert_eq!(outcomes["accepted"], 10 + 250);
    assert_eq!(outcomes["duplicate"], 50);
    running.stop().await;
}
