use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mongodb::Client;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::event::EventHandler;
use mongodb::event::command::CommandEvent;
use mongodb::options::ClientOptions;
use parking_lot::Mutex;
use tidings_domain::Rows;

use super::claim::Claim;
use super::{MongoHistory, prepare};
use crate::conformance::{self, Decisions, Dump, project};
use crate::generation::{Generation, Generations};
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
    history
        .stamps()
        .delete_many(doc! {})
        .await
        .expect("deletes");
    history.prepare().await.expect("prepares");
    assert_eq!(history.dump().await, Ok(tidings_domain::Model::default()));
    assert_eq!(HistoryWriter::positions(&history).await, Ok(Vec::new()));
    drop_database(history).await;
}

/// Of several that find an empty database, one makes the collections: none drops
/// what another has written by then.
#[tokio::test]
async fn one_of_several_makes_the_collections() {
    let history = empty().await;
    let stamps = history.stamps();
    for _ in 0..10 {
        history.delete(Generation::FIRST).await.expect("deletes");
        let several = (0..4).map(|partition| {
            let history = history.clone();
            tokio::spawn(async move {
                while let Err(error) = history.prepare().await {
                    assert!(matches!(error, StoreError::Transient(_)), "{error}");
                    tokio::task::yield_now().await;
                }
                let position = crate::Position {
                    partition,
                    offset: 1,
                    current: None,
                };
                history.write(&Rows::default(), &[position]).await
            })
        });
        for written in several.collect::<Vec<_>>() {
            written.await.expect("runs").expect("writes");
        }
        let positions = HistoryWriter::positions(&history).await.expect("reads");
        assert_eq!(positions.len(), 4, "{positions:?}");
        let claimed = stamps.count_documents(doc! { "claim": { "$exists": true } });
        assert_eq!(claimed.await.expect("counts"), 0);
    }
    drop_database(history).await;
}

