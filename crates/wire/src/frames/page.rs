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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::ServerFrame;
    use serde_json::{Value, json};
    use tidings_domain::{Content, DeleteScope, Mute, Role, Tenant};
    use uuid::Uuid;

    const C: ConversationId = ConversationId(Uuid::from_u128(1));

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn row() -> MessageRow {
        MessageRow {
            message_id: MessageId(Uuid::from_u128(2)),
            conversation_id: C,
            tenant: Tenant::parse("t").unwrap(),
            no: 119,
            seq: 140,
            rev: 150,
            by: user("alice"),
            at: Timestamp(0),
            content: Some(Content::text("hi")),
            reply_to: None,
            thread: None,
            forwarded_from: None,
            edited_at: Some(Timestamp(1_000)),
            deleted: None,
            reactions: vec![Reaction {
                emoji: "👍".into(),
                by: vec![user("bob")],
            }],
            replies: 3,
        }
    }

    fn written(frame: &ServerFrame<'_>) -> Value {
        serde_json::from_str(&frame.to_json()).unwrap()
    }

    #[test]
    fn a_page_shows_messages_as_they_are_now() {
        let (shown, deleted) = (
            row(),
            MessageRow {
                deleted: Some(DeleteScope::Everyone),
                edited_at: None,
                reactions: Vec::new(),
                ..row()
            },
        );
        let frame = ServerFrame::Page {
            id: "q2",
            conversation_id: C,
            messages: [&shown, &deleted].map(PageMessage::of).into(),
            next_before: Some(119),
        };
        let message = json!({
            "message_id": "00000000-0000-0000-0000-000000000002", "no": 119, "seq": 140,
            "by": "alice", "at": "1970-01-01T00:00:00.000Z", "content": {"text": "hi"},
            "reply_to": null, "thread": null, "replies": 3,
            "edited_at": "1970-01-01T00:00:01.000Z", "deleted": false,
            "reactions": [{"emoji": "👍", "by": ["bob"]}],
        });
        let mut tombstone = message.clone();
        tombstone["content"] = Value::Null;
        tombstone["edited_at"] = Value::Null;
        tombstone["deleted"] = json!(true);
        tombstone["reactions"] = json!([]);
        let expected = json!({
            "type": "page", "id": "q2", "messages": [message, tombstone], "next_before": 119,
            "conversation_id": "00000000-0000-0000-0000-000000000001",
        });
        assert_eq!(written(&frame), expected);
    }

    #[test]
    fn members_have_their_roles_and_mutes_end() {
        let mut member = MemberRow::new(row().tenant, C, user("bob"));
        member.role = Some(Role::Admin);
        let until = Some(Timestamp(1_000));
        member.muted = Some(Mute { until });
        let frame = ServerFrame::Members {
            id: "q6",
            conversation_id: C,
            members: vec![MemberItem::of(&member)],
            next_cursor: None,
        };
        let expected = json!({
            "type": "members", "id": "q6", "next_cursor": null,
            "conversation_id": "00000000-0000-0000-0000-000000000001",
            "members": [{"user_id": "bob", "role": "admin"}],
        });
        assert_eq!(written(&frame), expected);

        let conversation = ConversationRow {
            conversation_id: C,
            tenant: row().tenant,
            kind: tidings_domain::Kind::Group,
            title: None,
            closed: false,
            created_at: Timestamp(0),
            last_at: Timestamp(0),
            last_seq: 12,
            last_no: 9,
            last_message_id: None,
        };
        for (now, muted) in [(999, true), (1_000, false)] {
            let item = ListItem::of(&conversation, &member, None, Timestamp(now));
            let item = serde_json::to_value(item).unwrap();
            assert_eq!(
                (&item["muted"], &item["unread"]),
                (&json!(muted), &json!(9))
            );
        }
    }
}
