use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis;
use tidings_testkit::{OwnRedis, fresh_prefix, redis_url};

use super::{CacheReader, CacheWriter, Key, RedisCache};
use crate::conformance::{self, Forgetful};
use crate::generation::{Generation, Generations};
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
async fn keeps_what_has_not_changed() {
    conformance::keeps_what_has_not_changed(&fresh()).await;
}

#[tokio::test]
async fn is_never_older_than_it_says() {
    let mut sum = (0, 0);
    for seed in 0..40 {
        let (hits, amended) = conformance::is_never_older_than_it_says(&fresh(), seed).await;
        sum = (sum.0 + hits, sum.1 + amended);
    }
    assert!(sum.0 > 400 && sum.1 > 160, "hits, amended: {sum:?}");
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
        parts: Vec::new(),
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

#[tokio::test]
async fn another_generation_is_a_cache_of_its_own() {
    let first = fresh();
    let mut hits = 0;
    for number in 2..12 {
        let second = first.of(Generation(number));
        hits += conformance::is_never_older_than_it_says(&second, number.into())
            .await
            .0;
    }
    assert!(hits > 100, "{hits} hits");
    assert_eq!(first.cursors().await.unwrap().session, None);
    conformance::keeps_a_register(&first).await;

    // What is deleted is all of one and nothing of another.
    let at = Position {
        partition: 0,
        offset: 0,
        current: None,
    };
    let tenant = tidings_domain::Tenant::parse("t").unwrap();
    let id = tidings_domain::ConversationId(uuid::Uuid::nil());
    let key = Key::Head(tenant, id);
    let (second, third) = (first.of(Generation(20)), first.of(Generation(30)));
    for cache in [&first, &second, &third] {
        cache.begin(&[at]).await.unwrap();
        let looked = cache.look_up(std::slice::from_ref(&key)).await.unwrap();
        let fill = looked.fill(0, key.clone(), vec![1], vec![(0, 0)]).unwrap();
        assert_eq!(cache.fill(std::slice::from_ref(&fill)).await, Ok(1));
        assert_eq!(
            third.fill(&[fill]).await.unwrap(),
            usize::from(cache.start == third.start),
            "a ticket is good in one generation"
        );
    }
    let value = async |cache: &RedisCache| {
        let looked = cache.look_up(std::slice::from_ref(&key)).await.unwrap();
        looked.found.first().and_then(|found| found.value.clone())
    };
    first.delete(Generation::FIRST).await.unwrap();
    first.delete(Generation::FIRST).await.unwrap();
    assert_eq!(value(&first).await, None);
    assert_eq!(value(&second).await, Some(vec![1]));
    first.delete(Generation(20)).await.unwrap();
    assert_eq!(value(&second).await, None);
    assert_eq!(value(&third).await, Some(vec![1]));
    assert_ne!(first.register().await.unwrap().revision, 0);
}
