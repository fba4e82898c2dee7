use crate::{
    CommandKey, Content, ConversationId, Kind, MessageId, Role, TempId, Tenant, Timestamp, UserId,
};

/// What a client asks for, checked and stamped by an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The sender's tenant, from the token.
    pub tenant: Tenant,
    /// The conversation it is about.
    pub conversation_id: ConversationId,
    /// Who asks, from the token.
    pub sender: UserId,
    /// The client's own id of it.
    pub temp_id: TempId,
    /// When the edge took it, by the edge's clock.
    pub at: Timestamp,
    /// What is asked.
    pub body: CommandBody,
}

impl Command {
    /// What makes it the same command when it comes again.
    #[must_use]
    pub fn key(&self) -> CommandKey {
        CommandKey::of(
            &self.tenant,
            self.conversation_id,
            &self.sender,
            &self.temp_id,
        )
    }

    /// The id of the message it makes or is about, if any.
    #[must_use]
    pub fn message_id(&self) -> Option<MessageId> {
        match &self.body {
            CommandBody::Send { .. } => Some(self.key().message_id()),
            CommandBody::Edit { message_id, .. }
            | CommandBody::Delete { message_id, .. }
            | CommandBody::React { message_id, .. } => Some(*message_id),
            CommandBody::Create { .. } | CommandBody::Read { .. } | CommandBody::Update(_) => None,
        }
    }
}

/// The kinds of command, one for each thing a client can ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandBody {
    /// Make a conversation. The sender becomes its owner.
    Create {
        /// What kind.
        kind: Kind,
        /// Its title, if it has one.
        title: Option<String>,
        /// The other members, without the sender and without repeats.
        members: Vec<UserId>,
    },
    /// Post a message.
    Send {
        /// What it says.
        content: Content,
        /// The message it answers; the edge has seen that it exists.
        reply_to: Option<MessageId>,
        /// The first message of the thread it joins, given with `reply_to`.
        thread: Option<MessageId>,
        /// Where it was copied from.
        forwarded_from: Option<ForwardedFrom>,
    },
    /// Replace a message's content.
    Edit {
        /// The message.
        message_id: MessageId,
        /// The new content.
        content: Content,
        /// Who wrote it, as the edge found. Only they may edit it.
        author: Option<UserId>,
        /// When it was posted, as the edge found: the command may be at most
        /// [`EDIT_WINDOW_MS`](crate::EDIT_WINDOW_MS) later.
        posted_at: Option<Timestamp>,
    },
    /// Delete a message.
    Delete {
        /// The message.
        message_id: MessageId,
        /// For whom.
        scope: DeleteScope,
        /// Who wrote it, as the edge found.
        author: Option<UserId>,
    },
    /// Add or remove a reaction.
    React {
        /// The message.
        message_id: MessageId,
        /// 1 to 32 bytes of UTF-8.
        emoji: String,
        /// Which of the two.
        op: ReactionOp,
    },
    /// Move the sender's read marker.
    Read {
        /// The `no` of the last message read.
        up_to: u64,
    },
    /// Change the conversation, its members, or the sender's own settings.
    Update(Update),
}

/// Where a forwarded message comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedFrom {
    /// The conversation it was read in.
    pub conversation_id: ConversationId,
    /// The message.
    pub message_id: MessageId,
    /// Who wrote it there.
    pub by: UserId,
}

/// For whom a message is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeleteScope {
    /// For all; a tombstone stays.
    Everyone,
    /// For all, and the text leaves every view.
    Purge,
    /// Only for the sender of the command.
    Me,
}

impl DeleteScope {
    /// As the protocol spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everyone => "everyone",
            Self::Purge => "purge",
            Self::Me => "me",
        }
    }

    /// The scope spelled `text`, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Everyone, Self::Purge, Self::Me]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// Whether a reaction comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReactionOp {
    /// It comes.
    Add,
    /// It goes.
    Remove,
}

impl ReactionOp {
    /// As the protocol spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
        }
    }

    /// The operation spelled `text`, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Add, Self::Remove]
            .into_iter()
            .find(|o| o.as_str() == text)
    }
}

/// What an `update` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Bring users in as members.
    AddMembers(Vec<UserId>),
    /// Put members out.
    RemoveMembers(Vec<UserId>),
    /// Change the title.
    Rename(String),
    /// Change a member's role.
    SetRole {
        /// Whose.
        user_id: UserId,
        /// To what.
        role: Role,
    },
    /// The sender goes.
    Leave,
    /// Let nothing be posted until it is reopened.
    Close,
    /// Let posts in again.
    Reopen,
    /// The sender's own: put it out of the way.
    Archive,
    /// The sender's own: bring it back.
    Unarchive,
    /// The sender's own: no notifications, for ever or until a time.
    Mute {
        /// When it ends, if it does.
        until: Option<Timestamp>,
    },
    /// The sender's own: notifications again.
    Unmute,
}

impl Update {
    /// The operation as the protocol spells it.
    #[must_use]
    pub fn op(&self) -> &'static str {
        match self {
            Self::AddMembers(_) => "add_members",
            Self::RemoveMembers(_) => "remove_members",
            Self::Rename(_) => "rename",
            Self::SetRole { .. } => "set_role",
            Self::Leave => "leave",
            Self::Close => "close",
            Self::Reopen => "reopen",
            Self::Archive => "archive",
            Self::Unarchive => "unarchive",
            Self::Mute { .. } => "mute",
            Self::Unmute => "unmute",
        }
    }
}
