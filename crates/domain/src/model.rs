use std::collections::BTreeMap;

use crate::{
    ConversationId, ConversationRow, Decision, EventRow, MemberRow, MessageId, MessageRow,
    OutcomeRow, Rows, TempId, Tenant, UserId,
};

/// The reference of the history view: all of it, in memory.
///
/// Every store of the view must, after the same decisions, hold the same rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Events by conversation and seq.
    pub events: BTreeMap<(ConversationId, u64), EventRow>,
    /// Outcomes by tenant, conversation, sender and `temp_id`. Somebody of
    /// another tenant may name the conversation too, and is refused.
    pub outcomes: BTreeMap<(Tenant, ConversationId, UserId, TempId), OutcomeRow>,
    /// Messages by id.
    pub messages: BTreeMap<MessageId, MessageRow>,
    /// Conversations by id.
    pub conversations: BTreeMap<ConversationId, ConversationRow>,
    /// Members by conversation and user.
    pub members: BTreeMap<(ConversationId, UserId), MemberRow>,
}

impl Model {
    /// Folds one valid decision; one that is already in changes nothing.
    pub fn apply(&mut self, decision: &Decision) {
        let mut rows = Rows {
            conversations: std::mem::take(&mut self.conversations),
            members: std::mem::take(&mut self.members),
            ..Rows::default()
        };
        rows.apply(decision);
        self.conversations = rows.conversations;
        self.members = rows.members;
        for event in rows.events {
            self.events
                .entry((event.conversation_id, event.seq))
                .or_insert(event);
        }
        for outcome in rows.outcomes {
            let key = (
                outcome.tenant.clone(),
                outcome.conversation_id,
                outcome.by.clone(),
                outcome.temp_id.clone(),
            );
            self.outcomes.entry(key).or_insert(outcome);
        }
        for message in rows.messages {
            self.messages.entry(message.message_id).or_insert(message);
        }
    }
}
