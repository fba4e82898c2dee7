//! A conversation, and a tenant, computed anew in place; others are left alone.

use std::sync::Arc;

use tidings_domain::{ConversationId, Tenant};
use tidings_log::LogReader;
use tidings_operate::verify::{AuditedView, Options, Repair, Rewritten, Scope, rewrite};
use tidings_testkit::{fresh_database, fresh_name, mongodb_uri, search_url};
use tidings_views::audit::{Audit, Part, Replacement, StoredDocument};
use tidings_views::history::{MongoHistory, SqliteHistory};
use tidings_views::search::OpenSearch;
use uuid::Uuid;

use crate::world::{Running, World, assert_clean, reaches};

async fn documents(store: &dyn Audit, kind: &'static str) -> Vec<StoredDocument> {
    let mut all = Vec::new();
    let mut each = |documents: Vec<StoredDocument>| {
        all.extend(documents);
        Ok(())
    };
    let part = Part::default();
    store.scan(kind, &part, &mut each).await.expect("scans");
    all.sort_by(|one, other| one.key.cmp(&other.key));
    all
}

async fn run(world: &World, view: &AuditedView, scope: &Scope, repair: Repair) -> Rewritten {
    let options = Options {
        repair,
        rate: Some(1_000),
        ..Options::default()
    };
    let log: Arc<dyn LogReader> = Arc::new(world.log.clone());
    let done = rewrite(log, world.codec.clone(), view, scope, &options).await;
    done.expect("is rewritten")
}

/// Deletes messages of two conversations, and computes anew one of them.
async fn only_a_part_is_written(world: &World, store: &dyn Audit, view: &AuditedView) {
    assert_clean(&world.verify(view).await);
    let all = documents(store, "messages").await;
    let of = |one: &StoredDocument| one.conversation_id().expect("it says so");
    let first = of(&all[0]);
    let other = all.iter().map(of).find(|id| *id != first);
    let other = other.expect("another conversation");
    let delete = async |id: ConversationId| {
        let its = all.iter().filter(|it| of(it) == id);
        let gone: Vec<_> = its
            .map(|it| Replacement {
                seen: Some(it.clone()),
                new: None,
            })
            .collect();
        let deleted = store.replace(&gone).await.expect("deletes");
        assert_eq!(deleted, gone.len());
        gone.len() as u64
    };
    let (of_first, of_other) = (delete(first).await, delete(other).await);

    let scope = |id| Scope {
        conversation_id: Some(id),
        ..Scope::default()
    };
    let planned = run(world, view, &scope(first), Repair::No).await;
    assert_eq!(planned.report.wrong(), of_first);
    assert!(!planned.is_right() && !planned.is_unknown());
    let written = run(world, view, &scope(first), Repair::Yes).await;
    assert_eq!(written.report.repaired, of_first, "{:?}", written.report);
    assert!(written.is_right());
    assert!(written.again.is_some_and(|again| again.is_clean()));
    let left = world.verify(view).await;
    assert_eq!(left.wrong(), of_other, "the other is left alone");
    // Again: nothing is left to do.
    let again = run(world, view, &scope(first), Repair::Yes).await;
    assert_eq!((again.report.wrong(), again.is_right()), (0, true));

    // All of a tenant: with it the other conversation.
    let tenant = all.iter().find(|it| of(it) == other);
    let tenant = tenant.and_then(|it| it.tenant()).expect("it says so");
    let of_tenant = |tenant| Scope {
        tenant: Some(tenant),
        ..Scope::default()
    };
    let written = run(world, view, &of_tenant(tenant), Repair::Yes).await;
    assert_eq!(written.report.repaired, of_other);
    assert!(written.is_right());
    assert_clean(&world.verify(view).await);
    assert_eq!(documents(store, "messages").await.len(), all.len());

    let nobody = ConversationId(Uuid::from_u128(4711));
    assert!(
        run(world, view, &scope(nobody), Repair::Yes)
            .await
            .is_unknown()
    );
    let nobody = Tenant::parse("nobody").expect("a tenant");
    let unknown = run(world, view, &of_tenant(nobody), Repair::Yes).await;
    assert!(unknown.is_unknown());
    assert_clean(&world.verify(view).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_part_of_a_folder_is_written() {
    let world = World::new(71, 300).await;
    let store = SqliteHistory::new(world.database.clone());
    let projection =
        tidings_history::projection(world.log(), world.codec.clone(), Arc::new(store.clone()));
    let running = Running::start(projection);
    reaches(&world.ends(), async || {
        Audit::positions(&store).await.unwrap_or_default()
    })
    .await;
    let view = AuditedView::History(Arc::new(store.clone()));
    // The projection goes on beside it.
    only_a_part_is_written(&world, &store, &view).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_part_of_mongodb_is_written() {
    let world = World::new(72, 300).await;
    let uri = tokio::task::spawn_blocking(mongodb_uri).await;
    let uri = fresh_database(uri.expect("a server"));
    let store = MongoHistory::connect(&uri, "tidings-test").await;
    let store = store.expect("an address");
    let projection =
        tidings_history::projection(world.log(), world.codec.clone(), Arc::new(store.clone()));
    let running = Running::start(projection);
    reaches(&world.ends(), async || {
        Audit::positions(&store).await.unwrap_or_default()
    })
    .await;
    let view = AuditedView::History(Arc::new(store.clone()));
    only_a_part_is_written(&world, &store, &view).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_part_of_opensearch_is_written() {
    let world = World::new(73, 300).await;
    let url = tokio::task::spawn_blocking(search_url).await;
    let store = OpenSearch::new(url.expect("a server"), &format!("{}-", fresh_name()));
    let store = store.expect("an address");
    let projection =
        tidings_search::projection(world.log(), world.codec.clone(), Arc::new(store.clone()));
    let running = Running::start(projection);
    reaches(&world.ends(), async || {
        Audit::positions(&store).await.unwrap_or_default()
    })
    .await;
    let view = AuditedView::Search(Arc::new(store.clone()));
    only_a_part_is_written(&world, &store, &view).await;
    running.stop().await;
}
