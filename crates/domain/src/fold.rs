//! The one fold that makes the rows of the history view.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::{
    Change, Code, Content, ConversationId, ConversationRow, Decision, DeleteScope, EditRow, Event,
    EventRow, FirstOutcome, HiddenRow, MemberRow, MessageId, MessageRow, Mute, Outcome, OutcomeRow,
    Own, Reaction, ReactionOp, Role, UserId,
};

/// The most reactions to one message, over all users and emojis. One more is
/// accepted and changes nothing: a row must stay well below what a store takes
/// (16 MB of a MongoDB document).
pub const MAX_REACTIONS: usize = 10_000;

/// A message whose text is to be withheld: in its events, and of a purge in
/// its edits too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// The message.
    pub message_id: MessageId,
    /// The event that posted it. Those that edited it are named by its edits.
    pub seq: u64,
    /// `everyone`: the text stays in the store. `purge`: it goes.
    pub scope: DeleteScope,
}

/// The rows that a run of decisions touches, folded in log order.
///
/// A projection first asks what is [wanted](crate::Wanted), puts what the store has
/// into the maps, folds, and writes: what is new of `events`, `edits`,
/// `outcomes` and `hidden`, what is `withheld`, and the rows of the maps whose
/// revision grew.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// New events.
    pub events: Vec<EventRow>,
    /// New outcomes.
    pub outcomes: Vec<OutcomeRow>,
    /// New earlier texts.
    pub edits: Vec<EditRow>,
    /// Messages whose text is to be withheld, in stored events and edits too.
    pub withheld: Vec<Withheld>,
    /// New deletions for one user.
    pub hidden: Vec<HiddenRow>,
    /// Messages by id: those loaded and those posted.
    pub messages: BTreeMap<MessageId, MessageRow>,
    /// Conversations by id: those loaded and those made.
    pub conversations: BTreeMap<ConversationId, ConversationRow>,
    /// Members by conversation and user: those loaded and those made.
    pub members: BTreeMap<(ConversationId, UserId), MemberRow>,
}

impl Rows {
    /// Folds one valid decision, which stands at `offset` in its partition of
    /// `message.delivered`. One that the rows already reflect changes nothing,
    /// except that its event or outcome is listed again; stores ignore those
    /// they have.
    pub fn apply(&mut self, decision: &Decision, offset: i64) {
        match &decision.outcome {
            Outcome::Accepted { seq, event } => self.apply_event(decision, *seq, event),
            Outcome::Noted(own) => self.apply_own(decision, offset, *own),
            Outcome::Rejected(code) => self.rejected(decision, *code),
            // A second `create` of a direct conversation has a `temp_id` of its
            // own, and may be asked for by it; any other duplicate is known
            // under the same key already, and stores ignore it.
            Outcome::Duplicate(first) => {
                self.outcome(decision, first.outcome, decision.message_id);
            }
        }
    }

    fn rejected(&mut self, decision: &Decision, code: Code) {
        self.outcome(decision, FirstOutcome::Rejected(code), None);
    }

    fn outcome(
        &mut self,
        decision: &Decision,
        outcome: FirstOutcome,
        message_id: Option<MessageId>,
    ) {
        self.outcomes.push(OutcomeRow {
            tenant: decision.tenant.clone(),
            conversation_id: decision.conversation_id,
            by: decision.sender.clone(),
            temp_id: decision.temp_id.clone(),
            at: decision.at,
            outcome,
            message_id,
        });
    }

    fn apply_own(&mut self, decision: &Decision, offset: i64, own: Own) {
        self.outcome(decision, FirstOutcome::Noted, decision.message_id);
        let id = decision.conversation_id;
        if let Own::Hide(message_id) = own {
            self.hidden.push(HiddenRow {
                tenant: decision.tenant.clone(),
                conversation_id: id,
                user_id: decision.sender.clone(),
                message_id,
            });
            return;
        }
        // Whoever has settings is a member, and has a row.
        let Some(row) = self.members.get_mut(&(id, decision.sender.clone())) else {
            return;
        };
        if let Own::Read { up_to } = own {
            row.read_no = row.read_no.max(up_to);
        } else if offset > row.settings_rev {
            row.settings_rev = offset;
            match own {
                Own::Archive => row.archived = true,
                Own::Unarchive => row.archived = false,
                Own::Mute { until } => row.muted = Some(Mute { until }),
                Own::Unmute => row.muted = None,
                Own::Read { .. } | Own::Hide(_) => {}
            }
        }
    }

