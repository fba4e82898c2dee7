use mongodb::Collection;
use mongodb::bson::{Document, doc, serialize_to_document};
use serde::Serialize;
use tidings_domain::{ConversationRow, MemberRow, Rows};

use super::error::{of_insert, of_write_errors};
use super::record::{
    ConversationRecord, EventRecord, MemberRecord, MessageRecord, OutcomeRecord, PositionRecord,
};
use super::{MongoHistory, WRITE_CONCERN_TIMEOUT};
use crate::history::{Position, StoreError};

/// Statements in one update command. The server takes 100,000, but a document
/// of at most 16 MB.
const UPDATES_A_COMMAND: usize = 1_000;

/// Writes the rows, then the positions. Each write may have been made before.
pub(super) async fn write(
    history: &MongoHistory,
    rows: &Rows,
    positions: &[Position],
) -> Result<(), StoreError> {
    let (events, messages, outcomes, members) = tokio::join!(
        insert::<EventRecord<'_>>(history, "events", rows.events.iter().map(Into::into)),
        insert::<MessageRecord<'_>>(history, "messages", rows.messages.iter().map(Into::into)),
        insert::<OutcomeRecord<'_>>(history, "outcomes", rows.outcomes.iter().map(Into::into)),
        update(history, "members", rows.members.values().map(member_update)),
    );
    events.and(messages).and(outcomes).and(members)?;
    update(
        history,
        "conversations",
        rows.conversations.values().map(conversation_update),
    )
    .await?;
    update(history, "positions", positions.iter().map(position_update)).await
}

async fn insert<T: Serialize + Send + Sync>(
    history: &MongoHistory,
    collection: &str,
    records: impl Iterator<Item = T>,
) -> Result<(), StoreError> {
    let records: Vec<T> = records.collect();
    if records.is_empty() {
        return Ok(());
    }
    let collection: Collection<T> = history.database.collection(collection);
    let inserted = history
        .in_time(async { Ok(collection.insert_many(records).ordered(false).await) })
        .await?;
    of_insert(inserted)
}

/// Runs guarded upserts. One whose guard refuses the stored row tries to
/// insert it a second time; the server's "duplicate key" then says that the
/// row is as new already.
///
/// `Client::bulk_write` would need MongoDB 8.
async fn update(
    history: &MongoHistory,
    collection: &str,
    updates: impl Iterator<Item = Result<Document, StoreError>>,
) -> Result<(), StoreError> {
    let updates = updates.collect::<Result<Vec<_>, _>>()?;
    for chunk in updates.chunks(UPDATES_A_COMMAND) {
        let command = doc! {
            "update": collection,
            "updates": chunk,
            "ordered": false,
            "writeConcern": {
                "w": "majority",
                "wtimeout": i64::try_from(WRITE_CONCERN_TIMEOUT.as_millis()).unwrap_or(i64::MAX),
            },
        };
        let answer = history
            .in_time(async { history.database.run_command(command).await })
            .await?;
        check_update(&answer)?;
    }
    Ok(())
}

/// `run_command` is content when the command as a whole was.
fn check_update(answer: &Document) -> Result<(), StoreError> {
    if let Ok(concern) = answer.get_document("writeConcernError") {
        return Err(StoreError::Transient(format!(
            "write concern error: {concern}"
        )));
    }
    let Ok(errors) = answer.get_array("writeErrors") else {
        return Ok(());
    };
    let errors = errors
        .iter()
        .filter_map(|error| error.as_document())
        .map(|error| {
            (
                error.get_i32("code").unwrap_or_default(),
                error.get_str("errmsg").unwrap_or_default(),
            )
        });
    of_write_errors(errors)
}

/// Sets all of `record` where what is stored under its `_id` has a lower
/// `guard`, or where nothing is.
fn upsert(record: &impl Serialize, guard: &str) -> Result<Document, StoreError> {
    let mut fields =
        serialize_to_document(record).map_err(|error| StoreError::Data(error.to_string()))?;
    let missing = || StoreError::Data(format!("a record without _id or {guard}"));
    let id = fields.remove("_id").ok_or_else(missing)?;
    let new = fields.get(guard).cloned().ok_or_else(missing)?;
    Ok(doc! {
        "q": { "_id": id, guard: { "$lt": new } },
        "u": { "$set": fields },
        "upsert": true,
    })
}

fn member_update(row: &MemberRow) -> Result<Document, StoreError> {
    upsert(&MemberRecord::from(row), "rev")
}

fn conversation_update(row: &ConversationRow) -> Result<Document, StoreError> {
    upsert(&ConversationRecord::from(row), "last_seq")
}

fn position_update(position: &Position) -> Result<Document, StoreError> {
    upsert(&PositionRecord::from(position), "offset")
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::{StoreError, check_update};

    #[test]
    fn a_refused_guard_is_no_error_and_any_other_write_error_is_one() {
        assert_eq!(check_update(&doc! { "ok": 1 }), Ok(()));
        let refused = doc! { "ok": 1, "writeErrors": [{ "index": 0, "code": 11_000 }] };
        assert_eq!(check_update(&refused), Ok(()));
        let bad = doc! { "ok": 1, "writeErrors": [
            { "index": 0, "code": 11_000, "errmsg": "duplicate key" },
            { "index": 1, "code": 121, "errmsg": "failed validation" },
        ] };
        assert!(matches!(check_update(&bad), Err(StoreError::Data(_))));
        let concern = doc! { "ok": 1, "writeConcernError": { "code": 64 } };
        assert!(matches!(
            check_update(&concern),
            Err(StoreError::Transient(_))
        ));
    }
}
