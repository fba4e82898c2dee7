use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tidings_log::Log;
use tidings_projection::Projection;
use tidings_views::cache::RedisCache;
use tidings_wire::Codec;

use crate::{Config, projection};

/// How long one command may take. A batch may be thousands, and nobody waits.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The projection of the log into Redis, which is waited for when it runs.
///
/// # Errors
/// An address that cannot be read.
pub fn connect(config: &Config, log: Arc<dyn Log>, codec: Codec) -> Result<Option<Projection>> {
    let prefix = &config.process.kafka.topic_prefix;
    let cache = RedisCache::new(config.redis_url.expose(), prefix, TIMEOUT)?;
    let projection = projection(log, codec, Arc::new(cache));
    Ok(Some(projection.batch(config.batch as usize)))
}
