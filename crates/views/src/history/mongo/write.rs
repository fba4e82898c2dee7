use std::collections::HashSet;

use mongodb::Collection;
use mongodb::bson::{Document, doc, serialize_to_document};
use serde::Serialize;
use tidings_domain::{DeleteScope, EventRow, FirstOutcome, OutcomeRow, Rows, Withheld};

use super::error::{of_insert, of_update};
use super::message_record::{
    EditRecord, EventRecord, HiddenRecord, MessageRecord, edit_id, event_id,
};
use super::record::{
    ConversationRecord, MemberRecord, OutcomeRecord, PositionRecord, event_outcome_id, outcome_id,
    own_outcome_id,
};
use super::{MongoHistory, WRITE_CONCERN_TIMEOUT, read};
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
    let of_events = outcomes_of_events(rows);
    let outcomes = outcome_records(&rows.outcomes, &of_events);
    // One that was only posted is inserted, as most are; there is nothing that
    // must be written before it.
    let (posted, changed): (Vec<_>, Vec<_>) =
        rows.messages.values().partition(|row| row.rev == row.seq);
    let (events, posted, edits, outcomes, hidden, members) = tokio::join!(
        insert::<EventRecord<'_>>(history, "events", records(&rows.events)),
        insert::<MessageRecord<'_>>(history, "messages", records(posted)),
        insert::<EditRecord<'_>>(history, "edits", records(&rows.edits)),
        insert(history, "outcomes", outcomes),
        insert::<HiddenRecord<'_>>(history, "hidden", records(&rows.hidden)),
        update::<MemberRecord<'_>>(history, "members", records(rows.members.values())),
    );
    events
        .and(posted)
        .and(edits)
        .and(outcomes)
        .and(hidden)
        .and(members)?;
    for withheld in &rows.withheld {
        withhold(history, withheld).await?;
    }
    update::<MessageRecord<'_>>(history, "messages", records(changed)).await?;
    let conversations = records(rows.conversations.values());
    update::<ConversationRecord<'_>>(history, "conversations", conversations).await?;
    update::<PositionRecord<'_>>(history, "positions", records(positions)).await
}

/// Marks the events that hold a message's text, and of a purge takes out the
/// text, there and in the edits. Before the message's own row tells of it, so
/// that whatever stops it half-way, it is done again.
async fn withhold(history: &MongoHistory, withheld: &Withheld) -> Result<(), StoreError> {
    let edits = read::edit_seqs(history, withheld.message_id).await?;
    let is_purge = withheld.scope == DeleteScope::Purge;
    let event_change = if is_purge {
        doc! { "$set": { "withheld": true, "event.content": null } }
    } else {
        doc! { "$set": { "withheld": true } }
    };
    let seqs = edits.iter().copied().chain([withheld.seq]);
    let of_events = seqs.map(|seq| {
        let id = event_id(withheld.conversation_id, seq);
        doc! { "q": { "_id": id }, "u": event_change.clone() }
    });
    run_updates(history, "events", &of_events.collect::<Vec<_>>()).await?;
    if !is_purge {
        return Ok(());
    }
    let of_edits = edits.iter().map(|seq| {
        let id = edit_id(withheld.message_id, *seq);
        doc! { "q": { "_id": id }, "u": { "$set": { "content": null } } }
    });
    run_updates(history, "edits", &of_edits.collect::<Vec<_>>()).await
}

fn records<R, T: From<R>>(rows: impl IntoIterator<Item = R>) -> Vec<T> {
    rows.into_iter().map(Into::into).collect()
}

/// The outcomes of the commands that made an event but no message.
fn outcomes_of_events(rows: &Rows) -> Vec<OutcomeRow> {
    let events = rows.events.iter();
    events
        .filter(|row| row.event.no().is_none())
        .map(EventRow::outcome)
        .collect()
}

/// The outcomes to insert, each id once: the first decision counts, and the
/// server may take the documents of one insert in any order.
fn outcome_records<'a>(
    outcomes: &'a [OutcomeRow],
    of_events: &'a [OutcomeRow],
) -> Vec<OutcomeRecord<'a>> {
    let outcomes = outcomes.iter().map(|row| match row.outcome {
        FirstOutcome::Noted => OutcomeRecord::new(row, own_outcome_id),
        _ => OutcomeRecord::new(row, outcome_id),
    });
    let of_events = of_events
        .iter()
        .map(|row| OutcomeRecord::new(row, event_outcome_id));
    let mut records: Vec<_> = outcomes.chain(of_events).collect();
    let mut known = HashSet::new();
    records.retain(|record| known.insert(record.id().to_owned()));
    records
}

