use std::collections::{BTreeMap, HashMap, HashSet};

use crate::conversation::{Effect, member_hash};
use crate::{
    Change, Code, Command, CommandBody, CommandKey, Conversation, ConversationId, Decision, Digest,
    Event, First, FirstOutcome, Kind, Outcome, Role, Tenant, Timestamp, UserId, Window,
};

/// A sequencer's state of one partition: a fold of its valid decisions.
#[derive(Debug, Default)]
pub struct Partition {
    conversations: HashMap<ConversationId, Conversation>,
    window: Window,
    digest: Digest,
    unsaved: Unsaved,
}

/// What changed since the last [`Partition::take_snapshot`].
#[derive(Debug, Default)]
struct Unsaved {
    heads: HashSet<ConversationId>,
    members: HashSet<(ConversationId, UserId)>,
    decided: usize,
}

/// A piece of a partition's state, as the sequencer saves it.
///
/// Pieces must be written in the order [`Partition::take_snapshot`] gives
/// them, members before heads: a head that is there then vouches for its
/// members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// A conversation without its members.
    Head {
        /// Which.
        conversation_id: ConversationId,
        /// Whose.
        tenant: Tenant,
        /// Its kind.
        kind: Kind,
        /// Its title.
        title: Option<String>,
        /// Whether it is closed.
        closed: bool,
        /// Its last event.
        last_seq: u64,
        /// Its last message.
        last_no: u64,
    },
    /// One member, or one who is none any more.
    Member {
        /// Of which conversation.
        conversation_id: ConversationId,
        /// Who.
        user_id: UserId,
        /// As what; none: no member any more.
        role: Option<Role>,
    },
    /// First decisions made since the snapshot before, oldest first.
    Window(Vec<(CommandKey, First)>),
}

impl Partition {
    /// An empty partition.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rebuilds the state from its saved pieces, in any order.
    ///
    /// Members of a conversation without a head are left out: its `create`
    /// then stands behind the checkpoint and will be folded.
    #[must_use]
    pub fn restore(pieces: impl IntoIterator<Item = Snapshot>) -> Self {
        let mut partition = Self::new();
        let mut members: HashMap<ConversationId, BTreeMap<UserId, Role>> = HashMap::new();
        let mut remembered = Vec::new();
        for piece in pieces {
            match piece {
                Snapshot::Head {
                    conversation_id,
                    tenant,
                    kind,
                    title,
                    closed,
                    last_seq,
                    last_no,
                } => {
                    let members = BTreeMap::new();
                    let conversation = Conversation {
                        tenant,
                        kind,
                        title,
                        closed,
                        last_seq,
                        last_no,
                        members,
                    };
                    partition
                        .conversations
                        .insert(conversation_id, conversation);
                }
                Snapshot::Member {
                    conversation_id,
                    user_id,
                    role: Some(role),
                } => {
                    members
                        .entry(conversation_id)
                        .or_default()
                        .insert(user_id, role);
                }
                Snapshot::Member { role: None, .. } => {}
                Snapshot::Window(entries) => remembered.extend(entries),
            }
        }
        remembered.sort_by_key(|(_, first)| first.at);
        for (key, first) in remembered {
            partition.window.insert(key, first);
        }
        for (id, conversation) in &mut partition.conversations {
            conversation.members = members.remove(id).unwrap_or_default();
            partition.digest.add(conversation.head_hash(*id));
            for (user, role) in &conversation.members {
                partition.digest.add(member_hash(*id, user, *role));
            }
        }
        partition
    }

    /// Decides a command. Nothing changes until the decision is
    /// [applied](Self::apply).
    #[must_use]
    pub fn decide(&self, command: &Command, now: Timestamp) -> Decision {
        Decision {
            tenant: command.tenant.clone(),
            conversation_id: command.conversation_id,
            sender: command.sender.clone(),
            temp_id: command.temp_id.clone(),
            message_id: command.message_id(),
            at: now,
            outcome: self.outcome(command, now),
        }
    }

    fn outcome(&self, command: &Command, now: Timestamp) -> Outcome {
        if let Some(first) = self.window.get(command.key(), now) {
            return Outcome::Duplicate(first);
        }
        let conversation = self
            .conversations
            .get(&command.conversation_id)
            .filter(|conversation| conversation.tenant == command.tenant);
        let decided = match (conversation, &command.body) {
            (Some(conversation), CommandBody::Create { .. }) => {
                return Self::created_before(conversation, &command.sender);
            }
            (Some(conversation), _) => conversation
                .decide(command)
                .map(|effect| (conversation.last_seq + 1, effect)),
            // Another tenant's, or of none: alike to whoever asks.
            (None, _) if self.conversations.contains_key(&command.conversation_id) => {
                Err(Code::NotFound)
            }
            (None, _) => Conversation::create(command).map(|event| (1, Effect::Event(event))),
        };
        match decided {
            Ok((seq, Effect::Event(event))) => Outcome::Accepted { seq, event },
            Ok((_, Effect::Own(own))) => Outcome::Noted(own),
            Err(code) => Outcome::Rejected(code),
        }
    }

