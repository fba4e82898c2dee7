use serde::Serialize;
use serde_json::value::RawValue;
use tidings_domain::{
    Attachment, Change, Content, Event, ForwardedFrom, Kind, Member, MessageId, UserId,
};

use super::{maybe_text, text};

/// An event's JSON: what stands in `event` of a frame.
#[derive(Clone, Debug)]
pub struct EventJson(Box<RawValue>);

impl EventJson {
    /// Writes an event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let body = EventBody::of(event);
        Self(serde_json::value::to_raw_value(&body).expect("events hold only what JSON can say"))
    }

    /// The JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl Serialize for EventJson {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[derive(Serialize)]
#[serde(tag = "kind")]
enum EventBody<'a> {
    #[serde(rename = "message.sent")]
    Sent {
        #[serde(serialize_with = "text")]
        message_id: MessageId,
        no: u64,
        /// Null once it is deleted.
        content: Option<ContentBody<'a>>,
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_text")]
        reply_to: Option<MessageId>,
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_text")]
        thread: Option<MessageId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        forwarded_from: Option<ForwardedFromBody<'a>>,
    },
    #[serde(rename = "message.edited")]
    Edited {
        #[serde(serialize_with = "text")]
        message_id: MessageId,
        /// Null once it is deleted.
        content: Option<ContentBody<'a>>,
    },
    #[serde(rename = "message.deleted")]
    Deleted {
        #[serde(serialize_with = "text")]
        message_id: MessageId,
        scope: &'static str,
    },
    #[serde(rename = "message.reacted")]
    Reacted {
        #[serde(serialize_with = "text")]
        message_id: MessageId,
        emoji: &'a str,
        op: &'static str,
    },
    #[serde(rename = "conversation.updated")]
    Updated(ChangeBody<'a>),
}

impl<'a> EventBody<'a> {
    fn of(event: &'a Event) -> Self {
        match event {
            Event::MessageSent {
                message_id,
                no,
                content,
                reply_to,
                thread,
                forwarded_from,
            } => Self::Sent {
                message_id: *message_id,
                no: *no,
                content: ContentBody::unless_withheld(content),
                reply_to: *reply_to,
                thread: *thread,
                forwarded_from: forwarded_from.as_ref().map(ForwardedFromBody::of),
            },
            Event::MessageEdited {
                message_id,
                content,
            } => Self::Edited {
                message_id: *message_id,
                content: ContentBody::unless_withheld(content),
            },
            Event::MessageDeleted { message_id, scope } => Self::Deleted {
                message_id: *message_id,
                scope: scope.as_str(),
            },
            Event::MessageReacted {
                message_id,
                emoji,
                op,
            } => Self::Reacted {
                message_id: *message_id,
                emoji,
                op: op.as_str(),
            },
            Event::ConversationUpdated(change) => Self::Updated(ChangeBody::of(change)),
        }
    }
}

/// A change: its `op`, and the fields of the command that asked for it.
#[derive(Default, Serialize)]
struct ChangeBody<'a> {
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<ConversationBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<MembersBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
}

impl<'a> ChangeBody<'a> {
    fn of(change: &'a Change) -> Self {
        let op = change.op();
        match change {
            Change::Create {
                kind,
                title,
                members,
            } => Self {
                op,
                conversation: Some(ConversationBody::of(*kind, title.as_deref())),
                members: Some(MembersBody::Roles(
                    members.iter().map(RoleBody::of).collect(),
                )),
                ..Self::default()
            },
            Change::AddMembers(users) | Change::RemoveMembers(users) => Self {
                op,
                members: Some(MembersBody::Names(
                    users.iter().map(UserId::as_str).collect(),
                )),
                ..Self::default()
            },
            Change::Rename(title) => Self {
                op,
                title: Some(title),
                ..Self::default()
            },
            Change::SetRole { user_id, role } => Self {
                op,
                user_id: Some(user_id.as_str()),
                role: Some(role.as_str()),
                ..Self::default()
            },
            Change::Leave | Change::Close | Change::Reopen => Self {
                op,
                ..Self::default()
            },
        }
    }
}

#[derive(Serialize)]
struct ConversationBody<'a> {
    kind: &'static str,
    title: Option<&'a str>,
}

impl<'a> ConversationBody<'a> {
    fn of(kind: Kind, title: Option<&'a str>) -> Self {
        Self {
            kind: kind.as_str(),
            title,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum MembersBody<'a> {
    Roles(Vec<RoleBody<'a>>),
    Names(Vec<&'a str>),
}

#[derive(Serialize)]
struct RoleBody<'a> {
    user_id: &'a str,
    role: &'static str,
}

impl<'a> RoleBody<'a> {
    fn of(member: &'a Member) -> Self {
        Self {
            user_id: member.user_id.as_str(),
            role: member.role.as_str(),
        }
    }
}

/// What a message says, as every frame writes it.
#[derive(Serialize)]
pub(super) struct ContentBody<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<AttachmentBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a RawValue>,
}

impl<'a> ContentBody<'a> {
    /// A text that is empty was taken out of its event.
    fn unless_withheld(content: &'a Content) -> Option<Self> {
        (!content.text.is_empty()).then(|| Self::of(content))
    }

    pub(super) fn of(content: &'a Content) -> Self {
        Self {
            text: &content.text,
            attachments: content.attachments.iter().map(AttachmentBody::of).collect(),
            // Checked when it came in: what is no JSON any more is left out
            // rather than breaking the frame.
            meta: content
                .meta
                .as_deref()
                .and_then(|meta| serde_json::from_str(meta).ok()),
        }
    }
}

#[derive(Serialize)]
struct AttachmentBody<'a> {
    id: &'a str,
    name: &'a str,
    mime: &'a str,
    size: i64,
}

impl<'a> AttachmentBody<'a> {
    fn of(attachment: &'a Attachment) -> Self {
        Self {
            id: &attachment.id,
            name: &attachment.name,
            mime: &attachment.mime,
            size: attachment.size,
        }
    }
}

#[derive(Serialize)]
pub(super) struct ForwardedFromBody<'a> {
    conversation_id: String,
    message_id: String,
    by: &'a str,
}

impl<'a> ForwardedFromBody<'a> {
    pub(super) fn of(from: &'a ForwardedFrom) -> Self {
        Self {
            conversation_id: from.conversation_id.to_string(),
            message_id: from.message_id.to_string(),
            by: from.by.as_str(),
        }
    }
}
