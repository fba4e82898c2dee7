//! The sequencer of a cluster: one of any number, which share the partitions.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use clap::Parser;
use tidings_log::kafka::KafkaLog;
use tidings_log::{Log, LogError};
use tidings_sequencer::{Clock, Parts, Sequencer, SequencerArgs};
use tidings_service::health::Health;
use tidings_service::lifecycle::{retry_with_backoff, shutdown_signal};
use tidings_service::{http, telemetry};
use tidings_wire::{Codec, RegistryError};
use tokio_util::sync::CancellationToken;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let args = SequencerArgs::parse();
    if args.print.print(&args) {
        return Ok(());
    }
    let metrics = telemetry::init(args.log.log_format, &args.log.log_filter)?;
    tracing::info!(config = ?args, "starting");
    let stop = shutdown_signal().context("cannot catch signals")?;
    let health = Health::new(metrics);
    let ready = health.condition("partitions");
    let listener = http::listen(args.listen).await?;
    let serving = CancellationToken::new();
    let server =
        tokio::spawn(http::serve(listener, health.clone(), Router::new(), serving.clone()));

    let result = match connect(&args, &stop).await? {
        Some((codec, log)) => {
            let sequencer = Sequencer::spawn(Parts {
                log: log.sequencer()?,
                reader: log,
                codec,
                clock: Clock::system(),
                options: args.options(),
                ready,
                stop: stop.clone(),
            })?;
            tokio::pin! { let ended = sequencer.wait(); }
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
    server.await.context("the HTTP server panicked")??;
    result.context("the sequencer cannot go on")
}

/// Waits for the registry and for Kafka; none: told to stop meanwhile.
async fn connect(
    args: &SequencerArgs,
    stop: &CancellationToken,
) -> Result<Option<(Codec, Arc<KafkaLog>)>> {
    let registry = args.registry();
    let codec = retry_with_backoff("the schema registry", stop, async || {
        match Codec::connect(&registry).await {
            Err(error @ RegistryError::Unavailable { .. }) => Err(error),
            settled => Ok(settled),
        }
    });
    let Some(codec) = codec.await.transpose()? else { return Ok(None) };
    let log = retry_with_backoff("Kafka", stop, async || {
        let config = args.kafka();
        match tokio::task::spawn_blocking(move || KafkaLog::connect(config)).await {
            Ok(Err(error @ LogError::Unavailable(_))) => Err(error),
            settled => Ok(settled),
        }
    });
    let Some(log) = log.await.transpose().context("connecting to Kafka panicked")? else {
        return Ok(None);
    };
    Ok(Some((codec, Arc::new(log?))))
}
