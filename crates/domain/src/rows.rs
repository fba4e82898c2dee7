//! The rows of the history view, and the one fold that makes them. Every
//! store of the view keeps these; none computes them.

use crate::{
    Change, Code, Content, ConversationId, Decision, Event, First, FirstOutcome, ForwardedFrom,
    Kind, MessageId, Outcome, Role, TempId, Tenant, Timestamp, UserId,
};

/// An event as `sync` returns it. Inserted once, never changed.
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
    /// The `no` of the last message they have read.
    pub read_no: u64,
    /// The last event applied to this row: its revision.
    pub rev: u64,
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
    /// What it says.
    pub content: Content,
    /// What it answers.
    pub reply_to: Option<MessageId>,
    /// The first message of its thread.
    pub thread: Option<MessageId>,
    /// Where it was copied from.
    pub forwarded_from: Option<ForwardedFrom>,
}

/// The rows that a run of decisions touches, folded in log order.
///
/// A projection first [wants](Self::wanted) to know which conversations and
/// members it must load, puts what the store has into the maps, folds, and
/// writes all that is in `events`, `outcomes`, `messages` and the rows whose
/// revision grew.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// New events.
    pub events: Vec<EventRow>,
    /// New outcomes.
    pub outcomes: Vec<OutcomeRow>,
    /// New messages.
    pub messages: Vec<MessageRow>,
    /// Conversations by id: those loaded and those made.
    pub conversations: std::collections::BTreeMap<ConversationId, ConversationRow>,
    /// Members by conversation and user: those loaded and those made.
    pub members: std::collections::BTreeMap<(ConversationId, UserId), MemberRow>,
}

impl Rows {
    /// The members whose rows an accepted decision changes.
    #[must_use]
    pub fn wanted(decision: &Decision) -> Vec<UserId> {
        let Outcome::Accepted { event, .. } = &decision.outcome else {
            return Vec::new();
        };
        match event {
            Event::MessageSent { .. } => vec![decision.sender.clone()],
            Event::ConversationUpdated(change) => match change {
                Change::Create { members, .. } => {
                    members.iter().map(|m| m.user_id.clone()).collect()
                }
                Change::AddMembers(users) | Change::RemoveMembers(users) => users.clone(),
                Change::SetRole { user_id, .. } => vec![user_id.clone()],
                Change::Leave => vec![decision.sender.clone()],
                Change::Rename(_) | Change::Close | Change::Reopen => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// Folds one valid decision. One that the rows already reflect changes
    /// nothing, except that its event is listed again; stores ignore an event
    /// they have.
    pub fn apply(&mut self, decision: &Decision) {
        match &decision.outcome {
            Outcome::Accepted { seq, event } => self.apply_event(decision, *seq, event),
            Outcome::Rejected(code) => self.outcomes.push(Self::rejection(decision, *code)),
            // A second `create` of a direct conversation has a `temp_id` of its
            // own, and may be asked for by it; any other duplicate is known
            // under the same key already, and stores ignore it.
            Outcome::Duplicate(first) => self.outcomes.push(Self::repeat(decision, first)),
        }
    }

    fn rejection(decision: &Decision, code: Code) -> OutcomeRow {
        OutcomeRow {
            tenant: decision.tenant.clone(),
            conversation_id: decision.conversation_id,
            by: decision.sender.clone(),
            temp_id: decision.temp_id.clone(),
            at: decision.at,
            outcome: FirstOutcome::Rejected(code),
            message_id: None,
        }
    }

    fn repeat(decision: &Decision, first: &First) -> OutcomeRow {
        OutcomeRow {
            outcome: first.outcome,
            message_id: decision.message_id,
            ..Self::rejection(decision, Code::Invalid)
        }
    }

    fn apply_event(&mut self, decision: &Decision, seq: u64, event: &Event) {
        let id = decision.conversation_id;
        self.events.push(EventRow {
            tenant: decision.tenant.clone(),
            conversation_id: id,
            seq,
            at: decision.at,
            by: decision.sender.clone(),
            temp_id: decision.temp_id.clone(),
            event: event.clone(),
        });
        if let Event::MessageSent {
            message_id,
            no,
            content,
            reply_to,
            thread,
            forwarded_from,
        } = event
        {
            self.messages.push(MessageRow {
                message_id: *message_id,
                conversation_id: id,
                tenant: decision.tenant.clone(),
                no: *no,
                seq,
                rev: seq,
                by: decision.sender.clone(),
                at: decision.at,
                content: content.clone(),
                reply_to: *reply_to,
                thread: *thread,
                forwarded_from: forwarded_from.clone(),
            });
        }
        let last_no = self.apply_to_conversation(decision, seq, event);
        match event {
            Event::MessageSent { no, .. } => {
                let no = *no;
                self.member(decision, seq, &decision.sender, |row| {
                    row.read_no = row.read_no.max(no);
                });
            }
            Event::ConversationUpdated(change) => match change {
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
            },
            _ => {}
        }
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
        let key = (decision.conversation_id, user.clone());
        let row = self.members.entry(key).or_insert_with(|| MemberRow {
            conversation_id: decision.conversation_id,
            user_id: user.clone(),
            tenant: decision.tenant.clone(),
            role: None,
            read_no: 0,
            rev: 0,
        });
        if seq > row.rev {
            row.rev = seq;
            change(row);
        }
    }
}