    fn apply_event(&mut self, decision: &Decision, seq: u64, event: &Event) {
        self.events.push(EventRow {
            tenant: decision.tenant.clone(),
            conversation_id: decision.conversation_id,
            seq,
            at: decision.at,
            by: decision.sender.clone(),
            temp_id: decision.temp_id.clone(),
            event: event.clone(),
            withheld: false,
        });
        let last_no = self.apply_to_conversation(decision, seq, event);
        match event {
            Event::MessageSent { no, thread, .. } => {
                self.posted(decision, seq, *thread, event);
                self.member(decision, seq, &decision.sender, |_| {});
                // The sender has read what they wrote.
                let own = (decision.conversation_id, decision.sender.clone());
                if let Some(row) = self.members.get_mut(&own) {
                    row.read_no = row.read_no.max(*no);
                }
            }
            Event::MessageEdited {
                message_id,
                content,
            } => self.edited(decision, seq, *message_id, content),
            Event::MessageDeleted { message_id, scope } => {
                self.deleted(decision, seq, *message_id, *scope);
            }
            Event::MessageReacted {
                message_id,
                emoji,
                op,
            } => {
                if let Some(row) = self.message(decision, seq, *message_id) {
                    react(row, &decision.sender, emoji, *op);
                }
            }
            Event::ConversationUpdated(change) => {
                self.apply_change(decision, seq, change, last_no);
            }
        }
    }

    fn apply_change(&mut self, decision: &Decision, seq: u64, change: &Change, last_no: u64) {
        match change {
            Change::Create { members, .. } => {
                for member in members {
                    self.member(decision, seq, &member.user_id, |row| {
                        row.role = Some(member.role);
                    });
                }
            }
            Change::AddMembers(users) => {
                for user in users {
                    // What was said before they came is not unread.
                    self.member(decision, seq, user, |row| {
                        row.role = Some(Role::Member);
                        row.read_no = row.read_no.max(last_no);
                    });
                }
            }
            Change::RemoveMembers(users) => {
                for user in users {
                    self.member(decision, seq, user, |row| row.role = None);
                }
            }
            Change::Leave => {
                self.member(decision, seq, &decision.sender, |row| row.role = None);
            }
            Change::SetRole { user_id, role } => {
                self.member(decision, seq, user_id, |row| row.role = Some(*role));
            }
            Change::Rename(_) | Change::Close | Change::Reopen => {}
        }
    }

    fn posted(&mut self, decision: &Decision, seq: u64, thread: Option<MessageId>, event: &Event) {
        let Event::MessageSent {
            message_id,
            no,
            content,
            reply_to,
            forwarded_from,
            ..
        } = event
        else {
            return;
        };
        let is_this_one = match self.messages.entry(*message_id) {
            Entry::Vacant(vacant) => {
                vacant.insert(MessageRow {
                    message_id: *message_id,
                    conversation_id: decision.conversation_id,
                    tenant: decision.tenant.clone(),
                    no: *no,
                    seq,
                    rev: seq,
                    by: decision.sender.clone(),
                    at: decision.at,
                    content: Some(content.clone()),
                    reply_to: *reply_to,
                    thread,
                    forwarded_from: forwarded_from.clone(),
                    edited_at: None,
                    deleted: None,
                    reactions: Vec::new(),
                    replies: 0,
                });
                true
            }
            Entry::Occupied(known) => known.get().seq == seq,
        };
        if !is_this_one {
            self.posted_again(decision, seq, *message_id);
        } else if let Some(thread) = thread
            && let Some(first) = self.message(decision, seq, thread)
        {
            first.replies += 1;
        }
    }

    /// A message sent again after the dedupe window is there already, and stays
    /// as it is. Its event says again what it said, and goes with it.
    fn posted_again(&mut self, decision: &Decision, seq: u64, message_id: MessageId) {
        if self.withhold_if_deleted(decision, message_id) {
            return;
        }
        self.edits.push(EditRow {
            message_id,
            conversation_id: decision.conversation_id,
            tenant: decision.tenant.clone(),
            seq,
            at: decision.at,
            content: Content::default(),
        });
    }

    /// The event at hand says something of a message that is deleted: nobody
    /// needs it.
    fn withhold_if_deleted(&mut self, decision: &Decision, message_id: MessageId) -> bool {
        let is_deleted = self.messages.get(&message_id).is_some_and(|row| {
            row.deleted.is_some()
                && row.conversation_id == decision.conversation_id
                && row.tenant == decision.tenant
        });
        if is_deleted && let Some(event) = self.events.last_mut() {
            event.withheld = true;
            event.clear_content();
        }
        is_deleted
    }

    fn edited(&mut self, decision: &Decision, seq: u64, message_id: MessageId, new: &Content) {
        let is_deleted = self.withhold_if_deleted(decision, message_id);
        let Some(row) = self.message(decision, seq, message_id) else {
            return;
        };
        if is_deleted {
            return;
        }
        let Some(content) = row.content.replace(new.clone()) else {
            return;
        };
        let at = row.edited_at.replace(decision.at).unwrap_or(row.at);
        self.edits.push(EditRow {
            message_id,
            conversation_id: decision.conversation_id,
            tenant: decision.tenant.clone(),
            seq,
            at,
            content,
        });
    }

