use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tidings_log::Log;
use tidings_projection::Keeper;
use tidings_views::generation::Generations;
use tidings_views::search::OpenSearch;
use tidings_wire::Codec;

use crate::{Config, projection};

/// The projections of the log into OpenSearch, one for each generation. It is
/// waited for when they run.
///
/// # Errors
/// An address that cannot be read, a prefix that no index can have.
pub fn connect(config: &Config, log: Arc<dyn Log>, codec: Codec) -> Result<Keeper> {
    let prefix = &config.process.kafka.topic_prefix;
    let store = OpenSearch::new(config.search_url.expose(), prefix)?;
    let batch = config.batch as usize;
    let gather = Duration::from_millis(config.gather_ms.into());
    let generations = Arc::new(store.clone());
    Ok(Keeper::new(generations, move |generation| {
        let store = Arc::new(store.of(generation));
        projection(Arc::clone(&log), codec.clone(), store)
            .batch(batch)
            .gather(gather)
    }))
}
