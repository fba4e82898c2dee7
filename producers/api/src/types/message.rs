use serde::Serialize;
use serde_json::value::RawValue;
use tidings_domain::{EditRow, ForwardedFrom, MessageRow, Reaction};
use tidings_wire::format_time;
use utoipa::ToSchema;

/// A message to post.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read by the socket protocol's parser; this describes it"
)]
pub(crate) struct NewMessage {
    /// Where.
    #[schema(format = "uuid")]
    conversation_id: String,
    content: Content,
    /// A message of the same conversation. The reply belongs to its thread.
    #[schema(format = "uuid")]
    reply_to: Option<String>,
}

/// A message's new content.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read by the socket protocol's parser; this describes it"
)]
pub(crate) struct MessageEdit {
    content: Content,
}

/// A reaction to add.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read by the socket protocol's parser; this describes it"
)]
pub(crate) struct NewReaction {
    /// 1 to 32 bytes of UTF-8.
    #[schema(min_length = 1, max_length = 32, example = "👍")]
    emoji: String,
}

/// What a message says.
#[derive(Serialize, ToSchema)]
pub(crate) struct Content {
    /// At most 16,384 bytes of UTF-8.
    #[schema(min_length = 1, max_length = 16384, example = "hello")]
    text: String,
    /// References to files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 10)]
    attachments: Vec<Attachment>,
    /// The client's own JSON object, at most 4 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    meta: Option<Box<RawValue>>,
}

/// A reference to a file.
#[derive(Serialize, ToSchema)]
pub(crate) struct Attachment {
    /// Where it is stored.
    #[schema(min_length = 1, max_length = 256)]
    id: String,
    #[schema(max_length = 256)]
    name: String,
    /// Its media type.
    #[schema(max_length = 256, example = "image/png")]
    mime: String,
    /// In bytes.
    #[schema(minimum = 0)]
    size: i64,
}

impl Content {
    pub(super) fn of(content: &tidings_domain::Content) -> Self {
        let attachments = content.attachments.iter().map(|attachment| Attachment {
            id: attachment.id.clone(),
            name: attachment.name.clone(),
            mime: attachment.mime.clone(),
            size: attachment.size,
        });
        Self {
            text: content.text.clone(),
            attachments: attachments.collect(),
            // Checked when it came in: what is no JSON any more is left out.
            meta: content
                .meta
                .as_deref()
                .and_then(|meta| serde_json::from_str(meta).ok()),
        }
    }
}

/// A message.
#[derive(Serialize, ToSchema)]
pub(crate) struct Message {
    #[schema(format = "uuid")]
    message_id: String,
    #[schema(format = "uuid")]
    conversation_id: String,
    /// Its ordinal among the conversation's messages: 1, 2, 3 …
    #[schema(minimum = 1)]
    no: u64,
    /// The event that posted it.
    #[schema(minimum = 1)]
    seq: u64,
    /// The last event that changed it; what its ETag says.
    #[schema(minimum = 1)]
    rev: u64,
    /// Who wrote it.
    by: String,
    #[schema(format = DateTime)]
    at: String,
    /// None of a deleted message.
    #[schema(required)]
    content: Option<Content>,
    #[schema(required, format = "uuid")]
    reply_to: Option<String>,
    /// The first message of its thread.
    #[schema(required, format = "uuid")]
    thread: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded_from: Option<Forwarded>,
    /// How many replies its thread has, if it is the thread's first message.
    #[schema(minimum = 0)]
    replies: u64,
    #[schema(required, format = DateTime)]
    edited_at: Option<String>,
    /// Whether it was deleted for everyone.
    deleted: bool,
    /// In order of first use.
    reactions: Vec<Reacted>,
}

/// Where a message was copied from.
#[derive(Serialize, ToSchema)]
pub(crate) struct Forwarded {
    #[schema(format = "uuid")]
    conversation_id: String,
    #[schema(format = "uuid")]
    message_id: String,
    /// Who wrote it there.
    by: String,
}

impl Forwarded {
    fn of(from: &ForwardedFrom) -> Self {
        Self {
            conversation_id: from.conversation_id.to_string(),
            message_id: from.message_id.to_string(),
            by: from.by.to_string(),
        }
    }
}

/// A reaction and those who gave it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reacted {
    #[schema(example = "👍")]
    emoji: String,
    #[schema(min_items = 1)]
    by: Vec<String>,
}

impl Reacted {
    fn of(reaction: &Reaction) -> Self {
        Self {
            emoji: reaction.emoji.clone(),
            by: reaction.by.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Message {
    pub(crate) fn of(row: &MessageRow) -> Self {
        let deleted = row.deleted.is_some();
        // The text of a deleted message may still be in the store.
        let content = row.content.as_ref().filter(|_| !deleted);
        Self {
            message_id: row.message_id.to_string(),
            conversation_id: row.conversation_id.to_string(),
            no: row.no,
            seq: row.seq,
            rev: row.rev,
            by: row.by.to_string(),
            at: format_time(row.at),
            content: content.map(Content::of),
            reply_to: row.reply_to.map(|id| id.to_string()),
            thread: row.thread.map(|id| id.to_string()),
            forwarded_from: row.forwarded_from.as_ref().map(Forwarded::of),
            replies: row.replies,
            edited_at: row.edited_at.map(format_time),
            deleted,
            reactions: row.reactions.iter().map(Reacted::of).collect(),
        }
    }
}

/// A page of messages, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct MessagePage {
    pub(crate) messages: Vec<Message>,
    /// The `cursor` of the next page; none at the end.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}

/// A message's earlier contents, oldest first. Those of a deleted message are
/// kept from members' reach.
#[derive(Serialize, ToSchema)]
pub(crate) struct EditList {
    #[schema(format = "uuid")]
    pub(crate) message_id: String,
    pub(crate) edits: Vec<Edit>,
}

/// What a message said until an event replaced it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Edit {
    /// The event that had brought this content.
    #[schema(minimum = 1)]
    seq: u64,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    content: Content,
}

impl Edit {
    pub(crate) fn of(row: &EditRow) -> Self {
        Self {
            seq: row.seq,
            at: format_time(row.at),
            content: Content::of(&row.content),
        }
    }
}
