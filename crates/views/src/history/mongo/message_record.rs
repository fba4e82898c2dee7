//! Documents about messages: events, messages, edits, hidden messages.

use mongodb::bson::DateTime;
use serde::{Deserialize, Serialize};
use tidings_domain::{
    ConversationId, EditRow, EventRow, HiddenRow, MessageId, MessageRow, Tenant, UserId,
};

use super::record::{Text, date, optional_id, temp_id, tenant, timestamp};
use crate::history::document::{
    self, ContentDocument, EventDocument, ForwardedDocument, ReactionDocument, Unreadable, id_text,
};

/// A document of `events`. `_id` is `conversation:seq`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EventRecord<'a> {
    #[serde(rename = "_id")]
    id: Text<'a>,
    tenant: Text<'a>,
    conversation_id: Text<'a>,
    seq: u64,
    at: DateTime,
    by: Text<'a>,
    temp_id: Text<'a>,
    event: EventDocument<'a>,
    #[serde(default, skip_serializing_if = "is_false")]
    withheld: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A document of `messages`. `_id` is the message's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MessageRecord<'a> {
    #[serde(rename = "_id")]
    id: Text<'a>,
    tenant: Text<'a>,
    conversation_id: Text<'a>,
    no: u64,
    seq: u64,
    by: Text<'a>,
    at: DateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thread: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forwarded_from: Option<ForwardedDocument<'a>>,
    state: MessageState<'a>,
}

/// What changes of a message. Its revision comes first, see `write`.
#[derive(Debug, Serialize, Deserialize)]
struct MessageState<'a> {
    rev: u64,
    /// Null after a purge.
    content: Option<ContentDocument<'a>>,
    edited_at: Option<DateTime>,
    deleted: Option<Text<'a>>,
    reactions: Vec<ReactionDocument<'a>>,
    replies: u64,
}

/// A document of `edits`. `_id` is `message:seq`, `seq` being that of the edit
/// that replaced this text. A purge takes out the content and leaves the rest,
/// so that a projection that has not seen it yet cannot put the text back. There
/// is none either where the event posted the message again.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EditRecord<'a> {
    #[serde(rename = "_id")]
    id: Text<'a>,
    message_id: Text<'a>,
    conversation_id: Text<'a>,
    tenant: Text<'a>,
    pub(super) seq: u64,
    at: DateTime,
    content: Option<ContentDocument<'a>>,
}

/// A document of `hidden`. `_id` is `tenant/user/message`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HiddenRecord<'a> {
    #[serde(rename = "_id")]
    id: Text<'a>,
    tenant: Text<'a>,
    conversation_id: Text<'a>,
    user_id: Text<'a>,
    message_id: Text<'a>,
}

pub(super) fn event_id(conversation_id: ConversationId, seq: u64) -> String {
    format!("{conversation_id}:{seq}")
}

pub(super) fn edit_id(message_id: MessageId, seq: u64) -> String {
    format!("{message_id}:{seq}")
}

/// No tenant and no user has a slash in its name.
pub(super) fn hidden_id(tenant: &Tenant, user_id: &UserId, message_id: MessageId) -> String {
    format!("{tenant}/{user_id}/{message_id}")
}

impl<'a> From<&'a EventRow> for EventRecord<'a> {
    fn from(row: &'a EventRow) -> Self {
        Self {
            id: event_id(row.conversation_id, row.seq).into(),
            tenant: row.tenant.as_str().into(),
            conversation_id: id_text(row.conversation_id.0).into(),
            seq: row.seq,
            at: date(row.at),
            by: row.by.as_str().into(),
            temp_id: row.temp_id.as_str().into(),
            event: (&row.event).into(),
            withheld: row.withheld,
        }
    }
}

impl TryFrom<EventRecord<'_>> for EventRow {
    type Error = Unreadable;

    fn try_from(record: EventRecord<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            tenant: tenant(&record.tenant)?,
            conversation_id: document::conversation_id(&record.conversation_id)?,
            seq: record.seq,
            at: timestamp(record.at),
            by: document::user_id(&record.by)?,
            temp_id: temp_id(&record.temp_id)?,
            event: record.event.try_into()?,
            withheld: record.withheld,
        })
    }
}

