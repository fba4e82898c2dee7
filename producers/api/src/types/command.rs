use serde::Serialize;
use tidings_domain::{ConversationId, TempId};
use tidings_edge::{Delivered, Pending};
use tidings_wire::format_time;
use tidings_wire::frames::OutcomeState;
use utoipa::ToSchema;

use crate::address;

/// A command that is durable and not decided yet.
#[derive(Serialize, ToSchema)]
#[schema(as = Pending)]
pub(crate) struct PendingBody {
    state: PendingState,
    /// The command's Idempotency-Key, made by the server where the request had
    /// none.
    temp_id: String,
    #[schema(format = "uuid")]
    conversation_id: String,
    /// The message it makes or is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    message_id: Option<String>,
    /// When it was taken.
    #[schema(format = DateTime)]
    at: String,
    /// Where to ask what becomes of it; the same as Location.
    outcome: String,
}

/// What a pending command is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PendingState {
    Pending,
}

impl PendingBody {
    pub(crate) fn of(temp_id: &TempId, pending: &Pending) -> Self {
        Self {
            state: PendingState::Pending,
            temp_id: temp_id.to_string(),
            conversation_id: pending.conversation_id.to_string(),
            message_id: pending.message_id.map(|id| id.to_string()),
            at: format_time(pending.at),
            outcome: address::outcome(pending.conversation_id, temp_id),
        }
    }
}

/// A command that was accepted.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivered)]
pub(crate) struct DeliveredBody {
    state: DeliveredState,
    /// The command's Idempotency-Key, made by the server where the request had
    /// none.
    temp_id: String,
    #[schema(format = "uuid")]
    conversation_id: String,
    /// The message it made or is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    message_id: Option<String>,
    /// Its event's position; none of what makes no event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    seq: Option<u64>,
    /// The ordinal of the message it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    no: Option<u64>,
    /// When it was decided first.
    #[schema(format = DateTime)]
    at: String,
    /// Whether it was decided before: this is what was decided then.
    duplicate: bool,
}

/// What an accepted command is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveredState {
    Delivered,
}

impl DeliveredBody {
    pub(crate) fn of(temp_id: &TempId, delivered: &Delivered) -> Self {
        Self {
            state: DeliveredState::Delivered,
            temp_id: temp_id.to_string(),
            conversation_id: delivered.conversation_id.to_string(),
            message_id: delivered.message_id.map(|id| id.to_string()),
            seq: delivered.seq,
            no: delivered.no,
            at: format_time(delivered.at),
            duplicate: delivered.duplicate,
        }
    }
}

/// What became of a command.
#[derive(Serialize, ToSchema)]
#[schema(as = Outcome)]
pub(crate) struct OutcomeBody {
    state: OutcomeName,
    temp_id: String,
    #[schema(format = "uuid")]
    conversation_id: String,
    /// Of a delivered one: the message it made or is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    message_id: Option<String>,
    /// Of a delivered one: its event's position.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    seq: Option<u64>,
    /// Of a delivered one: the ordinal of the message it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    no: Option<u64>,
    /// Of a rejected one: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "not_a_member")]
    code: Option<&'static str>,
}

/// What can have become of a command.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OutcomeName {
    Pending,
    Delivered,
    Rejected,
}

impl OutcomeBody {
    /// None of a command that never became durable.
    pub(crate) fn of(
        conversation_id: ConversationId,
        temp_id: &TempId,
        state: OutcomeState,
    ) -> Option<Self> {
        let pending = Self {
            state: OutcomeName::Pending,
            temp_id: temp_id.to_string(),
            conversation_id: conversation_id.to_string(),
            message_id: None,
            seq: None,
            no: None,
            code: None,
        };
        match state {
            OutcomeState::Unknown => None,
            OutcomeState::Pending => Some(pending),
            OutcomeState::Rejected { code } => Some(Self {
                state: OutcomeName::Rejected,
                code: Some(code.as_str()),
                ..pending
            }),
            OutcomeState::Delivered {
                message_id,
                seq,
                no,
            } => Some(Self {
                state: OutcomeName::Delivered,
                message_id: message_id.map(|id| id.to_string()),
                seq,
                no,
                ..pending
            }),
        }
    }
}
