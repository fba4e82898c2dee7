use async_trait::async_trait;
use deadpool_redis::redis;

use super::scripts::SCRIPTS;
use super::{RedisCache, ask};
use crate::cache::CacheWriter;
use crate::generation::{Generation, Generations, Register};
use crate::{Position, StoreError};

/// Keys in one round trip.
const CHUNK: usize = 1_000;

impl RedisCache {
    fn register_key(&self) -> String {
        format!("{}generations", self.first)
    }

    /// A pattern of all records' keys of this generation, and of no other's.
    fn records_pattern(&self) -> String {
        let mut pattern = String::new();
        for c in self.start.chars() {
            if "*?[]\\".contains(c) {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        // Every record's key goes on with a brace.
        pattern + "{*"
    }
}

#[async_trait]
impl Generations for RedisCache {
    fn of(&self, generation: Generation) -> Self {
        let start = match generation {
            Generation::FIRST => self.first.clone(),
            Generation(number) => format!("{}g{number}:", self.first),
        };
        Self {
            start,
            session: std::sync::Arc::default(),
            ..self.clone()
        }
    }

    async fn reached(&self) -> Result<Vec<Position>, StoreError> {
        Ok(self.cursors().await?.positions())
    }

    async fn register(&self) -> Result<Register, StoreError> {
        let mut connection = self.connection().await?;
        let get = redis::cmd("HGET")
            .arg(self.register_key())
            .arg("register")
            .take();
        let text: Option<String> = ask(get.query_async(&mut connection).await)?;
        let Some(text) = text else {
            return Ok(Register::default());
        };
        serde_json::from_str(&text).map_err(|error| {
            StoreError::Fatal(format!(
                "the register of generations is unreadable: {error}"
            ))
        })
    }

    async fn replace(&self, register: &Register) -> Result<bool, StoreError> {
        let text = serde_json::to_string(register)
            .map_err(|error| StoreError::Fatal(error.to_string()))?;
        let mut pipe = redis::pipe();
        pipe.load_script(&SCRIPTS.register).ignore();
        let mut call = SCRIPTS.register.key(self.register_key());
        call.arg(register.revision).arg(text);
        pipe.invoke_script(&call);
        let mut connection = self.connection().await?;
        let (replaced,): (u8,) = ask(pipe.query_async(&mut connection).await)?;
        Ok(replaced == 1)
    }

    async fn delete(&self, generation: Generation) -> Result<(), StoreError> {
        let cache = self.of(generation);
        let mut connection = self.connection().await?;
        let cursors = redis::cmd("UNLINK").arg(cache.cursors_key()).take();
        let () = ask(cursors.query_async(&mut connection).await)?;
        let pattern = cache.records_pattern();
        let mut cursor = 0_u64;
        loop {
            let scan = redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(CHUNK)
                .take();
            let (next, keys): (u64, Vec<String>) = ask(scan.query_async(&mut connection).await)?;
            if !keys.is_empty() {
                let unlink = redis::cmd("UNLINK").arg(keys).take();
                let () = ask(unlink.query_async(&mut connection).await)?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}