/// One that died while it made the collections is followed by another; one that
/// was only slow goes no further then.
#[tokio::test]
async fn a_claim_ends_with_its_lease() {
    let history = empty().await;
    history.delete(Generation::FIRST).await.expect("deletes");
    let slow = Claim::take(&history).await.expect("is free");
    assert!(matches!(
        history.prepare().await,
        Err(StoreError::Transient(_))
    ));
    let long_ago = DateTime::from_millis(0);
    let stamps = history.stamps();
    stamps
        .update_one(doc! {}, doc! { "$set": { "claim.until": long_ago } })
        .await
        .expect("writes");
    history.prepare().await.expect("takes over");
    assert!(matches!(slow.renew().await, Err(StoreError::Transient(_))));
    assert!(matches!(slow.stamp().await, Err(StoreError::Transient(_))));
    assert_eq!(prepare::stamp(&history).await, Ok(Some(prepare::VERSION)));
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

/// A search that was sent to the server: the collection, what it asks for, and
/// in which order.
#[derive(Clone, Debug)]
struct Search {
    collection: String,
    filter: Document,
    sort: Document,
}

impl Search {
    /// The searches in a command.
    fn of(name: &str, command: &Document) -> Vec<Self> {
        let Ok(collection) = command.get_str(name) else {
            return Vec::new();
        };
        let search = |filter: Document, sort| Self {
            collection: collection.to_owned(),
            filter,
            sort,
        };
        match name {
            "find" => {
                let part = |name| command.get_document(name).cloned().unwrap_or_default();
                vec![search(part("filter"), part("sort"))]
            }
            "update" => {
                let updates = command.get_array("updates").expect("updates");
                let queries = updates
                    .iter()
                    .map(|it| it.as_document().expect("an update"));
                queries
                    .map(|it| it.get_document("q").expect("a query").clone())
                    .map(|query| search(query, Document::new()))
                    .collect()
            }
            "delete" | "aggregate" | "findAndModify" | "count" | "distinct" => {
                panic!("no check for {name}")
            }
            _ => Vec::new(),
        }
    }

    /// Whether this index leads to what is asked for, in the order that is
    /// wanted: the first of its fields are equal to a value, and the next may
    /// have a bound and give the order. What else is asked for, few fail.
    fn is_served_by(&self, index: &Document) -> bool {
        const OF_FEW: [&str; 3] = ["tenant", "state.role", "content"];
        let is_equal = |field: &&String| {
            let value = self.filter.get(*field);
            value.is_some_and(|value| !matches!(value, Bson::Document(_)))
        };
        let equal: Vec<_> = index.keys().take_while(is_equal).collect();
        let next = index.keys().nth(equal.len());
        let is_found = |field: &String| {
            equal.contains(&field) || next == Some(field) || OF_FEW.contains(&field.as_str())
        };
        !equal.is_empty()
            && self.filter.keys().all(is_found)
            && (self.sort.is_empty() || self.sort.keys().eq(next))
    }

    /// Whether it asks for documents by `_id` and nothing else.
    fn is_by_id(&self) -> bool {
        let is_id = |value: &Bson| match value {
            Bson::String(_) | Bson::Int32(_) | Bson::Int64(_) => true,
            Bson::Document(list) => list.keys().eq(["$in"]),
            _ => false,
        };
        self.filter.get("_id").is_some_and(is_id)
    }
}

/// The server of the tests has no `explain`, so the plans are shown from what
/// was sent: everything that is asked for in the conformance suite is found by
/// `_id` or by an index, and there is no index without a question.
#[tokio::test]
async fn every_search_is_served_by_an_index() {
    let uri = tokio::task::spawn_blocking(tidings_testkit::mongodb_uri)
        .await
        .expect("a server");
    let uri = tidings_testkit::fresh_database(uri);
    let mut options = ClientOptions::parse(&uri).await.expect("an address");
    let searches: Arc<Mutex<Vec<Search>>> = Arc::default();
    let seen = Arc::clone(&searches);
    options.command_event_handler = Some(EventHandler::callback(move |event| {
        if let CommandEvent::Started(sent) = event {
            let of_command = Search::of(&sent.command_name, &sent.command);
            seen.lock().extend(of_command);
        }
    }));
    let client = Client::with_options(options).expect("a client");
    let database = client.default_database().expect("a name");
    let history = MongoHistory {
        database,
        generation: Generation::FIRST,
    };
    history.prepare().await.expect("makes indexes");
    conformance::answers_like_the_model(&history, 100).await;
    let positions = HistoryWriter::positions(&history).await;
    assert_eq!(positions, Ok(Vec::new()));
    drop_database(history).await;

    let searches = std::mem::take(&mut *searches.lock());
    let mut used = BTreeSet::new();
    for search in searches {
        let all_positions = search.collection == "positions" && search.filter.is_empty();
        if search.is_by_id() || all_positions {
            continue;
        }
        let indexes = prepare::indexes().into_iter();
        let mut served = indexes.filter(|(collection, keys)| {
            *collection == search.collection && search.is_served_by(keys)
        });
        let Some((collection, keys)) = served.next() else {
            panic!("no index leads to {search:?}");
        };
        used.insert((collection, keys.to_string()));
    }
    assert_eq!(used.len(), prepare::indexes().len(), "{used:?}");
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

#[tokio::test]
async fn another_generation_is_a_view_of_its_own() {
    let first = empty().await;
    let decisions = Decisions::new(9).take(80);
    project(&first, &decisions, 0).await.expect("writes");
    let before = first.dump().await.expect("dumps");
    let second = async |number| {
        let view = first.of(Generation(number));
        view.prepare().await.expect("prepares");
        view
    };
    conformance::mends_whatever_stopped_it(&second(2).await, 1).await;
    conformance::answers_like_the_model(&second(3).await, 100).await;
    conformance::keeps_positions(&second(4).await).await;
    assert_eq!(first.dump().await, Ok(before.clone()));

    conformance::keeps_a_register(&first).await;
    first.delete(Generation(3)).await.expect("deletes");
    first.delete(Generation(3)).await.expect("deletes again");
    assert_eq!(first.dump().await, Ok(before));
    let names = first.database.list_collection_names().await.expect("lists");
    assert!(
        names.iter().all(|name| !name.starts_with("g3_")),
        "{names:?}"
    );
    drop_database(first).await;
}
