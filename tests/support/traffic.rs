//! Commands and a sequencer on Kafka, in topics of a test's own.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tidings_domain::{Command, CommandBody, Content, ConversationId, Kind, TempId, Tenant, UserId};
use tidings_log::kafka::{KafkaConfig, KafkaLog};
use tidings_log::topics::{Cluster, Declared, plan};
use tidings_log::{Appender, Log, LogError, LogReader, read_range};
use tidings_sequencer::{
    Clock, Parts, Sequencer, SequencerError, SequencerHandle, SequencerOptions,
};
use tidings_service::health::Condition;
use tidings_testkit::eventually;
use tidings_wire::{
    Codec, DeliveredStream, Input, Judged, Record, RegistryConfig, Stored, Topic, TraceParent,
    partition_of,
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

/// Topics of its own on the shared servers.
pub(crate) struct Traffic {
    pub(crate) prefix: String,
    pub(crate) log: Arc<KafkaLog>,
    pub(crate) codec: Codec,
    pub(crate) clock: Clock,
}

impl Traffic {
    /// New topics.
    pub(crate) async fn fresh(partitions: i32) -> Self {
        let prefix = tidings_testkit::fresh_prefix();
        let declared = Declared::built_in()
            .with_prefix(&prefix)
            .with_partitions(partitions)
            .with_replication_factor(1);
        let cluster =
            Cluster::connect(&KafkaConfig::new(tidings_testkit::brokers())).expect("Kafka");
        let actual = cluster.describe(&declared).await.expect("Kafka answers");
        cluster
            .apply(&declared, &actual, &plan(&declared, &actual))
            .await
            .expect("topics can be made");
        let registry = RegistryConfig {
            url: tidings_testkit::registry_url().to_owned(),
            topic_prefix: prefix.clone(),
        };
        Codec::register_all(&registry).await.expect("schemas");
        let codec = Codec::connect(&registry).await.expect("the registry");
        let mut config = KafkaConfig::new(tidings_testkit::brokers());
        config.topic_prefix.clone_from(&prefix);
        config.session_timeout_ms = 6_000;
        let log = tokio::task::spawn_blocking(|| KafkaLog::connect(config))
            .await
            .expect("no panic")
            .expect("the log");
        Self {
            prefix,
            log: Arc::new(log),
            codec,
            clock: Clock::system(),
        }
    }

    pub(crate) fn partition(&self, id: ConversationId) -> i32 {
        partition_of(id.to_string().as_bytes(), self.log.partitions())
    }

    /// Appends a record; gives its offset once it is durable.
    pub(crate) fn append(&self, topic: Topic, partition: i32, record: Record) -> i64 {
        let (done, appended) = mpsc::channel();
        let done = Box::new(move |result| done.send(result).expect("somebody waits"));
        self.log.append(topic, partition, record, done);
        let appended = appended.recv_timeout(PATIENCE).expect("an answer");
        appended.expect("the record is appended")
    }

    /// Appends a command as an edge would; gives where it stands.
    pub(crate) fn ask(
        &self,
        id: ConversationId,
        sender: &str,
        temp_id: &str,
        body: CommandBody,
    ) -> Stored {
        let command = Command {
            tenant: tenant(),
            conversation_id: id,
            sender: user(sender),
            temp_id: TempId::parse(temp_id).expect("a temp_id"),
            at: self.clock.now(),
            body,
        };
        let trace = TraceParent::new(1, 1, false).expect("ids that are not zero");
        let record = self.codec.encode_command(&command, trace).expect("encoded");
        let (topic, partition) = (Topic::of_command(&command), self.partition(id));
        let offset = self.append(topic, partition, record.clone());
        Stored {
            topic,
            partition,
            offset,
            record,
        }
    }

    /// Asks for a group of alice's with bob in it.
    pub(crate) fn create(&self, temp_id: &str) -> ConversationId {
        let own = TempId::parse(temp_id).expect("a temp_id");
        let id = ConversationId::of_created(&tenant(), &user("alice"), &own);
        let body = CommandBody::Create {
            kind: Kind::Group,
            title: Some(temp_id.to_owned()),
            members: vec![user("bob")],
        };
        self.ask(id, "alice", temp_id, body);
        id
    }

    pub(crate) fn send(&self, id: ConversationId, sender: &str, temp_id: &str) -> Stored {
        let body = CommandBody::Send {
            content: Content::text(format!("„{temp_id}“ ✓")),
            reply_to: None,
            thread: None,
            forwarded_from: None,
        };
        self.ask(id, sender, temp_id, body)
    }

    /// A sequencer at work on all partitions.
    pub(crate) fn sequencer(&self) -> Sequencing {
        let stop = CancellationToken::new();
        let handle = Sequencer::spawn(Parts {
            log: self.log.sequencer().expect("the group"),
            reader: self.log.clone(),
            codec: self.codec.clone(),
            clock: self.clock.clone(),
            options: SequencerOptions {
                checkpoint_interval: Duration::from_millis(300),
                ..SequencerOptions::default()
            },
            ready: Condition::new("partitions"),
            stop: stop.clone(),
        });
        Sequencing {
            stop,
            handle: handle.expect("a thread"),
        }
    }

    /// All of a partition of `message.delivered`.
    pub(crate) fn delivered(&self, partition: i32) -> Vec<Stored> {
        let mut records = Vec::new();
        let topic = Topic::MessageDelivered;
        read_range::<LogError>(&*self.log, topic, partition, 0, i64::MAX, |stored| {
            records.push(stored);
            Ok(())
        })
        .expect("the log can be read");
        records
    }

    /// The decisions that count, with the commands they decide.
    pub(crate) fn valid(&self) -> Vec<(Input, Stored)> {
        let mut stream = DeliveredStream::default();
        let mut valid = Vec::new();
        for partition in 0..self.log.partitions() {
            for stored in self.delivered(partition) {
                if let Judged::Valid(marked) = stream.judge(&stored).expect("our headers") {
                    valid.push((marked.input, stored));
                }
            }
        }
        valid
    }

    /// Waits until this many commands were decided in all.
    pub(crate) fn decided(&self, count: usize) {
        eventually(PATIENCE, || self.valid().len() >= count);
        assert_eq!(self.valid().len(), count);
    }
}

/// A sequencer at work.
pub(crate) struct Sequencing {
    stop: CancellationToken,
    handle: SequencerHandle,
}

impl Sequencing {
    /// Waits until it ends by itself.
    pub(crate) async fn ended(self) -> Result<(), SequencerError> {
        self.handle.wait().await
    }

    /// Lets it finish and hand over.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.handle.wait().await.expect("it ends in order");
    }
}

pub(crate) fn tenant() -> Tenant {
    Tenant::parse("acme").expect("a tenant")
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a user id")
}
