//! The other views: search in OpenSearch, cache in Redis.

use std::sync::Arc;
use std::time::Duration;

use tidings_log::Log;
use tidings_operate::rebuild::{
    Progress, RebuildError, RebuildOptions, View, measure, prune, rebuild, rollback,
};
use tidings_projection::Projection;
use tidings_testkit::{fresh_name, redis_url, search_url};
use tidings_views::StoreError;
use tidings_views::bulk::BulkOptions;
use tidings_views::cache::{CacheReader, CacheWriter, Key, RedisCache};
use tidings_views::conformance::search::Chat;
use tidings_views::generation::{Builder, Generation, Generations, Serving, change};
use tidings_views::search::{Fold, OpenSearch, SearchWriter, Wanted};
use tidings_wire::Codec;
use tokio_util::sync::CancellationToken;

use crate::world::World;

const SECOND: Generation = Generation(2);

fn search(log: Arc<dyn Log>, codec: Codec, store: OpenSearch) -> Projection {
    tidings_search::projection(log, codec, Arc::new(store))
}

fn cache(log: Arc<dyn Log>, codec: Codec, store: RedisCache) -> Projection {
    tidings_cache::projection(log, codec, Arc::new(store))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn search_is_rebuilt_document_by_document() {
    let world = World::new().await;
    let url = tokio::task::spawn_blocking(search_url)
        .await
        .expect("a server");
    let store = OpenSearch::new(url, &format!("{}-", fresh_name())).expect("an address");
    let decisions: Vec<_> = Chat::new(4).take(300);
    let decisions: Vec<_> = decisions
        .into_iter()
        .map(|(_, decision)| decision)
        .collect();
    world.decide_all(&decisions, 0);
    let keeping = world.keep(&store, search).await;
    world.caught_up(&store).await;

    let view = View::search(store.clone(), world.connect().await, world.codec.clone());
    let stop = CancellationToken::new();
    let options = RebuildOptions::default();
    let rebuilt = rebuild(&view, &options, &stop, &|_| {}).await;
    assert_eq!(rebuilt.expect("is rebuilt").generation, SECOND);
    let mut fold = Fold::default();
    for (decision, offset) in decisions.iter().zip(0..) {
        fold.apply(decision, offset);
    }
    let expected = fold.into_changed();
    let wanted = Wanted {
        messages: expected.messages.keys().copied().collect(),
        conversations: expected.conversations.keys().copied().collect(),
    };
    let first = store.load(&wanted).await.expect("loads");
    assert_eq!(first.messages.len(), expected.messages.len());
    assert!(first.messages.len() > 50, "{}", first.messages.len());
    let second = store.of(SECOND).load(&wanted).await.expect("loads");
    assert_eq!(second.messages, first.messages);
    assert_eq!(second.conversations, first.conversations);

    let raw = BulkOptions {
        batch: 10,
        parallel: 2,
    };
    let measured = measure(&view, &options, raw, &stop, &|_| {}).await;
    let measured = measured.expect("is measured");
    // Claims are records too.
    assert!(measured.records >= decisions.len() as i64, "{measured:?}");
    let documents = expected.messages.len()
        + expected.conversations.len()
        + expected.members.len()
        + expected.users.len();
    assert_eq!(measured.raw.documents, documents);
    let register = store.register().await.expect("is asked");
    assert_eq!(register.serving(), SECOND);

    let more = decisions.len() as i64;
    let later: Vec<_> = Chat::new(5).take(60);
    let later: Vec<_> = later.into_iter().map(|(_, decision)| decision).collect();
    world.decide_all(&later, more);
    world.caught_up(&store).await;
    world.caught_up(&store.of(SECOND)).await;
    let back = rollback(&view, false, &stop).await.expect("goes back");
    assert_eq!(back.to, Generation::FIRST);
    let pruned = prune(&view, false, &stop).await.expect("prunes");
    assert_eq!(pruned.deleted, [SECOND]);
    let gone = store.of(SECOND).load(&wanted).await;
    assert!(gone.is_err() || gone.is_ok_and(|documents| documents.messages.is_empty()));
    keeping.stop().await;
}

/// What holds back the refreshes of the indexes of this name.
async fn held_refreshes(url: &str, name: &str) -> usize {
    let asked = reqwest::get(format!("{url}/tidings-{name}-*/_settings")).await;
    let settings = asked.expect("answers").text().await.expect("is text");
    settings.matches(r#""refresh_interval":"-1""#).count()
}

/// A builder that stood still while another went on with its generation lets go
/// of it: the other may have finished it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_builder_that_has_lost_its_generation_holds_nothing_back() {
    let world = World::new().await;
    let url = tokio::task::spawn_blocking(search_url)
        .await
        .expect("a server");
    let name = fresh_name();
    let store = OpenSearch::new(url, &format!("{name}-")).expect("an address");
    let decisions = Chat::new(4).take(100).into_iter();
    let decisions: Vec<_> = decisions.map(|(_, decision)| decision).collect();
    world.decide_all(&decisions, 0);
    let view = View::search(store.clone(), world.connect().await, world.codec.clone());
    let (stop, began) = (CancellationToken::new(), tokio::sync::Notify::new());
    let slow = RebuildOptions {
        rate: Some(5),
        ..RebuildOptions::default()
    };
    let tell = |_: &Progress| began.notify_one();
    let another = async {
        began.notified().await;
        assert!(held_refreshes(url, &name).await > 0, "it is being filled");
        let builder = Builder {
            by: "another process".to_owned(),
            token: "another".to_owned(),
        };
        let at = tidings_domain::Timestamp(1);
        let begun = change(&store, |register| {
            let (_, build) = register.build().expect("it is being built");
            let dead = build.token.clone();
            Ok::<_, StoreError>(register.begin(&builder, Some(&dead), at))
        });
        begun.await.expect("writes").0.expect("goes on with it");
    };
    let (rebuilt, ()) = tokio::join!(rebuild(&view, &slow, &stop, &tell), another);
    assert!(matches!(rebuilt, Err(RebuildError::Lost(_))), "{rebuilt:?}");
    assert_eq!(held_refreshes(url, &name).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cache_begins_anew() {
    let world = World::new().await;
    let url = tokio::task::spawn_blocking(redis_url)
        .await
        .expect("a server");
    let prefix = format!("{}-", fresh_name());
    let store = RedisCache::new(url, &prefix, Duration::from_secs(5)).expect("an address");
    let decisions = tidings_views::conformance::Decisions::new(3).take(100);
    world.decide_all(&decisions, 0);
    let keeping = world.keep(&store, cache).await;
    world.caught_up(&store).await;

    // A value that nobody should believe.
    let of = &decisions[0];
    let key = Key::Head(of.tenant.clone(), of.conversation_id);
    let reader = Serving::new(store.clone());
    let keys = std::slice::from_ref(&key);
    let looked = reader.look_up(keys).await.expect("asks");
    let as_of = looked.after.positions();
    let as_of = as_of.iter().map(|at| (at.partition, at.offset)).collect();
    let wrong = looked.fill(0, key.clone(), b"wrong".to_vec(), as_of);
    let filled = reader.fill(&[wrong.expect("is new enough")]).await;
    assert_eq!(filled, Ok(1));

    let view = View::cache(store.clone(), world.connect().await, world.codec.clone());
    let stop = CancellationToken::new();
    let options = RebuildOptions::default();
    let rebuilt = rebuild(&view, &options, &stop, &|_| {}).await;
    assert_eq!(rebuilt.expect("is rebuilt").generation, SECOND);
    let fresh = Serving::new(store.clone());
    let looked = fresh.look_up(keys).await.expect("asks");
    assert_eq!(looked.found[0].value, None);
    assert_ne!(looked.before.session, None);

    let pruned = prune(&view, false, &stop).await.expect("prunes");
    assert_eq!(pruned.deleted, [Generation::FIRST]);
    let cursors = store.cursors().await.expect("asks");
    assert_eq!(cursors.session, None, "nothing is left of it");
    keeping.stop().await;
}
