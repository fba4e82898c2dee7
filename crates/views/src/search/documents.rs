//! What is searched, and the one fold that makes it. Every store of the view
//! keeps these documents; none computes them.

use std::collections::{BTreeMap, BTreeSet};

use tidings_domain::{
    Change, Content, ConversationId, Decision, DeleteScope, Event, Kind, MessageId, Outcome, Own,
    Tenant, Timestamp, UserId,
};

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageDocument {
    /// Its id.
    pub message_id: MessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The tenant.
    pub tenant: Tenant,
    /// Its ordinal in the conversation.
    pub no: u64,
    /// Who wrote it.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
    /// What it says now; none once it is deleted for all. What is left then
    /// keeps its place, so that nothing older can bring the text back.
    pub text: Option<String>,
    /// Whether something is attached to it.
    pub has_attachment: bool,
    /// Who has deleted it for themselves.
    pub hidden_for: BTreeSet<UserId>,
    /// One more than the offset of the last decision applied.
    pub version: i64,
}

/// A conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationDocument {
    /// Its id.
    pub conversation_id: ConversationId,
    /// The tenant.
    pub tenant: Tenant,
    /// What kind it is.
    pub kind: Kind,
    /// Its title.
    pub title: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// One more than the offset of the last decision applied.
    pub version: i64,
}

/// A user's place in a conversation, kept when they have gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDocument {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The user.
    pub user_id: UserId,
    /// The tenant.
    pub tenant: Tenant,
    /// Whether they belong to it.
    pub is_present: bool,
    /// One more than the offset of the last decision applied.
    pub version: i64,
}

/// Documents by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Documents {
    /// Messages.
    pub messages: BTreeMap<MessageId, MessageDocument>,
    /// Conversations.
    pub conversations: BTreeMap<ConversationId, ConversationDocument>,
    /// Members.
    pub members: BTreeMap<(ConversationId, UserId), MemberDocument>,
    /// Users of a tenant: whoever was ever a member of a conversation.
    pub users: BTreeSet<(Tenant, UserId)>,
}

/// The documents that must be loaded before decisions can be folded: what a
/// decision changes only a part of, and messages that are posted, as one that is
/// sent again after the dedupe window is there already, and stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Messages.
    pub messages: BTreeSet<MessageId>,
    /// Conversations.
    pub conversations: BTreeSet<ConversationId>,
}

impl Wanted {
    /// What a run of decisions wants.
    pub fn of<'a>(decisions: impl IntoIterator<Item = &'a Decision>) -> Self {
        let mut wanted = Self::default();
        for decision in decisions {
            match &decision.outcome {
                Outcome::Accepted { event, .. } => match event {
                    Event::MessageSent { message_id, .. }
                    | Event::MessageEdited { message_id, .. }
                    | Event::MessageDeleted { message_id, .. } => {
                        wanted.messages.insert(*message_id);
                    }
                    Event::ConversationUpdated(Change::Rename(_)) => {
                        wanted.conversations.insert(decision.conversation_id);
                    }
                    _ => {}
                },
                Outcome::Noted(Own::Hide(message_id)) => {
                    wanted.messages.insert(*message_id);
                }
                Outcome::Noted(_) | Outcome::Rejected(_) | Outcome::Duplicate(_) => {}
            }
        }
        wanted
    }

    /// Whether nothing is to be loaded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.conversations.is_empty()
    }
}

/// Folds decisions, in the order of the log, into documents.
///
/// A decision that a document reflects already changes nothing, and so does an
/// edit or a deletion of a message that is not in the conversation or is
/// deleted.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    loaded: Documents,
    changed: Documents,
}

impl Fold {
    /// Starts with what the store has of the documents [`Wanted`].
    #[must_use]
    pub fn new(loaded: Documents) -> Self {
        Self {
            loaded,
            changed: Documents::default(),
        }
    }

    /// The documents that have changed.
    #[must_use]
    pub fn into_changed(self) -> Documents {
        self.changed
    }

    /// Folds one valid decision, whose record is at `offset`.
    pub fn apply(&mut self, decision: &Decision, offset: i64) {
        let version = offset + 1;
        match &decision.outcome {
            Outcome::Accepted { event, .. } => self.event(decision, event, version),
            Outcome::Noted(Own::Hide(message_id)) => {
                self.message(decision, *message_id, version, |message| {
                    message.hidden_for.insert(decision.sender.clone());
                });
            }
            Outcome::Noted(_) | Outcome::Rejected(_) | Outcome::Duplicate(_) => {}
        }
    }

