use mongodb::IndexModel;
use mongodb::bson::{Bson, Document, doc};

use super::MongoHistory;
use super::claim::Claim;
use crate::history::StoreError;

/// The version of the documents. Another one's are dropped, and built anew.
pub(super) const VERSION: i64 = 2;
const STAMP: &str = "history";

/// Collections that hold the view. Positions go first: a projection that runs
/// beside this one sees by them that the store has lost what it had.
const COLLECTIONS: [&str; 8] = [
    "positions",
    "events",
    "messages",
    "edits",
    "hidden",
    "conversations",
    "members",
    "outcomes",
];

/// The indexes beside `_id`, each with the query that it serves:
///
/// - `members {tenant, user_id}`: the places of a user (`memberships`, `list`,
///   `unread`): both equal;
/// - `members {conversation_id, user_id}`: the members of a conversation: the
///   first equal, the second above a bound, in its order;
/// - `messages {conversation_id, no}`: a page: the first equal, the second below
///   a bound, in its order backwards;
/// - `messages {thread, no}`: the same of a thread; of the messages in one only;
/// - `edits {message_id, seq}`: the edits of a message: the first equal, in the
///   order of the second;
/// - `hidden {tenant, user_id, conversation_id}`: what a user has deleted for
///   themselves in a conversation: all equal.
///
/// All else is found by `_id`.
pub(super) fn indexes() -> [(&'static str, Document); 6] {
    [
        ("members", doc! { "tenant": 1, "user_id": 1 }),
        ("members", doc! { "conversation_id": 1, "user_id": 1 }),
        ("messages", doc! { "conversation_id": 1, "no": 1 }),
        ("messages", doc! { "thread": 1, "no": 1 }),
        ("edits", doc! { "message_id": 1, "seq": 1 }),
        (
            "hidden",
            doc! { "tenant": 1, "user_id": 1, "conversation_id": 1 },
        ),
    ]
}

/// Where the documents are another version's, or nobody's, they go first. Of
/// several that find it so, one makes the collections: another's drop would take
/// what it has written since.
pub(super) async fn prepare(history: &MongoHistory) -> Result<(), StoreError> {
    let found = stamp(history).await?;
    if found == Some(VERSION) {
        return make_indexes(history).await;
    }
    let claim = Claim::take(history).await?;
    let version = VERSION;
    tracing::info!(
        ?found,
        version,
        "making the collections of the history view"
    );
    let made = async {
        drop_collections(history, Some(&claim)).await?;
        make_indexes(history).await
    };
    match made.await {
        Ok(()) => claim.stamp().await,
        Err(error) => {
            claim.release().await;
            Err(error)
        }
    }
}

/// What the documents were written by, if that is known.
pub(super) async fn stamp(history: &MongoHistory) -> Result<Option<i64>, StoreError> {
    let (stamps, id) = (history.stamps(), stamp_id(history));
    let stamp = history
        .in_time(async { stamps.find_one(doc! { "_id": &id }).await })
        .await?;
    // One that is being made has none yet.
    let version = stamp.and_then(|stamp| stamp.get("version").and_then(Bson::as_i64));
    Ok(version)
}

/// Says that the collections are made, where the stamp was lost.
pub(super) async fn put_stamp(history: &MongoHistory) -> Result<(), StoreError> {
    let (stamps, id) = (history.stamps(), stamp_id(history));
    let stamp = doc! { "$set": { "version": VERSION } };
    history
        .in_time(async {
            stamps
                .update_one(doc! { "_id": &id }, stamp)
                .upsert(true)
                .await
                .map(drop)
        })
        .await
}

pub(super) async fn make_indexes(history: &MongoHistory) -> Result<(), StoreError> {
    for (collection, keys) in indexes() {
        let collection = history.collection::<Document>(collection);
        let index = IndexModel::builder().keys(keys).build();
        history
            .in_time(async { collection.create_index(index).await.map(drop) })
            .await?;
    }
    Ok(())
}

pub(super) fn stamp_id(history: &MongoHistory) -> String {
    history.generation.name(STAMP)
}

/// Drops all of this generation.
pub(super) async fn delete(history: &MongoHistory) -> Result<(), StoreError> {
    drop_collections(history, None).await?;
    let (stamps, id) = (history.stamps(), stamp_id(history));
    history
        .in_time(async { stamps.delete_one(doc! { "_id": id }).await.map(drop) })
        .await
}

/// Drops the collections that are there: some servers fail to drop one that is
/// not. Each by a claim that still holds, if there is one.
async fn drop_collections(
    history: &MongoHistory,
    claim: Option<&Claim<'_>>,
) -> Result<(), StoreError> {
    let names = history
        .in_time(async { history.database.list_collection_names().await })
        .await?;
    for collection in COLLECTIONS {
        let name = history.name(collection);
        if names.contains(&name) {
            if let Some(claim) = claim {
                claim.renew().await?;
            }
            let collection = history.database.collection::<Document>(&name);
            history.in_time(async { collection.drop().await }).await?;
        }
    }
    Ok(())
}
