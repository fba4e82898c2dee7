//! What real brokers hardly ever do: a cluster within the client is told to.

use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tidings_log::Log;
use tidings_log::kafka::{KafkaConfig, KafkaLog};
use tidings_log::{AppendError, LogReader, SequencerEvent, SequencerLog};
use tidings_wire::Topic;

use super::{DEADLINE, poll_until};
use crate::conformance::{append, collect, numbers, record, start_append};

/// The broker claims to miss a batch before this one, which a producer that
/// numbers its batches can only take for the end.
fn make_fatal(cluster: &MockCluster<'static, DefaultProducerContext>) {
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    cluster.request_errors(RDKafkaApiKey::Produce, &[error; 3]);
}

fn open() -> (MockCluster<'static, DefaultProducerContext>, KafkaLog) {
    let cluster = MockCluster::new(1).expect("a cluster");
    for topic in Topic::ALL {
        cluster.create_topic(topic.name(), 1, 1).expect("a topic");
    }
    let log = KafkaLog::connect(KafkaConfig::new(cluster.bootstrap_servers())).expect("connects");
    (cluster, log)
}

#[test]
fn appends_go_on_after_a_fatal_error() {
    let (cluster, log) = open();
    append(&log, Topic::MessageSent, 0, record(0));
    make_fatal(&cluster);
    let failed = start_append(&log, Topic::MessageSent, 0, record(1));
    let result = failed.recv_timeout(DEADLINE).expect("ends");
    assert!(
        matches!(result, Err(AppendError::Unavailable(_))),
        "{result:?}"
    );
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    tidings_testkit::eventually(DEADLINE, || {
        let next = start_append(&log, Topic::MessageSent, 0, record(2));
        next.recv_timeout(DEADLINE).expect("ends").is_ok()
    });
}

#[test]
fn a_sequencer_produces_again_after_a_fatal_error() {
    let (cluster, log) = open();
    let topic = Topic::MessageDelivered;
    let mut sequencer = log.sequencer().expect("joins");
    let end_of = |token: u64, sequencer: &mut dyn SequencerLog| {
        let mut end = None;
        poll_until(&mut [sequencer], "an end", |_, event| match event {
            SequencerEvent::Produced {
                token: ended,
                result,
                ..
            } if ended == token => {
                end = Some(result.is_ok());
                true
            }
            _ => false,
        });
        end.expect("it has ended")
    };
    sequencer.produce(topic, 0, record(0), 0);
    assert!(end_of(0, &mut *sequencer));
    make_fatal(&cluster);
    for token in 1..=3 {
        sequencer.produce(topic, 0, record(token as i64), token);
    }
    assert!(!end_of(3, &mut *sequencer));
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    sequencer.produce(topic, 0, record(4), 4);
    assert!(
        !end_of(4, &mut *sequencer),
        "the failure is not answered yet"
    );
    sequencer.stop(0).expect("stops");
    sequencer.produce(topic, 0, record(5), 5);
    assert!(end_of(5, &mut *sequencer));

    let mut follower = log.follow(&[(topic, 0, 0)]).expect("follows");
    assert_eq!(numbers(&collect(&mut *follower, 2)), [0, 5]);
    let mut rest = Vec::new();
    follower
        .poll(1, Duration::from_millis(200), &mut rest)
        .expect("polls");
    assert_eq!(rest, []);
}
