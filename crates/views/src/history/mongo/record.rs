use std::borrow::Cow;

use mongodb::bson::DateTime;
use serde::{Deserialize, Serialize};
use tidings_domain::{
    Code, CommandKey, ConversationId, ConversationRow, Epoch, FirstOutcome, MemberRow, Mute,
    OutcomeRow, OwnerId, Ownership, TempId, Tenant, Timestamp, UserId,
};
use uuid::Uuid;

use crate::history::Position;
use crate::history::document::{self, Unreadable, id_text};

pub(super) type Text<'a> = Cow<'a, str>;

/// A document of `conversations`. `_id` is the conversation's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ConversationRecord<'a> {
    #[serde(rename = "_id")]
    id: Text<'a>,
    tenant: Text<'a>,
    kind: Text<'a>,
    created_at: DateTime,
    state: ConversationState<'a>,
}

/// What changes of a conversation. Its revision comes first, see `write`.
#[derive(Debug, Serialize, Deserialize)]
struct ConversationState<'a> {
    last_seq: u64,
    title: Option<Text<'a>>,
    closed: bool,
    last_at: DateTime,
    last_no: u64,
    last_message_id: Option<Text<'a>>,
}

/// A document of `members`. `_id` is `conversation:user`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MemberRecord<'a> {
    #[serde(rename = "_id")]
    id: Text<'a>,
    tenant: Text<'a>,
    conversation_id: Text<'a>,
    user_id: Text<'a>,
    state: MemberState<'a>,
    settings: MemberSettings,
    read_no: u64,
}

/// What events change of a member. Its revision comes first, see `write`.
#[derive(Debug, Serialize, Deserialize)]
struct MemberState<'a> {
    rev: u64,
    role: Option<Text<'a>>,
}

/// What members change for themselves. Its revision comes first, see `write`.
#[derive(Debug, Serialize, Deserialize)]
struct MemberSettings {
    rev: i64,
    archived: bool,
    muted: bool,
    muted_until: Option<DateTime>,
}

/// A document of `outcomes`, of every command that sent no message: a message
/// is found by its command's key already, which is its id. `_id` is that key;
/// with `:event` behind it where the command made an event, and `:own` where it
/// noted an own change (which has neither seq nor code), as a command may be
/// refused first, and accepted when it comes again after the dedupe window.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OutcomeRecord<'a> {
    #[serde(rename = "_id")]
    id: Text<'a>,
    tenant: Text<'a>,
    conversation_id: Text<'a>,
    by: Text<'a>,
    temp_id: Text<'a>,
    at: DateTime,
    seq: Option<u64>,
    no: Option<u64>,
    code: Option<Text<'a>>,
    message_id: Option<Text<'a>>,
}

/// A document of `positions`. `_id` is the partition.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PositionRecord<'a> {
    #[serde(rename = "_id")]
    partition: i32,
    state: PositionState<'a>,
}

/// What changes of a position. Its revision comes first, see `write`.
#[derive(Debug, Serialize, Deserialize)]
struct PositionState<'a> {
    offset: i64,
    epoch: Option<u64>,
    owner: Option<Text<'a>>,
}

pub(super) fn member_id(conversation_id: ConversationId, user_id: &UserId) -> String {
    format!("{conversation_id}:{user_id}")
}

/// The `_id` of the outcome of a command that was refused, or a duplicate.
pub(super) fn outcome_id(key: CommandKey) -> String {
    id_text(key.0)
}

/// The `_id` of the outcome of a command that made an event, but no message.
pub(super) fn event_outcome_id(key: CommandKey) -> String {
    format!("{}{OF_EVENT}", id_text(key.0))
}

/// The `_id` of the outcome of a command that noted an own change.
pub(super) fn own_outcome_id(key: CommandKey) -> String {
    format!("{}{OWN}", id_text(key.0))
}

const OF_EVENT: &str = ":event";
const OWN: &str = ":own";

pub(super) fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.0)
}

pub(super) fn timestamp(at: DateTime) -> Timestamp {
    Timestamp(at.timestamp_millis())
}

pub(super) fn tenant(text: &str) -> Result<Tenant, Unreadable> {
    Tenant::parse(text).map_err(|_| Unreadable("tenant"))
}

pub(super) fn temp_id(text: &str) -> Result<TempId, Unreadable> {
    TempId::parse_stored(text).map_err(|_| Unreadable("temp_id"))
}

pub(super) fn optional_id<'a>(id: Option<Uuid>) -> Option<Text<'a>> {
    id.map(|id| Cow::Owned(id_text(id)))
}

impl<'a> From<&'a ConversationRow> for ConversationRecord<'a> {
    fn from(row: &'a ConversationRow) -> Self {
        Self {
            id: id_text(row.conversation_id.0).into(),
            tenant: row.tenant.as_str().into(),
            kind: row.kind.as_str().into(),
            created_at: date(row.created_at),
            state: ConversationState {
                last_seq: row.last_seq,
                title: row.title.as_deref().map(Into::into),
                closed: row.closed,
                last_at: date(row.last_at),
                last_no: row.last_no,
                last_message_id: optional_id(row.last_message_id.map(|id| id.0)),
            },
        }
    }
}