/// Inserts what is not there yet.
async fn insert<T: Serialize + Send + Sync>(
    history: &MongoHistory,
    collection: &str,
    records: Vec<T>,
) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let collection: Collection<T> = history.collection(collection);
    let inserted = history
        .in_time(async { Ok(collection.insert_many(records).ordered(false).await) })
        .await?;
    of_insert(inserted)
}

/// Runs upserts. Not by `Client::bulk_write`, which needs MongoDB 8.
async fn update<T: Serialize>(
    history: &MongoHistory,
    collection: &str,
    records: Vec<T>,
) -> Result<(), StoreError> {
    let updates = records.iter().map(upsert).collect::<Result<Vec<_>, _>>()?;
    run_updates(history, collection, &updates).await
}

async fn run_updates(
    history: &MongoHistory,
    collection: &str,
    updates: &[Document],
) -> Result<(), StoreError> {
    for chunk in updates.chunks(UPDATES_A_COMMAND) {
        let wtimeout = i64::try_from(WRITE_CONCERN_TIMEOUT.as_millis()).unwrap_or(i64::MAX);
        let command = doc! {
            "update": history.name(collection),
            "updates": chunk,
            "ordered": false,
            "writeConcern": { "w": "majority", "wtimeout": wtimeout },
        };
        let answer = history
            .in_time(async { history.database.run_command(command).await })
            .await?;
        of_update(&answer)?;
    }
    Ok(())
}

/// What else of a record never goes back: a member's own settings, by their own
/// revision, and their read marker.
const GROWING: [&str; 2] = ["settings", "read_no"];

/// Puts a record in the place of the one with its `_id`, unless that is as new.
///
/// What changes is the sub-document `state`, whose first field is the record's
/// revision. `$max` compares sub-documents field by field, so the one with the
/// higher revision stays ([comparison order][1]). A guard in the query would do
/// the same, but then the query is not by `_id` alone, and simple servers that
/// speak the protocol read the whole collection for each statement.
///
/// [1]: https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/#objects
fn upsert(record: &impl Serialize) -> Result<Document, StoreError> {
    let mut fields =
        serialize_to_document(record).map_err(|error| StoreError::Data(error.to_string()))?;
    let missing = || StoreError::Data("a record without _id or state".to_owned());
    let id = fields.remove("_id").ok_or_else(missing)?;
    let mut max = doc! { "state": fields.remove("state").ok_or_else(missing)? };
    for growing in GROWING {
        if let Some(value) = fields.remove(growing) {
            max.insert(growing, value);
        }
    }
    let mut change = doc! { "$max": max };
    if !fields.is_empty() {
        change.insert("$setOnInsert", fields);
    }
    Ok(doc! { "q": { "_id": id }, "u": change, "upsert": true })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::Bson;
    use tidings_domain::{
        ConversationId, ConversationRow, Kind, MemberRow, Tenant, Timestamp, UserId,
    };
    use uuid::Uuid;

    use super::{ConversationRecord, MemberRecord, Position, PositionRecord, upsert};

    /// `$max` guards by whatever field comes first.
    #[test]
    fn the_revision_is_the_first_field_of_a_state() {
        let conversation_id = ConversationId(Uuid::nil());
        let tenant = Tenant::parse("acme").expect("a valid tenant");
        let conversation = ConversationRow {
            conversation_id,
            tenant: tenant.clone(),
            kind: Kind::Group,
            title: None,
            closed: false,
            created_at: Timestamp(0),
            last_at: Timestamp(0),
            last_seq: 7,
            last_no: 0,
            last_message_id: None,
        };
        let user_id = UserId::parse("alice").expect("a valid user id");
        let member = MemberRow {
            rev: 7,
            settings_rev: 7,
            ..MemberRow::new(tenant, conversation_id, user_id)
        };
        let position = Position {
            partition: 0,
            offset: 7,
            current: None,
        };
        let updates = [
            (upsert(&ConversationRecord::from(&conversation)), "last_seq"),
            (upsert(&MemberRecord::from(&member)), "rev"),
            (upsert(&PositionRecord::from(&position)), "offset"),
        ];
        for (update, revision) in updates {
            let update = update.expect("serializes");
            let max = update
                .get_document("u")
                .and_then(|change| change.get_document("$max"))
                .expect("a guarded change");
            let state = max.get_document("state").expect("a state");
            let first = state.iter().next();
            assert_eq!(first, Some((&revision.to_owned(), &Bson::Int64(7))));
            let settings = max.get_document("settings").ok();
            if let Some(settings) = settings {
                assert_eq!(
                    settings.iter().next(),
                    Some((&"rev".to_owned(), &Bson::Int64(7)))
                );
            }
            let query = update.get_document("q").expect("a query");
            assert_eq!(query.keys().collect::<Vec<_>>(), ["_id"]);
        }
    }
}
