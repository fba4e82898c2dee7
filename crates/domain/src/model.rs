use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::{
    Content, ConversationId, ConversationRow, Decision, DeleteScope, EditRow, EventRow,
    FirstOutcome, HiddenRow, MemberRow, MessageId, MessageRow, OutcomeRow, Rows, TempId, Tenant,
    UserId, Withheld,
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
    /// Earlier texts by message, and by the edit that replaced them.
    pub edits: BTreeMap<(MessageId, u64), EditRow>,
    /// Deletions for one user, by tenant, user and message.
    pub hidden: BTreeMap<(Tenant, UserId, MessageId), HiddenRow>,
    /// Conversations by id.
    pub conversations: BTreeMap<ConversationId, ConversationRow>,
    /// Members by conversation and user.
    pub members: BTreeMap<(ConversationId, UserId), MemberRow>,
}

impl Model {
    /// Folds one valid decision, which stands at `offset` in its partition; one
    /// that is already in changes nothing.
    pub fn apply(&mut self, decision: &Decision, offset: i64) {
        let mut rows = Rows {
            messages: std::mem::take(&mut self.messages),
            conversations: std::mem::take(&mut self.conversations),
            members: std::mem::take(&mut self.members),
            ..Rows::default()
        };
        rows.apply(decision, offset);
        self.messages = rows.messages;
        self.conversations = rows.conversations;
        self.members = rows.members;
        for event in rows.events {
            self.events
                .entry((event.conversation_id, event.seq))
                .or_insert(event);
        }
        for outcome in rows.outcomes {
            self.insert_outcome(outcome);
        }
        for edit in rows.edits {
            self.edits
                .entry((edit.message_id, edit.seq))
                .or_insert(edit);
        }
        for row in rows.hidden {
            let key = (row.tenant.clone(), row.user_id.clone(), row.message_id);
            self.hidden.entry(key).or_insert(row);
        }
        for withheld in rows.withheld {
            self.withhold(withheld);
        }
    }

    /// The first outcome of a command stays, except that an own change is
    /// noted over anything else: a command may be refused first, and accepted
    /// when it comes again after the dedupe window.
    pub fn insert_outcome(&mut self, outcome: OutcomeRow) {
        let key = (
            outcome.tenant.clone(),
            outcome.conversation_id,
            outcome.by.clone(),
            outcome.temp_id.clone(),
        );
        match self.outcomes.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(outcome);
            }
            Entry::Occupied(mut known) => {
                let is_noted = |row: &OutcomeRow| row.outcome == FirstOutcome::Noted;
                if is_noted(&outcome) && !is_noted(known.get()) {
                    known.insert(outcome);
                }
            }
        }
    }

    /// Marks what holds a message's text, and of a purge takes the text out.
    pub fn withhold(&mut self, withheld: Withheld) {
        let Withheld {
            conversation_id,
            message_id,
            seq,
            scope,
        } = withheld;
        let edits = self
            .edits
            .range((message_id, 0)..=(message_id, u64::MAX))
            .map(|((_, seq), _)| *seq);
        let seqs: Vec<u64> = edits.chain([seq]).collect();
        let is_purge = scope == DeleteScope::Purge;
        for seq in seqs {
            if let Some(event) = self.events.get_mut(&(conversation_id, seq)) {
                event.withheld = true;
                if is_purge {
                    event.clear_content();
                }
            }
            if is_purge && let Some(edit) = self.edits.get_mut(&(message_id, seq)) {
                edit.content = Content::default();
            }
        }
    }
}
