//! Documents as the indexes hold them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidings_domain::{
    ConversationId, Epoch, Kind, MessageId, OwnerId, Ownership, Tenant, Timestamp, UserId,
};
use uuid::Uuid;

use crate::search::{
    ConversationDocument, ConversationHit, MemberDocument, MessageDocument, MessageHit,
};
use crate::{Position, StoreError};
use tidings_query::words::{folded, indexed};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MessageSource {
    message_id: Uuid,
    conversation_id: Uuid,
    tenant: String,
    no: u64,
    by: String,
    at: i64,
    text: Option<String>,
    has_attachment: bool,
    #[serde(default)]
    hidden_for: Vec<String>,
    /// Made of the text when it is written; the index does not keep it.
    #[serde(default, skip_deserializing, skip_serializing_if = "Option::is_none")]
    words: Option<String>,
}

impl MessageSource {
    pub(super) fn of(message: &MessageDocument) -> Self {
        Self {
            message_id: message.message_id.0,
            conversation_id: message.conversation_id.0,
            tenant: message.tenant.as_str().to_owned(),
            no: message.no,
            by: message.by.as_str().to_owned(),
            at: message.at.0,
            text: message.text.clone(),
            has_attachment: message.has_attachment,
            hidden_for: message
                .hidden_for
                .iter()
                .map(|user| user.as_str().to_owned())
                .collect(),
            words: message.text.as_deref().map(indexed),
        }
    }

    pub(super) fn document(self, version: i64) -> Result<MessageDocument, StoreError> {
        let hidden_for: Result<BTreeSet<UserId>, _> =
            self.hidden_for.iter().map(|user| user_id(user)).collect();
        Ok(MessageDocument {
            message_id: MessageId(self.message_id),
            conversation_id: ConversationId(self.conversation_id),
            tenant: tenant(&self.tenant)?,
            no: self.no,
            by: user_id(&self.by)?,
            at: Timestamp(self.at),
            text: self.text,
            has_attachment: self.has_attachment,
            hidden_for: hidden_for?,
            version,
        })
    }

    pub(super) fn hit(self) -> Result<MessageHit, StoreError> {
        Ok(MessageHit {
            message_id: MessageId(self.message_id),
            conversation_id: ConversationId(self.conversation_id),
            no: self.no,
            by: user_id(&self.by)?,
            at: Timestamp(self.at),
            text: self.text.unwrap_or_default(),
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ConversationSource {
    conversation_id: Uuid,
    tenant: String,
    kind: String,
    title: Option<String>,
    created_at: i64,
    #[serde(default, skip_deserializing, skip_serializing_if = "Option::is_none")]
    words: Option<String>,
}

impl ConversationSource {
    pub(super) fn of(conversation: &ConversationDocument) -> Self {
        Self {
            conversation_id: conversation.conversation_id.0,
            tenant: conversation.tenant.as_str().to_owned(),
            kind: conversation.kind.as_str().to_owned(),
            title: conversation.title.clone(),
            created_at: conversation.created_at.0,
            words: conversation.title.as_deref().map(indexed),
        }
    }

    pub(super) fn document(self, version: i64) -> Result<ConversationDocument, StoreError> {
        let tenant = tenant(&self.tenant)?;
        let hit = self.hit()?;
        Ok(ConversationDocument {
            conversation_id: hit.conversation_id,
            tenant,
            kind: hit.kind,
            title: hit.title,
            created_at: hit.created_at,
            version,
        })
    }

    pub(super) fn hit(self) -> Result<ConversationHit, StoreError> {
        Ok(ConversationHit {
            conversation_id: ConversationId(self.conversation_id),
            kind: Kind::parse(&self.kind).ok_or_else(|| unreadable("kind"))?,
            title: self.title,
            created_at: Timestamp(self.created_at),
        })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct MemberSource<'a> {
    conversation_id: Uuid,
    tenant: &'a str,
    user_id: &'a str,
    folded: String,
    is_present: bool,
}

impl<'a> MemberSource<'a> {
    pub(super) fn of(member: &'a MemberDocument) -> Self {
        Self {
            conversation_id: member.conversation_id.0,
            tenant: member.tenant.as_str(),
            user_id: member.user_id.as_str(),
            folded: folded(member.user_id.as_str()),
            is_present: member.is_present,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UserSource {
    tenant: String,
    user_id: String,
    folded: String,
}

impl UserSource {
    pub(super) fn of(tenant: &Tenant, user: &UserId) -> Self {
        Self {
            tenant: tenant.as_str().to_owned(),
            user_id: user.as_str().to_owned(),
            folded: folded(user.as_str()),
        }
    }

    pub(super) fn user_id(self) -> Result<UserId, StoreError> {
        user_id(&self.user_id)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PositionSource {
    partition: i32,
    offset: i64,
    epoch: Option<u64>,
    owner: Option<Uuid>,
}

impl PositionSource {
    pub(super) fn of(position: &Position) -> Self {
        Self {
            partition: position.partition,
            offset: position.offset,
            epoch: position.current.map(|current| current.epoch.0),
            owner: position.current.map(|current| current.owner.0),
        }
    }

    pub(super) fn position(self) -> Position {
        let current = self.epoch.zip(self.owner).map(|(epoch, owner)| Ownership {
            epoch: Epoch(epoch),
            owner: OwnerId(owner),
        });
        Position {
            partition: self.partition,
            offset: self.offset,
            current,
        }
    }
}

fn user_id(text: &str) -> Result<UserId, StoreError> {
    UserId::parse(text).map_err(|_| unreadable("user id"))
}

fn tenant(text: &str) -> Result<Tenant, StoreError> {
    Tenant::parse(text).map_err(|_| unreadable("tenant"))
}

fn unreadable(field: &str) -> StoreError {
    StoreError::Fatal(format!("a document's {field} cannot be read"))
}
