use std::collections::HashMap;

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::de::DeserializeOwned;
use tidings_domain::{
    ConversationId, ConversationRow, EventRow, MemberRow, MessageId, MessageRow, Tenant, Timestamp,
    UserId,
};

use super::record::{
    ConversationRecord, EventRecord, MemberRecord, MessageRecord, OutcomeRecord, PositionRecord,
    date, event_id,
};
use super::{MongoHistory, OPERATION_TIMEOUT};
use crate::history::document::{self, Unreadable, id_text};
use crate::history::{ConversationPage, ListedConversation, Position, StoreError};

type Result<T> = std::result::Result<T, StoreError>;

impl From<Unreadable> for StoreError {
    fn from(error: Unreadable) -> Self {
        Self::Data(error.to_string())
    }
}

/// A row and the record it is stored as.
pub(super) trait Stored: Sized {
    /// The document of the collection.
    type Record: DeserializeOwned + TryInto<Self, Error = Unreadable> + Send + Sync + Unpin;
    /// Where it is kept.
    const COLLECTION: &str;
}

macro_rules! stored {
    ($row:ty, $record:ident, $collection:literal) => {
        impl Stored for $row {
            type Record = $record<'static>;
            const COLLECTION: &str = $collection;
        }
    };
}

stored!(EventRow, EventRecord, "events");
stored!(MessageRow, MessageRecord, "messages");
stored!(ConversationRow, ConversationRecord, "conversations");
stored!(MemberRow, MemberRecord, "members");
stored!(tidings_domain::OutcomeRow, OutcomeRecord, "outcomes");
stored!(Position, PositionRecord, "positions");

async fn find_records<R: Stored>(
    history: &MongoHistory,
    filter: Document,
    options: FindOptions,
) -> Result<Vec<R::Record>> {
    let collection = history.database.collection::<R::Record>(R::COLLECTION);
    history
        .in_time(async {
            let mut options = options;
            options.max_time = Some(OPERATION_TIMEOUT);
            let mut cursor = collection.find(filter).with_options(options).await?;
            let mut records = Vec::new();
            while cursor.advance().await? {
                records.push(cursor.deserialize_current()?);
            }
            Ok(records)
        })
        .await
}

pub(super) async fn find<R: Stored>(
    history: &MongoHistory,
    filter: Document,
    options: FindOptions,
) -> Result<Vec<R>> {
    let records = find_records::<R>(history, filter, options).await?;
    Ok(records
        .into_iter()
        .map(TryInto::try_into)
        .collect::<std::result::Result<_, _>>()?)
}

pub(super) async fn find_one<R: Stored>(
    history: &MongoHistory,
    filter: Document,
) -> Result<Option<R>> {
    let options = FindOptions::builder().limit(1).build();
    Ok(find(history, filter, options).await?.pop())
}

/// A run of events. There is no gap in their numbers, so it is asked for id by
/// id: a look-up of the primary index on any server that speaks the protocol.
pub(super) async fn events(
    history: &MongoHistory,
    tenant: &Tenant,
    conversation_id: ConversationId,
    after: u64,
    limit: usize,
) -> Result<Vec<EventRow>> {
    let ids: Vec<String> = (1..=limit as u64)
        .map(|step| event_id(conversation_id, after.saturating_add(step)))
        .collect();
    let filter = doc! { "_id": { "$in": ids }, "tenant": tenant.as_str() };
    let mut events: Vec<EventRow> = find(history, filter, FindOptions::default()).await?;
    events.sort_unstable_by_key(|event| event.seq);
    Ok(events)
}

/// The ids, as text, of the conversations a user is a member of.
async fn membership_records(
    history: &MongoHistory,
    tenant: &Tenant,
    user_id: &UserId,
) -> Result<Vec<MemberRecord<'static>>> {
    let filter = doc! {
        "tenant": tenant.as_str(), "user_id": user_id.as_str(), "role": { "$ne": null },
    };
    find_records::<MemberRow>(history, filter, FindOptions::default()).await
}

pub(super) async fn memberships(
    history: &MongoHistory,
    tenant: &Tenant,
    user_id: &UserId,
) -> Result<Vec<ConversationId>> {
    let records = membership_records(history, tenant, user_id).await?;
    let mut ids = records
        .iter()
        .map(|record| document::conversation_id(record.conversation_id()))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    ids.sort_unstable();
    Ok(ids)
}

pub(super) async fn list(
    history: &MongoHistory,
    tenant: &Tenant,
    user_id: &UserId,
    after: Option<(Timestamp, ConversationId)>,
    limit: usize,
) -> Result<ConversationPage> {
    let members = membership_records(history, tenant, user_id).await?;
    let ids: Vec<&str> = members.iter().map(MemberRecord::conversation_id).collect();
    let mut filter = doc! { "_id": { "$in": ids }, "tenant": tenant.as_str() };
    if let Some((at, id)) = after {
        let at = date(at);
        filter.insert(
            "$or",
            vec![
                doc! { "last_at": { "$lt": at } },
                doc! { "last_at": at, "_id": { "$gt": id_text(id.0) } },
            ],
        );
    }
    // One more than asked for tells whether there is a next page.
    let options = FindOptions::builder()
        .sort(doc! { "last_at": -1, "_id": 1 })
        .limit(i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1)
        .build();
    let mut found: Vec<ConversationRow> = find(history, filter, options).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found
        .last()
        .filter(|_| more)
        .map(|last| (last.last_at, last.conversation_id));

    let last_messages: Vec<MessageId> = found
        .iter()
        .filter_map(|conversation| conversation.last_message_id)
        .collect();
    let mut messages = messages(history, tenant, &last_messages).await?;
    let mut places = members
        .into_iter()
        .map(|record| {
            let row: MemberRow = record.try_into()?;
            Ok((row.conversation_id, row))
        })
        .collect::<std::result::Result<HashMap<_, _>, Unreadable>>()?;
    let conversations = found
        .into_iter()
        .filter_map(|conversation| {
            Some(ListedConversation {
                member: places.remove(&conversation.conversation_id)?,
                last_message: conversation
                    .last_message_id
                    .and_then(|id| messages.remove(&id)),
                conversation,
            })
        })
        .collect();
    Ok(ConversationPage {
        conversations,
        next,
    })
}

async fn messages(
    history: &MongoHistory,
    tenant: &Tenant,
    ids: &[MessageId],
) -> Result<HashMap<MessageId, MessageRow>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<String> = ids.iter().map(|id| id_text(id.0)).collect();
    let filter = doc! { "_id": { "$in": ids }, "tenant": tenant.as_str() };
    let messages: Vec<MessageRow> = find(history, filter, FindOptions::default()).await?;
    Ok(messages
        .into_iter()
        .map(|message| (message.message_id, message))
        .collect())
}
