use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, OwnedResourceSpecifier,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;

use crate::kafka::KafkaConfig;

use super::{Action, Actual, ActualConfig, ActualTopic, Declared, Plan, TopicsError};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A Kafka cluster, as the administrator of its topics sees it.
pub struct Cluster {
    admin: AdminClient<DefaultClientContext>,
}

impl Cluster {
    /// A cluster.
    ///
    /// # Errors
    /// [`TopicsError::Cluster`] where the addresses are not understood; whether
    /// anybody is there shows later.
    pub fn connect(kafka: &KafkaConfig) -> Result<Self, TopicsError> {
        let client = kafka.other_client("tidings-topics");
        let admin = client.create().map_err(cluster_error)?;
        Ok(Self { admin })
    }

    /// How the declared topics are now. Those that are not there are left out.
    ///
    /// Blocks the calling thread while it waits for metadata, 20 seconds at most.
    ///
    /// # Errors
    /// [`TopicsError::Cluster`].
    pub async fn describe(&self, declared: &Declared) -> Result<Actual, TopicsError> {
        let metadata = self
            .admin
            .inner()
            .fetch_metadata(None, TIMEOUT)
            .map_err(cluster_error)?;
        let mut actual = Actual {
            brokers: metadata.brokers().len(),
            topics: BTreeMap::new(),
        };
        let names: Vec<String> = declared.iter().map(|(_, name, _)| name).collect();
        for topic in metadata
            .topics()
            .iter()
            .filter(|t| names.iter().any(|n| n == t.name()))
        {
            let partitions = topic.partitions();
            let replicas = partitions
                .first()
                .map_or(0, |partition| partition.replicas().len());
            let described = ActualTopic {
                partitions: partitions.len().try_into().unwrap_or(i32::MAX),
                replication_factor: replicas.try_into().unwrap_or(i32::MAX),
                configs: BTreeMap::new(),
            };
            actual.topics.insert(topic.name().to_owned(), described);
        }
        self.describe_configs(&mut actual).await?;
        Ok(actual)
    }

    async fn describe_configs(&self, actual: &mut Actual) -> Result<(), TopicsError> {
        if actual.topics.is_empty() {
            return Ok(());
        }
        let resources: Vec<_> = actual
            .topics
            .keys()
            .map(|name| ResourceSpecifier::Topic(name))
            .collect();
        let described = self.admin.describe_configs(&resources, &options()).await;
        for resource in described.map_err(cluster_error)? {
            let resource = resource.map_err(|code| TopicsError::Cluster(code.to_string()))?;
            let OwnedResourceSpecifier::Topic(name) = resource.specifier else {
                continue;
            };
            let Some(topic) = actual.topics.get_mut(&name) else {
                continue;
            };
            for entry in resource.entries {
                let own = entry.source == ConfigSource::DynamicTopic;
                if let Some(value) = entry.value {
                    topic
                        .configs
                        .insert(entry.name, ActualConfig { value, own });
                }
            }
        }
        Ok(())
    }

    /// Carries out a plan made from `actual`, and looks whether it was done.
    ///
    /// # Errors
    /// [`TopicsError::Refused`] where the plan holds refusals, before anything
    /// is changed; [`TopicsError::Cluster`], when part of it may be done. Plan
    /// again then.
    pub async fn apply(
        &self,
        declared: &Declared,
        actual: &Actual,
        plan: &Plan,
    ) -> Result<(), TopicsError> {
        if !plan.refusals.is_empty() {
            return Err(TopicsError::Refused(plan.refusals.len()));
        }
        self.create(plan).await?;
        self.alter(actual, plan).await?;
        self.confirm(declared).await
    }

    async fn create(&self, plan: &Plan) -> Result<(), TopicsError> {
        let mut topics = Vec::new();
        for action in &plan.actions {
            if let Action::CreateTopic {
                topic,
                partitions,
                replication_factor,
                configs,
            } = action
            {
                let replicas = TopicReplication::Fixed(*replication_factor);
                let new = NewTopic::new(topic, *partitions, replicas);
                topics.push(
                    configs
                        .iter()
                        .fold(new, |new, (name, value)| new.set(name, value)),
                );
            }
        }
        if topics.is_empty() {
            return Ok(());
        }
        let results = self
            .admin
            .create_topics(&topics, &options())
            .await
            .map_err(cluster_error)?;
        for result in results {
            result.map_err(|(topic, code)| {
                TopicsError::Cluster(format!("cannot create {topic}: {code}"))
            })?;
        }
        Ok(())
    }

    /// The request replaces all of a topic's own settings (the client has no
    /// other yet), so those that are not declared are sent as they are.
    async fn alter(&self, actual: &Actual, plan: &Plan) -> Result<(), TopicsError> {
        let mut changes: BTreeMap<&str, AlterConfig<'_>> = BTreeMap::new();
        for action in &plan.actions {
            let Action::SetConfig {
                topic, name, to, ..
            } = action
            else {
                continue;
            };
            let change = changes.entry(topic).or_insert_with(|| {
                let kept = actual
                    .topics
                    .get(topic)
                    .into_iter()
                    .flat_map(|topic| &topic.configs);
                kept.filter(|(_, config)| config.own).fold(
                    AlterConfig::new(ResourceSpecifier::Topic(topic)),
                    |alter, (name, config)| alter.set(name, &config.value),
                )
            });
            change.entries.insert(name, to);
        }
        if changes.is_empty() {
            return Ok(());
        }
        let altered = self.admin.alter_configs(changes.values(), &options()).await;
        altered.map(|_| ()).map_err(cluster_error)
    }

    /// The client drops what the broker says of each single topic when it
    /// alters settings, and a new topic takes a moment to be seen everywhere:
    /// so look until all is as it should be.
    async fn confirm(&self, declared: &Declared) -> Result<(), TopicsError> {
        const TRIES: u32 = 40;
        let mut rest = Plan::default();
        for _ in 0..TRIES {
            rest = super::plan(declared, &self.describe(declared).await?);
            if rest.is_done() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(TopicsError::Cluster(format!(
            "the cluster did not do what it was asked to:\n{rest}"
        )))
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(TIMEOUT))
        .operation_timeout(Some(TIMEOUT))
}

fn cluster_error(err: KafkaError) -> TopicsError {
    TopicsError::Cluster(err.to_string())
}
