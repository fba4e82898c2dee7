//! Positions set back and forward in every store, and set back again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tidings_log::Log;
use tidings_operate::reset::{Reset, ResetError, ResetOptions, Target};
use tidings_operate::verify::AuditedView;
use tidings_projection::Projection;
use tidings_testkit::{OwnRedis, fresh_database, fresh_name, mongodb_uri, search_url};
use tidings_views::audit::{Audit, EachPage, Flaw, Part, Replacement, StoredDocument};
use tidings_views::cache::RedisCache;
use tidings_views::history::{MongoHistory, SqliteHistory};
use tidings_views::search::{OpenSearch, SqliteSearch};
use tidings_views::{Position, StoreError};
use tidings_wire::Codec;

use crate::world::{Running, World, assert_clean, reaches};

const RESET: ResetOptions = ResetOptions {
    skip: false,
    dry_run: false,
};
const SKIP: ResetOptions = ResetOptions {
    skip: true,
    dry_run: false,
};

async fn positions(store: &dyn Audit) -> Vec<Position> {
    let mut all = store.positions().await.expect("reads");
    all.sort_by_key(|at| at.partition);
    all
}

fn to(text: &str) -> Target {
    text.parse().expect("a target")
}

/// Sets positions of a view's store to and fro. `project` runs its projection
/// to the end of the log.
async fn goes_to_and_fro<S: Audit + 'static>(
    world: &World,
    consumer: &str,
    store: S,
    view: AuditedView,
    projection: impl Fn(Arc<dyn Log>, Codec) -> Projection,
) {
    let store = Arc::new(store);
    let project = async || {
        let running = Running::start(projection(world.log(), world.codec.clone()));
        reaches(&world.ends(), async || {
            store.positions().await.unwrap_or_default()
        })
        .await;
        running.stop().await;
    };
    project().await;
    assert_clean(&world.verify(&view).await);
    let at_end = positions(&*store).await;
    assert_eq!(at_end.len(), 3);
    let reset = Reset {
        log: world.log(),
        consumer: consumer.to_owned(),
        store: store.clone(),
        by: None,
        is_shared: false,
    };
    let nothing = reset.undo(false).await;
    assert!(
        matches!(nothing, Err(ResetError::NothingToUndo(_))),
        "{nothing:?}"
    );

    // Only told.
    let dry = ResetOptions {
        dry_run: true,
        ..RESET
    };
    let planned = reset.reset(&to("beginning"), dry).await.expect("plans");
    assert_eq!(planned.len(), 3);
    assert_eq!(positions(&*store).await, at_end);

    // Back to the middle, and undone: as it was, owners included.
    let middle = at_end[1].offset / 2;
    let changes = reset.reset(&to(&format!("1={middle}")), RESET).await;
    let changes = changes.expect("resets");
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].again(), at_end[1].offset - middle);
    let now = positions(&*store).await;
    assert_eq!((now[0], now[2]), (at_end[0], at_end[2]));
    assert_eq!(now[1].offset, middle);
    assert!(now[1].current.is_some(), "whose decisions count there");
    reset.undo(false).await.expect("undoes");
    assert_eq!(positions(&*store).await, at_end);

    // All from the beginning: what is applied again changes nothing.
    reset.reset(&to("beginning"), RESET).await.expect("resets");
    assert!(positions(&*store).await.iter().all(|at| at.offset == 0));
    project().await;
    assert_eq!(positions(&*store).await, at_end);
    assert_clean(&world.verify(&view).await);
    let undone = reset.undo(false).await.expect("has come further");
    assert_eq!(undone, [], "what was applied again stays");

    // Two at once: undone, both are.
    reset
        .reset(&to(&format!("0={}", at_end[0].offset - 1)), RESET)
        .await
        .expect("resets");
    reset
        .reset(&to("0=0,2=1"), RESET)
        .await
        .expect("resets again");
    reset.undo(false).await.expect("undoes");
    assert_eq!(positions(&*store).await, at_end);

    // Forward past what was not applied: only where that is meant.
    world.append(60).await;
    let refused = reset.reset(&to("end"), RESET).await;
    assert!(
        matches!(refused, Err(ResetError::Skips { .. })),
        "{refused:?}"
    );
    assert_eq!(positions(&*store).await, at_end);
    let changes = reset.reset(&to("end"), SKIP).await.expect("skips");
    let skipped: i64 = changes.iter().map(|change| change.skipped()).sum();
    assert!(skipped >= 60, "{changes:?}");
    let ends: BTreeMap<i32, i64> = world.ends();
    assert!(
        positions(&*store)
            .await
            .iter()
            .all(|at| ends[&at.partition] == at.offset)
    );
    assert!(!world.verify(&view).await.is_clean(), "it has a gap");
    // Undone, it is filled.
    reset.undo(false).await.expect("undoes");
    assert_eq!(positions(&*store).await, at_end);
    project().await;
    assert_clean(&world.verify(&view).await);

    for (target, says) in [("9=0", "no partition 9"), ("0=999999", "no offset 999999")] {
        let error = reset.reset(&to(target), RESET).await.expect_err("refused");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_goes_to_and_fro() {
    let world = World::new(61, 300).await;
    let store = SqliteHistory::new(world.database.clone());
    let view = AuditedView::History(Arc::new(store.clone()));
    let of = Arc::new(store.clone());
    goes_to_and_fro(&world, "history", store, view, |log, codec| {
        tidings_history::projection(log, codec, of.clone())
    })
    .await;
    let store = SqliteSearch::new(world.database.clone());
    let view = AuditedView::Search(Arc::new(store.clone()));
    let of = Arc::new(store.clone());
    goes_to_and_fro(&world, "search", store, view, |log, codec| {
        tidings_search::projection(log, codec, of.clone())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_goes_to_and_fro() {
    let world = World::new(62, 300).await;
    let uri = tokio::task::spawn_blocking(mongodb_uri).await;
    let uri = fresh_database(uri.expect("a server"));
    let store = MongoHistory::connect(&uri, "tidings-test").await;
    let store = store.expect("an address");
    let view = AuditedView::History(Arc::new(store.clone()));
    let of = Arc::new(store.clone());
    goes_to_and_fro(&world, "history", store, view, |log, codec| {
        tidings_history::projection(log, codec, of.clone())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_goes_to_and_fro() {
    let world = World::new(63, 300).await;
    let url = tokio::task::spawn_blocking(search_url).await;
    let store = OpenSearch::new(url.expect("a server"), &format!("{}-", fresh_name()));
    let store = store.expect("an address");
    let view = AuditedView::Search(Arc::new(store.clone()));
    let of = Arc::new(store.clone());
    goes_to_and_fro(&world, "search", store, view, |log, codec| {
        tidings_search::projection(log, codec, of.clone())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_goes_to_and_fro() {
    let world = World::new(64, 300).await;
    let redis = tokio::task::spawn_blocking(|| OwnRedis::start().expect("starts"));
    let redis = redis.await.expect("starts");
    let store = RedisCache::new(&redis.url(), "t.", Duration::from_secs(5));
    let store = store.expect("an address");
    let of = Arc::new(store.clone());
    let running = Running::start(tidings_cache::projection(
        world.log(),
        world.codec.clone(),
        of.clone(),
    ));
    reaches(&world.ends(), async || {
        store.positions().await.unwrap_or_default()
    })
    .await;
    // It holds nothing, so nothing can be wrong: what counts is where it is.
    let at_end = positions(&store).await;
    let reset = Reset {
        log: world.log(),
        consumer: "cache".to_owned(),
        store: Arc::new(store.clone()),
        by: None,
        is_shared: false,
    };
    running.stop().await;
    reset.reset(&to("0=1,1=2"), RESET).await.expect("resets");
    let now = positions(&store).await;
    assert_eq!((now[0].offset, now[1].offset), (1, 2));
    reset.undo(false).await.expect("undoes");
    assert_eq!(positions(&store).await, at_end);
    reset.reset(&to("beginning"), RESET).await.expect("resets");
    let running = Running::start(tidings_cache::projection(
        world.log(),
        world.codec.clone(),
        of,
    ));
    reaches(&world.ends(), async || {
        store.positions().await.unwrap_or_default()
    })
    .await;
    running.stop().await;
    assert_eq!(positions(&store).await, at_end);
    world.append(30).await;
    let refused = reset.reset(&to("end"), RESET).await;
    assert!(
        matches!(refused, Err(ResetError::Skips { .. })),
        "{refused:?}"
    );
    reset.reset(&to("end"), SKIP).await.expect("skips");
    reset.undo(false).await.expect("undoes");
    assert_eq!(positions(&store).await, at_end);
}

/// A real store that is gone after so many positions were set.
struct Vanishing {
    store: SqliteHistory,
    left: AtomicUsize,
}

#[async_trait]
impl Audit for Vanishing {
    fn kinds(&self) -> &'static [&'static str] {
        self.store.kinds()
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        Audit::positions(&self.store).await
    }

    async fn flaws(&self) -> Result<Vec<Flaw>, StoreError> {
        self.store.flaws().await
    }

    async fn mend(&self) -> Result<(), StoreError> {
        self.store.mend().await
    }

    async fn scan(
        &self,
        kind: &'static str,
        part: &Part,
        each: EachPage<'_>,
    ) -> Result<(), StoreError> {
        self.store.scan(kind, part, each).await
    }

    async fn get(
        &self,
        kind: &'static str,
        keys: &[String],
    ) -> Result<Vec<StoredDocument>, StoreError> {
        Audit::get(&self.store, kind, keys).await
    }

    async fn replace(&self, replacements: &[Replacement]) -> Result<usize, StoreError> {
        Audit::replace(&self.store, replacements).await
    }

    async fn set_position(&self, seen: Option<Position>, to: Position) -> Result<bool, StoreError> {
        let take = |left: usize| left.checked_sub(1);
        let taken = self
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        if taken.is_err() {
            return Err(StoreError::Transient("the store is gone".to_owned()));
        }
        self.store.set_position(seen, to).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_reset_can_be_undone() {
    let world = World::new(65, 300).await;
    let store = SqliteHistory::new(world.database.clone());
    let running = Running::start(tidings_history::projection(
        world.log(),
        world.codec.clone(),
        Arc::new(store.clone()),
    ));
    reaches(&world.ends(), async || {
        Audit::positions(&store).await.unwrap_or_default()
    })
    .await;
    running.stop().await;
    let at_end = positions(&store).await;
    let reset_in = |store: Arc<dyn Audit>| Reset {
        log: world.log(),
        consumer: "history".to_owned(),
        store,
        by: None,
        is_shared: false,
    };
    for set in 0..at_end.len() {
        let vanishing = reset_in(Arc::new(Vanishing {
            store: store.clone(),
            left: AtomicUsize::new(set),
        }));
        let interrupted = vanishing.reset(&to("beginning"), RESET).await;
        assert!(
            matches!(interrupted, Err(ResetError::Store(_))),
            "{interrupted:?}"
        );
        let now = positions(&store).await;
        let back = now.iter().filter(|at| at.offset == 0).count();
        assert_eq!(back, set);
        let undone = reset_in(Arc::new(store.clone())).undo(false).await;
        assert_eq!(undone.expect("undoes").len(), set);
        assert_eq!(positions(&store).await, at_end);
    }
}
