use std::sync::Arc;

use anyhow::{Context, Result};
use tidings_log::kafka::{KafkaConfig, KafkaLog};
use tidings_log::{Log, LogError};
use tidings_service::auth::Auth;
use tidings_service::health::Health;
use tidings_service::lifecycle::retry_with_backoff;
use tidings_signals::{Exchange, InProcess, RedisExchange, RedisTiming};
use tidings_views::cache::{CACHE_TIMEOUT, CachedHistory, RedisCache};
use tidings_views::generation::Serving;
use tidings_views::history::{HistoryReader, MongoHistory, StoreError};
use tidings_views::search::OpenSearch;
use tidings_wire::{Codec, RegistryConfig, RegistryError};
use tokio_util::sync::CancellationToken;

use crate::{Edge, EdgeArgs, EdgeConfig, Views};

/// Starts an edge on Kafka, a schema registry and MongoDB. Waits, with a log
/// line for each failed attempt, until Kafka and the registry answer; none
/// when told to stop before. MongoDB is not waited for: until it answers,
/// only questions are refused.
///
/// # Errors
/// What waiting does not mend: missing topics, a schema that the registry
/// refuses, an address that cannot be read.
pub async fn connect(
    args: &EdgeArgs,
    auth: Auth,
    health: Health,
    stop: &CancellationToken,
) -> Result<Option<Edge>> {
    let registry = RegistryConfig {
        url: args.registry.registry_url.expose().to_owned(),
        topic_prefix: args.kafka.topic_prefix.clone(),
    };
    let codec = retry_with_backoff("the schema registry", stop, async || match Codec::connect(
        &registry,
    )
    .await
    {
        Err(error @ RegistryError::Unavailable { .. }) => Err(error),
        settled => Ok(settled),
    });
    let Some(codec) = codec.await.transpose()? else {
        return Ok(None);
    };

    let properties = args.kafka.kafka_properties.as_deref();
    let mut kafka = KafkaConfig::new(&args.kafka.brokers).with_properties(properties)?;
    kafka.topic_prefix.clone_from(&args.kafka.topic_prefix);
    let log = retry_with_backoff("Kafka", stop, async || {
        let kafka = kafka.clone();
        match tokio::task::spawn_blocking(move || KafkaLog::connect(kafka)).await {
            Ok(Err(error @ LogError::Unavailable(_))) => Err(error),
            settled => Ok(settled.context("connecting to Kafka")),
        }
    });
    let Some(log) = log.await.transpose()? else {
        return Ok(None);
    };

    let uri = args.mongodb.mongodb_uri.expose();
    let history =
        retry_with_backoff(
            "MongoDB's address",
            stop,
            async || match MongoHistory::connect(uri, "tidings-edge").await {
                Err(error @ StoreError::Transient(_)) => Err(error),
                settled => Ok(settled),
            },
        );
    let Some(history) = history.await.transpose()? else {
        return Ok(None);
    };

    let config = EdgeConfig {
        limits: args.limits.clone(),
        ..EdgeConfig::default()
    };
    let log: Arc<dyn Log> = Arc::new(log?);
    let mut history: Arc<dyn HistoryReader> = Arc::new(Serving::new(history));
    let mut exchange: Box<dyn Exchange> = Box::new(InProcess::default());
    if let Some(url) = &args.redis.redis_url {
        let (url, prefix) = (url.expose(), &args.kafka.topic_prefix);
        let cache = RedisCache::new(url, prefix, CACHE_TIMEOUT)?;
        let cache = Arc::new(Serving::new(cache));
        let cached = CachedHistory::new(history, cache, log.partitions(), CACHE_TIMEOUT);
        history = Arc::new(cached);
        exchange = Box::new(RedisExchange::new(url, prefix, RedisTiming::default())?);
    }
    let mut views = Views::new(history);
    if let Some(url) = &args.search.search_url {
        let search = OpenSearch::new(url.expose(), &args.kafka.topic_prefix)?;
        views = views.search(Arc::new(Serving::new(search)));
    }
    let edge = Edge::start_among(&*exchange, config, log, codec, views, auth, health);
    Ok(Some(edge))
}
