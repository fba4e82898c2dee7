use crate::{
    Code, CommandKey, Content, ConversationId, DeleteScope, ForwardedFrom, Kind, MessageId,
    ReactionOp, Role, TempId, Tenant, Timestamp, UserId,
};

/// What the sequencer made of a command: one record of `message.delivered`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The command's tenant.
    pub tenant: Tenant,
    /// The command's conversation.
    pub conversation_id: ConversationId,
    /// Who sent the command.
    pub sender: UserId,
    /// The client's own id of the command.
    pub temp_id: TempId,
    /// The message it made or is about, if any.
    pub message_id: Option<MessageId>,
    /// When it was decided, by the sequencer's clock.
    pub at: Timestamp,
    /// What was decided.
    pub outcome: Outcome,
}

impl Decision {
    /// What makes the command the same command when it comes again.
    #[must_use]
    pub fn key(&self) -> CommandKey {
        CommandKey::of(
            &self.tenant,
            self.conversation_id,
            &self.sender,
            &self.temp_id,
        )
    }

    /// The event's place in its conversation, if it is an event.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        match &self.outcome {
            Outcome::Accepted { seq, .. } => Some(*seq),
            Outcome::Noted(_) | Outcome::Rejected(_) | Outcome::Duplicate(_) => None,
        }
    }
}

/// The four things that can become of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It changed the conversation.
    Accepted {
        /// The event's position in the conversation: 1, 2, 3 …
        seq: u64,
        /// What changed.
        event: Event,
    },
    /// It changed only what is the sender's own: nobody else is told, and it
    /// has no place among the conversation's events.
    Noted(Own),
    /// It changed nothing, for this reason.
    Rejected(Code),
    /// It was decided before; this is what was decided then.
    Duplicate(First),
}

/// A change of what is the sender's own in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// All messages up to this one are read. Never moves the marker back.
    Read {
        /// The `no` of the last message read; at most the conversation's last.
        up_to: u64,
    },
    /// This message is out of the sender's own pages, lists and searches: a
    /// deletion with scope `me`.
    Hide(MessageId),
    /// The conversation is put out of the way.
    Archive,
    /// It is brought back.
    Unarchive,
    /// No notifications, for ever or until a time.
    Mute {
        /// When it ends, if it does.
        until: Option<Timestamp>,
    },
    /// Notifications again.
    Unmute,
}

impl Own {
    /// The kind of event as the protocol and `ce_type` spell it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Read { .. } => "message.read",
            Self::Hide(_) => "message.deleted",
            Self::Archive | Self::Unarchive | Self::Mute { .. } | Self::Unmute => {
                "conversation.updated"
            }
        }
    }

    /// The operation as the protocol spells it: of `update`, or `read`, or
    /// `delete`.
    #[must_use]
    pub fn op(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Hide(_) => "delete",
            Self::Archive => "archive",
            Self::Unarchive => "unarchive",
            Self::Mute { .. } => "mute",
            Self::Unmute => "unmute",
        }
    }
}

/// The first decision of a command, as long as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// What it was.
    pub outcome: FirstOutcome,
    /// When it was made.
    pub at: Timestamp,
}

/// What a first decision was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstOutcome {
    /// Accepted.
    Accepted {
        /// The event's position.
        seq: u64,
        /// The message's ordinal, if it was a message.
        no: Option<u64>,
    },
    /// Accepted, without an event: [`Outcome::Noted`].
    Noted,
    /// Rejected.
    Rejected(Code),
}

/// An accepted decision's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message was posted.
    MessageSent {
        /// Its id.
        message_id: MessageId,
        /// Its ordinal among the conversation's messages: 1, 2, 3 …
        no: u64,
        /// What it says.
        content: Content,
        /// What it answers.
        reply_to: Option<MessageId>,
        /// The first message of its thread.
        thread: Option<MessageId>,
        /// Where it was copied from.
        forwarded_from: Option<ForwardedFrom>,
    },
    /// A message's content was replaced.
    MessageEdited {
        /// Which.
        message_id: MessageId,
        /// By what.
        content: Content,
    },
    /// A message was deleted.
    MessageDeleted {
        /// Which.
        message_id: MessageId,
        /// For whom.
        scope: DeleteScope,
    },
    /// A reaction came or went.
    MessageReacted {
        /// To which message.
        message_id: MessageId,
        /// Which reaction.
        emoji: String,
        /// Whether it came.
        op: ReactionOp,
    },
    /// The conversation, or who belongs to it, changed.
    ConversationUpdated(Change),
}

impl Event {
    /// The kind as the protocol and `ce_type` spell it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::MessageSent { .. } => "message.sent",
            Self::MessageEdited { .. } => "message.edited",
            Self::MessageDeleted { .. } => "message.deleted",
            Self::MessageReacted { .. } => "message.reacted",
            Self::ConversationUpdated(_) => "conversation.updated",
        }
    }

    /// The message's ordinal, if this is a message.
    #[must_use]
    pub fn no(&self) -> Option<u64> {
        match self {
            Self::MessageSent { no, .. } => Some(*no),
            _ => None,
        }
    }
}

/// A member of a conversation, as events tell of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Who.
    pub user_id: UserId,
    /// As what.
    pub role: Role,
}

/// A change of the conversation itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    Create {
        /// What kind.
        kind: Kind,
        /// Its title.
        title: Option<String>,
        /// All its members, the owner first.
        members: Vec<Member>,
    },
    /// These came in. Only those who were no members before.
    AddMembers(Vec<UserId>),
    /// These were put out. Only those who were members before.
    RemoveMembers(Vec<UserId>),
    /// It has a new title.
    Rename(String),
    /// A member has a new role.
    SetRole {
        /// Who.
        user_id: UserId,
        /// Which.
        role: Role,
    },
    /// The sender went.
    Leave,
    /// Nothing can be posted any more.
    Close,
    /// Posts are let in again.
    Reopen,
}

impl Change {
    /// The operation as the protocol spells it.
    #[must_use]
    pub fn op(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::AddMembers(_) => "add_members",
            Self::RemoveMembers(_) => "remove_members",
            Self::Rename(_) => "rename",
            Self::SetRole { .. } => "set_role",
            Self::Leave => "leave",
            Self::Close => "close",
            Self::Reopen => "reopen",
        }
    }
}
