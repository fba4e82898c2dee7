use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tidings_domain::{
    Attachment, Change, Content, ConversationId, DeleteScope, Event, ForwardedFrom, Kind, Member,
    MessageId, Reaction, ReactionOp, Role, UserId,
};
use uuid::Uuid;

/// A stored row that cannot be read back: of a later version, or damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored {0} cannot be read")]
pub(crate) struct Unreadable(pub(crate) &'static str);

/// An event as the stores keep it: the shape of the socket protocol, so that
/// people can read it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub(crate) enum EventDocument<'a> {
    #[serde(rename = "message.sent")]
    MessageSent {
        message_id: Cow<'a, str>,
        no: u64,
        /// Null after a purge.
        content: Option<ContentDocument<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forwarded_from: Option<ForwardedDocument<'a>>,
    },
    #[serde(rename = "message.edited")]
    MessageEdited {
        message_id: Cow<'a, str>,
        /// Null after a purge.
        content: Option<ContentDocument<'a>>,
    },
    #[serde(rename = "message.deleted")]
    MessageDeleted {
        message_id: Cow<'a, str>,
        scope: Cow<'a, str>,
    },
    #[serde(rename = "message.reacted")]
    MessageReacted {
        message_id: Cow<'a, str>,
        emoji: Cow<'a, str>,
        op: Cow<'a, str>,
    },
    #[serde(rename = "conversation.updated")]
    ConversationUpdated(ChangeDocument<'a>),
}

/// What a message says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ContentDocument<'a> {
    text: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<AttachmentDocument<'a>>,
    /// JSON text, as the client wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct AttachmentDocument<'a> {
    id: Cow<'a, str>,
    name: Cow<'a, str>,
    mime: Cow<'a, str>,
    size: i64,
}

/// A reaction to a message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReactionDocument<'a> {
    emoji: Cow<'a, str>,
    by: Vec<Cow<'a, str>>,
}

/// Where a message was copied from.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForwardedDocument<'a> {
    conversation_id: Cow<'a, str>,
    message_id: Cow<'a, str>,
    by: Cow<'a, str>,
}

/// A change of a conversation, by its `op`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum ChangeDocument<'a> {
    Create {
        conversation: CreatedDocument<'a>,
        members: Vec<MemberDocument<'a>>,
    },
    AddMembers {
        members: Vec<Cow<'a, str>>,
    },
    RemoveMembers {
        members: Vec<Cow<'a, str>>,
    },
    Rename {
        title: Cow<'a, str>,
    },
    SetRole {
        user_id: Cow<'a, str>,
        role: Cow<'a, str>,
    },
    Leave,
    Close,
    Reopen,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CreatedDocument<'a> {
    kind: Cow<'a, str>,
    title: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MemberDocument<'a> {
    user_id: Cow<'a, str>,
    role: Cow<'a, str>,
}

/// An id as text, hyphenated and lower-case.
pub(crate) fn id_text(id: Uuid) -> String {
    id.hyphenated().to_string()
}

pub(crate) fn conversation_id(text: &str) -> Result<ConversationId, Unreadable> {
    Uuid::try_parse(text)
        .map(ConversationId)
        .map_err(|_| Unreadable("conversation id"))
}

pub(crate) fn message_id(text: &str) -> Result<MessageId, Unreadable> {
    Uuid::try_parse(text)
        .map(MessageId)
        .map_err(|_| Unreadable("message id"))
}

pub(crate) fn user_id(text: &str) -> Result<UserId, Unreadable> {
    UserId::parse(text).map_err(|_| Unreadable("user id"))
}

pub(crate) fn role(text: &str) -> Result<Role, Unreadable> {
    Role::parse(text).ok_or(Unreadable("role"))
}

pub(crate) fn kind(text: &str) -> Result<Kind, Unreadable> {
    Kind::parse(text).ok_or(Unreadable("kind of conversation"))
}

pub(crate) fn delete_scope(text: &str) -> Result<DeleteScope, Unreadable> {
    DeleteScope::parse(text).ok_or(Unreadable("delete scope"))
}

pub(crate) fn reactions(reactions: &[Reaction]) -> Vec<ReactionDocument<'_>> {
    reactions.iter().map(Into::into).collect()
}