    /// A conversation's id says who made it with which `temp_id`, and of a
    /// direct one who its ends are: a second `create` is a resend, however
    /// late, or the other end's.
    fn created_before(conversation: &Conversation, sender: &UserId) -> Outcome {
        if conversation.kind == Kind::Direct && !conversation.members.contains_key(sender) {
            return Outcome::Rejected(Code::NotAMember);
        }
        let outcome = FirstOutcome::Accepted { seq: 1, no: None };
        Outcome::Duplicate(First {
            outcome,
            at: Timestamp::default(),
        })
    }

    /// Folds a valid decision. One that is already in changes nothing.
    pub fn apply(&mut self, decision: &Decision) {
        self.window.forget_before(decision.at);
        let first = match &decision.outcome {
            Outcome::Accepted { seq, event } => {
                self.apply_event(decision, *seq, event);
                FirstOutcome::Accepted {
                    seq: *seq,
                    no: event.no(),
                }
            }
            // What is somebody's own is no state of the conversation.
            Outcome::Noted(_) => FirstOutcome::Noted,
            Outcome::Rejected(code) => FirstOutcome::Rejected(*code),
            Outcome::Duplicate(_) => return,
        };
        let is_new = self.window.insert(
            decision.key(),
            First {
                outcome: first,
                at: decision.at,
            },
        );
        self.unsaved.decided += usize::from(is_new);
    }

    fn apply_event(&mut self, decision: &Decision, seq: u64, event: &Event) {
        let id = decision.conversation_id;
        let Some(conversation) = self.conversations.get_mut(&id) else {
            if let Event::ConversationUpdated(change) = event
                && let Some(conversation) = Conversation::born(&decision.tenant, change)
            {
                self.digest.add(conversation.head_hash(id));
                for (user, role) in &conversation.members {
                    self.digest.add(member_hash(id, user, *role));
                    self.unsaved.members.insert((id, user.clone()));
                }
                self.unsaved.heads.insert(id);
                self.conversations.insert(id, conversation);
            }
            return;
        };
        if seq <= conversation.last_seq {
            return;
        }
        self.digest.take_out(conversation.head_hash(id));
        conversation.last_seq = seq;
        if let Some(no) = event.no() {
            conversation.last_no = no;
        }
        let mut roles: Vec<(UserId, Option<Role>)> = Vec::new();
        if let Event::ConversationUpdated(change) = event {
            match change {
                Change::Create { .. } => {}
                Change::AddMembers(users) => {
                    roles.extend(users.iter().map(|u| (u.clone(), Some(Role::Member))));
                }
                Change::RemoveMembers(users) => {
                    roles.extend(users.iter().map(|u| (u.clone(), None)));
                }
                Change::Leave => roles.push((decision.sender.clone(), None)),
                Change::SetRole { user_id, role } => roles.push((user_id.clone(), Some(*role))),
                Change::Rename(title) => conversation.title = Some(title.clone()),
                Change::Close => conversation.closed = true,
                Change::Reopen => conversation.closed = false,
            }
        }
        for (user, role) in roles {
            let before = match role {
                Some(role) => conversation.members.insert(user.clone(), role),
                None => conversation.members.remove(&user),
            };
            if let Some(before) = before {
                self.digest.take_out(member_hash(id, &user, before));
            }
            if let Some(role) = role {
                self.digest.add(member_hash(id, &user, role));
            }
            self.unsaved.members.insert((id, user));
        }
        self.digest.add(conversation.head_hash(id));
        self.unsaved.heads.insert(id);
    }

    /// What changed since this was last called: members first, then heads,
    /// then the newly remembered commands in pieces of at most `window_chunk`.
    pub fn take_snapshot(&mut self, window_chunk: usize) -> Vec<Snapshot> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let mut pieces = Vec::with_capacity(unsaved.members.len() + unsaved.heads.len() + 1);
        for (conversation_id, user_id) in unsaved.members {
            let role = self
                .conversations
                .get(&conversation_id)
                .and_then(|conversation| conversation.members.get(&user_id).copied());
            pieces.push(Snapshot::Member {
                conversation_id,
                user_id,
                role,
            });
        }
        for conversation_id in unsaved.heads {
            if let Some(conversation) = self.conversations.get(&conversation_id) {
                pieces.push(Snapshot::Head {
                    conversation_id,
                    tenant: conversation.tenant.clone(),
                    kind: conversation.kind,
                    title: conversation.title.clone(),
                    closed: conversation.closed,
                    last_seq: conversation.last_seq,
                    last_no: conversation.last_no,
                });
            }
        }
        let decided: Vec<_> = self.window.last(unsaved.decided).collect();
        pieces.extend(
            decided
                .chunks(window_chunk.max(1))
                .map(|c| Snapshot::Window(c.to_vec())),
        );
        pieces
    }

    /// The digest of all heads and members.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// A conversation's state, if it exists.
    #[must_use]
    pub fn conversation(&self, id: ConversationId) -> Option<&Conversation> {
        self.conversations.get(&id)
    }

    /// How many conversations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.conversations.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conversations.is_empty()
    }

    /// The commands remembered for deduplication.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.window
    }
}