impl TryFrom<ConversationRecord<'_>> for ConversationRow {
    type Error = Unreadable;

    fn try_from(record: ConversationRecord<'_>) -> Result<Self, Unreadable> {
        let state = record.state;
        let last_message_id = state.last_message_id.as_deref().map(document::message_id);
        Ok(Self {
            conversation_id: document::conversation_id(&record.id)?,
            tenant: tenant(&record.tenant)?,
            kind: document::kind(&record.kind)?,
            title: state.title.map(Cow::into_owned),
            closed: state.closed,
            created_at: timestamp(record.created_at),
            last_at: timestamp(state.last_at),
            last_seq: state.last_seq,
            last_no: state.last_no,
            last_message_id: last_message_id.transpose()?,
        })
    }
}

impl<'a> From<&'a MemberRow> for MemberRecord<'a> {
    fn from(row: &'a MemberRow) -> Self {
        Self {
            id: member_id(row.conversation_id, &row.user_id).into(),
            tenant: row.tenant.as_str().into(),
            conversation_id: id_text(row.conversation_id.0).into(),
            user_id: row.user_id.as_str().into(),
            state: MemberState {
                rev: row.rev,
                role: row.role.map(|role| role.as_str().into()),
            },
            settings: MemberSettings {
                rev: row.settings_rev,
                archived: row.archived,
                muted: row.muted.is_some(),
                muted_until: row.muted.and_then(|mute| mute.until).map(date),
            },
            read_no: row.read_no,
        }
    }
}

impl TryFrom<MemberRecord<'_>> for MemberRow {
    type Error = Unreadable;

    fn try_from(record: MemberRecord<'_>) -> Result<Self, Unreadable> {
        let settings = record.settings;
        Ok(Self {
            conversation_id: document::conversation_id(&record.conversation_id)?,
            user_id: document::user_id(&record.user_id)?,
            tenant: tenant(&record.tenant)?,
            role: record
                .state
                .role
                .as_deref()
                .map(document::role)
                .transpose()?,
            read_no: record.read_no,
            rev: record.state.rev,
            archived: settings.archived,
            muted: settings.muted.then_some(Mute {
                until: settings.muted_until.map(timestamp),
            }),
            settings_rev: settings.rev,
        })
    }
}

impl<'a> OutcomeRecord<'a> {
    /// The record of an outcome, under one of the two ids of its command.
    pub(super) fn new(row: &'a OutcomeRow, id: fn(CommandKey) -> String) -> Self {
        let key = CommandKey::of(&row.tenant, row.conversation_id, &row.by, &row.temp_id);
        let (seq, no, code) = match row.outcome {
            FirstOutcome::Accepted { seq, no } => (Some(seq), no, None),
            FirstOutcome::Noted => (None, None, None),
            FirstOutcome::Rejected(code) => (None, None, Some(code.as_str().into())),
        };
        Self {
            id: id(key).into(),
            tenant: row.tenant.as_str().into(),
            conversation_id: id_text(row.conversation_id.0).into(),
            by: row.by.as_str().into(),
            temp_id: row.temp_id.as_str().into(),
            at: date(row.at),
            seq,
            no,
            code,
            message_id: optional_id(row.message_id.map(|id| id.0)),
        }
    }

    /// Of several outcomes of one command, the lowest counts.
    pub(super) fn rank(&self) -> u8 {
        match &self.id {
            id if id.ends_with(OF_EVENT) => 0,
            id if id.ends_with(OWN) => 1,
            _ => 2,
        }
    }

    /// Whether the command made an event.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn is_of_event(&self) -> bool {
        self.rank() == 0
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl TryFrom<OutcomeRecord<'_>> for OutcomeRow {
    type Error = Unreadable;

    fn try_from(record: OutcomeRecord<'_>) -> Result<Self, Unreadable> {
        let outcome = match (record.seq, record.code.as_deref()) {
            (Some(seq), _) => FirstOutcome::Accepted { seq, no: record.no },
            (None, None) => FirstOutcome::Noted,
            (None, Some(code)) => {
                FirstOutcome::Rejected(Code::parse(code).ok_or(Unreadable("code"))?)
            }
        };
        Ok(Self {
            tenant: tenant(&record.tenant)?,
            conversation_id: document::conversation_id(&record.conversation_id)?,
            by: document::user_id(&record.by)?,
            temp_id: temp_id(&record.temp_id)?,
            at: timestamp(record.at),
            outcome,
            message_id: record
                .message_id
                .as_deref()
                .map(document::message_id)
                .transpose()?,
        })
    }
}

impl From<&Position> for PositionRecord<'_> {
    fn from(position: &Position) -> Self {
        Self {
            partition: position.partition,
            state: PositionState {
                offset: position.offset,
                epoch: position.current.map(|current| current.epoch.0),
                owner: optional_id(position.current.map(|current| current.owner.0)),
            },
        }
    }
}

impl TryFrom<PositionRecord<'_>> for Position {
    type Error = Unreadable;

    fn try_from(record: PositionRecord<'_>) -> Result<Self, Unreadable> {
        let current = match (record.state.epoch, record.state.owner.as_deref()) {
            (Some(epoch), Some(owner)) => {
                let owner = Uuid::try_parse(owner).map_err(|_| Unreadable("owner"))?;
                Some(Ownership {
                    epoch: Epoch(epoch),
                    owner: OwnerId(owner),
                })
            }
            _ => None,
        };
        Ok(Self {
            partition: record.partition,
            offset: record.state.offset,
            current,
        })
    }
}
