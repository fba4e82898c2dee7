mod hidden;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tidings_domain::{ConversationId, Decision, Tenant, UserId};
use tidings_sqlite::Database;
use tidings_testkit::{OwnRedis, eventually_async};
use tokio::task::JoinSet;

use super::CachedHistory;
use crate::cache::{
    CacheReader, CacheWriter, Change, Fill, Key, LookUp, MokaCache, Moved, RedisCache, changed_by,
};
use crate::conformance::{Decisions, Forgetful, Random, project};
use crate::history::{HistoryReader, HistoryWriter, SqliteHistory};
use crate::{Position, StoreError};

const PATIENCE: Duration = Duration::from_secs(20);

/// A history view, a cache, the projections of both, and readers.
struct World<'a> {
    history: SqliteHistory,
    cache: &'a dyn Forgetful,
    cached: Arc<CachedHistory>,
    decisions: Vec<Decision>,
    /// How many decisions each of the two has applied.
    in_history: usize,
    in_cache: usize,
    _folder: tempfile::TempDir,
}

fn at(offset: usize) -> Position {
    Position {
        partition: 0,
        offset: offset as i64,
        current: None,
    }
}

impl<'a> World<'a> {
    async fn new<C: Forgetful + Clone + 'static>(cache: &'a C, seed: u64) -> Self {
        let reader = Arc::new(cache.clone());
        let decisions = Decisions::new(seed).take(200);
        Self::with(cache, reader, Duration::from_secs(1), decisions).await
    }

    /// Whose readers reach the cache by `reader`, with a time limit for each
    /// question to it.
    async fn with(
        cache: &'a dyn Forgetful,
        reader: Arc<dyn CacheReader>,
        limit: Duration,
        decisions: Vec<Decision>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let history = SqliteHistory::new(Database::open(folder.path()).unwrap());
        history.prepare().await.unwrap();
        let view = Arc::new(history.clone());
        let cached = CachedHistory::new(view, reader, 1, limit);
        Self {
            history,
            cache,
            cached: Arc::new(cached),
            decisions,
            in_history: 0,
            in_cache: 0,
            _folder: folder,
        }
    }

    async fn advance_history(&mut self, more: usize) {
        let end = (self.in_history + more).min(self.decisions.len());
        let batch = &self.decisions[self.in_history..end];
        project(&self.history, batch, self.in_history)
            .await
            .unwrap();
        self.history
            .write(&tidings_domain::Rows::default(), &[at(end)])
            .await
            .unwrap();
        self.in_history = end;
    }

    async fn advance_cache(&mut self, more: usize) {
        if self.cache.cursors().await.unwrap().session.is_none() {
            self.cache.begin(&[at(self.in_cache)]).await.unwrap();
        }
        let (from, end) = (
            self.in_cache,
            (self.in_cache + more).min(self.decisions.len()),
        );
        let changes: Vec<Change> = (from..end)
            .flat_map(|offset| {
                let keys = changed_by(&self.decisions[offset]).into_iter();
                keys.map(move |changed| Change {
                    key: changed.key,
                    parts: changed.parts,
                    partition: 0,
                    next: offset as i64 + 1,
                })
            })
            .collect();
        let moved = Moved {
            from: from as i64,
            to: at(end),
        };
        let done = self
            .cache
            .apply(&[(0, end as i64)], &changes, &[moved])
            .await;
        done.unwrap();
        self.in_cache = end;
    }

    async fn settle(&self) {
        let idle = async || self.cached.shared.flights.is_idle();
        eventually_async(PATIENCE, idle).await;
    }

    /// How many values came from the cache, and of how many only some parts had
    /// to be read.
    fn tally(&self) -> (usize, usize) {
        let tally = &self.cached.shared.tally;
        let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
        (count(&tally.hits), count(&tally.amended))
    }

    fn users(&self) -> BTreeSet<(Tenant, UserId)> {
        let senders = self.decisions.iter();
        senders
            .map(|it| (it.tenant.clone(), it.sender.clone()))
            .collect()
    }

    fn conversations(&self) -> BTreeSet<(Tenant, ConversationId)> {
        let seen = self.decisions.iter();
        seen.map(|it| (it.tenant.clone(), it.conversation_id))
            .collect()
    }

    /// Every answer is the history view's, wherever it comes from.
    async fn compare(&self) {
        let (cached, history) = (&self.cached, &self.history);
        HistoryReader::positions(&**cached).await.unwrap();
        for (tenant, user) in self.users() {
            let ids = cached.memberships(&tenant, &user).await.unwrap();
            assert_eq!(
                ids.into_iter().collect::<BTreeSet<_>>(),
                history
                    .memberships(&tenant, &user)
                    .await
                    .unwrap()
                    .into_iter()
                    .collect()
            );
            for limit in [2, 50] {
                let mut after = None;
                loop {
                    let page = cached
                        .list(&tenant, &user, None, after, limit)
                        .await
                        .unwrap();
                    let expected = history
                        .list(&tenant, &user, None, after, limit)
                        .await
                        .unwrap();
                    assert_eq!(page, expected);
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
            }
            assert_eq!(
                cached.unread(&tenant, &user).await.unwrap(),
                history.unread(&tenant, &user).await.unwrap()
            );
        }
        for (tenant, id) in self.conversations() {
            assert_eq!(
                cached.conversation(&tenant, id).await.unwrap(),
                history.conversation(&tenant, id).await.unwrap()
            );
            assert_eq!(
                cached.members(&tenant, id, None, 3).await.unwrap(),
                history.members(&tenant, id, None, 3).await.unwrap()
            );
            for (_, user) in self.users().iter().filter(|(of, _)| *of == tenant) {
                for limit in [1, 5, 50] {
                    let page = cached.page(&tenant, id, user, None, None, limit);
                    let expected = history.page(&tenant, id, user, None, None, limit);
                    assert_eq!(page.await.unwrap(), expected.await.unwrap());
                }
                assert_eq!(
                    cached.member(&tenant, id, user).await.unwrap(),
                    history.member(&tenant, id, user).await.unwrap()
                );
            }
        }
    }
}

