use std::sync::Arc;

use anyhow::Result;
use tidings_log::Log;
use tidings_projection::Keeper;
use tidings_service::lifecycle::retry_with_backoff;
use tidings_views::StoreError;
use tidings_views::generation::Generations;
use tidings_views::history::MongoHistory;
use tidings_wire::Codec;
use tokio_util::sync::CancellationToken;

use crate::{Config, projection};

/// The projections of the log into MongoDB, one for each generation; none when told to stop before. The
/// server itself is waited for when they run.
///
/// # Errors
/// An address that cannot be read.
pub async fn connect(
    config: &Config,
    log: Arc<dyn Log>,
    codec: Codec,
    stop: &CancellationToken,
) -> Result<Option<Keeper>> {
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
    let store = store?;
    let batch = config.batch as usize;
    let generations = Arc::new(store.clone());
    Ok(Some(Keeper::new(generations, move |generation| {
        let store = Arc::new(store.of(generation));
        projection(Arc::clone(&log), codec.clone(), store).batch(batch)
    })))
}
