use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tidings_log::Log;
use tidings_projection::Projection;
use tidings_views::search::OpenSearch;
use tidings_wire::Codec;

use crate::{Config, projection};

/// The projection of the log into OpenSearch, which is waited for when the
/// projection runs.
///
/// # Errors
/// An address that cannot be read, a prefix that no index can have.
pub fn connect(config: &Config, log: Arc<dyn Log>, codec: Codec) -> Result<Projection> {
    let prefix = &config.process.kafka.topic_prefix;
    let store = OpenSearch::new(config.search_url.expose(), prefix)?;
    Ok(projection(log, codec, Arc::new(store))
        .batch(config.batch as usize)
        .gather(Duration::from_millis(config.gather_ms.into())))
}
