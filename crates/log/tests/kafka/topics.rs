use tidings_log::kafka::KafkaConfig;
use tidings_log::topics::{Action, Cluster, Declared, Plan, TopicsError, plan};
use tidings_wire::Topic;

use super::{apply, declared, run};

fn plan_of(declared: &Declared) -> Plan {
    let cluster =
        Cluster::connect(&KafkaConfig::new(tidings_testkit::brokers())).expect("connects");
    plan(
        declared,
        &run(cluster.describe(declared)).expect("describes"),
    )
}

#[test]
fn applying_twice_does_nothing_the_second_time() {
    let declared = declared(&tidings_testkit::fresh_prefix(), 3);
    assert_eq!(plan_of(&declared).actions.len(), Topic::ALL.len());
    apply(&KafkaConfig::new(tidings_testkit::brokers()), &declared);
    let again = plan_of(&declared);
    assert!(again.is_done(), "{again}");
    assert_eq!(again.unchanged.len(), Topic::ALL.len());
    apply(&KafkaConfig::new(tidings_testkit::brokers()), &declared);
}

#[test]
fn one_setting_is_changed_and_the_others_stay() {
    let prefix = tidings_testkit::fresh_prefix();
    let mut declared = declared(&prefix, 2);
    // A setting that no declaration names later: an operator's own.
    let sent = declared.topic_mut(Topic::MessageSent);
    sent.configs.insert("flush.messages".into(), "12345".into());
    apply(&KafkaConfig::new(tidings_testkit::brokers()), &declared);

    let sent = declared.topic_mut(Topic::MessageSent);
    sent.configs.remove("flush.messages");
    sent.configs
        .insert("retention.ms".into(), "86400000".into());
    let planned = plan_of(&declared);
    let expected = Action::SetConfig {
        topic: format!("{prefix}message.sent"),
        name: "retention.ms".into(),
        from: Some("604800000".into()),
        to: "86400000".into(),
    };
    assert_eq!(planned.actions, [expected]);
    apply(&KafkaConfig::new(tidings_testkit::brokers()), &declared);
    assert!(plan_of(&declared).is_done());

    let cluster =
        Cluster::connect(&KafkaConfig::new(tidings_testkit::brokers())).expect("connects");
    let actual = run(cluster.describe(&declared)).expect("describes");
    let kept = &actual.topics[&format!("{prefix}message.sent")].configs["flush.messages"];
    assert_eq!((kept.value.as_str(), kept.own), ("12345", true));
}

#[test]
fn while_anything_is_refused_nothing_is_done() {
    let prefix = tidings_testkit::fresh_prefix();
    apply(
        &KafkaConfig::new(tidings_testkit::brokers()),
        &declared(&prefix, 2),
    );
    let mut more = declared(&prefix, 4);
    more.topic_mut(Topic::MessageSent)
        .configs
        .insert("retention.ms".into(), "1000".into());

    let cluster =
        Cluster::connect(&KafkaConfig::new(tidings_testkit::brokers())).expect("connects");
    let actual = run(cluster.describe(&more)).expect("describes");
    let refused = plan(&more, &actual);
    assert_eq!(refused.refusals.len(), Topic::ALL.len());
    assert_eq!(refused.actions.len(), 1);
    let result = run(cluster.apply(&more, &actual, &refused));
    assert!(
        matches!(result, Err(TopicsError::Refused(13))),
        "{result:?}"
    );
    assert!(plan_of(&declared(&prefix, 2)).is_done());
}

#[test]
fn a_cluster_that_is_not_there_is_an_error() {
    let cluster = Cluster::connect(&KafkaConfig::new("127.0.0.1:1")).expect("an address");
    let declared = Declared::built_in();
    let result = run(cluster.describe(&declared));
    assert!(matches!(result, Err(TopicsError::Cluster(_))), "{result:?}");
}
