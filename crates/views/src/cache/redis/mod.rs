//! The cache in Redis.
//!
//! A record is a hash: `s` its session, `i` its mark, `v` the value, of each
//! part of it that has changed `n…` the partition and the offset after the
//! change, and of each partition `f…` the floor and `a…` what the value is, or
//! the last one was, as of. The cursors
//! are one hash for all: `s` the session, and of each partition `o…` the
//! offset, `r…` what it is reaching for, `w…` the owner. Each script touches
//! one key. What must come in order is sent on one connection, so the client
//! wants one primary: a server alone, or one behind a proxy or sentinel.

mod audit;
mod generations;
mod scripts;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::{self, AsyncConnectionConfig, ErrorKind, RedisError};
use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use parking_lot::Mutex;
use uuid::Uuid;

use super::{
    CacheReader, CacheWriter, Change, Cursors, Fill, Key, LookUp, Moved, OUTDATED_PARTS, TTL,
};
use crate::{Position, StoreError};
use scripts::SCRIPTS;

/// The shape of what is stored. Another one is another view: nothing that an
/// earlier one wrote is read.
const VERSION: u32 = 3;
/// Commands in one round trip.
const CHUNK: usize = 1_000;
/// Connections to Redis.
const CONNECTIONS: usize = 8;

/// The address of Redis cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("REDIS_URL: {0}")]
pub struct BadUrl(String);

/// The cache in Redis, one generation of it.
#[derive(Clone)]
pub struct RedisCache {
    pool: Pool,
    /// What the keys of the first generation begin with.
    first: String,
    /// What the keys of this generation begin with.
    start: String,
    ttl: Duration,
    /// The session as it was last seen.
    session: std::sync::Arc<Mutex<String>>,
}

impl RedisCache {
    /// Does not connect yet. `prefix` goes before each key, so that
    /// deployments can share a Redis; `timeout` is for each command.
    ///
    /// # Errors
    /// [`BadUrl`].
    pub fn new(url: &str, prefix: &str, timeout: Duration) -> Result<Self, BadUrl> {
        Self::with_ttl(url, prefix, timeout, TTL)
    }

    pub(crate) fn with_ttl(
        url: &str,
        prefix: &str,
        timeout: Duration,
        ttl: Duration,
    ) -> Result<Self, BadUrl> {
        let bad = |error: &dyn std::fmt::Display| BadUrl(error.to_string());
        let limits = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        let manager = Manager::new_with_config(url, limits).map_err(|error| bad(&error))?;
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(timeout))
            .create_timeout(Some(timeout))
            .recycle_timeout(Some(timeout))
            .build()
            .map_err(|error| bad(&error))?;
        let first = format!("tidings:{prefix}cache:{VERSION}:");
        Ok(Self {
            pool,
            start: first.clone(),
            first,
            ttl,
            session: std::sync::Arc::default(),
        })
    }

    async fn connection(&self) -> Result<Connection, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => store_error(&error),
            error => StoreError::Transient(error.to_string()),
        })
    }

    fn key(&self, key: &Key) -> String {
        format!("{}{key}", self.start)
    }

    /// All partitions' cursors, together: they are small, few, and no tenant's.
    fn cursors_key(&self) -> String {
        format!("{}cursors", self.start)
    }

    fn ttl_ms(&self) -> u64 {
        u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX)
    }

    /// Looks up in the session that was seen last.
    async fn look_up_in(&self, session: &str, keys: &[Key]) -> Result<LookUp, StoreError> {
        let mut pipe = redis::pipe();
        pipe.load_script(&SCRIPTS.open).ignore();
        pipe.hgetall(self.cursors_key());
        for key in keys {
            let mut open = SCRIPTS.open.key(self.key(key));
            open.arg(session)
                .arg(Uuid::new_v4().simple().to_string())
                .arg(self.ttl_ms());
            pipe.invoke_script(&open);
        }
        pipe.hgetall(self.cursors_key());
        let mut connection = self.connection().await?;
        let answers: Vec<redis::Value> = ask(pipe.query_async(&mut connection).await)?;
        let shape = || StoreError::Transient("an answer of another shape".to_owned());
        let [before, opened @ .., after] = &answers[..] else {
            return Err(shape());
        };
        let found = opened
            .iter()
            .map(|answer| scripts::read_record(answer).map(|(_, found)| found));
        Ok(LookUp {
            before: scripts::read_cursors(before)?,
            after: scripts::read_cursors(after)?,
            found: found.collect::<Result<_, _>>()?,
        })
    }
}

