//! The values in Redis, one by one.

use async_trait::async_trait;
use deadpool_redis::redis::{self, Script};

use super::{RedisCache, ask, scripts};
use crate::audit::{Audit, CacheAudit, EachPage, Flaw, Part, Raw, Replacement, StoredDocument};
use crate::cache::audited::{KINDS, NOT_KEPT, is_part, stored};
use crate::cache::{CacheWriter, Key};
use crate::{Position, StoreError};

/// Keys asked for at once.
const PAGE: usize = 1_000;

/// Arguments: the value that was seen. Answers whether it was dropped.
const DROP: &str = "
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'v')
return 1
";

/// Arguments: partition; the offset and owner that were seen; those to be set.
/// Answers whether they were.
const SET_POSITION: &str = "
local p = ARGV[1]
local at = redis.call('HMGET', KEYS[1], 'o' .. p, 'w' .. p)
if at[1] ~= ARGV[2] or at[2] ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'o' .. p, ARGV[4], 'r' .. p, ARGV[4], 'w' .. p, ARGV[5])
return 1
";

impl RedisCache {
    /// Those that answer by themselves: one with outdated parts is like what it
    /// was, and not like what the log makes of it now.
    async fn values(&self, keys: Vec<Key>) -> Result<Vec<StoredDocument>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let session = self.cursors().await?.session;
        let mut pipe = redis::pipe();
        for key in &keys {
            pipe.hgetall(self.key(key));
        }
        let mut connection = self.connection().await?;
        let answers: Vec<redis::Value> = ask(pipe.query_async(&mut connection).await)?;
        let mut values = Vec::new();
        for (key, answer) in keys.into_iter().zip(&answers) {
            let (of, found) = scripts::read_record(answer)?;
            if of.is_some()
                && of == session
                && let Some(value) = found.value
            {
                values.push(stored(&key, value));
            }
        }
        Ok(values)
    }
}

#[async_trait]
impl Audit for RedisCache {
    fn kinds(&self) -> &'static [&'static str] {
        KINDS
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        Ok(self.cursors().await?.positions())
    }

    async fn flaws(&self) -> Result<Vec<Flaw>, StoreError> {
        let is_kept = self.cursors().await?.session.is_some();
        let flaw = || Flaw {
            message: NOT_KEPT.to_owned(),
            is_mendable: true,
        };
        Ok((!is_kept).then(flaw).into_iter().collect())
    }

    /// An empty cache begins anew with its positions.
    async fn mend(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn scan(
        &self,
        kind: &'static str,
        part: &Part,
        each: EachPage<'_>,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let pattern = format!("{}{{*", glob_escaped(&self.start));
        let mut cursor = 0_u64;
        loop {
            let answer = redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(PAGE)
                .query_async(&mut connection)
                .await;
            let (next, names): (u64, Vec<String>) = ask(answer)?;
            let keys = names.iter().filter_map(|name| {
                let key = Key::parse(name.strip_prefix(&self.start)?)?;
                (key.kind() == kind && is_part(&key, part)).then_some(key)
            });
            each(self.values(keys.collect()).await?)?;
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    async fn get(
        &self,
        _kind: &'static str,
        keys: &[String],
    ) -> Result<Vec<StoredDocument>, StoreError> {
        let keys = keys.iter().filter_map(|key| Key::parse(key));
        self.values(keys.collect()).await
    }

    async fn replace(&self, replacements: &[Replacement]) -> Result<usize, StoreError> {
        let script = Script::new(DROP);
        let mut connection = self.connection().await?;
        let mut dropped = 0;
        for replacement in replacements {
            let Some(seen) = &replacement.seen else {
                continue;
            };
            let (Some(key), Raw::Bytes(bytes)) = (Key::parse(&seen.key), &seen.raw) else {
                continue;
            };
            let mut call = script.key(self.key(&key));
            call.arg(&bytes[..]);
            let done: u8 = ask(call.invoke_async(&mut connection).await)?;
            dropped += usize::from(done == 1);
        }
        Ok(dropped)
    }

    async fn set_position(&self, seen: Option<Position>, to: Position) -> Result<bool, StoreError> {
        let Some(seen) = seen else {
            self.begin(&[to]).await?;
            return Ok(true);
        };
        let mut connection = self.connection().await?;
        let script = Script::new(SET_POSITION);
        let mut call = script.key(self.cursors_key());
        call.arg(to.partition)
            .arg(seen.offset)
            .arg(scripts::owner_text(seen.current))
            .arg(to.offset)
            .arg(scripts::owner_text(to.current));
        let done: u8 = ask(call.invoke_async(&mut connection).await)?;
        Ok(done == 1)
    }
}

impl CacheAudit for RedisCache {}

/// A text as a pattern that only it matches.
fn glob_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
