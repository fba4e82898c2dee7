//! The process that a projection is in the cluster.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context, Result};
use tidings_log::kafka::{KafkaConfig, KafkaLog};
use tidings_log::{Log, LogError};
use tidings_service::config::{KafkaArgs, LogArgs, PrintConfigArgs, RegistryArgs};
use tidings_service::health::Health;
use tidings_service::lifecycle::{retry_with_backoff, shutdown_signal};
use tidings_service::traces::TraceArgs;
use tidings_service::{http, telemetry, tls, traces};
use tidings_wire::{Codec, RegistryConfig, RegistryError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::Keeper;

/// What every projection's binary is told by flags and the environment.
#[derive(Clone, Debug, clap::Args)]
pub struct ProcessArgs {
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Where the schema registry is.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// How it logs.
    #[command(flatten)]
    pub log: LogArgs,
    /// What it traces.
    #[command(flatten)]
    pub traces: TraceArgs,
    /// Whether to print this and exit.
    #[command(flatten)]
    pub print: PrintConfigArgs,
}

/// Runs a projection's process until it is told to stop: telemetry, the HTTP
/// port, the log, and what `connect` makes of the log and its codec: the view's
/// keeper (none when `connect` was told to stop before).
/// `config` is all that the binary was told, for the log.
///
/// # Errors
/// What waiting does not mend: missing topics, a schema that the registry
/// refuses, an address that cannot be read, a view that cannot go on.
pub async fn run(
    config: &impl Debug,
    args: &ProcessArgs,
    listen: SocketAddr,
    name: &'static str,
    connect: impl AsyncFnOnce(Arc<dyn Log>, Codec, &CancellationToken) -> Result<Option<Keeper>>,
) -> Result<()> {
    let metrics = telemetry::init(args.log.log_format, &args.log.log_filter)?;
    tracing::info!(?config, "starting");
    let _exporter = traces::start(&args.traces)?;
    tls::install_provider();
    let stop = shutdown_signal().context("cannot catch signals")?;
    let health = Health::new(metrics);
    let ready = health.condition(name);
    let listener = http::listen(listen).await?;
    let serving = CancellationToken::new();
    let server = http::serve(
        listener,
        health.clone(),
        axum::Router::new(),
        serving.clone(),
    );
    let server = tokio::spawn(server);

    let keeper = match source(args, &stop).await? {
        Some((log, codec)) => connect(log, codec, &stop).await?,
        None => None,
    };
    let result = match keeper {
        Some(keeper) => {
            let mut ended = pin!(keeper.readiness(ready).run(stop.clone()));
            tokio::select! {
                result = &mut ended => result,
                () = stop.cancelled() => {
                    health.set_draining();
                    ended.await
                }
            }
        }
        None => Ok(()),
    };
    serving.cancel();
    server.await.context("the HTTP server has panicked")??;
    result.with_context(|| format!("the {name} cannot go on"))
}

/// Kafka and its codec. Waits, with a log line for each failed attempt, until
/// Kafka and the schema registry answer; none when told to stop before.
async fn source(
    args: &ProcessArgs,
    stop: &CancellationToken,
) -> Result<Option<(Arc<dyn Log>, Codec)>> {
    let properties = args.kafka.kafka_properties.as_deref();
    let mut kafka = KafkaConfig::new(&args.kafka.brokers).with_properties(properties)?;
    kafka.topic_prefix.clone_from(&args.kafka.topic_prefix);
    kafka.session_timeout_ms = args.kafka.session_timeout_ms;
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
        url: args.registry.registry_url.expose().to_owned(),
        topic_prefix: args.kafka.topic_prefix.clone(),
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
    Ok(Some((Arc::new(log?), codec?)))
}

/// Connects on a thread that a stopping process need not wait for: asking a
/// broker that is not there takes 20 seconds.
async fn connect_log(kafka: KafkaConfig) -> Result<KafkaLog, LogError> {
    let (done, connected) = oneshot::channel();
    std::thread::spawn(move || {
        // Nobody listens any more when the process is stopping.
        drop(done.send(KafkaLog::connect(kafka)));
    });
    let panicked = |_| Err(LogError::Fatal("connecting has panicked".to_owned()));
    connected.await.unwrap_or_else(panicked)
}
