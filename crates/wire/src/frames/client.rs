use tidings_domain::{
    Code, Content, ConversationId, DeleteScope, InputError, Kind, MessageId, ReactionOp, TempId,
    Update, UserId,
};

use super::fields::{self, Fields};
use super::request;

/// The most events a `sync` may ask for.
pub const MAX_SYNC: usize = 1_000;
/// The most conversations a `list` may ask for.
pub const MAX_LIST: usize = 100;
/// The most `temp_id`s an `outcome` may ask for.
pub const MAX_OUTCOMES: usize = 100;
const DEFAULT_SYNC: usize = 500;
const DEFAULT_LIST: usize = 50;
/// No conversation gets this far; stores keep a seq as a signed number.
const MAX_SEQ: u64 = i64::MAX as u64 - 1;
/// The longest `id` a client may give a question, in bytes.
const MAX_QUESTION_ID: usize = 256;

/// A frame from a client, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// The first frame: who is there.
    Hello {
        /// The JWT.
        token: String,
    },
    /// Asks for a `pong`.
    Ping,
    /// Answers a `ping`.
    Pong,
    /// Asks for a change.
    Command {
        /// The client's own id of it.
        temp_id: TempId,
        /// Whether the client says that it sent it before.
        retry: bool,
        /// What it asks.
        request: Request,
    },
    /// Asks for events of a conversation.
    Sync {
        /// The question's id.
        id: String,
        /// Of which conversation.
        conversation_id: ConversationId,
        /// The last event the client has; 0: none.
        after: u64,
        /// How many at most: 1 to [`MAX_SYNC`].
        limit: usize,
    },
    /// Asks for the own conversations.
    List {
        /// The question's id.
        id: String,
        /// How many at most: 1 to [`MAX_LIST`].
        limit: usize,
        /// Where the page before ended, as that page's `next_cursor` said.
        cursor: Option<String>,
    },
    /// Asks what became of commands.
    Outcome {
        /// The question's id.
        id: String,
        /// Which commands: at most [`MAX_OUTCOMES`].
        commands: Vec<(ConversationId, TempId)>,
    },
    /// Asks for a page of messages. Only its id is read: it is not served yet.
    History {
        /// The question's id.
        id: String,
    },
    /// Asks for members. Only its id is read: it is not served yet.
    Members {
        /// The question's id.
        id: String,
    },
    /// Searches. Only its id is read: it is not served yet.
    Search {
        /// The question's id.
        id: String,
    },
    /// Says that the user is typing. It is not served yet.
    Typing,
    /// A type that the protocol does not have.
    Unknown {
        /// The question's id, if there is one.
        id: Option<String>,
    },
}

/// What a command asks for, before it is stamped with sender and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Make a conversation.
    Create {
        /// What kind.
        kind: Kind,
        /// Its title.
        title: Option<String>,
        /// The other members, as given.
        members: Vec<UserId>,
    },
    /// Post a message.
    Send {
        /// Where.
        conversation_id: ConversationId,
        /// What it says.
        content: Content,
        /// What it answers.
        reply_to: Option<MessageId>,
    },
    /// Replace a message's content.
    Edit {
        /// Where.
        conversation_id: ConversationId,
        /// Which.
        message_id: MessageId,
        /// By what.
        content: Content,
    },
    /// Delete a message.
    Delete {
        /// Where.
        conversation_id: ConversationId,
        /// Which.
        message_id: MessageId,
        /// For whom.
        scope: DeleteScope,
    },
    /// Add or remove a reaction.
    React {
        /// Where.
        conversation_id: ConversationId,
        /// To which message.
        message_id: MessageId,
        /// Which reaction.
        emoji: String,
        /// Which of the two.
        op: ReactionOp,
    },
    /// Copy messages into other conversations.
    Forward {
        /// From where.
        conversation_id: ConversationId,
        /// Which messages.
        message_ids: Vec<MessageId>,
        /// Where to.
        to: Vec<ConversationId>,
    },
    /// Move the own read marker.
    Read {
        /// Where.
        conversation_id: ConversationId,
        /// The `no` of the last message read.
        up_to: u64,
    },
    /// Change the conversation, its members or the own settings.
    Update {
        /// Where.
        conversation_id: ConversationId,
        /// To what.
        update: Update,
    },
}