    fn event(&mut self, decision: &Decision, event: &Event, version: i64) {
        match event {
            Event::MessageSent {
                message_id,
                no,
                content,
                ..
            } => self.sent(decision, *message_id, *no, content, version),
            Event::MessageEdited {
                message_id,
                content,
            } => self.message(decision, *message_id, version, |message| {
                message.text = Some(content.text.clone());
                message.has_attachment = !content.attachments.is_empty();
            }),
            Event::MessageDeleted {
                message_id,
                scope: DeleteScope::Everyone | DeleteScope::Purge,
            } => self.message(decision, *message_id, version, |message| {
                message.text = None;
                message.has_attachment = false;
                message.hidden_for.clear();
            }),
            // What is deleted for one makes no event.
            Event::MessageDeleted {
                scope: DeleteScope::Me,
                ..
            }
            | Event::MessageReacted { .. } => {}
            Event::ConversationUpdated(change) => self.change(decision, change, version),
        }
    }

    fn sent(
        &mut self,
        decision: &Decision,
        message_id: MessageId,
        no: u64,
        content: &Content,
        version: i64,
    ) {
        let known = [&self.changed, &self.loaded]
            .into_iter()
            .any(|documents| documents.messages.contains_key(&message_id));
        if known {
            return;
        }
        let document = MessageDocument {
            message_id,
            conversation_id: decision.conversation_id,
            tenant: decision.tenant.clone(),
            no,
            by: decision.sender.clone(),
            at: decision.at,
            text: Some(content.text.clone()),
            has_attachment: !content.attachments.is_empty(),
            hidden_for: BTreeSet::new(),
            version,
        };
        self.changed.messages.insert(message_id, document);
    }

    /// Changes a message that is not deleted.
    fn message(
        &mut self,
        decision: &Decision,
        message_id: MessageId,
        version: i64,
        change: impl FnOnce(&mut MessageDocument),
    ) {
        let Some(message) = self
            .changed
            .messages
            .get(&message_id)
            .or_else(|| self.loaded.messages.get(&message_id))
        else {
            return;
        };
        let is_its_own = message.conversation_id == decision.conversation_id
            && message.tenant == decision.tenant;
        if !is_its_own || message.version >= version || message.text.is_none() {
            return;
        }
        let mut message = message.clone();
        change(&mut message);
        message.version = version;
        self.changed.messages.insert(message_id, message);
    }

    fn change(&mut self, decision: &Decision, change: &Change, version: i64) {
        match change {
            Change::Create {
                kind,
                title,
                members,
            } => {
                let conversation_id = decision.conversation_id;
                let document = ConversationDocument {
                    conversation_id,
                    tenant: decision.tenant.clone(),
                    kind: *kind,
                    title: title.clone(),
                    created_at: decision.at,
                    version,
                };
                if !self.loaded.conversations.contains_key(&conversation_id) {
                    let conversations = &mut self.changed.conversations;
                    conversations.entry(conversation_id).or_insert(document);
                }
                for member in members {
                    self.member(decision, &member.user_id, true, version);
                }
            }
            Change::AddMembers(users) => {
                for user in users {
                    self.member(decision, user, true, version);
                }
            }
            Change::RemoveMembers(users) => {
                for user in users {
                    self.member(decision, user, false, version);
                }
            }
            Change::Leave => self.member(decision, &decision.sender, false, version),
            Change::Rename(title) => self.renamed(decision, title, version),
            Change::SetRole { .. } | Change::Close | Change::Reopen => {}
        }
    }

    fn renamed(&mut self, decision: &Decision, title: &str, version: i64) {
        let id = decision.conversation_id;
        let Some(conversation) = self
            .changed
            .conversations
            .get(&id)
            .or_else(|| self.loaded.conversations.get(&id))
        else {
            return;
        };
        if conversation.tenant != decision.tenant || conversation.version >= version {
            return;
        }
        let mut conversation = conversation.clone();
        conversation.title = Some(title.to_owned());
        conversation.version = version;
        self.changed.conversations.insert(id, conversation);
    }

    fn member(&mut self, decision: &Decision, user: &UserId, is_present: bool, version: i64) {
        let document = MemberDocument {
            conversation_id: decision.conversation_id,
            user_id: user.clone(),
            tenant: decision.tenant.clone(),
            is_present,
            version,
        };
        let key = (decision.conversation_id, user.clone());
        self.changed.members.insert(key, document);
        if is_present {
            let user = (decision.tenant.clone(), user.clone());
            self.changed.users.insert(user);
        }
    }
}
