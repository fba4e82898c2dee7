use std::borrow::Cow;

use tidings_domain::{Code, ConversationId, First, FirstOutcome, InputError, MessageId, Timestamp};

/// A command is durable: it will be decided, whatever happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The conversation it is about.
    pub conversation_id: ConversationId,
    /// The message it makes or is about.
    pub message_id: Option<MessageId>,
    /// When the edge took it.
    pub at: Timestamp,
}

/// A command was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The conversation it is about.
    pub conversation_id: ConversationId,
    /// The message it made or is about.
    pub message_id: Option<MessageId>,
    /// Its event's position; none of what makes no event.
    pub seq: Option<u64>,
    /// The message's ordinal, if it made one.
    pub no: Option<u64>,
    /// When it was decided first.
    pub at: Timestamp,
    /// Whether it was decided before.
    pub duplicate: bool,
}

/// Why a command or a question was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The protocol's code.
    pub code: Code,
    /// The same for a person.
    pub message: Cow<'static, str>,
    /// When it may succeed, in milliseconds from now, where that is known.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal with a sentence of its own.
    pub(crate) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_ms: None,
        }
    }

    /// The user has sent too much, and may go on in so many milliseconds.
    pub(crate) fn rate_limited(wait_ms: u64) -> Self {
        Self {
            retry_after_ms: Some(wait_ms),
            ..Code::RateLimited.into()
        }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::new(code, code.sentence())
    }
}

impl From<InputError> for Refusal {
    fn from(error: InputError) -> Self {
        Self::new(error.code, error.to_string())
    }
}

/// A command's last answer: what it made, or why it made nothing.
pub type Answer = Result<Delivered, Refusal>;

/// The answer that a decision made before gives.
pub(crate) fn of_first(
    first: First,
    conversation_id: ConversationId,
    message_id: Option<MessageId>,
) -> Answer {
    let delivered = |seq, no| Delivered {
        conversation_id,
        message_id,
        seq,
        no,
        at: first.at,
        duplicate: true,
    };
    match first.outcome {
        FirstOutcome::Accepted { seq, no } => Ok(delivered(Some(seq), no)),
        FirstOutcome::Noted => Ok(delivered(None, None)),
        FirstOutcome::Rejected(code) => Err(code.into()),
    }
}
