use std::sync::Arc;

use anyhow::{Context, Result};
use tidings_log::LogError;
use tidings_log::kafka::KafkaLog;
use tidings_sequencer::SequencerArgs;
use tidings_service::lifecycle::retry_with_backoff;
use tidings_wire::{Codec, RegistryError};
use tokio_util::sync::CancellationToken;

/// Waits for the registry and for Kafka; none: told to stop meanwhile.
pub(crate) async fn connect(
    args: &SequencerArgs,
    stop: &CancellationToken,
) -> Result<Option<(Codec, Arc<KafkaLog>)>> {
    let registry = args.registry();
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
    let config = args.kafka()?;
    let log = retry_with_backoff("Kafka", stop, async || {
        let config = config.clone();
        match tokio::task::spawn_blocking(move || KafkaLog::connect(config)).await {
            Ok(Err(error @ LogError::Unavailable(_))) => Err(error),
            settled => Ok(settled),
        }
    });
    let Some(log) = log
        .await
        .transpose()
        .context("connecting to Kafka panicked")?
    else {
        return Ok(None);
    };
    Ok(Some((codec, Arc::new(log?))))
}
