use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis;
use tidings_testkit::{OwnRedis, fresh_prefix, redis_url};

use super::{CacheReader, CacheWriter, Key, RedisCache};
use crate::conformance::{self, Forgetful};
use crate::{Position, StoreError};

const TIMEOUT: Duration = Duration::from_secs(5);

fn fresh() -> RedisCache {
    RedisCache::new(redis_url(), &fresh_prefix(), TIMEOUT).unwrap()
}

#[async_trait]
impl Forgetful for RedisCache {
    async fn evict(&self, key: &Key) {
        let mut connection = self.connection().await.unwrap();
        let del = redis::cmd("DEL").arg(self.key(key)).take();
        let () = del.query_async(&mut connection).await.unwrap();
    }

    /// Of this prefix only: others have their tests in the same Redis.
    async fn flush(&self) {
        let mut connection = self.connection().await.unwrap();
        let all = redis::cmd("KEYS").arg(format!("{}*", self.start)).take();
        let keys: Vec<String> = all.query_async(&mut connection).await.unwrap();
        if !keys.is_empty() {
            let del = redis::cmd("DEL").arg(keys).take();
            let () = del.query_async(&mut connection).await.unwrap();
        }
    }
}

#[tokio::test]
async fn drops_what_changes() {
    conformance::drops_what_changes(&fresh()).await;
}

#[tokio::test]
async fn is_never_older_than_it_says() {
    let mut hits = 0;
    for seed in 0..40 {
        hits += conformance::is_never_older_than_it_says(&fresh(), seed).await;
    }
    assert!(hits > 400, "{hits} hits");
}

#[tokio::test]
async fn large_batches_are_written() {
    let cache = fresh();
    let at = |offset| Position {
        partition: 0,
        offset,
        current: None,
    };
    cache.begin(&[at(0)]).await.unwrap();
    let tenant = tidings_domain::Tenant::parse("t").unwrap();
    let change = |n: u128| super::Change {
        key: Key::Head(
            tenant.clone(),
            tidings_domain::ConversationId(uuid::Uuid::from_u128(n)),
        ),
        partition: 0,
        next: 1,
    };
    let changes: Vec<_> = (0..2_500).map(change).collect();
    let moved = super::Moved { from: 0, to: at(1) };
    cache.apply(&[(0, 1)], &changes, &[moved]).await.unwrap();
    assert_eq!(cache.cursors().await.unwrap().offset(0), Some(1));
}

/// Down or silent, it says so within its time limit; and it comes back.
#[tokio::test]
async fn a_redis_that_is_away_is_transient() {
    let mut server = OwnRedis::start().unwrap();
    let cache = RedisCache::new(&server.url(), "", Duration::from_millis(300)).unwrap();
    cache.cursors().await.unwrap();
    let away = async || {
        let asked = tokio::time::timeout(Duration::from_secs(3), cache.look_up(&[]));
        let answer = asked.await.expect("an answer in time");
        assert!(
            matches!(answer, Err(StoreError::Transient(_))),
            "{answer:?}"
        );
    };
    server.pause().unwrap();
    away().await;
    server.resume().unwrap();
    let back = async || cache.cursors().await.is_ok();
    tidings_testkit::eventually_async(TIMEOUT, back).await;
    server.kill().unwrap();
    away().await;
    server.start_again().unwrap();
    tidings_testkit::eventually_async(TIMEOUT, back).await;
    assert!(RedisCache::new("redis:/nowhere", "", TIMEOUT).is_err());
}
