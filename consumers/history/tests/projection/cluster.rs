//! The projection on Kafka, a schema registry and a MongoDB-protocol server.

use std::sync::Arc;

use tidings_domain::{Decision, Timestamp};
use tidings_log::Log;
use tidings_log::kafka::{KafkaConfig, KafkaLog};
use tidings_log::topics::{Cluster, Declared, plan};
use tidings_testkit::{eventually_async, fresh_database, fresh_prefix, servers};
use tidings_views::conformance::Decisions;
use tidings_views::history::MongoHistory;
use tidings_wire::{Codec, RegistryConfig};

use crate::world::{
    DEADLINE, PARTITIONS, append, assert_view_of, is_caught_up, owner, partition, record, start,
};

/// Topics, subjects and a group of this test's own, with their codec.
async fn place() -> (KafkaConfig, Codec) {
    let servers = tokio::task::spawn_blocking(servers).await.expect("servers");
    let mut kafka = KafkaConfig::new(&servers.brokers);
    kafka.topic_prefix = fresh_prefix();
    kafka.session_timeout_ms = 6_000;
    let declared = Declared::built_in()
        .with_prefix(&kafka.topic_prefix)
        .with_partitions(PARTITIONS)
        .with_replication_factor(1);
    let cluster = Cluster::connect(&KafkaConfig::new(&servers.brokers)).expect("connects");
    let actual = cluster.describe(&declared).await.expect("describes");
    let plan = plan(&declared, &actual);
    cluster
        .apply(&declared, &actual, &plan)
        .await
        .expect("applies");

    let registry = RegistryConfig {
        url: servers.registry_url.clone(),
        topic_prefix: kafka.topic_prefix.clone(),
    };
    Codec::register_all(&registry).await.expect("registers");
    (kafka, Codec::connect(&registry).await.expect("connects"))
}

async fn log(kafka: &KafkaConfig) -> Arc<dyn Log> {
    let kafka = kafka.clone();
    let connected = tokio::task::spawn_blocking(move || KafkaLog::connect(kafka)).await;
    Arc::new(connected.expect("connects").expect("connects"))
}

async fn empty_view() -> MongoHistory {
    let uri = fresh_database(&servers().mongodb_uri);
    MongoHistory::connect(&uri, "tidings-test")
        .await
        .expect("reads the address")
}

fn decide_all(log: &dyn Log, codec: &Codec, decisions: &[Decision]) {
    for (decision, input) in decisions.iter().zip(0..) {
        append(log, partition(decision), record(codec, decision, 1, input));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn projections_share_the_partitions_and_take_over_from_each_other() {
    let (kafka, codec) = place().await;
    let writer = log(&kafka).await;
    let mut stream = Decisions::new(20);
    let mut decisions = stream.take(200);
    for partition in 0..PARTITIONS {
        append(
            writer.as_ref(),
            partition,
            Codec::claim(owner(1), Timestamp(0)),
        );
    }
    let view = empty_view().await;
    let caught_up = || {
        eventually_async(DEADLINE, async || {
            is_caught_up(writer.as_ref(), &view).await
        })
    };

    let first = start(log(&kafka).await, codec.clone(), Arc::new(view.clone()));
    decide_all(writer.as_ref(), &codec, &decisions);
    let second = start(log(&kafka).await, codec.clone(), Arc::new(view.clone()));
    caught_up().await;
    assert_view_of(&view, &decisions).await;

    // One goes in the middle of it.
    let later = stream.take(200);
    decide_all(writer.as_ref(), &codec, &later[..100]);
    first.stop().await.expect("stops");
    decide_all(writer.as_ref(), &codec, &later[100..]);
    decisions.extend(later);
    caught_up().await;
    second.stop().await.expect("stops");
    assert_view_of(&view, &decisions).await;

    // The positions are the store's: an empty one is filled from the
    // beginning, whatever the group has committed.
    let rebuilt = empty_view().await;
    let running = start(log(&kafka).await, codec.clone(), Arc::new(rebuilt.clone()));
    eventually_async(DEADLINE, async || {
        is_caught_up(writer.as_ref(), &rebuilt).await
    })
    .await;
    running.stop().await.expect("stops");
    assert_view_of(&rebuilt, &decisions).await;
}
