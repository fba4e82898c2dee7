use std::collections::BTreeSet;

use crate::{Change, ConversationId, Decision, Event, MessageId, Outcome, UserId};

/// The rows that must be loaded before decisions can be folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Conversations.
    pub conversations: BTreeSet<ConversationId>,
    /// Users' places in them.
    pub members: BTreeSet<(ConversationId, UserId)>,
    /// Messages.
    pub messages: BTreeSet<MessageId>,
}

impl Wanted {
    /// What these decisions change.
    pub fn of<'a>(decisions: impl IntoIterator<Item = &'a Decision>) -> Self {
        let mut wanted = Self::default();
        for decision in decisions {
            wanted.add(decision);
        }
        wanted
    }

    /// Adds what a decision changes, or must know: a message that is posted may
    /// be there already.
    pub fn add(&mut self, decision: &Decision) {
        let id = decision.conversation_id;
        let mut member = |user: &UserId| {
            self.members.insert((id, user.clone()));
        };
        let event = match &decision.outcome {
            Outcome::Accepted { event, .. } => event,
            Outcome::Noted(_) => return member(&decision.sender),
            Outcome::Rejected(_) | Outcome::Duplicate(_) => return,
        };
        self.conversations.insert(id);
        match event {
            Event::MessageSent {
                message_id, thread, ..
            } => {
                member(&decision.sender);
                self.messages.insert(*message_id);
                self.messages.extend(*thread);
            }
            Event::MessageEdited { message_id, .. }
            | Event::MessageDeleted { message_id, .. }
            | Event::MessageReacted { message_id, .. } => {
                self.messages.insert(*message_id);
            }
            Event::ConversationUpdated(change) => match change {
                Change::Create { members, .. } => {
                    members.iter().for_each(|it| member(&it.user_id));
                }
                Change::AddMembers(users) | Change::RemoveMembers(users) => {
                    users.iter().for_each(member);
                }
                Change::SetRole { user_id, .. } => member(user_id),
                Change::Leave => member(&decision.sender),
                Change::Rename(_) | Change::Close | Change::Reopen => {}
            },
        }
    }
}
