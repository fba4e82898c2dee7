use tidings_domain::{
    CommandBody, Content, ConversationId, DeleteScope, InputError, Kind, MessageId, ReactionOp,
    TempId, Update, UserId,
};

use super::fields::Fields;
use super::question::{self, Question};
use super::request;

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
    /// Asks something.
    Question {
        /// The client's own id of it.
        id: String,
        /// What.
        question: Question,
    },
    /// Says that the user types, or stopped.
    Typing {
        /// Where.
        conversation_id: ConversationId,
        /// Whether they type.
        on: bool,
    },
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

    /// Where it goes, and what is asked there, with what the edge must look up
    /// left open.
    ///
    /// # Errors
    /// The request, where that takes more to say than it holds: a create, whose
    /// conversation is called by who makes it, and a forward, which makes
    /// several commands.
    pub fn command(self) -> Result<(ConversationId, CommandBody), Self> {
        Ok(match self {
            Self::Send {
                conversation_id,
                content,
                reply_to,
            } => {
                let body = CommandBody::Send {
                    content,
                    reply_to,
                    thread: None,
                    forwarded_from: None,
                };
                (conversation_id, body)
            }
            Self::Edit {
                conversation_id,
                message_id,
                content,
            } => {
                let body = CommandBody::Edit {
                    message_id,
                    content,
                    author: None,
                    posted_at: None,
                };
                (conversation_id, body)
            }
            Self::Delete {
                conversation_id,
                message_id,
                scope,
            } => {
                let body = CommandBody::Delete {
                    message_id,
                    scope,
                    author: None,
                };
                (conversation_id, body)
            }
            Self::React {
                conversation_id,
                message_id,
                emoji,
                op,
            } => {
                let body = CommandBody::React {
                    message_id,
                    emoji,
                    op,
                };
                (conversation_id, body)
            }
            Self::Read {
                conversation_id,
                up_to,
            } => (conversation_id, CommandBody::Read { up_to }),
            Self::Update {
                conversation_id,
                update,
            } => (conversation_id, CommandBody::Update(update)),
            Self::Create { .. } | Self::Forward { .. } => return Err(self),
        })
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
            id: question::id(&fields).ok(),
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
            "typing" => {
                let on = fields.required("on").and_then(|_| fields.flag("on"));
                Ok(Self::Typing {
                    conversation_id: fields.conversation_id().map_err(other)?,
                    on: on.map_err(other)?,
                })
            }
            "create" | "send" | "edit" | "delete" | "react" | "forward" | "read" | "update" => {
                Self::parse_command(&kind, &fields)
            }
            kind => {
                let Some(question) = question::parse(kind, &fields) else {
                    let id = question::id(&fields).ok();
                    return Ok(Self::Unknown { id });
                };
                let id = question::id(&fields).map_err(other)?;
                let question = question.map_err(other)?;
                Ok(Self::Question { id, question })
            }
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
}
