use std::fmt;

use tidings_domain::{Command, CommandBody};

/// The topics of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Topic {
    /// Commands: sends and forwards.
    MessageSent = 1,
    /// Commands: edits.
    MessageEdited = 2,
    /// Commands: deletes.
    MessageDeleted = 3,
    /// Commands: reactions.
    MessageReacted = 4,
    /// Commands: read markers.
    MessageRead = 5,
    /// Commands: creates and updates.
    ConversationUpdated = 6,
    /// Decisions and claims: the source of every view.
    MessageDelivered = 7,
    /// The sequencer's snapshots.
    ConversationState = 8,
    /// What the sequencer could not decode.
    DeadSequencer = 9,
    /// What the history projection could not decode or apply.
    DeadHistory = 10,
    /// What the search projection could not decode or apply.
    DeadSearch = 11,
    /// What the cache projection could not decode or apply.
    DeadCache = 12,
    /// What operators have noted: what is paused, which dead letters are done.
    OperatorNotes = 13,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 13] = [
        Self::MessageSent,
        Self::MessageEdited,
        Self::MessageDeleted,
        Self::MessageReacted,
        Self::MessageRead,
        Self::ConversationUpdated,
        Self::MessageDelivered,
        Self::ConversationState,
        Self::DeadSequencer,
        Self::DeadHistory,
        Self::DeadSearch,
        Self::DeadCache,
        Self::OperatorNotes,
    ];

    /// The topics that dead letters go to.
    pub const DEAD: [Self; 4] = [
        Self::DeadSequencer,
        Self::DeadHistory,
        Self::DeadSearch,
        Self::DeadCache,
    ];

    /// The topics that commands go to.
    pub const COMMANDS: [Self; 6] = [
        Self::MessageSent,
        Self::MessageEdited,
        Self::MessageDeleted,
        Self::MessageReacted,
        Self::MessageRead,
        Self::ConversationUpdated,
    ];

    /// The topics that hold Avro records, one registry subject each.
    pub const WITH_SCHEMA: [Self; 8] = [
        Self::MessageSent,
        Self::MessageEdited,
        Self::MessageDeleted,
        Self::MessageReacted,
        Self::MessageRead,
        Self::ConversationUpdated,
        Self::MessageDelivered,
        Self::ConversationState,
    ];

    /// The topic's name, without the prefix a deployment may put before it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MessageSent => "message.sent",
            Self::MessageEdited => "message.edited",
            Self::MessageDeleted => "message.deleted",
            Self::MessageReacted => "message.reacted",
            Self::MessageRead => "message.read",
            Self::ConversationUpdated => "conversation.updated",
            Self::MessageDelivered => "message.delivered",
            Self::ConversationState => "conversation.state",
            Self::DeadSequencer => "dead.sequencer",
            Self::DeadHistory => "dead.history",
            Self::DeadSearch => "dead.search",
            Self::DeadCache => "dead.cache",
            Self::OperatorNotes => "operator.notes",
        }
    }

    /// The topic of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// A number that stands for the topic in the embedded log. Never reused.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The topic that a command goes to.
    #[must_use]
    pub fn of_command(command: &Command) -> Self {
        match command.body {
            CommandBody::Send { .. } => Self::MessageSent,
            CommandBody::Edit { .. } => Self::MessageEdited,
            CommandBody::Delete { .. } => Self::MessageDeleted,
            CommandBody::React { .. } => Self::MessageReacted,
            CommandBody::Read { .. } => Self::MessageRead,
            CommandBody::Create { .. } | CommandBody::Update(_) => Self::ConversationUpdated,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
