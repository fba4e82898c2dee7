use serde::Serialize;
use tidings_domain::{
    ConversationId, ConversationRow, MemberRow, MessageId, MessageRow, Reaction, Timestamp, UserId,
};

use super::event::{ContentBody, ForwardedFromBody};
use super::{maybe_text, maybe_time, text, time};

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
    content: Option<ContentBody<'a>>,
    #[serde(serialize_with = "maybe_text")]
    reply_to: Option<MessageId>,
    #[serde(serialize_with = "maybe_text")]
    thread: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded_from: Option<ForwardedFromBody<'a>>,
    replies: u64,
    #[serde(serialize_with = "maybe_time")]
    edited_at: Option<Timestamp>,
    deleted: bool,
    reactions: Vec<ReactionBody<'a>>,
}

#[derive(Serialize)]
struct ReactionBody<'a> {
    emoji: &'a str,
    by: Vec<&'a str>,
}

impl<'a> PageMessage<'a> {
    /// A row of the history view. What a deleted message said is not shown.
    #[must_use]
    pub fn of(row: &'a MessageRow) -> Self {
        Self {
            message_id: row.message_id,
            no: row.no,
            seq: row.seq,
            by: &row.by,
            at: row.at,
            content: match row.deleted {
                Some(_) => None,
                None => row.content.as_ref().map(ContentBody::of),
            },
            reply_to: row.reply_to,
            thread: row.thread,
            forwarded_from: row.forwarded_from.as_ref().map(ForwardedFromBody::of),
            replies: row.replies,
            edited_at: row.edited_at,
            deleted: row.deleted.is_some(),
            reactions: row.reactions.iter().map(ReactionBody::of).collect(),
        }
    }
}

impl<'a> ReactionBody<'a> {
    fn of(reaction: &'a Reaction) -> Self {
        Self {
            emoji: &reaction.emoji,
            by: reaction.by.iter().map(UserId::as_str).collect(),
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
    /// Rows of the history view, at this time: a mute may have ended.
    #[must_use]
    pub fn of(
        conversation: &'a ConversationRow,
        member: &'a MemberRow,
        last_message: Option<&'a MessageRow>,
        now: Timestamp,
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
            muted: member.is_muted(now),
            archived: member.archived,
            closed: conversation.closed,
            last_message: last_message.map(PageMessage::of),
        }
    }
}

/// A member of a conversation.
#[derive(Serialize)]
pub struct MemberItem<'a> {
    user_id: &'a str,
    role: Option<&'static str>,
}

impl<'a> MemberItem<'a> {
    /// A row of the history view.
    #[must_use]
    pub fn of(row: &'a MemberRow) -> Self {
        Self {
            user_id: row.user_id.as_str(),
            role: row.role.map(tidings_domain::Role::as_str),
        }
    }
}
