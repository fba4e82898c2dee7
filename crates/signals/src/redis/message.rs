use serde::{Deserialize, Serialize};
use tidings_domain::{ConversationId, Tenant, UserId};
use uuid::Uuid;

use crate::{EdgeId, Presence, Signal, Typing};

/// A signal as it is published; the tenant is the channel's.
#[derive(Serialize, Deserialize)]
pub(super) struct Message {
    /// The edge that says it.
    pub(super) from: Uuid,
    #[serde(flatten)]
    body: Body,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Body {
    Typing {
        conversation_id: Uuid,
        by: String,
        on: bool,
    },
    Presence {
        user_id: String,
        online: bool,
        conversations: Vec<Uuid>,
    },
}

impl Message {
    pub(super) fn typing(from: EdgeId, typing: &Typing) -> Self {
        let body = Body::Typing {
            conversation_id: typing.conversation_id.0,
            by: typing.by.to_string(),
            on: typing.on,
        };
        Self { from: from.0, body }
    }

    pub(super) fn presence(
        from: EdgeId,
        user: &UserId,
        online: bool,
        conversations: &[ConversationId],
    ) -> Self {
        let body = Body::Presence {
            user_id: user.to_string(),
            online,
            conversations: conversations.iter().map(|id| id.0).collect(),
        };
        Self { from: from.0, body }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("ids and flags have JSON")
    }

    /// None for what another version says.
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// None where an id is none.
    pub(super) fn signal(self, tenant: Tenant) -> Option<Signal> {
        Some(match self.body {
            Body::Typing {
                conversation_id,
                by,
                on,
            } => Signal::Typing(Typing {
                tenant,
                conversation_id: ConversationId(conversation_id),
                by: UserId::parse(&by).ok()?,
                on,
            }),
            Body::Presence {
                user_id,
                online,
                conversations,
            } => Signal::Presence(Presence {
                tenant,
                user_id: UserId::parse(&user_id).ok()?,
                online,
                conversations: conversations.into_iter().map(ConversationId).collect(),
            }),
        })
    }

    pub(super) fn is_typing(&self) -> bool {
        matches!(self.body, Body::Typing { .. })
    }
}
