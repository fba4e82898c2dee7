use std::sync::Arc;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use tidings_operate::verify::AuditedView;
use tidings_testkit::{fresh_database, mongodb_uri};
use tidings_views::audit::Audit;
use tidings_views::history::MongoHistory;

use crate::world::{Running, World, assert_clean, found, reaches};

#[tokio::test(flavor = "multi_thread")]
async fn errors_in_every_collection_are_found_and_mended() {
    let world = World::new(11, 400).await;
    let uri = tokio::task::spawn_blocking(mongodb_uri)
        .await
        .expect("a server");
    let uri = fresh_database(uri);
    let store = MongoHistory::connect(&uri, "tidings-test")
        .await
        .expect("an address");
    let projection =
        tidings_history::projection(world.log(), world.codec.clone(), Arc::new(store.clone()));
    let running = Running::start(projection);
    reaches(&world.ends(), async || {
        Audit::positions(&store).await.unwrap_or_default()
    })
    .await;
    running.stop().await;
    let view = AuditedView::History(Arc::new(store.clone()));
    assert_clean(&world.verify(&view).await);

    let client = Client::with_uri_str(&uri).await.expect("connects");
    let database = client.default_database().expect("is named");
    let of = |name: &str| database.collection::<Document>(name);
    let first = async |name: &str| {
        let found = of(name).find_one(doc! {}).await.expect("reads");
        found.expect("is there").get("_id").cloned().expect("an id")
    };
    let id = first("events").await;
    of("events")
        .delete_one(doc! { "_id": id })
        .await
        .expect("deletes");
    let id = first("events").await;
    let set = doc! { "$set": { "event.kind": "nonsense", "stranger": 1 } };
    of("events")
        .update_one(doc! { "_id": id }, set)
        .await
        .expect("updates");
    let id = first("messages").await;
    let set = doc! { "$set": { "state.content": { "text": "forged" } } };
    of("messages")
        .update_one(doc! { "_id": id }, set)
        .await
        .expect("updates");
    // As a person would: with an id of the driver's.
    of("messages")
        .insert_one(doc! { "no": 1, "text": "planted" })
        .await
        .expect("inserts");
    of("messages")
        .insert_one(doc! { "_id": 4711, "no": 1 })
        .await
        .expect("inserts");
    let id = first("members").await;
    let set = doc! { "$set": { "state.role": "admin", "settings.archived": true } };
    of("members")
        .update_one(doc! { "_id": id }, set)
        .await
        .expect("updates");
    let id = first("conversations").await;
    of("conversations")
        .delete_one(doc! { "_id": id })
        .await
        .expect("deletes");
    for name in ["edits", "outcomes"] {
        let id = first(name).await;
        of(name)
            .delete_one(doc! { "_id": id })
            .await
            .expect("deletes");
    }
    let hidden = doc! { "_id": "acme/mallory/x", "tenant": "acme" };
    of("hidden").insert_one(hidden).await.expect("inserts");
    let set = doc! { "$set": { "state.epoch": 1_i64 } };
    of("positions")
        .update_one(doc! { "_id": 1 }, set)
        .await
        .expect("updates");
    of("versions").delete_many(doc! {}).await.expect("deletes");

    let report = world.verify(&view).await;
    assert_eq!(
        found(&report),
        [
            ("conversations", 1, 0, 0),
            ("edits", 1, 0, 0),
            ("events", 1, 0, 1),
            ("hidden", 0, 1, 0),
            ("members", 0, 0, 1),
            ("messages", 0, 2, 1),
            ("outcomes", 1, 0, 0),
        ]
    );
    assert_eq!(report.positions.len(), 1, "{report:#?}");
    assert_eq!(report.flaws.len(), 1, "{report:#?}");
    let shown = format!("{report:?}");
    assert!(
        !shown.contains("forged") && !shown.contains("planted"),
        "{shown}"
    );

    let report = world.repair(&view).await;
    assert!(report.is_right_now(), "{report:#?}");
    assert_clean(&world.verify(&view).await);

    // The projection goes on where it was.
    world.append(100).await;
    let projection =
        tidings_history::projection(world.log(), world.codec.clone(), Arc::new(store.clone()));
    let running = Running::start(projection);
    reaches(&world.ends(), async || {
        Audit::positions(&store).await.unwrap_or_default()
    })
    .await;
    running.stop().await;
    assert_clean(&world.verify(&view).await);
    database.drop().await.expect("drops");
}
