use std::fmt;

/// Why a command or a question was refused. The protocol's `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// A field is missing, malformed or contradicts another.
    Invalid,
    /// A text, meta or frame is longer than the protocol allows.
    TooLarge,
    /// More messages a minute than the user may send.
    RateLimited,
    /// No such conversation or message, or one of another tenant.
    NotFound,
    /// The sender does not belong to the conversation.
    NotAMember,
    /// The sender's role does not allow it.
    Forbidden,
    /// The message is older than an edit may be.
    EditWindowClosed,
    /// The conversation is closed: nothing can be posted.
    Closed,
    /// More members, attachments or targets than the protocol allows.
    TooMany,
    /// The edge has too much in flight for this connection.
    Busy,
    /// Something this needs is down; the same request may be sent again.
    Unavailable,
    /// A part of the protocol that the version which answered did not serve. No
    /// version of now answers so; logs of earlier ones hold it for ever.
    Unsupported,
}

impl Code {
    /// Every code, in the order of the protocol's text.
    pub const ALL: [Self; 12] = [
        Self::Invalid,
        Self::TooLarge,
        Self::RateLimited,
        Self::NotFound,
        Self::NotAMember,
        Self::Forbidden,
        Self::EditWindowClosed,
        Self::Closed,
        Self::TooMany,
        Self::Busy,
        Self::Unavailable,
        Self::Unsupported,
    ];

    /// The code as the protocol spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::NotFound => "not_found",
            Self::NotAMember => "not_a_member",
            Self::Forbidden => "forbidden",
            Self::EditWindowClosed => "edit_window_closed",
            Self::Closed => "closed",
            Self::TooMany => "too_many",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
        }
    }

    /// The code spelled `text`, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// Whether sending the same request again, with the same `temp_id`, is
    /// safe and may succeed.
    #[must_use]
    pub fn retry(self) -> bool {
        matches!(self, Self::RateLimited | Self::Busy | Self::Unavailable)
    }

    /// One sentence for a person, where there is nothing more specific to say.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Invalid => "The request is malformed.",
            Self::TooLarge => "The request is larger than is allowed.",
            Self::RateLimited => "Too many messages in a minute.",
            Self::NotFound => "There is no such conversation or message.",
            Self::NotAMember => "You are not a member of this conversation.",
            Self::Forbidden => "Your role does not allow this.",
            Self::EditWindowClosed => "The message is too old to be edited.",
            Self::Closed => "The conversation is closed.",
            Self::TooMany => "More items than are allowed.",
            Self::Busy => "Too many requests are in flight.",
            Self::Unavailable => "This cannot be answered right now.",
            Self::Unsupported => "This server does not support this yet.",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Input that was refused before it became a command: which field, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InputError {
    /// The code to answer with.
    pub code: Code,
    /// The field as the protocol names it, such as `content.text`.
    pub field: &'static str,
    /// What is wrong with it. Never holds message text.
    pub message: String,
}

impl InputError {
    /// An error with code `invalid`.
    pub fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            code: Code::Invalid,
            field,
            message: message.into(),
        }
    }

    /// An error with another code.
    pub fn new(code: Code, field: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            field,
            message: message.into(),
        }
    }
}
