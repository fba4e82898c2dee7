use std::sync::Arc;

use anyhow::Result;
use tidings_log::Log;
use tidings_projection::Projection;
use tidings_service::lifecycle::retry_with_backoff;
use tidings_views::StoreError;
use tidings_views::history::MongoHistory;
use tidings_wire::Codec;
use tokio_util::sync::CancellationToken;

use crate::{Config, projection};

/// The projection of the log into MongoDB; none when told to stop before. The
/// server itself is waited for when the projection runs.
///
/// # Errors
/// An address that cannot be read.
pub async fn connect(
    config: &Config,
    log: Arc<dyn Log>,
    codec: Codec,
    stop: &CancellationToken,
) -> Result<Option<Projection>> {
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
    let projection = projection(log, codec, Arc::new(store?));
    Ok(Some(projection.batch(config.batch as usize)))
}
