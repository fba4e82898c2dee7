use tidings_domain::{
    Attachment, Command, CommandBody, Content, ConversationId, Decision, DeleteScope, Event,
    ForwardedFrom, Kind, MessageId, Outcome, Partition, ReactionOp, Role, TempId, Tenant,
    Timestamp, Update, UserId,
};

/// Random numbers that are the same for the same seed: SplitMix64, from
/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
/// OOPSLA 2014.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Decisions that the real sequencer core makes of random commands: of two
/// tenants whose users have the same names, with resends within and past the
/// dedupe window, commands across tenants, and many that are refused.
pub struct Decisions {
    random: Random,
    partition: Partition,
    tenants: Vec<Tenant>,
    users: Vec<UserId>,
    conversations: Vec<ConversationId>,
    messages: Vec<Posted>,
    sent: Vec<Command>,
    now: Timestamp,
    made: usize,
}

/// A message that was posted.
#[derive(Clone, Copy, Debug)]
struct Posted {
    conversation_id: ConversationId,
    message_id: MessageId,
    /// Whose it is, among the users.
    author: usize,
    at: Timestamp,
    thread: MessageId,
}

impl Decisions {
    /// The decisions of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let tenant = |name: &str| Tenant::parse(name).expect("a valid tenant");
        let user = |name: &str| UserId::parse(name).expect("a valid user id");
        Self {
            random: Random::new(seed),
            partition: Partition::new(),
            tenants: vec![tenant("acme"), tenant("other")],
            users: ["alice", "bob", "carol", "dave@x.org", "Eve:1"]
                .map(user)
                .to_vec(),
            conversations: Vec::new(),
            messages: Vec::new(),
            sent: Vec::new(),
            now: Timestamp(1_100_520_000_000),
            made: 0,
        }
    }

    /// The next so many.
    pub fn take(&mut self, count: usize) -> Vec<Decision> {
        (0..count).map(|_| self.decide()).collect()
    }

    fn decide(&mut self) -> Decision {
        // Several in one millisecond, and now and then past the dedupe window.
        self.now.0 += match self.random.below(40) {
            0 => 11 * 60 * 1000,
            1..10 => 0,
            _ => self.random.below(1_000) as i64,
        };
        let resend = self.random.one_in(8) && !self.sent.is_empty();
        let command = if resend {
            self.random.pick(&self.sent).clone()
        } else {
            self.command()
        };
        let decision = self.partition.decide(&command, self.now);
        self.partition.apply(&decision);
        self.posted(&decision);
        if matches!(command.body, CommandBody::Create { .. }) {
            self.conversations.push(command.conversation_id);
        }
        self.sent.push(command);
        decision
    }

    fn posted(&mut self, decision: &Decision) {
        let Outcome::Accepted {
            event: Event::MessageSent {
                message_id, thread, ..
            },
            ..
        } = &decision.outcome
        else {
            return;
        };
        let author = self.users.iter().position(|it| *it == decision.sender);
        self.messages.push(Posted {
            conversation_id: decision.conversation_id,
            message_id: *message_id,
            author: author.expect("one of the users"),
            at: decision.at,
            thread: thread.unwrap_or(*message_id),
        });
    }

    /// A message of this conversation, of late; now and then another, or one
    /// that was never posted.
    fn message(&mut self, conversation_id: ConversationId) -> Posted {
        let own = self.messages.iter().rev();
        let own: Vec<Posted> = own
            .filter(|it| it.conversation_id == conversation_id)
            .take(6)
            .copied()
            .collect();
        match self.random.below(16) {
            0 if !self.messages.is_empty() => *self.random.pick(&self.messages),
            1.. if !own.is_empty() => *self.random.pick(&own),
            _ => {
                let message_id = MessageId(uuid::Uuid::from_u128(self.made as u128));
                Posted {
                    conversation_id,
                    message_id,
                    author: 0,
                    at: self.now,
                    thread: message_id,
                }
            }
        }
    }

    fn command(&mut self) -> Command {
        self.made += 1;
        // Small numbers, so that two senders and two tenants use the same.
        let temp_id = TempId::parse(&format!("t {}", self.made / 3)).expect("a valid temp_id");
        let mut tenant = self.random.pick(&self.tenants).clone();
        let mut sender = self.random.pick(&self.users).clone();
        let (conversation_id, body) = if self.conversations.is_empty() || self.random.one_in(12) {
            self.create(&tenant, &sender, &temp_id)
        } else {
            let conversation_id = *self.random.pick(&self.conversations);
            // Mostly somebody who may.
            if let Some(conversation) = self.partition.conversation(conversation_id)
                && !self.random.one_in(4)
                && !conversation.members.is_empty()
            {
                let members: Vec<_> = conversation.members.keys().collect();
                sender = (*self.random.pick(&members)).clone();
                tenant = conversation.tenant.clone();
            }
            let body = match self.random.below(24) {
                0..9 => self.send(conversation_id),
                9..14 => {
                    let about = self.message(conversation_id);
                    if !self.random.one_in(4) {
                        sender = self.users[about.author].clone();
                    }
                    self.edit_or_delete(conversation_id, about)
                }
                14..17 => self.react(conversation_id),
                17 => CommandBody::Read {
                    up_to: self.random.below(9) as u64,
                },
                18..20 => CommandBody::Update(self.own_setting()),
                _ => CommandBody::Update(self.update()),
            };
            (conversation_id, body)
        };
        Command {
            tenant,
            conversation_id,
            sender,
            temp_id,
            at: self.now,
            body,
        }
    }

    fn some_users(&mut self) -> Vec<UserId> {
        let count = self.random.below(4);
        (0..count)
            .map(|_| self.random.pick(&self.users).clone())
            .collect()
    }

    fn create(
        &mut self,
        tenant: &Tenant,
        sender: &UserId,
        temp_id: &TempId,
    ) -> (ConversationId, CommandBody) {
        if self.random.one_in(3) {
            let others: Vec<_> = self.users.iter().filter(|user| *user != sender).collect();
            let other = (*self.random.pick(&others)).clone();
            let id = ConversationId::of_direct(tenant, sender, &other);
            let kind = Kind::Direct;
            return (
                id,
                CommandBody::Create {
                    kind,
                    title: None,
                    members: vec![other],
                },
            );
        }
        let kind = if self.random.one_in(3) {
            Kind::Channel
        } else {
            Kind::Group
        };
        let title = (!self.random.one_in(3)).then(|| format!("Title \u{2116} {}", self.made));
        let members = self.some_users();
        let id = ConversationId::of_created(tenant, sender, temp_id);
        (
            id,
            CommandBody::Create {
                kind,
                title,
                members,
            },
        )
    }

    fn edit_or_delete(&mut self, place: ConversationId, about: Posted) -> CommandBody {
        let message_id = about.message_id;
        let author = Some(self.users[about.author].clone());
        let scope = match self.random.below(9) {
            0 => DeleteScope::Everyone,
            1 => DeleteScope::Purge,
            // An edge has seen that the message is of this conversation; the
            // sequencer, which knows no messages, relies on it.
            2 if about.conversation_id == place => DeleteScope::Me,
            _ => {
                let content = self.content();
                return CommandBody::Edit {
                    message_id,
                    content,
                    author,
                    posted_at: Some(about.at),
                };
            }
        };
        CommandBody::Delete {
            message_id,
            scope,
            author,
        }
    }

    fn react(&mut self, conversation_id: ConversationId) -> CommandBody {
        CommandBody::React {
            message_id: self.message(conversation_id).message_id,
            emoji: (*self.random.pick(&["+1", "\u{1f44b}\u{1f3fd}", "$.a"])).to_owned(),
            op: *self
                .random
                .pick(&[ReactionOp::Add, ReactionOp::Add, ReactionOp::Remove]),
        }
    }

    fn own_setting(&mut self) -> Update {
        match self.random.below(5) {
            0 => Update::Archive,
            1 => Update::Unarchive,
            2 => Update::Unmute,
            3 => Update::Mute { until: None },
            _ => Update::Mute {
                until: Some(Timestamp(self.now.0 + 1_000)),
            },
        }
    }

    fn content(&mut self) -> Content {
        let mut content = Content::text(format!("h\u{e9}llo \u{1f44b} $set.{} \"\"", self.made));
        if self.random.one_in(5) {
            content.attachments.push(Attachment {
                id: format!("f{}", self.made),
                name: "a b.png".to_owned(),
                mime: "image/png".to_owned(),
                size: self.random.below(1 << 40) as i64,
            });
            content.meta = Some(format!("{{\"a.b\": [1.50, \"$x\", {}]}}", self.made));
        }
        content
    }

    fn send(&mut self, conversation_id: ConversationId) -> CommandBody {
        let content = self.content();
        let reply = self.random.one_in(3);
        let reply_to = reply.then(|| self.message(conversation_id));
        let forwarded_from = self.random.one_in(9).then(|| ForwardedFrom {
            conversation_id: *self.random.pick(&self.conversations),
            message_id: MessageId(uuid::Uuid::from_u128(self.made as u128)),
            by: self.random.pick(&self.users).clone(),
        });
        CommandBody::Send {
            content,
            reply_to: reply_to.map(|it| it.message_id),
            thread: reply_to.map(|it| it.thread),
            forwarded_from,
        }
    }

    fn update(&mut self) -> Update {
        match self.random.below(9) {
            0..3 => Update::AddMembers(self.some_users()),
            3 => Update::RemoveMembers(self.some_users()),
            4 => Update::Rename(format!("New {}", self.made)),
            5 => Update::SetRole {
                user_id: self.random.pick(&self.users).clone(),
                role: *self.random.pick(&[Role::Member, Role::Admin, Role::Owner]),
            },
            6 => Update::Leave,
            7 => Update::Close,
            _ => Update::Reopen,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use tidings_domain::{Change, Code, Event, FirstOutcome, Outcome, Own};

    use super::Decisions;

    /// What a decision is, as finely as commands differ.
    fn sort(outcome: &Outcome) -> String {
        match outcome {
            Outcome::Accepted { event, .. } => match event {
                Event::MessageSent {
                    forwarded_from: Some(_),
                    ..
                } => "forward".to_owned(),
                Event::MessageSent {
                    thread: Some(_), ..
                } => "reply".to_owned(),
                Event::MessageDeleted { scope, .. } => format!("delete {}", scope.as_str()),
                Event::MessageReacted { op, .. } => format!("reaction {}", op.as_str()),
                Event::ConversationUpdated(Change::Create { kind, .. }) => {
                    format!("create {}", kind.as_str())
                }
                Event::ConversationUpdated(change) => change.op().to_owned(),
                other => other.kind().to_owned(),
            },
            Outcome::Noted(own) => match own {
                Own::Read { .. } => "read".to_owned(),
                Own::Hide(_) => "delete me".to_owned(),
                Own::Archive => "archive".to_owned(),
                Own::Unarchive => "unarchive".to_owned(),
                Own::Mute { until } => format!("mute {}", until.is_some()),
                Own::Unmute => "unmute".to_owned(),
            },
            Outcome::Rejected(code) => format!("rejected {code}"),
            Outcome::Duplicate(first) => match first.outcome {
                FirstOutcome::Accepted { .. } => "duplicate of accepted".to_owned(),
                FirstOutcome::Rejected(_) => "duplicate of rejected".to_owned(),
                FirstOutcome::Noted => "duplicate of noted".to_owned(),
            },
        }
    }

    /// Every command of the protocol is drawn, with every outcome that the
    /// sequencer has for it.
    #[test]
    fn the_streams_hold_every_command() {
        let seeds = (0..20).flat_map(|seed| Decisions::new(seed).take(400));
        let drawn: BTreeSet<String> = seeds.map(|decision| sort(&decision.outcome)).collect();
        let codes = [
            Code::NotFound,
            Code::NotAMember,
            Code::Forbidden,
            Code::EditWindowClosed,
            Code::Closed,
        ];
        let rejected = codes.map(|code| format!("rejected {code}"));
        let wanted = [
            "message.sent",
            "reply",
            "forward",
            "message.edited",
            "delete everyone",
            "delete purge",
            "delete me",
            "reaction add",
            "reaction remove",
            "create direct",
            "create group",
            "create channel",
            "add_members",
            "remove_members",
            "rename",
            "set_role",
            "leave",
            "close",
            "reopen",
            "read",
            "archive",
            "unarchive",
            "mute true",
            "mute false",
            "unmute",
            "duplicate of accepted",
            "duplicate of rejected",
            "duplicate of noted",
        ];
        let wanted = wanted.map(str::to_owned).into_iter().chain(rejected);
        let missing: Vec<_> = wanted.filter(|sort| !drawn.contains(sort)).collect();
        assert!(missing.is_empty(), "{missing:?} are not among {drawn:?}");
    }

    /// What the checks rely on: a stream holds enough of everything.
    #[test]
    fn a_stream_holds_every_sort_of_decision() {
        for seed in 0..20 {
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for decision in Decisions::new(seed).take(400) {
                let sort = match &decision.outcome {
                    Outcome::Accepted {
                        event: Event::ConversationUpdated(change),
                        ..
                    } => change.op(),
                    Outcome::Accepted { event, .. } => event.kind(),
                    Outcome::Noted(_) => "own",
                    Outcome::Rejected(code) => code.as_str(),
                    Outcome::Duplicate(_) => "duplicate",
                };
                *counts.entry(sort).or_default() += 1;
            }
            let enough = [
                ("message.sent", 20),
                ("message.edited", 10),
                ("message.deleted", 3),
                ("message.reacted", 8),
                ("own", 10),
                ("create", 8),
                ("not_found", 3),
                ("duplicate", 8),
            ];
            for (sort, least) in enough {
                let count = counts.get(sort).copied().unwrap_or_default();
                assert!(
                    count >= least,
                    "seed {seed}: {count} of {sort} in {counts:?}"
                );
            }
        }
    }
}
