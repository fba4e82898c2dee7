use std::cmp::Reverse;
use std::collections::HashMap;

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::de::DeserializeOwned;
use tidings_domain::{
    CommandKey, ConversationId, ConversationRow, EventRow, MemberRow, MessageRow, OutcomeRow,
    Tenant, Timestamp, UserId,
};

use super::record::{
    ConversationRecord, EventRecord, MemberRecord, MessageRecord, OutcomeRecord, PositionRecord,
    event_id, event_outcome_id, outcome_id,
};
use super::{MongoHistory, OPERATION_TIMEOUT};
use crate::history::document::{Unreadable, id_text};
use crate::history::{ConversationPage, ListedConversation, Position, StoreError};

/// Ids in one query, so that it stays far below the 16 MB of a document.
const IDS_A_QUERY: usize = 10_000;

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
stored!(OutcomeRow, OutcomeRecord, "outcomes");
stored!(Position, PositionRecord, "positions");

/// A row that belongs to a tenant.
pub(super) trait Owned {
    fn tenant(&self) -> &Tenant;
}

macro_rules! owned {
    ($($row:ty),*) => {
        $(impl Owned for $row {
            fn tenant(&self) -> &Tenant {
                &self.tenant
            }
        })*
    };
}

owned!(EventRow, MessageRow, ConversationRow, MemberRow);

pub(super) async fn find_records<R: Stored>(
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

/// The row with this `_id`.
///
/// Rows are asked for by `_id` alone, everywhere, and their tenant is looked at
/// here: simple servers that speak the protocol use an index for nothing else.
pub(super) async fn find_one<R: Stored + Owned>(
    history: &MongoHistory,
    tenant: &Tenant,
    id: String,
) -> Result<Option<R>> {
    let rows: Vec<R> = find(history, doc! { "_id": id }, FindOptions::default()).await?;
    Ok(rows.into_iter().find(|row| row.tenant() == tenant))
}

/// The tenant's rows among those with these `_id`s.
async fn find_own<R: Stored + Owned>(
    history: &MongoHistory,
    tenant: &Tenant,
    ids: Vec<String>,
) -> Result<Vec<R>> {
    let mut rows: Vec<R> = find_all(history, ids).await?;
    rows.retain(|row| row.tenant() == tenant);
    Ok(rows)
}

/// The rows with these `_id`s, whoever's they are.
pub(super) async fn find_all<R: Stored>(
    history: &MongoHistory,
    ids: Vec<String>,
) -> Result<Vec<R>> {
    let mut rows = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(IDS_A_QUERY) {
        let filter = doc! { "_id": { "$in": chunk } };
        rows.append(&mut find(history, filter, FindOptions::default()).await?);
    }
    Ok(rows)
}

/// A run of events. There is no gap in their numbers, so their ids are known.
pub(super) async fn events(
    history: &MongoHistory,
    tenant: &Tenant,
    conversation_id: ConversationId,
    after: u64,
    limit: usize,
) -> Result<Vec<EventRow>> {
    let seqs = (1..=limit as u64).map(|step| after.saturating_add(step));
    let ids = seqs.map(|seq| event_id(conversation_id, seq)).collect();
    let mut events: Vec<EventRow> = find_own(history, tenant, ids).await?;
    events.sort_unstable_by_key(|event| event.seq);
    Ok(events)
}

/// How a command ended that sent no message: by the event it made, else by its
/// first decision.
pub(super) async fn outcome(
    history: &MongoHistory,
    tenant: &Tenant,
    key: CommandKey,
) -> Result<Option<OutcomeRow>> {
    let ids = vec![event_outcome_id(key), outcome_id(key)];
    let filter = doc! { "_id": { "$in": ids } };
    let mut records = find_records::<OutcomeRow>(history, filter, FindOptions::default()).await?;
    records.sort_unstable_by_key(|record| !record.is_of_event());
    let first = records
        .into_iter()
        .next()
        .map(OutcomeRow::try_from)
        .transpose()?;
    Ok(first.filter(|row| row.tenant == *tenant))
}

/// The places of a user in the conversations they are a member of.
async fn places(
    history: &MongoHistory,
    tenant: &Tenant,
    user_id: &UserId,
) -> Result<Vec<MemberRow>> {
    let filter = doc! { "tenant": tenant.as_str(), "user_id": user_id.as_str() };
    let mut places: Vec<MemberRow> = find(history, filter, FindOptions::default()).await?;
    places.retain(|place| place.role.is_some());
    Ok(places)
}

pub(super) async fn memberships(
    history: &MongoHistory,
    tenant: &Tenant,
    user_id: &UserId,
) -> Result<Vec<ConversationId>> {
    let places = places(history, tenant, user_id).await?;
    let mut ids: Vec<_> = places.iter().map(|place| place.conversation_id).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// A page of a user's conversations. All of them are read and sorted here: the
/// server would have to do the same, as the time of the last activity is the
/// conversation's, not the member's.
pub(super) async fn list(
    history: &MongoHistory,
    tenant: &Tenant,
    user_id: &UserId,
    after: Option<(Timestamp, ConversationId)>,
    limit: usize,
) -> Result<ConversationPage> {
    let places = places(history, tenant, user_id).await?;
    let ids = places
        .iter()
        .map(|place| id_text(place.conversation_id.0))
        .collect();
    let mut found: Vec<ConversationRow> = find_own(history, tenant, ids).await?;
    let order = |row: &ConversationRow| (Reverse(row.last_at), row.conversation_id);
    if let Some((at, id)) = after {
        found.retain(|row| order(row) > (Reverse(at), id));
    }
    found.sort_unstable_by_key(order);
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    let next = last.map(|last| (last.last_at, last.conversation_id));

    let last_messages = found
        .iter()
        .filter_map(|conversation| conversation.last_message_id);
    let ids = last_messages.map(|id| id_text(id.0)).collect();
    let messages: Vec<MessageRow> = find_own(history, tenant, ids).await?;
    let mut messages: HashMap<_, _> = messages
        .into_iter()
        .map(|message| (message.message_id, message))
        .collect();
    let mut places: HashMap<_, _> = places
        .into_iter()
        .map(|place| (place.conversation_id, place))
        .collect();
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