pub(crate) fn read_reactions(
    documents: Vec<ReactionDocument<'_>>,
) -> Result<Vec<Reaction>, Unreadable> {
    documents.into_iter().map(TryInto::try_into).collect()
}

fn id_cow<'a>(id: Uuid) -> Cow<'a, str> {
    Cow::Owned(id_text(id))
}

fn user_cows(users: &[UserId]) -> Vec<Cow<'_, str>> {
    users.iter().map(|user| user.as_str().into()).collect()
}

fn user_ids(users: &[Cow<'_, str>]) -> Result<Vec<UserId>, Unreadable> {
    users.iter().map(|user| user_id(user)).collect()
}

/// A content, unless it was taken out: a text is never empty.
pub(super) fn kept(content: &Content) -> Option<ContentDocument<'_>> {
    (!content.text.is_empty()).then(|| content.into())
}

impl<'a> From<&'a Event> for EventDocument<'a> {
    fn from(event: &'a Event) -> Self {
        match event {
            Event::MessageSent {
                message_id,
                no,
                content,
                reply_to,
                thread,
                forwarded_from,
            } => Self::MessageSent {
                message_id: id_cow(message_id.0),
                no: *no,
                content: kept(content),
                reply_to: reply_to.map(|id| id_cow(id.0)),
                thread: thread.map(|id| id_cow(id.0)),
                forwarded_from: forwarded_from.as_ref().map(Into::into),
            },
            Event::MessageEdited {
                message_id,
                content,
            } => Self::MessageEdited {
                message_id: id_cow(message_id.0),
                content: kept(content),
            },
            Event::MessageDeleted { message_id, scope } => Self::MessageDeleted {
                message_id: id_cow(message_id.0),
                scope: scope.as_str().into(),
            },
            Event::MessageReacted {
                message_id,
                emoji,
                op,
            } => Self::MessageReacted {
                message_id: id_cow(message_id.0),
                emoji: emoji.into(),
                op: op.as_str().into(),
            },
            Event::ConversationUpdated(change) => Self::ConversationUpdated(change.into()),
        }
    }
}

impl TryFrom<EventDocument<'_>> for Event {
    type Error = Unreadable;

    fn try_from(document: EventDocument<'_>) -> Result<Self, Unreadable> {
        let optional_id = |id: Option<Cow<'_, str>>| id.as_deref().map(message_id).transpose();
        Ok(match document {
            EventDocument::MessageSent {
                message_id: id,
                no,
                content,
                reply_to,
                thread,
                forwarded_from,
            } => Self::MessageSent {
                message_id: message_id(&id)?,
                no,
                content: content.map(Into::into).unwrap_or_default(),
                reply_to: optional_id(reply_to)?,
                thread: optional_id(thread)?,
                forwarded_from: forwarded_from.map(TryInto::try_into).transpose()?,
            },
            EventDocument::MessageEdited {
                message_id: id,
                content,
            } => Self::MessageEdited {
                message_id: message_id(&id)?,
                content: content.map(Into::into).unwrap_or_default(),
            },
            EventDocument::MessageDeleted {
                message_id: id,
                scope,
            } => Self::MessageDeleted {
                message_id: message_id(&id)?,
                scope: delete_scope(&scope)?,
            },
            EventDocument::MessageReacted {
                message_id: id,
                emoji,
                op,
            } => Self::MessageReacted {
                message_id: message_id(&id)?,
                emoji: emoji.into_owned(),
                op: ReactionOp::parse(&op).ok_or(Unreadable("reaction operation"))?,
            },
            EventDocument::ConversationUpdated(change) => {
                Self::ConversationUpdated(change.try_into()?)
            }
        })
    }
}