/// Whichever of the two projections is ahead, and whatever the cache forgets:
/// what is answered is what the history view has.
async fn equals_the_history<C: Forgetful + Clone + 'static>(
    cache: &C,
    seed: u64,
) -> (usize, usize) {
    let mut world = World::new(cache, seed).await;
    let mut random = Random::new(!seed);
    while world.in_history < world.decisions.len() || world.in_cache < world.decisions.len() {
        match random.below(12) {
            0..=3 => world.advance_history(1 + random.below(25)).await,
            4..=7 => world.advance_cache(1 + random.below(25)).await,
            8 => {
                let level = world.in_history.saturating_sub(world.in_cache);
                world.advance_cache(level).await;
                world.compare().await;
            }
            9 => world.settle().await,
            10 => world.compare().await,
            _ if random.below(4) == 0 => cache.flush().await,
            _ => {}
        }
    }
    // Both are at the end: now everything that can be kept is.
    world.advance_cache(0).await;
    for _ in 0..2 {
        world.compare().await;
        world.settle().await;
    }
    world.compare().await;
    world.tally()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_moka_equals_the_history() {
    let mut sum = (0, 0);
    for seed in 0..3 {
        let (hits, amended) = equals_the_history(&MokaCache::new(1 << 24), seed).await;
        sum = (sum.0 + hits, sum.1 + amended);
    }
    assert!(sum.0 > 100 && sum.1 > 100, "hits, amended: {sum:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_equals_the_history() {
    let redis = OwnRedis::start().unwrap();
    let cache = RedisCache::new(&redis.url(), "", Duration::from_secs(5)).unwrap();
    let sum = equals_the_history(&cache, 20).await;
    assert!(sum.0 > 30 && sum.1 > 30, "hits, amended: {sum:?}");
}

/// Down, silent or flushed: every answer is the history view's, the breaker
/// opens, nobody waits for long, and afterwards the cache fills again.
#[tokio::test(flavor = "multi_thread")]
async fn redis_may_go_and_come_back() {
    let mut redis = OwnRedis::start().unwrap();
    let limit = Duration::from_millis(300);
    let cache = RedisCache::new(&redis.url(), "", limit).unwrap();
    let mut world = World::new(&cache, 7).await;
    world.advance_history(120).await;
    world.advance_cache(120).await;
    let warm = async |world: &World<'_>| {
        let (since, _) = world.tally();
        let deadline = std::time::Instant::now() + PATIENCE;
        while world.tally().0 < since + 10 {
            assert!(std::time::Instant::now() < deadline, "it does not fill");
            world.compare().await;
            world.settle().await;
        }
    };
    warm(&world).await;
    for outage in ["silent", "down", "flushed"] {
        match outage {
            "silent" => redis.pause().unwrap(),
            "down" => redis.kill().unwrap(),
            _ => cache.flush().await,
        }
        world.advance_history(20).await;
        let started = std::time::Instant::now();
        world.compare().await;
        assert!(started.elapsed() < Duration::from_secs(15), "{outage}");
        assert_eq!(world.cached.shared.guard.is_open(), outage != "flushed");
        match outage {
            "silent" => redis.resume().unwrap(),
            "down" => redis.start_again().unwrap(),
            _ => {}
        }
        let back = async || cache.cursors().await.is_ok();
        eventually_async(PATIENCE, back).await;
        world.advance_cache(20).await;
        warm(&world).await;
    }
}

/// A cache that never answers.
struct Mute;

#[async_trait]
impl CacheReader for Mute {
    async fn look_up(&self, _: &[Key]) -> Result<LookUp, StoreError> {
        Err(StoreError::Transient("mute".to_owned()))
    }

    async fn fill(&self, _: &[Fill]) -> Result<usize, StoreError> {
        Err(StoreError::Transient("mute".to_owned()))
    }
}

/// Twenty who ask for a page at once, while the cache is down: one reading of
/// the view is for all of them.
#[tokio::test]
async fn without_the_cache_a_page_is_read_once_for_all() {
    let cache = MokaCache::new(1 << 20);
    let decisions = Decisions::new(3).take(120);
    let limit = Duration::from_secs(1);
    let mut world = World::with(&cache, Arc::new(Mute), limit, decisions).await;
    world.advance_history(120).await;
    let (tenant, id) = world.conversations().pop_first().unwrap();
    let user = super::super::reading::nobody().unwrap();
    let pages = (0..20).map(|_| {
        let (cached, tenant, user) = (Arc::clone(&world.cached), tenant.clone(), user.clone());
        async move { cached.page(&tenant, id, &user, None, None, 50).await }
    });
    let pages: JoinSet<_> = pages.collect();
    let truth = world.history.page(&tenant, id, &user, None, None, 50);
    let truth = truth.await.unwrap();
    for page in pages.join_all().await {
        assert_eq!(page.unwrap(), truth);
    }
    let joined = world.cached.shared.tally.joined.load(Ordering::Relaxed);
    assert_eq!(joined, 2 * 19, "the messages and what is hidden of them");
}