impl<'a> From<&'a EditRow> for EditRecord<'a> {
    fn from(row: &'a EditRow) -> Self {
        Self {
            id: edit_id(row.message_id, row.seq).into(),
            message_id: id_text(row.message_id.0).into(),
            conversation_id: id_text(row.conversation_id.0).into(),
            tenant: row.tenant.as_str().into(),
            seq: row.seq,
            at: date(row.at),
            content: document::kept(&row.content),
        }
    }
}

impl TryFrom<EditRecord<'_>> for EditRow {
    type Error = Unreadable;

    fn try_from(record: EditRecord<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            message_id: document::message_id(&record.message_id)?,
            conversation_id: document::conversation_id(&record.conversation_id)?,
            tenant: tenant(&record.tenant)?,
            seq: record.seq,
            at: timestamp(record.at),
            content: record.content.map(Into::into).unwrap_or_default(),
        })
    }
}

impl<'a> From<&'a HiddenRow> for HiddenRecord<'a> {
    fn from(row: &'a HiddenRow) -> Self {
        Self {
            id: hidden_id(&row.tenant, &row.user_id, row.message_id).into(),
            tenant: row.tenant.as_str().into(),
            conversation_id: id_text(row.conversation_id.0).into(),
            user_id: row.user_id.as_str().into(),
            message_id: id_text(row.message_id.0).into(),
        }
    }
}

impl TryFrom<HiddenRecord<'_>> for HiddenRow {
    type Error = Unreadable;

    fn try_from(record: HiddenRecord<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            tenant: tenant(&record.tenant)?,
            conversation_id: document::conversation_id(&record.conversation_id)?,
            user_id: document::user_id(&record.user_id)?,
            message_id: document::message_id(&record.message_id)?,
        })
    }
}

impl<'a> From<&'a MessageRow> for MessageRecord<'a> {
    fn from(row: &'a MessageRow) -> Self {
        Self {
            id: id_text(row.message_id.0).into(),
            tenant: row.tenant.as_str().into(),
            conversation_id: id_text(row.conversation_id.0).into(),
            no: row.no,
            seq: row.seq,
            by: row.by.as_str().into(),
            at: date(row.at),
            reply_to: optional_id(row.reply_to.map(|id| id.0)),
            thread: optional_id(row.thread.map(|id| id.0)),
            forwarded_from: row.forwarded_from.as_ref().map(Into::into),
            state: MessageState {
                rev: row.rev,
                content: row.content.as_ref().map(Into::into),
                edited_at: row.edited_at.map(date),
                deleted: row.deleted.map(|scope| scope.as_str().into()),
                reactions: document::reactions(&row.reactions),
                replies: row.replies,
            },
        }
    }
}

impl TryFrom<MessageRecord<'_>> for MessageRow {
    type Error = Unreadable;

    fn try_from(record: MessageRecord<'_>) -> Result<Self, Unreadable> {
        let message_id = |id: Option<Text<'_>>| id.as_deref().map(document::message_id).transpose();
        let state = record.state;
        let deleted = state.deleted.as_deref().map(document::delete_scope);
        Ok(Self {
            message_id: document::message_id(&record.id)?,
            conversation_id: document::conversation_id(&record.conversation_id)?,
            tenant: tenant(&record.tenant)?,
            no: record.no,
            seq: record.seq,
            rev: state.rev,
            by: document::user_id(&record.by)?,
            at: timestamp(record.at),
            content: state.content.map(Into::into),
            reply_to: message_id(record.reply_to)?,
            thread: message_id(record.thread)?,
            forwarded_from: record.forwarded_from.map(TryInto::try_into).transpose()?,
            edited_at: state.edited_at.map(timestamp),
            deleted: deleted.transpose()?,
            reactions: document::read_reactions(state.reactions)?,
            replies: state.replies,
        })
    }
}
