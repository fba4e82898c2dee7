//! The rows of the history view. Every store of the view keeps these; the one
//! fold in `fold` makes them.

use crate::{
    Content, ConversationId, DeleteScope, Event, FirstOutcome, ForwardedFrom, Kind, MessageId,
    Role, TempId, Tenant, Timestamp, UserId,
};

/// An event as `sync` returns it. Inserted once; only its text may be withheld
/// later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The tenant.
    pub tenant: Tenant,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The event's position in it.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// Whose command it was.
    pub by: UserId,
    /// The sender's id of the command.
    pub temp_id: TempId,
    /// What changed.
    pub event: Event,
    /// Whether the text of the message it posted or edited is out of reach, as
    /// the message is deleted. The event's content is then empty: in every
    /// answer at once, in the store once it is purged.
    pub withheld: bool,
}

impl EventRow {
    /// As members may see it: without its text, where that is withheld.
    #[must_use]
    pub fn shown(mut self) -> Self {
        if self.withheld {
            self.clear_content();
        }
        self
    }

    /// The outcome of the command that made it.
    #[must_use]
    pub fn outcome(&self) -> OutcomeRow {
        let message_id = match &self.event {
            Event::MessageSent { message_id, .. }
            | Event::MessageEdited { message_id, .. }
            | Event::MessageDeleted { message_id, .. }
            | Event::MessageReacted { message_id, .. } => Some(*message_id),
            Event::ConversationUpdated(_) => None,
        };
        OutcomeRow {
            tenant: self.tenant.clone(),
            conversation_id: self.conversation_id,
            by: self.by.clone(),
            temp_id: self.temp_id.clone(),
            at: self.at,
            outcome: FirstOutcome::Accepted {
                seq: self.seq,
                no: self.event.no(),
            },
            message_id,
        }
    }

    /// Takes out the text, for good.
    pub(crate) fn clear_content(&mut self) {
        if let Event::MessageSent { content, .. } | Event::MessageEdited { content, .. } =
            &mut self.event
        {
            *content = Content::default();
        }
    }
}

/// The first decision of a command that made no event. Inserted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeRow {
    /// The tenant.
    pub tenant: Tenant,
    /// The conversation the command was about.
    pub conversation_id: ConversationId,
    /// Who sent it.
    pub by: UserId,
    /// The sender's id of it.
    pub temp_id: TempId,
    /// When it was decided.
    pub at: Timestamp,
    /// What was decided.
    pub outcome: FirstOutcome,
    /// The message it made, if it made one.
    pub message_id: Option<MessageId>,
}

/// A conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationRow {
    /// Its id.
    pub conversation_id: ConversationId,
    /// The tenant.
    pub tenant: Tenant,
    /// What kind it is.
    pub kind: Kind,
    /// Its title.
    pub title: Option<String>,
    /// Whether nothing can be posted.
    pub closed: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its last event was decided.
    pub last_at: Timestamp,
    /// Its last event; also the row's revision.
    pub last_seq: u64,
    /// Its last message's ordinal; 0 while there is none.
    pub last_no: u64,
    /// Its last message.
    pub last_message_id: Option<MessageId>,
}

/// A user's place in a conversation, kept when they have gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The user.
    pub user_id: UserId,
    /// The tenant.
    pub tenant: Tenant,
    /// As what they belong to it; none: they are gone.
    pub role: Option<Role>,
    /// The `no` of the last message they have read. Only grows.
    pub read_no: u64,
    /// The last event applied to this row: the revision of `role`.
    pub rev: u64,
    /// Whether they have put the conversation out of the way.
    pub archived: bool,
    /// Whether and until when they get no notifications.
    pub muted: Option<Mute>,
    /// The offset of the last own setting applied: the revision of `archived`
    /// and `muted`; -1 while there is none.
    pub settings_rev: i64,
}

/// No notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mute {
    /// When it ends; none: never.
    pub until: Option<Timestamp>,
}

impl MemberRow {
    /// A row of somebody who is no member yet.
    #[must_use]
    pub fn new(tenant: Tenant, conversation_id: ConversationId, user_id: UserId) -> Self {
        Self {
            conversation_id,
            user_id,
            tenant,
            role: None,
            read_no: 0,
            rev: 0,
            archived: false,
            muted: None,
            settings_rev: -1,
        }
    }

    /// Whether they get no notifications at this time.
    #[must_use]
    pub fn is_muted(&self, now: Timestamp) -> bool {
        self.muted
            .is_some_and(|mute| mute.until.is_none_or(|until| until > now))
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// Its id.
    pub message_id: MessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The tenant.
    pub tenant: Tenant,
    /// Its ordinal in the conversation.
    pub no: u64,
    /// The event that posted it.
    pub seq: u64,
    /// The last event applied to this row: its revision.
    pub rev: u64,
    /// Who wrote it.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
    /// What it says; none after a purge, and in every answer once it is deleted.
    pub content: Option<Content>,
    /// What it answers.
    pub reply_to: Option<MessageId>,
    /// The first message of its thread.
    pub thread: Option<MessageId>,
    /// Where it was copied from.
    pub forwarded_from: Option<ForwardedFrom>,
    /// When its content was last replaced.
    pub edited_at: Option<Timestamp>,
    /// Whether and how it is deleted, for all: `everyone` or `purge`.
    pub deleted: Option<DeleteScope>,
    /// In the order of their first use. None once it is deleted.
    pub reactions: Vec<Reaction>,
    /// How many messages are in its thread, if it is a thread's first message.
    pub replies: u64,
}

impl MessageRow {
    /// The outcome of the send that made it. The id of a message is the key of
    /// its command, so it was found by `temp_id` and the rest.
    #[must_use]
    pub fn outcome(&self, temp_id: TempId) -> OutcomeRow {
        OutcomeRow {
            tenant: self.tenant.clone(),
            conversation_id: self.conversation_id,
            by: self.by.clone(),
            temp_id,
            at: self.at,
            outcome: FirstOutcome::Accepted {
                seq: self.seq,
                no: Some(self.no),
            },
            message_id: Some(self.message_id),
        }
    }

    /// As members may see it: without its content once it is deleted.
    #[must_use]
    pub fn shown(mut self) -> Self {
        if self.deleted.is_some() {
            self.content = None;
        }
        self
    }
}

/// A reaction to a message, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// 1 to 32 bytes of UTF-8.
    pub emoji: String,
    /// Who reacted so, in the order in which they did. Never empty.
    pub by: Vec<UserId>,
}

/// An earlier text of a message. Inserted once; a purge takes out the text and
/// leaves the row, which tells which event held it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditRow {
    /// The message.
    pub message_id: MessageId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// The tenant.
    pub tenant: Tenant,
    /// The event that replaced this text. It holds the text after it.
    pub seq: u64,
    /// When this text was written.
    pub at: Timestamp,
    /// What the message said until then. Empty, and in no answer: after a
    /// purge, and of an event that posted the message again.
    pub content: Content,
}

/// A message that somebody has deleted for themselves. Inserted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HiddenRow {
    /// The tenant.
    pub tenant: Tenant,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Who does not see it any more.
    pub user_id: UserId,
    /// The message.
    pub message_id: MessageId,
}
