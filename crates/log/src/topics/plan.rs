use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use tidings_wire::Topic;

use super::{Declared, DeclaredTopic};

const CLEANUP_POLICY: &str = "cleanup.policy";
const MIN_IN_SYNC: &str = "min.insync.replicas";

/// What a cluster has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// How many brokers there are.
    pub brokers: usize,
    /// The topics, by their names in the cluster.
    pub topics: BTreeMap<String, ActualTopic>,
}

/// How a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActualTopic {
    /// How many partitions it has.
    pub partitions: i32,
    /// How many brokers hold each partition.
    pub replication_factor: i32,
    /// All its settings.
    pub configs: BTreeMap<String, ActualConfig>,
}

/// A setting of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActualConfig {
    /// The value in force.
    pub value: String,
    /// Whether it was set for this topic, and not left to the broker.
    pub own: bool,
}

/// What is to be done so that a cluster's topics are as declared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// What is to be done, in order.
    pub actions: Vec<Action>,
    /// What must not be done. While there is any, nothing is done at all.
    pub refusals: Vec<Refusal>,
    /// What differs and is left alone.
    pub notes: Vec<String>,
    /// The topics that are as declared.
    pub unchanged: Vec<String>,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Make a topic.
    CreateTopic {
        /// Its name in the cluster.
        topic: String,
        /// With so many partitions.
        partitions: i32,
        /// Each on so many brokers.
        replication_factor: i32,
        /// With these settings.
        configs: BTreeMap<String, String>,
    },
    /// Change a setting of a topic.
    SetConfig {
        /// Its name in the cluster.
        topic: String,
        /// The setting.
        name: String,
        /// What it is now; none: the cluster does not tell.
        from: Option<String>,
        /// What it is to be.
        to: String,
    },
}

/// A change that was asked for and is not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The topic's name in the cluster.
    pub topic: String,
    /// What was asked for, and why it is not done.
    pub reason: String,
}

/// Compares what is declared with what a cluster has. No I/O.
#[must_use]
pub fn plan(declared: &Declared, actual: &Actual) -> Plan {
    let mut plan = Plan::default();
    for (topic, name, wanted) in declared.iter() {
        for reason in lossy_configs(topic, wanted) {
            plan.refusals.push(Refusal {
                topic: name.clone(),
                reason,
            });
        }
        match actual.topics.get(&name) {
            None => plan.create(&name, wanted, actual.brokers),
            Some(existing) => plan.change(&name, wanted, existing),
        }
    }
    plan
}

impl Plan {
    /// Whether there is neither anything to do nor anything refused.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.actions.is_empty() && self.refusals.is_empty()
    }

    fn create(&mut self, name: &str, wanted: &DeclaredTopic, brokers: usize) {
        let replicas = wanted.replication_factor;
        if usize::try_from(replicas).is_ok_and(|replicas| replicas > brokers) {
            self.refusals.push(Refusal {
                topic: name.to_owned(),
                reason: format!(
                    "{replicas} replicas need {replicas} brokers, and the cluster has {brokers}: \
                     give a smaller replication factor"
                ),
            });
            return;
        }
        self.actions.push(Action::CreateTopic {
            topic: name.to_owned(),
            partitions: wanted.partitions,
            replication_factor: replicas,
            configs: with_min_in_sync(wanted, replicas),
        });
    }

    fn change(&mut self, name: &str, wanted: &DeclaredTopic, existing: &ActualTopic) {
        let before = (self.actions.len(), self.refusals.len());
        if existing.partitions != wanted.partitions {
            self.refusals.push(Refusal {
                topic: name.to_owned(),
                reason: format!(
                    "it has {} partitions and {} are declared: with another count keys move to \
                     other partitions, and a conversation's order breaks where it moves",
                    existing.partitions, wanted.partitions
                ),
            });
        }
        if existing.replication_factor != wanted.replication_factor {
            self.notes.push(format!(
                "{name} has {} replicas and {} are declared; Kafka changes that with a \
                 reassignment of its partitions (kafka-reassign-partitions), not here",
                existing.replication_factor, wanted.replication_factor
            ));
        }
        // By the replicas there are: with fewer than the minimum, no write
        // would be taken any more.
        for (config, to) in with_min_in_sync(wanted, existing.replication_factor) {
            let from = existing
                .configs
                .get(&config)
                .map(|config| config.value.clone());
            if from.as_ref() != Some(&to) {
                self.actions.push(Action::SetConfig {
                    topic: name.to_owned(),
                    name: config,
                    from,
                    to,
                });
            }
        }
        if (self.actions.len(), self.refusals.len()) == before {
            self.unchanged.push(name.to_owned());
        }
    }
}

