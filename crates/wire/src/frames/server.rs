use serde::Serialize;
use tidings_domain::{
    Code, ConversationId, EventRow, FirstOutcome, MessageId, OutcomeRow, Own, TempId, Tenant,
    Timestamp, UserId,
};

use super::event::EventJson;
use super::page::{ListItem, MemberItem, PageMessage};
use super::search::Results;
use super::{maybe_text, maybe_time, text, time, to_json};

/// The code of the `error` that answers a type the protocol does not have.
pub const UNKNOWN_TYPE: &str = "unknown_type";

/// A frame to a client.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    /// Answers a good `hello`.
    Welcome {
        /// The connection's own id, for logs.
        session_id: &'a str,
        /// Who the token names.
        #[serde(serialize_with = "text")]
        user_id: &'a UserId,
        /// Of which tenant.
        #[serde(serialize_with = "text")]
        tenant: &'a Tenant,
        /// The server's clock.
        #[serde(serialize_with = "time")]
        server_time: Timestamp,
        /// The heartbeat, in seconds.
        heartbeat_s: u64,
        /// The largest frame taken, in bytes.
        max_frame_bytes: usize,
    },
    /// A command is durable.
    Pending {
        /// The client's own id of it.
        #[serde(serialize_with = "text")]
        temp_id: &'a TempId,
        /// The conversation it is about.
        #[serde(serialize_with = "text")]
        conversation_id: ConversationId,
        /// The message it makes or is about.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_text")]
        message_id: Option<MessageId>,
        /// When the edge took it.
        #[serde(serialize_with = "time")]
        at: Timestamp,
    },
    /// A command was accepted.
    Delivered {
        /// The client's own id of it.
        #[serde(serialize_with = "text")]
        temp_id: &'a TempId,
        /// The conversation it is about.
        #[serde(serialize_with = "text")]
        conversation_id: ConversationId,
        /// The message it made or is about.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_text")]
        message_id: Option<MessageId>,
        /// Its event's position; none of what makes no event.
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// The message's ordinal.
        #[serde(skip_serializing_if = "Option::is_none")]
        no: Option<u64>,
        /// When it was decided first.
        #[serde(serialize_with = "time")]
        at: Timestamp,
        /// Whether it was decided before.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        duplicate: bool,
    },
    /// A command was refused.
    Rejected {
        /// The client's own id of it.
        #[serde(serialize_with = "text")]
        temp_id: &'a TempId,
        /// Why.
        #[serde(serialize_with = "text")]
        code: Code,
        /// The same for a person.
        message: &'a str,
        /// Whether the same command may succeed later.
        retry: bool,
        /// When, in milliseconds from now.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// Something happened in a conversation.
    Event {
        /// In which.
        #[serde(serialize_with = "text")]
        conversation_id: ConversationId,
        /// At which position.
        seq: u64,
        /// When.
        #[serde(serialize_with = "time")]
        at: Timestamp,
        /// By whom.
        #[serde(serialize_with = "text")]
        by: &'a UserId,
        /// The sender's id of the command: only for the sender's own sockets.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_text")]
        temp_id: Option<&'a TempId>,
        /// What.
        event: &'a EventJson,
    },
    /// Something of the user's own changed, by another of their sockets.
    Own {
        /// In which conversation.
        #[serde(serialize_with = "text")]
        conversation_id: ConversationId,
        /// What.
        change: OwnChange,
    },
    /// A member has read so far.
    Read {
        /// Where.
        #[serde(serialize_with = "text")]
        conversation_id: ConversationId,
        /// Who.
        #[serde(serialize_with = "text")]
        by: &'a UserId,
        /// The `no` of the last message they have read.
        up_to: u64,
        /// When.
        #[serde(serialize_with = "time")]
        at: Timestamp,
    },
    /// A member types, or stopped.
    Typing {
        /// Where.
        #[serde(serialize_with = "text")]
        conversation_id: ConversationId,
        /// Who.
        #[serde(serialize_with = "text")]
        by: &'a UserId,
        /// Whether they type.
        on: bool,
    },
    /// A user came online or went offline.
    Presence {
        /// Who.
        #[serde(serialize_with = "text")]
        user_id: &'a UserId,
        /// Whether they have a socket anywhere.
        online: bool,
    },
    /// Answers `sync`.
    Changes {
        /// The question's id.
        id: &'a str,
        /// Of which conversation.
        #[serde(serialize_with = "text")]
        conversation_id: ConversationId,
        /// A contiguous run, oldest first.
        events: Vec<ChangeItem<'a>>,
        /// The conversation's head.
        last_seq: u64,
        /// Whether there are more after these.
        more: bool,
    },
    /// Answers `history`.
    Page {
        /// The question's id.
        id: &'a str,
        /// Of which conversation.
        #[serde(serialize_with = "text")]
        conversation_id: ConversationId,
        /// Newest first.
        messages: Vec<PageMessage<'a>>,
        /// The `no` before which the next page begins; none at the end.
        next_before: Option<u64>,
    },
    /// Answers `members`.
    Members {
        /// The question's id.
        id: &'a str,
        /// Of which conversation.
        #[serde(serialize_with = "text")]
        conversation_id: ConversationId,
        /// By user id.
        members: Vec<MemberItem<'a>>,
        /// Where the next page goes on.
        next_cursor: Option<String>,
    },
    /// Answers `list`.
    Conversations {
        /// The question's id.
        id: &'a str,
        /// Latest activity first.
        conversations: Vec<ListItem<'a>>,
        /// Where the next page goes on.
        next_cursor: Option<String>,
    },
    /// Answers `search`.
    Results(Results<'a>),
    /// Answers `outcome`.
    Outcomes {
        /// The question's id.
        id: &'a str,
        /// One for each command asked for, in that order.
        outcomes: Vec<OutcomeItem<'a>>,
    },
    /// What cannot be answered or understood.
    Error {
        /// The question's id, if it had one.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        /// Why; a [`Code`] or [`UNKNOWN_TYPE`].
        code: &'a str,
        /// The same for a person.
        message: &'a str,
        /// Whether the same question may be answered later.
        retry: bool,
        /// When, in milliseconds from now.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// Answers `ping`.
    Pong,
    /// The connection is about to be closed.
    Bye {
        /// The close frame's code.
        code: u16,
        /// Whether the client should come back.
        reconnect: bool,
        /// Within how many milliseconds, at random.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        /// Why, for a person.
        message: &'a str,
    },
}

impl<'a> ServerFrame<'a> {
    /// A refusal.
    #[must_use]
    pub fn rejected(temp_id: &'a TempId, code: Code, message: &'a str) -> Self {
        Self::Rejected {
            temp_id,
            code,
            message,
            retry: code.retry(),
            retry_after_ms: None,
        }
    }

    /// An `error` with one of the protocol's codes.
    #[must_use]
    pub fn error(id: Option<&'a str>, code: Code, message: &'a str) -> Self {
        Self::Error {
            id,
            code: code.as_str(),
            message,
            retry: code.retry(),
            retry_after_ms: None,
        }
    }

    /// Tells a user's other sockets of what is the user's own.
    #[must_use]
    pub fn own(conversation_id: ConversationId, own: &Own) -> Self {
        let change = OwnChange::of(own);
        Self::Own {
            conversation_id,
            change,
        }
    }

    /// The frame's text.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

/// A change of what is a user's own in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum OwnChange {
    /// They have read so far.
    Read {
        /// The `no` of the last message read.
        up_to: u64,
    },
    /// They have deleted a message for themselves.
    Delete {
        /// Which.
        #[serde(serialize_with = "text")]
        message_id: MessageId,
    },
    /// They have put the conversation out of the way.
    Archive,
    /// They have brought it back.
    Unarchive,
    /// They want no notifications.
    Mute {
        /// Until when; null: for ever.
        #[serde(serialize_with = "maybe_time")]
        until: Option<Timestamp>,
    },
    /// They want notifications again.
    Unmute,
}

impl OwnChange {
    fn of(own: &Own) -> Self {
        match own {
            Own::Read { up_to } => Self::Read { up_to: *up_to },
            Own::Hide(message_id) => Self::Delete {
                message_id: *message_id,
            },
            Own::Archive => Self::Archive,
            Own::Unarchive => Self::Unarchive,
            Own::Mute { until } => Self::Mute { until: *until },
            Own::Unmute => Self::Unmute,
        }
    }
}

/// An event in `changes`.
#[derive(Serialize)]
pub struct ChangeItem<'a> {
    /// Its position.
    pub seq: u64,
    /// When it was decided.
    #[serde(serialize_with = "time")]
    pub at: Timestamp,
    /// By whom.
    #[serde(serialize_with = "text")]
    pub by: &'a UserId,
    /// What happened.
    pub event: EventJson,
}

impl<'a> ChangeItem<'a> {
    /// A row of the history view.
    #[must_use]
    pub fn of(row: &'a EventRow) -> Self {
        Self {
            seq: row.seq,
            at: row.at,
            by: &row.by,
            event: EventJson::of(&row.event),
        }
    }
}

/// What became of one command.
#[derive(Serialize)]
pub struct OutcomeItem<'a> {
    /// The client's own id of it.
    #[serde(serialize_with = "text")]
    pub temp_id: &'a TempId,
    /// What became of it.
    #[serde(flatten)]
    pub state: OutcomeState,
}

/// What can have become of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum OutcomeState {
    /// Accepted.
    Delivered {
        /// The message it made or is about.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_text")]
        message_id: Option<MessageId>,
        /// Its event's position; none of what makes no event.
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// The message's ordinal.
        #[serde(skip_serializing_if = "Option::is_none")]
        no: Option<u64>,
    },
    /// Refused.
    Rejected {
        /// Why.
        #[serde(serialize_with = "text")]
        code: Code,
    },
    /// Durable, and not decided yet.
    Pending,
    /// It never became durable.
    Unknown,
}

impl OutcomeState {
    /// Of a first decision, and the message it made or is about.
    #[must_use]
    pub fn of(first: FirstOutcome, message_id: Option<MessageId>) -> Self {
        let delivered = |seq, no| Self::Delivered {
            message_id,
            seq,
            no,
        };
        match first {
            FirstOutcome::Accepted { seq, no } => delivered(Some(seq), no),
            FirstOutcome::Noted => delivered(None, None),
            FirstOutcome::Rejected(code) => Self::Rejected { code },
        }
    }
}

impl From<&OutcomeRow> for OutcomeState {
    fn from(row: &OutcomeRow) -> Self {
        Self::of(row.outcome, row.message_id)
    }
}