    fn deleted(&mut self, decision: &Decision, seq: u64, id: MessageId, scope: DeleteScope) {
        let Some(row) = self.message(decision, seq, id) else {
            return;
        };
        match (row.deleted, scope) {
            (_, DeleteScope::Me)
            | (Some(DeleteScope::Purge), _)
            | (Some(_), DeleteScope::Everyone) => return,
            (_, DeleteScope::Everyone | DeleteScope::Purge) => {}
        }
        row.deleted = Some(scope);
        row.reactions.clear();
        if scope == DeleteScope::Purge {
            row.content = None;
        }
        let withheld = Withheld {
            conversation_id: row.conversation_id,
            message_id: id,
            seq: row.seq,
            scope,
        };
        // What this run has not written yet need not be written first.
        for event in &mut self.events {
            if event.conversation_id == withheld.conversation_id && has_text_of(&event.event, id) {
                event.withheld = true;
                if scope == DeleteScope::Purge {
                    event.clear_content();
                }
            }
        }
        if scope == DeleteScope::Purge {
            for edit in self.edits.iter_mut().filter(|edit| edit.message_id == id) {
                edit.content = Content::default();
            }
        }
        self.withheld.push(withheld);
    }

    /// A message that an event is about, unless its row reflects it already.
    fn message(&mut self, decision: &Decision, seq: u64, id: MessageId) -> Option<&mut MessageRow> {
        let row = self.messages.get_mut(&id)?;
        let is_own = row.conversation_id == decision.conversation_id
            && row.tenant == decision.tenant
            && seq > row.rev;
        is_own.then(|| {
            row.rev = seq;
            row
        })
    }

    /// Returns the conversation's last `no` after the event.
    fn apply_to_conversation(&mut self, decision: &Decision, seq: u64, event: &Event) -> u64 {
        let id = decision.conversation_id;
        if let Event::ConversationUpdated(Change::Create { kind, title, .. }) = event {
            self.conversations
                .entry(id)
                .or_insert_with(|| ConversationRow {
                    conversation_id: id,
                    tenant: decision.tenant.clone(),
                    kind: *kind,
                    title: title.clone(),
                    closed: false,
                    created_at: decision.at,
                    last_at: decision.at,
                    last_seq: seq,
                    last_no: 0,
                    last_message_id: None,
                });
        }
        let Some(row) = self.conversations.get_mut(&id) else {
            return 0;
        };
        if seq <= row.last_seq {
            return row.last_no;
        }
        row.last_seq = seq;
        row.last_at = decision.at;
        match event {
            Event::MessageSent { message_id, no, .. } => {
                row.last_no = *no;
                row.last_message_id = Some(*message_id);
            }
            Event::ConversationUpdated(Change::Rename(title)) => row.title = Some(title.clone()),
            Event::ConversationUpdated(Change::Close) => row.closed = true,
            Event::ConversationUpdated(Change::Reopen) => row.closed = false,
            _ => {}
        }
        row.last_no
    }

    fn member(
        &mut self,
        decision: &Decision,
        seq: u64,
        user: &UserId,
        change: impl FnOnce(&mut MemberRow),
    ) {
        let id = decision.conversation_id;
        let row = self
            .members
            .entry((id, user.clone()))
            .or_insert_with(|| MemberRow::new(decision.tenant.clone(), id, user.clone()));
        if seq > row.rev {
            row.rev = seq;
            change(row);
        }
    }
}

fn has_text_of(event: &Event, id: MessageId) -> bool {
    matches!(event, Event::MessageSent { message_id, .. }
        | Event::MessageEdited { message_id, .. } if *message_id == id)
}

/// Adding what is there and removing what is not change nothing; nor does any
/// reaction to a message that is deleted.
fn react(row: &mut MessageRow, user: &UserId, emoji: &str, op: ReactionOp) {
    if row.deleted.is_some() {
        return;
    }
    let known = row.reactions.iter().position(|it| it.emoji == emoji);
    match (op, known) {
        (ReactionOp::Add, known) => {
            if known.is_some_and(|at| row.reactions[at].by.contains(user)) {
                return;
            }
            let count: usize = row.reactions.iter().map(|it| it.by.len()).sum();
            if count >= MAX_REACTIONS {
                return;
            }
            match known {
                Some(at) => row.reactions[at].by.push(user.clone()),
                None => row.reactions.push(Reaction {
                    emoji: emoji.to_owned(),
                    by: vec![user.clone()],
                }),
            }
        }
        (ReactionOp::Remove, Some(at)) => {
            row.reactions[at].by.retain(|it| it != user);
            if row.reactions[at].by.is_empty() {
                row.reactions.remove(at);
            }
        }
        (ReactionOp::Remove, None) => {}
    }
}