/// The declared settings, and how many replicas must have a record before it
/// counts as written: two where there are two, so that it outlives a broker.
fn with_min_in_sync(wanted: &DeclaredTopic, replicas: i32) -> BTreeMap<String, String> {
    let mut configs = wanted.configs.clone();
    configs
        .entry(MIN_IN_SYNC.to_owned())
        .or_insert_with(|| replicas.min(2).to_string());
    configs
}

/// What in a declaration would lose records that must not be lost.
fn lossy_configs(topic: Topic, wanted: &DeclaredTopic) -> Vec<String> {
    let config = |name: &str| wanted.configs.get(name).map_or("", String::as_str);
    let mut reasons = Vec::new();
    let is_compacted = matches!(topic, Topic::ConversationState | Topic::OperatorNotes);
    if !is_compacted && config(CLEANUP_POLICY).contains("compact") {
        reasons.push(match topic {
            Topic::MessageDelivered => "compaction is declared: it would drop all but the last \
                event of each conversation, and every view is rebuilt from all of them"
                .to_owned(),
            _ => "compaction is declared: it would drop all but the last record of each \
                conversation"
                .to_owned(),
        });
    }
    if topic == Topic::MessageDelivered {
        for name in ["retention.ms", "retention.bytes"] {
            if config(name) != "-1" {
                reasons.push(format!(
                    "{name} is not declared as -1 (for ever): old events would be dropped, and \
                     every view is rebuilt from all of them"
                ));
            }
        }
    }
    reasons
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateTopic {
                topic,
                partitions,
                replication_factor,
                configs,
            } => {
                write!(
                    f,
                    "create {topic}: partitions {partitions}, replicas {replication_factor}"
                )?;
                configs
                    .iter()
                    .try_for_each(|(name, value)| write!(f, ", {name}={value}"))
            }
            Self::SetConfig {
                topic,
                name,
                from,
                to,
            } => {
                let from = from.as_deref().unwrap_or("(unknown)");
                write!(f, "set    {topic}: {name} from {from} to {to}")
            }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for action in &self.actions {
            writeln!(f, "{action}")?;
        }
        for note in &self.notes {
            writeln!(f, "note   {note}")?;
        }
        for refusal in &self.refusals {
            writeln!(f, "REFUSE {}: {}", refusal.topic, refusal.reason)?;
        }
        match (
            self.refusals.len(),
            self.actions.len(),
            self.unchanged.len(),
        ) {
            (0, 0, all) => write!(f, "Nothing to do: {all} topics are as declared."),
            (0, to_do, as_is) => write!(f, "{to_do} to do; {as_is} topics are as declared."),
            (refused, _, _) => write!(f, "{refused} refused, so nothing will be done."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Actual, ActualConfig, ActualTopic, Plan, plan, with_min_in_sync};
    use crate::topics::Declared;
    use tidings_wire::Topic;

    /// A cluster that was given `declared` before, on `brokers` brokers.
    fn applied(declared: &Declared, brokers: usize) -> Actual {
        let topics = declared.iter().map(|(_, name, topic)| {
            let own = |value| ActualConfig { value, own: true };
            let configs = with_min_in_sync(topic, topic.replication_factor)
                .into_iter()
                .map(|(name, value)| (name, own(value)))
                .collect();
            let actual = ActualTopic {
                partitions: topic.partitions,
                replication_factor: topic.replication_factor,
                configs,
            };
            (name, actual)
        });
        Actual {
            brokers,
            topics: topics.collect(),
        }
    }

    fn text(plan: &Plan) -> String {
        plan.to_string()
    }

    #[test]
    fn an_empty_cluster_gets_every_topic() {
        let declared = Declared::built_in().with_prefix("x.");
        let plan = plan(
            &declared,
            &Actual {
                brokers: 3,
                ..Actual::default()
            },
        );
        assert_eq!(plan.actions.len(), Topic::ALL.len());
        assert!(plan.refusals.is_empty());
        let created = "create x.message.delivered: partitions 12, replicas 3, \
            cleanup.policy=delete, max.message.bytes=1048588, message.timestamp.type=CreateTime, \
            min.insync.replicas=2, retention.bytes=-1, retention.ms=-1, \
            unclean.leader.election.enable=false";
        assert!(text(&plan).contains(created), "{plan}");
    }

    #[test]
    fn what_is_as_declared_is_left_alone() {
        let declared = Declared::built_in();
        let plan = plan(&declared, &applied(&declared, 3));
        assert!(plan.is_done());
        assert_eq!(text(&plan), "Nothing to do: 13 topics are as declared.");
    }

    #[test]
    fn only_what_differs_is_set() {
        let declared = Declared::built_in();
        let mut actual = applied(&declared, 3);
        let configs = &mut actual.topics.get_mut("message.sent").unwrap().configs;
        configs.get_mut("retention.ms").unwrap().value = "1000".into();
        let plan = plan(&declared, &actual);
        assert_eq!(
            text(&plan),
            "set    message.sent: retention.ms from 1000 to 604800000\n\
             1 to do; 12 topics are as declared."
        );
        assert_eq!(
            serde_json::to_string(&plan.actions).unwrap(),
            r#"[{"action":"set_config","topic":"message.sent","name":"retention.ms","from":"1000","to":"604800000"}]"#
        );
    }

    #[test]
    fn what_would_lose_or_reorder_events_is_refused() {
        type Change = fn(&mut Declared, &mut Actual);
        let cases: [(Change, &str); 6] = [
            (
                |_, actual| actual.topics.get_mut("message.sent").unwrap().partitions = 6,
                "message.sent: it has 6 partitions and 12 are declared: with another count keys",
            ),
            (
                |declared, _| {
                    let delivered = declared.topic_mut(Topic::MessageDelivered);
                    delivered
                        .configs
                        .insert("cleanup.policy".into(), "compact,delete".into());
                },
                "message.delivered: compaction is declared: it would drop all but the last event",
            ),
            (
                |declared, _| {
                    let sent = declared.topic_mut(Topic::MessageSent);
                    sent.configs
                        .insert("cleanup.policy".into(), "compact".into());
                },
                "message.sent: compaction is declared",
            ),
            (
                |declared, _| {
                    let delivered = declared.topic_mut(Topic::MessageDelivered);
                    delivered
                        .configs
                        .insert("retention.ms".into(), "604800000".into());
                },
                "message.delivered: retention.ms is not declared as -1",
            ),
            (
                |declared, _| {
                    declared
                        .topic_mut(Topic::MessageDelivered)
                        .configs
                        .remove("retention.bytes");
                },
                "message.delivered: retention.bytes is not declared as -1",
            ),
            (
                |_, actual| {
                    actual.topics.remove("message.read");
                    actual.brokers = 1;
                },
                "message.read: 3 replicas need 3 brokers, and the cluster has 1",
            ),
        ];
        for (change, expected) in cases {
            let mut declared = Declared::built_in();
            let mut actual = applied(&declared, 3);
            change(&mut declared, &mut actual);
            let plan = plan(&declared, &actual);
            assert_eq!(plan.refusals.len(), 1, "{plan}");
            assert!(text(&plan).contains(expected), "{expected:?} in {plan}");
            assert!(text(&plan).ends_with("1 refused, so nothing will be done."));
        }
    }

    #[test]
    fn the_minimum_in_sync_goes_by_the_replicas_there_are() {
        for (replicas, minimum) in [(1, "1"), (2, "2"), (3, "2"), (5, "2")] {
            let declared = Declared::built_in().with_replication_factor(replicas);
            let plan = plan(
                &declared,
                &Actual {
                    brokers: 5,
                    ..Actual::default()
                },
            );
            for action in &plan.actions {
                let Action::CreateTopic { configs, .. } = action else {
                    panic!("{action}")
                };
                assert_eq!(configs["min.insync.replicas"], minimum);
            }
        }
        // A topic made with one replica stays writable, whatever is declared.
        let made = applied(&Declared::built_in().with_replication_factor(1), 1);
        let plan = plan(&Declared::built_in(), &made);
        assert!(plan.is_done(), "{plan}");
        assert_eq!(plan.notes.len(), 13);
    }
}
