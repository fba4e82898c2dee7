use serde::Serialize;
use tidings_domain::{
    ConversationId, ConversationRow, MemberRow, MessageId, MessageRow, Timestamp, UserId,
};

use super::event::{ContentBody, ForwardedFromBody};
use super::{maybe_text, text, time};

/// A message as a page shows it.
#[derive(Serialize)]
pub struct PageMessage<'a> {
    #[serde(serialize_with = "text")]
    message_id: MessageId,
    no: u64,
    seq: u64,
    #[serde(serialize_with = "text")]
    by: &'a UserId,
    #[serde(serialize_with = "time")]
    at: Timestamp,
    content: ContentBody<'a>,
    #[serde(serialize_with = "maybe_text")]
    reply_to: Option<MessageId>,
    #[serde(serialize_with = "maybe_text")]
    thread: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded_from: Option<ForwardedFromBody<'a>>,
    replies: u64,
    edited_at: Option<&'a str>,
    deleted: bool,
    reactions: [(); 0],
}

impl<'a> PageMessage<'a> {
    /// A row of the history view. Replies, edits, deletions and reactions are
    /// not in the view yet.
    #[must_use]
    pub fn of(row: &'a MessageRow) -> Self {
        Self {
            message_id: row.message_id,
            no: row.no,
            seq: row.seq,
            by: &row.by,
            at: row.at,
            content: ContentBody::of(&row.content),
            reply_to: row.reply_to,
            thread: row.thread,
            forwarded_from: row.forwarded_from.as_ref().map(ForwardedFromBody::of),
            replies: 0,
            edited_at: None,
            deleted: false,
            reactions: [],
        }
    }
}

/// A conversation as one of its members sees it in a list.
#[derive(Serialize)]
pub struct ListItem<'a> {
    #[serde(serialize_with = "text")]
    conversation_id: ConversationId,
    kind: &'static str,
    title: Option<&'a str>,
    role: Option<&'static str>,
    last_seq: u64,
    last_no: u64,
    read_up_to: u64,
    unread: u64,
    muted: bool,
    archived: bool,
    closed: bool,
    last_message: Option<PageMessage<'a>>,
}

impl<'a> ListItem<'a> {
    /// Rows of the history view. Mutes and archives are not in the view yet.
    #[must_use]
    pub fn of(
        conversation: &'a ConversationRow,
        member: &'a MemberRow,
        last_message: Option<&'a MessageRow>,
    ) -> Self {
        Self {
            conversation_id: conversation.conversation_id,
            kind: conversation.kind.as_str(),
            title: conversation.title.as_deref(),
            role: member.role.map(tidings_domain::Role::as_str),
            last_seq: conversation.last_seq,
            last_no: conversation.last_no,
            read_up_to: member.read_no,
            unread: conversation.last_no.saturating_sub(member.read_no),
            muted: false,
            archived: false,
            closed: conversation.closed,
            last_message: last_message.map(PageMessage::of),
        }
    }
}
