use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tidings_log::Log;
use tidings_projection::Keeper;
use tidings_views::cache::RedisCache;
use tidings_views::generation::Generations;
use tidings_wire::Codec;

use crate::{Config, projection};

/// How long one command may take. A batch may be thousands, and nobody waits.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The projections of the log into Redis, one for each generation. It is waited
/// for when they run.
///
/// # Errors
/// An address that cannot be read.
pub fn connect(config: &Config, log: Arc<dyn Log>, codec: Codec) -> Result<Option<Keeper>> {
    let prefix = &config.process.kafka.topic_prefix;
    let cache = RedisCache::new(config.redis_url.expose(), prefix, TIMEOUT)?;
    let batch = config.batch as usize;
    let generations = Arc::new(cache.clone());
    Ok(Some(Keeper::new(generations, move |generation| {
        let cache = Arc::new(cache.of(generation));
        projection(Arc::clone(&log), codec.clone(), cache).batch(batch)
    })))
}
