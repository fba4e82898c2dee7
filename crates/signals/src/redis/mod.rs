//! Signals over Redis: typing and presence are published on one channel a
//! tenant; who is where stands in two keys a tenant (see [`register`]).
//!
//! While Redis is down an edge tells its own sockets what it knows, and says
//! once in the log that it is alone. When Redis is back, however much it has
//! forgotten, each edge registers its users anew.

mod listener;
mod message;
mod names;
mod outage;
mod place;
mod register;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{AsyncConnectionConfig, Client};
use deadpool_redis::{Manager, Pool, Runtime};

use crate::{Exchange, Heard, Signals};
use names::Names;
use place::Place;

/// How often an edge says that it lives, and when it counts as dead.
#[derive(Clone, Copy, Debug)]
pub struct RedisTiming {
    /// Between two signs of life.
    pub heartbeat: Duration,
    /// After how much silence an edge's users count as gone.
    pub expiry: Duration,
    /// How long one command may take.
    pub timeout: Duration,
}

impl Default for RedisTiming {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            expiry: Duration::from_secs(15),
            timeout: Duration::from_secs(1),
        }
    }
}

/// The address of Redis cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("REDIS_URL: {0}")]
pub struct BadUrl(String);

/// Signals between the edges of a cluster.
#[derive(Clone)]
pub struct RedisExchange {
    client: Client,
    pool: Pool,
    names: Names,
    timing: RedisTiming,
}

impl RedisExchange {
    /// Does not connect yet: an edge runs without Redis too. `prefix` goes
    /// before each key and channel, so that deployments can share a Redis.
    ///
    /// # Errors
    /// [`BadUrl`].
    pub fn new(url: &str, prefix: &str, timing: RedisTiming) -> Result<Self, BadUrl> {
        let bad = |error: &dyn std::fmt::Display| BadUrl(error.to_string());
        let client = Client::open(url).map_err(|error| bad(&error))?;
        let limits = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timing.timeout))
            .set_response_timeout(Some(timing.timeout));
        let manager = Manager::new_with_config(url, limits).map_err(|error| bad(&error))?;
        let pool = Pool::builder(manager)
            .max_size(4)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(timing.timeout))
            .create_timeout(Some(timing.timeout))
            .recycle_timeout(Some(timing.timeout))
            .build()
            .map_err(|error| bad(&error))?;
        let names = Names::new(prefix);
        Ok(Self {
            client,
            pool,
            names,
            timing,
        })
    }
}

impl Exchange for RedisExchange {
    fn attach(&self) -> (Arc<dyn Signals>, Heard) {
        let (place, heard) = Place::new(self);
        (Arc::new(place), heard)
    }
}
