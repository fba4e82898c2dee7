//! The questions and their fields.

use tidings_domain::{Code, ConversationId, InputError, MessageId, TempId};

use super::fields::{self, Fields};
use super::search::{self, Search};

/// The most events a `sync` may ask for.
pub const MAX_SYNC: usize = 1_000;
/// The most messages a `history` may ask for.
pub const MAX_HISTORY: usize = 100;
/// The most conversations a `list` may ask for.
pub const MAX_LIST: usize = 100;
/// The most members a `members` may ask for.
pub const MAX_MEMBERS: usize = 100;
/// The most `temp_id`s an `outcome` may ask for.
pub const MAX_OUTCOMES: usize = 100;
const DEFAULT_SYNC: usize = 500;
const DEFAULT_HISTORY: usize = 50;
const DEFAULT_LIST: usize = 50;
const DEFAULT_MEMBERS: usize = 100;
/// No conversation gets this far; stores keep a seq and a `no` as signed
/// numbers.
pub(super) const MAX_SEQ: u64 = i64::MAX as u64 - 1;
/// The longest `id` a client may give a question, in bytes.
const MAX_QUESTION_ID: usize = 256;

/// What a client wants to know, to be answered once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The events of a conversation.
    Sync {
        /// Of which.
        conversation_id: ConversationId,
        /// The last event the client has; 0: none.
        after: u64,
        /// How many at most: 1 to [`MAX_SYNC`].
        limit: usize,
    },
    /// A page of messages, newest first.
    History {
        /// Of which conversation.
        conversation_id: ConversationId,
        /// Only messages before this `no`.
        before: Option<u64>,
        /// Only this thread's replies.
        thread: Option<MessageId>,
        /// How many at most: 1 to [`MAX_HISTORY`].
        limit: usize,
    },
    /// The own conversations.
    List {
        /// How many at most: 1 to [`MAX_LIST`].
        limit: usize,
        /// Where the page before ended, as that page's `next_cursor` said.
        cursor: Option<String>,
    },
    /// The members of a conversation.
    Members {
        /// Of which.
        conversation_id: ConversationId,
        /// How many at most: 1 to [`MAX_MEMBERS`].
        limit: usize,
        /// Where the page before ended, as that page's `next_cursor` said.
        cursor: Option<String>,
    },
    /// What became of commands: at most [`MAX_OUTCOMES`].
    Outcome(Vec<(ConversationId, TempId)>),
    /// A search.
    Search(Search),
}

/// Reads the fields of the question `kind`; none: there is no such question.
pub(super) fn parse(kind: &str, fields: &Fields<'_>) -> Option<Result<Question, InputError>> {
    Some(match kind {
        "sync" => sync(fields),
        "history" => history(fields),
        "list" => list(fields),
        "members" => members(fields),
        "outcome" => commands(fields).map(Question::Outcome),
        "search" => search::parse(fields).map(Question::Search),
        _ => return None,
    })
}

/// The client's own id of a question.
pub(super) fn id(fields: &Fields<'_>) -> Result<String, InputError> {
    let id = fields.required_text("id")?;
    if id.is_empty() || id.len() > MAX_QUESTION_ID {
        return Err(InputError::invalid(
            "id",
            format!("must be 1 to {MAX_QUESTION_ID} bytes"),
        ));
    }
    Ok(id.into_owned())
}

fn sync(fields: &Fields<'_>) -> Result<Question, InputError> {
    Ok(Question::Sync {
        conversation_id: fields.conversation_id()?,
        after: fields.count("after")?.unwrap_or(0).min(MAX_SEQ),
        limit: fields.limit("limit", DEFAULT_SYNC, MAX_SYNC)?,
    })
}

fn history(fields: &Fields<'_>) -> Result<Question, InputError> {
    Ok(Question::History {
        conversation_id: fields.conversation_id()?,
        before: fields.count("before")?.map(|no| no.min(MAX_SEQ)),
        thread: fields
            .text("thread")?
            .map(|text| MessageId::parse("thread", &text))
            .transpose()?,
        limit: fields.limit("limit", DEFAULT_HISTORY, MAX_HISTORY)?,
    })
}

fn list(fields: &Fields<'_>) -> Result<Question, InputError> {
    Ok(Question::List {
        limit: fields.limit("limit", DEFAULT_LIST, MAX_LIST)?,
        cursor: fields.text("cursor")?.map(Into::into),
    })
}

fn members(fields: &Fields<'_>) -> Result<Question, InputError> {
    Ok(Question::Members {
        conversation_id: fields.conversation_id()?,
        limit: fields.limit("limit", DEFAULT_MEMBERS, MAX_MEMBERS)?,
        cursor: fields.text("cursor")?.map(Into::into),
    })
}

fn commands(fields: &Fields<'_>) -> Result<Vec<(ConversationId, TempId)>, InputError> {
    const FIELD: &str = "temp_ids";
    let items = fields::list(FIELD, fields.required(FIELD)?)?;
    if items.len() > MAX_OUTCOMES {
        let message = format!("holds {}, at most {MAX_OUTCOMES}", items.len());
        return Err(InputError::new(Code::TooMany, FIELD, message));
    }
    items
        .into_iter()
        .map(|raw| {
            let item = Fields::nested(FIELD, raw)?;
            // A forward's commands are asked for by their own `f1/1`.
            let temp_id = TempId::parse_stored(&item.required_text("temp_id")?)?;
            Ok((item.conversation_id()?, temp_id))
        })
        .collect()
}
