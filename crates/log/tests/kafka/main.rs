//! The log in Kafka: what every log must do, and what only this one can.
//! Against `KAFKA_BROKERS`, or a broker started for the tests.

mod broker;
#[path = "../conformance/mod.rs"]
mod conformance;
mod fatal;
mod groups;
mod outages;
mod secure;
mod topics;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_log::kafka::{KafkaConfig, KafkaLog};
use tidings_log::topics::{Cluster, Declared, plan};
use tidings_log::{Log, LogError, SequencerEvent, SequencerLog};
use tidings_wire::Topic;

/// How long anything may take before a test has failed.
const DEADLINE: Duration = Duration::from_secs(60);

/// Topics with a prefix of their own.
struct Place {
    config: KafkaConfig,
}

impl Place {
    /// On the shared broker.
    fn fresh(partitions: i32) -> Self {
        Self::on(tidings_testkit::brokers(), partitions)
    }

    fn on(brokers: &str, partitions: i32) -> Self {
        let mut config = KafkaConfig::new(brokers);
        config.topic_prefix = tidings_testkit::fresh_prefix();
        config.session_timeout_ms = 6_000;
        let mut declared = declared(&config.topic_prefix, partitions);
        for topic in Topic::COMMANDS {
            // The tests' records are dated: the broker is not to clear them away.
            let configs = &mut declared.topic_mut(topic).configs;
            configs.insert("retention.ms".into(), "-1".into());
        }
        apply(&config, &declared);
        Self { config }
    }

    fn open(&self) -> Arc<dyn Log> {
        Arc::new(KafkaLog::connect(self.config.clone()).expect("connects"))
    }
}

fn declared(prefix: &str, partitions: i32) -> Declared {
    Declared::built_in()
        .with_prefix(prefix)
        .with_partitions(partitions)
        .with_replication_factor(1)
}

fn apply(kafka: &KafkaConfig, declared: &Declared) {
    let cluster = Cluster::connect(kafka).expect("connects");
    run(async {
        let actual = cluster.describe(declared).await.expect("describes");
        let plan = plan(declared, &actual);
        cluster
            .apply(declared, &actual, &plan)
            .await
            .expect("applies");
    });
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// Polls all of them in turn, as their threads would, until `until` has seen
/// enough; it is given who was told what.
fn poll_until(
    sequencers: &mut [&mut dyn SequencerLog],
    what: &str,
    mut until: impl FnMut(usize, SequencerEvent) -> bool,
) {
    let deadline = Instant::now() + DEADLINE;
    let mut events = Vec::new();
    loop {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        let mut enough = false;
        for (which, sequencer) in sequencers.iter_mut().enumerate() {
            sequencer
                .poll(100, Duration::from_millis(20), &mut events)
                .expect("polls");
            for event in events.drain(..) {
                enough |= until(which, event);
            }
        }
        if enough {
            return;
        }
    }
}

fn assigned(sequencer: &mut dyn SequencerLog) -> Vec<i32> {
    let mut partitions = Vec::new();
    poll_until(&mut [sequencer], "an assignment", |_, event| match event {
        SequencerEvent::Assigned(assigned) => {
            partitions = assigned;
            true
        }
        other => panic!("before an assignment: {other:?}"),
    });
    partitions
}

fn error_of(config: &KafkaConfig) -> LogError {
    match KafkaLog::connect(config.clone()) {
        Ok(_) => panic!("connected"),
        Err(err) => err,
    }
}

#[test]
fn conforms() {
    let place = Place::fresh(conformance::PARTITIONS);
    conformance::run(&|| place.open());
}

#[test]
fn connecting_says_what_is_wrong() {
    let mut config = KafkaConfig::new(tidings_testkit::brokers());
    config.topic_prefix = tidings_testkit::fresh_prefix();
    let LogError::Fatal(message) = error_of(&config) else {
        panic!("not fatal")
    };
    assert!(message.contains("message.delivered"), "{message}");
    assert!(message.contains("`tidings topics apply`"), "{message}");

    // Some with other counts than the rest: as after a hasty change by hand.
    let two = declared(&config.topic_prefix, 2);
    let cluster = Cluster::connect(&config).expect("connects");
    run(async {
        let actual = cluster.describe(&two).await.expect("describes");
        let mut plan = plan(&two, &actual);
        for action in &mut plan.actions {
            if let tidings_log::topics::Action::CreateTopic {
                topic, partitions, ..
            } = action
                && topic.ends_with("message.read")
            {
                *partitions = 3;
            }
        }
        // What was made is not what was declared, and it says so.
        cluster
            .apply(&two, &actual, &plan)
            .await
            .expect_err("is not as declared");
    });
    let LogError::Fatal(message) = error_of(&config) else {
        panic!("not fatal")
    };
    assert!(
        message.contains("message.read has 3 partitions"),
        "{message}"
    );
}
