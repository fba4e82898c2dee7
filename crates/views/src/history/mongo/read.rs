use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::de::DeserializeOwned;
use tidings_domain::{
    CommandKey, ConversationId, ConversationRow, EditRow, EventRow, HiddenRow, Kind, MemberRow,
    MessageId, MessageRow, OutcomeRow, Tenant, Timestamp, UserId,
};

use super::message_record::{
    EditRecord, EventRecord, HiddenRecord, MessageRecord, event_id, hidden_id,
};
use super::record::{
    ConversationRecord, MemberRecord, OutcomeRecord, PositionRecord, event_outcome_id, outcome_id,
    own_outcome_id,
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
stored!(EditRow, EditRecord, "edits");
stored!(HiddenRow, HiddenRecord, "hidden");
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
    let collection = history.collection::<R::Record>(R::COLLECTION);
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
pub(super) async fn find_own<R: Stored + Owned>(
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
    Ok(events.into_iter().map(EventRow::shown).collect())
}

/// How a command ended that sent no message: by the event it made, else by its
/// first decision.
pub(super) async fn outcome(
    history: &MongoHistory,
    tenant: &Tenant,
    key: CommandKey,
) -> Result<Option<OutcomeRow>> {
    let ids = vec![event_outcome_id(key), own_outcome_id(key), outcome_id(key)];
    let filter = doc! { "_id": { "$in": ids } };
    let mut records = find_records::<OutcomeRow>(history, filter, FindOptions::default()).await?;
    records.sort_unstable_by_key(OutcomeRecord::rank);
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

pub(super) async fn members(
    history: &MongoHistory,
    tenant: &Tenant,
    conversation_id: ConversationId,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<MemberRow>> {
    // No id is empty, so all come after the empty text.
    let after = after.map_or("", UserId::as_str);
    let filter = doc! {
        "conversation_id": id_text(conversation_id.0),
        "user_id": { "$gt": after },
        "tenant": tenant.as_str(),
        "state.role": { "$ne": null },
    };
    find(history, filter, sorted(doc! { "user_id": 1 }, limit)).await
}

fn sorted(by: Document, limit: usize) -> FindOptions {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    FindOptions::builder().sort(by).limit(limit).build()
}

pub(super) async fn unread(
    history: &MongoHistory,
    tenant: &Tenant,
    user_id: &UserId,
) -> Result<Vec<(ConversationId, u64)>> {
    let places = places(history, tenant, user_id).await?;
    let read: HashMap<_, _> = places
        .iter()
        .map(|place| (place.conversation_id, place.read_no))
        .collect();
    let ids = read.keys().map(|id| id_text(id.0)).collect();
    let conversations: Vec<ConversationRow> = find_own(history, tenant, ids).await?;
    let mut unread: Vec<_> = conversations
        .into_iter()
        .filter_map(|row| {
            let read_no = read.get(&row.conversation_id)?;
            let count = row
                .last_no
                .checked_sub(*read_no)
                .filter(|count| *count > 0)?;
            Some((row.conversation_id, count))
        })
        .collect();
    unread.sort_unstable();
    Ok(unread)
}

/// What a page of messages is asked for by.
pub(super) struct PageQuery<'a> {
    pub(super) conversation_id: ConversationId,
    pub(super) viewer: &'a UserId,
    pub(super) thread: Option<MessageId>,
    pub(super) before: Option<u64>,
    pub(super) limit: usize,
}

/// A page of messages. What the viewer has hidden stands in another collection,
/// so it is taken out here, and made up for by reading on.
pub(super) async fn page(
    history: &MongoHistory,
    tenant: &Tenant,
    query: &PageQuery<'_>,
) -> Result<Vec<MessageRow>> {
    let PageQuery { viewer, limit, .. } = *query;
    let (mut page, mut before) = (Vec::new(), query.before);
    while page.len() < limit {
        let mut filter = match query.thread {
            Some(thread) => doc! { "thread": id_text(thread.0) },
            None => doc! { "conversation_id": id_text(query.conversation_id.0) },
        };
        if let Some(before) = before {
            let before = i64::try_from(before).unwrap_or(i64::MAX);
            filter.insert("no", doc! { "$lt": before });
        }
        let rows: Vec<MessageRow> = find(history, filter, sorted(doc! { "no": -1 }, limit)).await?;
        let is_last = rows.len() < limit;
        before = rows.last().map(|row| row.no);
        let ids: Vec<_> = rows.iter().map(|row| row.message_id).collect();
        let hidden: HashSet<_> = hidden(history, tenant, viewer, &ids)
            .await?
            .into_iter()
            .collect();
        let own = rows.into_iter().filter(|row| {
            row.tenant == *tenant
                && row.conversation_id == query.conversation_id
                && !hidden.contains(&row.message_id)
        });
        page.extend(own.map(MessageRow::shown));
        if is_last {
            break;
        }
    }
    page.truncate(limit);
    Ok(page)
}

/// The earlier texts of a message that is not deleted.
pub(super) async fn edits(
    history: &MongoHistory,
    tenant: &Tenant,
    message_id: MessageId,
) -> Result<Vec<EditRow>> {
    let message: Option<MessageRow> = find_one(history, tenant, id_text(message_id.0)).await?;
    if message.is_none_or(|row| row.deleted.is_some()) {
        return Ok(Vec::new());
    }
    let filter = doc! { "message_id": id_text(message_id.0), "content": { "$ne": null } };
    let options = FindOptions::builder().sort(doc! { "seq": 1 }).build();
    find(history, filter, options).await
}

/// The edits of a message, purged or not.
pub(super) async fn edit_seqs(history: &MongoHistory, message_id: MessageId) -> Result<Vec<u64>> {
    let filter = doc! { "message_id": id_text(message_id.0) };
    let records = find_records::<EditRow>(history, filter, FindOptions::default()).await?;
    Ok(records.into_iter().map(|record| record.seq).collect())
}

/// Those of these messages that a user has hidden.
pub(super) async fn hidden(
    history: &MongoHistory,
    tenant: &Tenant,
    user_id: &UserId,
    messages: &[MessageId],
) -> Result<Vec<MessageId>> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let ids = messages.iter().map(|id| hidden_id(tenant, user_id, *id));
    let rows: Vec<HiddenRow> = find_all(history, ids.collect()).await?;
    Ok(rows.into_iter().map(|row| row.message_id).collect())
}

/// What a user has hidden in a conversation.
pub(super) async fn hidden_in(
    history: &MongoHistory,
    tenant: &Tenant,
    conversation_id: ConversationId,
    user_id: &UserId,
    limit: usize,
) -> Result<Vec<MessageId>> {
    let filter = doc! {
        "tenant": tenant.as_str(),
        "user_id": user_id.as_str(),
        "conversation_id": id_text(conversation_id.0),
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let options = FindOptions::builder().limit(limit).build();
    let rows: Vec<HiddenRow> = find(history, filter, options).await?;
    Ok(rows.into_iter().map(|row| row.message_id).collect())
}

/// The last message of each conversation that this user has not hidden.
async fn last_messages(
    history: &MongoHistory,
    tenant: &Tenant,
    viewer: &UserId,
    conversations: &[ConversationRow],
) -> Result<HashMap<ConversationId, MessageRow>> {
    let ids: Vec<MessageId> = conversations
        .iter()
        .filter_map(|conversation| conversation.last_message_id)
        .collect();
    let texts = ids.iter().map(|id| id_text(id.0)).collect();
    let (messages, hidden) = tokio::try_join!(
        find_own::<MessageRow>(history, tenant, texts),
        hidden(history, tenant, viewer, &ids),
    )?;
    let mut last: HashMap<_, _> = messages
        .into_iter()
        .map(|row| (row.conversation_id, row.shown()))
        .collect();
    for conversation in conversations {
        let is_hidden = |id| hidden.contains(&id);
        if !conversation.last_message_id.is_some_and(is_hidden) {
            continue;
        }
        let query = PageQuery {
            conversation_id: conversation.conversation_id,
            viewer,
            thread: None,
            before: None,
            limit: 1,
        };
        last.remove(&conversation.conversation_id);
        if let Some(row) = page(history, tenant, &query).await?.pop() {
            last.insert(conversation.conversation_id, row);
        }
    }
    Ok(last)
}

/// A page of a user's conversations. All of them are read and sorted here: the
/// server would have to do the same, as the time of the last activity is the
/// conversation's, not the member's.
pub(super) async fn list(
    history: &MongoHistory,
    tenant: &Tenant,
    user_id: &UserId,
    kind: Option<Kind>,
    after: Option<(Timestamp, ConversationId)>,
    limit: usize,
) -> Result<ConversationPage> {
    let places = places(history, tenant, user_id).await?;
    let ids = places
        .iter()
        .map(|place| id_text(place.conversation_id.0))
        .collect();
    let mut found: Vec<ConversationRow> = find_own(history, tenant, ids).await?;
    found.retain(|row| kind.is_none_or(|kind| row.kind == kind));
    let order = |row: &ConversationRow| (Reverse(row.last_at), row.conversation_id);
    if let Some((at, id)) = after {
        found.retain(|row| order(row) > (Reverse(at), id));
    }
    found.sort_unstable_by_key(order);
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    let next = last.map(|last| (last.last_at, last.conversation_id));

    let mut messages = last_messages(history, tenant, user_id, &found).await?;
    let mut places: HashMap<_, _> = places
        .into_iter()
        .map(|place| (place.conversation_id, place))
        .collect();
    let conversations = found
        .into_iter()
        .filter_map(|conversation| {
            Some(ListedConversation {
                member: places.remove(&conversation.conversation_id)?,
                last_message: messages.remove(&conversation.conversation_id),
                conversation,
            })
        })
        .collect();
    Ok(ConversationPage {
        conversations,
        next,
    })
}