impl<'a> From<&'a Change> for ChangeDocument<'a> {
    fn from(change: &'a Change) -> Self {
        match change {
            Change::Create {
                kind,
                title,
                members,
            } => Self::Create {
                conversation: CreatedDocument {
                    kind: kind.as_str().into(),
                    title: title.as_deref().map(Into::into),
                },
                members: members
                    .iter()
                    .map(|member| MemberDocument {
                        user_id: member.user_id.as_str().into(),
                        role: member.role.as_str().into(),
                    })
                    .collect(),
            },
            Change::AddMembers(users) => Self::AddMembers {
                members: user_cows(users),
            },
            Change::RemoveMembers(users) => Self::RemoveMembers {
                members: user_cows(users),
            },
            Change::Rename(title) => Self::Rename {
                title: title.into(),
            },
            Change::SetRole { user_id, role } => Self::SetRole {
                user_id: user_id.as_str().into(),
                role: role.as_str().into(),
            },
            Change::Leave => Self::Leave,
            Change::Close => Self::Close,
            Change::Reopen => Self::Reopen,
        }
    }
}

impl TryFrom<ChangeDocument<'_>> for Change {
    type Error = Unreadable;

    fn try_from(document: ChangeDocument<'_>) -> Result<Self, Unreadable> {
        Ok(match document {
            ChangeDocument::Create {
                conversation,
                members,
            } => Self::Create {
                kind: kind(&conversation.kind)?,
                title: conversation.title.map(Cow::into_owned),
                members: members
                    .iter()
                    .map(|member| {
                        Ok(Member {
                            user_id: user_id(&member.user_id)?,
                            role: role(&member.role)?,
                        })
                    })
                    .collect::<Result<_, Unreadable>>()?,
            },
            ChangeDocument::AddMembers { members } => Self::AddMembers(user_ids(&members)?),
            ChangeDocument::RemoveMembers { members } => Self::RemoveMembers(user_ids(&members)?),
            ChangeDocument::Rename { title } => Self::Rename(title.into_owned()),
            ChangeDocument::SetRole {
                user_id: user,
                role: wanted,
            } => Self::SetRole {
                user_id: user_id(&user)?,
                role: role(&wanted)?,
            },
            ChangeDocument::Leave => Self::Leave,
            ChangeDocument::Close => Self::Close,
            ChangeDocument::Reopen => Self::Reopen,
        })
    }
}

impl<'a> From<&'a Content> for ContentDocument<'a> {
    fn from(content: &'a Content) -> Self {
        Self {
            text: content.text.as_str().into(),
            attachments: content
                .attachments
                .iter()
                .map(|attachment| AttachmentDocument {
                    id: attachment.id.as_str().into(),
                    name: attachment.name.as_str().into(),
                    mime: attachment.mime.as_str().into(),
                    size: attachment.size,
                })
                .collect(),
            meta: content.meta.as_deref().map(Into::into),
        }
    }
}

impl From<ContentDocument<'_>> for Content {
    fn from(document: ContentDocument<'_>) -> Self {
        Self {
            text: document.text.into_owned(),
            attachments: document
                .attachments
                .into_iter()
                .map(|attachment| Attachment {
                    id: attachment.id.into_owned(),
                    name: attachment.name.into_owned(),
                    mime: attachment.mime.into_owned(),
                    size: attachment.size,
                })
                .collect(),
            meta: document.meta.map(Cow::into_owned),
        }
    }
}

impl<'a> From<&'a Reaction> for ReactionDocument<'a> {
    fn from(reaction: &'a Reaction) -> Self {
        Self {
            emoji: reaction.emoji.as_str().into(),
            by: user_cows(&reaction.by),
        }
    }
}

impl TryFrom<ReactionDocument<'_>> for Reaction {
    type Error = Unreadable;

    fn try_from(document: ReactionDocument<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            by: user_ids(&document.by)?,
            emoji: document.emoji.into_owned(),
        })
    }
}

impl<'a> From<&'a ForwardedFrom> for ForwardedDocument<'a> {
    fn from(from: &'a ForwardedFrom) -> Self {
        Self {
            conversation_id: id_cow(from.conversation_id.0),
            message_id: id_cow(from.message_id.0),
            by: from.by.as_str().into(),
        }
    }
}

impl TryFrom<ForwardedDocument<'_>> for ForwardedFrom {
    type Error = Unreadable;

    fn try_from(document: ForwardedDocument<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            conversation_id: conversation_id(&document.conversation_id)?,
            message_id: message_id(&document.message_id)?,
            by: user_id(&document.by)?,
        })
    }
}

#[cfg(test)]
mod tests;