impl Request {
    /// The frame's type, as the protocol spells it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Send { .. } => "send",
            Self::Edit { .. } => "edit",
            Self::Delete { .. } => "delete",
            Self::React { .. } => "react",
            Self::Forward { .. } => "forward",
            Self::Read { .. } => "read",
            Self::Update { .. } => "update",
        }
    }
}

/// Why a frame was not understood, by how it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// It is not a JSON object: the connection is closed with 4400.
    Malformed,
    /// A command whose `temp_id` is good and something else is not: answered
    /// by `rejected`.
    Command {
        /// The client's own id of it.
        temp_id: TempId,
        /// Which field, and why.
        error: InputError,
    },
    /// Anything else: answered by `error`.
    Other {
        /// The question's id, if it was one and had one.
        id: Option<String>,
        /// Which field, and why.
        error: InputError,
    },
}

impl ClientFrame {
    /// Reads a text frame.
    ///
    /// # Errors
    /// [`FrameError`], which says how to answer.
    pub fn parse(text: &str) -> Result<Self, FrameError> {
        let fields = Fields::parse(text).ok_or(FrameError::Malformed)?;
        let other = |error| FrameError::Other {
            id: question_id(&fields).ok(),
            error,
        };
        let kind = fields.required_text("type").map_err(other)?;
        match &*kind {
            "hello" => {
                let token = fields.required_text("token").map_err(other)?.into_owned();
                Ok(Self::Hello { token })
            }
            "ping" => Ok(Self::Ping),
            "pong" => Ok(Self::Pong),
            "typing" => Ok(Self::Typing),
            "create" | "send" | "edit" | "delete" | "react" | "forward" | "read" | "update" => {
                Self::parse_command(&kind, &fields)
            }
            "sync" | "list" | "outcome" | "history" | "members" | "search" => {
                Self::parse_question(&kind, &fields).map_err(other)
            }
            _ => Ok(Self::Unknown {
                id: question_id(&fields).ok(),
            }),
        }
    }

    fn parse_command(kind: &str, fields: &Fields<'_>) -> Result<Self, FrameError> {
        let temp_id = fields
            .required_text("temp_id")
            .and_then(|text| TempId::parse(&text))
            .map_err(|error| FrameError::Other { id: None, error })?;
        let parsed = fields
            .flag("retry")
            .and_then(|retry| Ok((retry, request::parse(kind, fields)?)));
        match parsed {
            Ok((retry, request)) => Ok(Self::Command {
                temp_id,
                retry,
                request,
            }),
            Err(error) => Err(FrameError::Command { temp_id, error }),
        }
    }

    fn parse_question(kind: &str, fields: &Fields<'_>) -> Result<Self, InputError> {
        let id = question_id(fields)?;
        Ok(match kind {
            "sync" => Self::Sync {
                id,
                conversation_id: fields.conversation_id()?,
                after: fields.count("after")?.unwrap_or(0).min(MAX_SEQ),
                limit: fields.limit("limit", DEFAULT_SYNC, MAX_SYNC)?,
            },
            "list" => Self::List {
                id,
                limit: fields.limit("limit", DEFAULT_LIST, MAX_LIST)?,
                cursor: fields.text("cursor")?.map(Into::into),
            },
            "outcome" => Self::Outcome {
                id,
                commands: outcome_commands(fields)?,
            },
            "history" => Self::History { id },
            "members" => Self::Members { id },
            _ => Self::Search { id },
        })
    }
}

fn question_id(fields: &Fields<'_>) -> Result<String, InputError> {
    let id = fields.required_text("id")?;
    if id.is_empty() || id.len() > MAX_QUESTION_ID {
        return Err(InputError::invalid(
            "id",
            format!("must be 1 to {MAX_QUESTION_ID} bytes"),
        ));
    }
    Ok(id.into_owned())
}

fn outcome_commands(fields: &Fields<'_>) -> Result<Vec<(ConversationId, TempId)>, InputError> {
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
