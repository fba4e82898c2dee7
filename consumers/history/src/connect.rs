use std::sync::Arc;

use anyhow::Result;
use tidings_log::LogError;
use tidings_log::kafka::{KafkaConfig, KafkaLog};
use tidings_service::lifecycle::retry_with_backoff;
use tidings_views::history::{MongoHistory, StoreError};
use tidings_wire::{Codec, RegistryConfig, RegistryError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{Config, Projection};

/// The projection of Kafka into MongoDB. Waits, with a log line for each
/// failed attempt, until Kafka and the schema registry answer; none when told
/// to stop before. MongoDB is waited for when the projection runs.
///
/// # Errors
/// What waiting does not mend: missing topics, a schema that the registry
/// refuses, an address that cannot be read.
pub async fn connect(config: &Config, stop: &CancellationToken) -> Result<Option<Projection>> {
    let mut kafka = KafkaConfig::new(&config.kafka.brokers);
    kafka.topic_prefix.clone_from(&config.kafka.topic_prefix);
    kafka.session_timeout_ms = config.kafka.session_timeout_ms;
    let log = retry_with_backoff("Kafka", stop, async || {
        match connect_log(kafka.clone()).await {
            Err(error @ LogError::Unavailable(_)) => Err(error),
            other => Ok(other),
        }
    });
    let Some(log) = log.await else {
        return Ok(None);
    };

    let registry = RegistryConfig {
        url: config.registry.registry_url.expose().to_owned(),
        topic_prefix: config.kafka.topic_prefix.clone(),
    };
    let codec = retry_with_backoff("the schema registry", stop, async || match Codec::connect(
        &registry,
    )
    .await
    {
        Err(error @ RegistryError::Unavailable { .. }) => Err(error),
        other => Ok(other),
    });
    let Some(codec) = codec.await else {
        return Ok(None);
    };

    let uri = config.mongodb.mongodb_uri.expose();
    let store = retry_with_backoff("MongoDB", stop, async || {
        match MongoHistory::connect(uri, "tidings-history").await {
            Err(error @ StoreError::Transient(_)) => Err(error),
            other => Ok(other),
        }
    });
    let Some(store) = store.await else {
        return Ok(None);
    };
    let projection = Projection::new(Arc::new(log?), codec?, Arc::new(store?));
    Ok(Some(projection.batch(config.batch as usize)))
}

/// Connects on a thread that a stopping process need not wait for: asking a
/// broker that is not there takes 20 seconds.
async fn connect_log(kafka: KafkaConfig) -> std::result::Result<KafkaLog, LogError> {
    let (done, connected) = oneshot::channel();
    std::thread::spawn(move || {
        // Nobody listens any more when the process is stopping.
        drop(done.send(KafkaLog::connect(kafka)));
    });
    let panicked = |_| Err(LogError::Fatal("connecting has panicked".to_owned()));
    connected.await.unwrap_or_else(panicked)
}