/// Classes an error by what to do about it.
fn store_error(error: &RedisError) -> StoreError {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => StoreError::Fatal(text),
        _ if text.contains("OOM") => StoreError::Saturated(text),
        _ => StoreError::Transient(text),
    }
}

fn ask<T>(answer: Result<T, RedisError>) -> Result<T, StoreError> {
    answer.map_err(|error| store_error(&error))
}

#[async_trait]
impl CacheReader for RedisCache {
    async fn look_up(&self, keys: &[Key]) -> Result<LookUp, StoreError> {
        // The session is known but for the first time and after a flush.
        for _ in 0..2 {
            let session = self.session.lock().clone();
            let looked = self.look_up_in(&session, keys).await?;
            match &looked.before.session {
                None => return Ok(LookUp::default()),
                Some(current) if *current == session => {
                    return Ok(match looked.after.session == looked.before.session {
                        true => looked,
                        false => LookUp::default(),
                    });
                }
                Some(current) => self.session.lock().clone_from(current),
            }
        }
        Ok(LookUp::default())
    }

    async fn fill(&self, fills: &[Fill]) -> Result<usize, StoreError> {
        if fills.is_empty() {
            return Ok(0);
        }
        let mut pipe = redis::pipe();
        pipe.load_script(&SCRIPTS.fill).ignore();
        for fill in fills {
            let mut call = SCRIPTS.fill.key(self.key(&fill.key));
            call.arg(&fill.ticket.session)
                .arg(&fill.ticket.mark)
                .arg(&fill.value[..])
                .arg(self.ttl_ms());
            for (partition, offset) in &fill.as_of {
                call.arg(*partition).arg(*offset);
            }
            pipe.invoke_script(&call);
        }
        let mut connection = self.connection().await?;
        let taken: Vec<u8> = ask(pipe.query_async(&mut connection).await)?;
        Ok(taken.into_iter().filter(|taken| *taken == 1).count())
    }
}

#[async_trait]
impl CacheWriter for RedisCache {
    async fn cursors(&self) -> Result<Cursors, StoreError> {
        let mut connection = self.connection().await?;
        let answer = redis::cmd("HGETALL")
            .arg(self.cursors_key())
            .query_async(&mut connection)
            .await;
        scripts::read_cursors(&ask(answer)?)
    }

    async fn begin(&self, positions: &[Position]) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let mut call = SCRIPTS.begin.key(self.cursors_key());
        call.arg(Uuid::new_v4().simple().to_string());
        for position in positions {
            call.arg(position.partition)
                .arg(position.offset)
                .arg(scripts::owner_text(position.current));
        }
        ask(call.invoke_async(&mut connection).await)
    }

    async fn apply(
        &self,
        reaching: &[(i32, i64)],
        changes: &[Change],
        moved: &[Moved],
    ) -> Result<(), StoreError> {
        // One connection for all of it: what was started anew in between does
        // not know it.
        let mut connection = self.connection().await?;
        let mut pipe = redis::pipe();
        let scripts = [&SCRIPTS.reach, &SCRIPTS.note, &SCRIPTS.advance];
        for script in scripts {
            pipe.load_script(script).ignore();
        }
        if !reaching.is_empty() {
            let mut call = SCRIPTS.reach.key(self.cursors_key());
            for (partition, to) in reaching {
                call.arg(*partition).arg(*to);
            }
            pipe.invoke_script(&call);
        }
        let (mut left, mut lost) = (changes, false);
        loop {
            let (chunk, rest) = left.split_at(left.len().min(CHUNK));
            for change in chunk {
                let mut call = SCRIPTS.note.key(self.key(&change.key));
                call.arg(change.partition).arg(change.next);
                call.arg(OUTDATED_PARTS).arg(&change.parts);
                pipe.invoke_script(&call).ignore();
            }
            if rest.is_empty() {
                break;
            }
            let known: Vec<u8> = ask(pipe.query_async(&mut connection).await)?;
            lost = lost || known.contains(&0);
            (left, pipe) = (rest, redis::pipe());
        }
        if !moved.is_empty() {
            let mut call = SCRIPTS.advance.key(self.cursors_key());
            for moved in moved {
                call.arg(moved.to.partition)
                    .arg(moved.from)
                    .arg(moved.to.offset)
                    .arg(scripts::owner_text(moved.to.current));
            }
            pipe.invoke_script(&call);
        }
        let known: Vec<u8> = ask(pipe.query_async(&mut connection).await)?;
        if lost || known.contains(&0) {
            let error = "the cache was emptied, or another process keeps it";
            return Err(StoreError::Transient(error.to_owned()));
        }
        Ok(())
    }
}
