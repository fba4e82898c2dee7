use std::collections::BTreeMap;

use mongodb::bson::{Document, doc};
use tidings_domain::Rows;

use super::{MongoHistory, prepare};
use crate::conformance::{self, Decisions, Dump, project};
use crate::history::{HistoryWriter, StoreError};

/// An empty view in a database of its own.
async fn empty() -> MongoHistory {
    // May start a server, which takes its time.
    let uri = tokio::task::spawn_blocking(tidings_testkit::mongodb_uri)
        .await
        .expect("a server");
    let uri = tidings_testkit::fresh_database(uri);
    let history = MongoHistory::connect(&uri, "tidings-test")
        .await
        .expect("reads the address");
    history.prepare().await.expect("makes indexes");
    history
}

/// Leaves nothing behind.
async fn drop_database(history: MongoHistory) {
    history.database.drop().await.expect("drops the database");
}

#[tokio::test]
async fn mends_whatever_stopped_it() {
    for seed in 0..4 {
        let history = empty().await;
        conformance::mends_whatever_stopped_it(&history, seed).await;
        drop_database(history).await;
    }
}

#[tokio::test]
async fn answers_like_the_model() {
    let history = empty().await;
    conformance::answers_like_the_model(&history, 100).await;
    drop_database(history).await;
}

#[tokio::test]
async fn keeps_tenants_apart() {
    let history = empty().await;
    conformance::keeps_tenants_apart(&history, 200).await;
    drop_database(history).await;
}

#[tokio::test]
async fn keeps_positions() {
    let history = empty().await;
    conformance::keeps_positions(&history).await;
    drop_database(history).await;
}

#[tokio::test]
async fn pages_lists() {
    let history = empty().await;
    conformance::pages_lists(&history).await;
    drop_database(history).await;
}

#[tokio::test]
async fn prepare_keeps_what_is_there() {
    let history = empty().await;
    project(&history, &Decisions::new(1).take(50), 0)
        .await
        .expect("writes");
    let before = history.dump().await.expect("dumps");
    history.prepare().await.expect("prepares again");
    assert_eq!(history.dump().await, Ok(before));
    drop_database(history).await;
}

/// A view of the version before, which had no stamp, is dropped with its
/// positions; one of this version is kept.
#[tokio::test]
async fn a_view_of_another_version_is_dropped() {
    let history = empty().await;
    project(&history, &Decisions::new(1).take(50), 0)
        .await
        .expect("writes");
    let position = crate::Position {
        partition: 0,
        offset: 50,
        current: None,
    };
    history
        .write(&Rows::default(), &[position])
        .await
        .expect("writes");
    let stamps = history.database.collection::<Document>("versions");
    stamps.delete_many(doc! {}).await.expect("deletes");
    history.prepare().await.expect("prepares");
    assert_eq!(history.dump().await, Ok(tidings_domain::Model::default()));
    assert_eq!(HistoryWriter::positions(&history).await, Ok(Vec::new()));
    drop_database(history).await;
}

/// What `prepare` documents beside each query is what the server has.
#[tokio::test]
async fn the_indexes_are_those_the_queries_need() {
    let history = empty().await;
    let mut expected: BTreeMap<&str, Vec<Document>> = BTreeMap::new();
    for (collection, keys) in prepare::indexes() {
        expected.entry(collection).or_default().push(keys);
    }
    for (collection, keys) in expected {
        let collection = history.database.collection::<Document>(collection);
        let mut cursor = collection.list_indexes().await.expect("lists");
        let mut found = Vec::new();
        while cursor.advance().await.expect("reads") {
            found.push(cursor.deserialize_current().expect("an index").keys);
        }
        for keys in keys {
            let is_there = found.iter().any(|it| it.keys().eq(keys.keys()));
            assert!(is_there, "{keys} is not among {found:?}");
        }
    }
    drop_database(history).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_waited_for() {
    let nobody = "mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=200";
    let history = MongoHistory::connect(nobody, "tidings-test")
        .await
        .expect("reads the address");
    for result in [
        history.prepare().await,
        history.write(&Rows::default(), &[]).await,
    ] {
        assert!(
            matches!(result, Ok(()) | Err(StoreError::Transient(_))),
            "{result:?}"
        );
    }
    let positions = HistoryWriter::positions(&history).await;
    assert!(
        matches!(positions, Err(StoreError::Transient(_))),
        "{positions:?}"
    );
    let unreadable = MongoHistory::connect("http://127.0.0.1", "tidings-test").await;
    assert!(matches!(unreadable, Err(StoreError::Fatal(_))));
}
