use std::sync::Arc;
use std::time::Duration;

use tidings_domain::{ConversationId, Tenant, UserId};
use tidings_operate::verify::AuditedView;
use tidings_testkit::OwnRedis;
use tidings_views::audit::{Audit, CacheAudit, Part, StoredDocument};
use tidings_views::cache::{CacheReader, CacheWriter, CachedHistory, Key, MokaCache, RedisCache};
use tidings_views::history::{HistoryReader, SqliteHistory};

use crate::world::{Running, World, assert_clean, found, reaches};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads what a user of a client reads, until the cache holds some of it.
async fn fill<C>(world: &World, cache: &Arc<C>) -> usize
where
    C: CacheReader + CacheWriter + CacheAudit + 'static,
{
    let history = SqliteHistory::new(world.database.clone());
    let projection =
        tidings_history::projection(world.log(), world.codec.clone(), Arc::new(history.clone()));
    let projecting = Running::start(projection);
    let projection = tidings_cache::projection(
        world.log(),
        world.codec.clone(),
        Arc::clone(cache) as Arc<dyn CacheWriter>,
    );
    let caching = Running::start(projection);
    reaches(&world.ends(), async || {
        Audit::positions(&history).await.expect("reads")
    })
    .await;
    reaches(&world.ends(), async || {
        Audit::positions(&**cache).await.expect("reads")
    })
    .await;
    projecting.stop().await;
    caching.stop().await;
    let mut conversations: Vec<(Tenant, ConversationId)> = Vec::new();
    let mut each = |documents: Vec<StoredDocument>| {
        let of = documents.iter();
        conversations.extend(of.filter_map(|it| Some((it.tenant()?, it.conversation_id()?))));
        Ok(())
    };
    let part = Part::default();
    history
        .scan("conversations", &part, &mut each)
        .await
        .expect("scans");
    let reader = CachedHistory::new(
        Arc::new(history.clone()),
        Arc::clone(cache) as Arc<dyn CacheReader>,
        3,
        TIMEOUT,
    );
    let users = ["alice", "bob"].map(|name| UserId::parse(name).expect("a user"));
    let count = async || {
        let mut values = 0;
        for kind in cache.kinds() {
            let mut each = |documents: Vec<StoredDocument>| {
                values += documents.len();
                Ok(())
            };
            cache.scan(kind, &part, &mut each).await.expect("scans");
        }
        values
    };
    tidings_testkit::eventually_async(TIMEOUT * 6, async || {
        for (tenant, id) in &conversations {
            let head = reader.conversation(tenant, *id).await;
            head.expect("reads").expect("is there");
            reader.members(tenant, *id, None, 100).await.expect("reads");
            for user in &users {
                reader
                    .page(tenant, *id, user, None, None, 10)
                    .await
                    .expect("reads");
                reader.memberships(tenant, user).await.expect("reads");
            }
        }
        count().await > conversations.len() * 2
    })
    .await;
    count().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_process_is_right() {
    let world = World::new(31, 400).await;
    let cache = Arc::new(MokaCache::new(1 << 24));
    assert!(fill(&world, &cache).await > 10);
    assert_clean(&world.verify(&AuditedView::Cache(cache)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_values_in_redis_are_found_and_dropped() {
    let world = World::new(32, 400).await;
    let redis = tokio::task::spawn_blocking(|| OwnRedis::start().expect("starts"))
        .await
        .expect("starts");
    let cache = RedisCache::new(&redis.url(), "t.", TIMEOUT).expect("an address");
    let cache = Arc::new(cache);
    let before = fill(&world, &cache).await;
    let view = AuditedView::Cache(Arc::clone(&cache) as Arc<dyn CacheAudit>);
    assert_clean(&world.verify(&view).await);

    let client = deadpool_redis::redis::Client::open(redis.url()).expect("an address");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("connects");
    let keys: Vec<String> = deadpool_redis::redis::cmd("KEYS")
        .arg("tidings:t.cache:*:head")
        .query_async(&mut connection)
        .await
        .expect("answers");
    assert!(keys.len() > 2);
    let mut forge = deadpool_redis::redis::pipe();
    let value: String = deadpool_redis::redis::cmd("HGET")
        .arg(&keys[0])
        .arg("v")
        .query_async(&mut connection)
        .await
        .expect("answers");
    let forged = value.replace("\"closed\":false", "\"closed\":true");
    let forged = match forged == value {
        true => value.replace("\"closed\":true", "\"closed\":false"),
        false => forged,
    };
    forge.hset(&keys[0], "v", forged).ignore();
    forge.hset(&keys[1], "v", "nonsense").ignore();
    forge
        .query_async::<()>(&mut connection)
        .await
        .expect("forges");

    let report = world.verify(&view).await;
    assert_eq!(found(&report), [("head", 0, 0, 2)]);
    let report = world.repair(&view).await;
    assert!(report.is_right_now(), "{report:#?}");
    let report = world.verify(&view).await;
    assert_clean(&report);
    let after: u64 = report.documents.values().sum();
    assert_eq!(after as usize, before - 2);

    // The owner of a position, and all of it.
    let mut forge = deadpool_redis::redis::pipe();
    forge.hset("tidings:t.cache:3:cursors", "w1", "").ignore();
    forge
        .query_async::<()>(&mut connection)
        .await
        .expect("forges");
    let report = world.repair(&view).await;
    assert_eq!(report.positions.len(), 1, "{report:#?}");
    assert!(report.is_right_now(), "{report:#?}");
    assert_clean(&world.verify(&view).await);
    deadpool_redis::redis::cmd("FLUSHALL")
        .query_async::<()>(&mut connection)
        .await
        .expect("flushes");
    let report = world.verify(&view).await;
    assert_eq!(report.flaws.len(), 1, "{report:#?}");
    let report = world.repair(&view).await;
    assert!(report.is_right_now(), "{report:#?}");
    assert!(world.verify(&view).await.is_clean());
    let ends = world.ends();
    let cursors = cache.cursors().await.expect("answers");
    assert!(
        ends.iter()
            .all(|(partition, end)| cursors.offset(*partition) == Some(*end))
    );
    // It is a cache again.
    assert!(fill(&world, &cache).await > 10);
    assert_clean(&world.verify(&view).await);
    let looked = cache.look_up(&[] as &[Key]).await.expect("answers");
    assert!(looked.before.session.is_some());
}
