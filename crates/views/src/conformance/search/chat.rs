use tidings_domain::{
    Attachment, Change, Content, ConversationId, Decision, DeleteScope, Event, Kind, Member,
    MessageId, Outcome, Own, Role, TempId, Tenant, Timestamp, UserId,
};
use uuid::Uuid;

use crate::conformance::Random;

/// Of what messages and titles are made; queries are made of it too.
const PIECES: [&str; 22] = [
    "kernel",
    "Kernel",
    "KERNELS",
    "panic",
    "boot_time",
    "e-mail",
    "\u{c9}mile",
    "\u{e9}mile",
    "na\u{ef}ve",
    "nai\u{308}ve",
    "2.6.9",
    "\u{65e5}\u{672c}",
    "AND",
    "or",
    "<b>",
    "\\",
    "x",
    "(y",
    "\u{1f600}",
    "\u{130}stanbul",
    "stra\u{df}e",
    "al",
];

/// Ids with upper case, digits and every other character that ids have.
const USERS: [&str; 8] = [
    "alice",
    "Alan",
    "al.b",
    "bob",
    "Bob2",
    "dave@x.org",
    "Eve:1",
    "_al-",
];

/// What somebody might look for.
pub(super) fn query(random: &mut Random) -> String {
    let count = 1 + random.below(3);
    let pieces: Vec<&str> = (0..count).map(|_| *pick(random, &PIECES)).collect();
    let joined = pieces.join(" ");
    match random.below(6) {
        0 => format!("\"{joined}\""),
        1 => format!("{joined}*"),
        2 => {
            let mut cut = joined;
            cut.pop();
            format!("{cut}*")
        }
        3 => format!("\"{joined}"),
        _ => joined,
    }
}

/// What somebody might type of a user's id.
pub(super) fn id_query(random: &mut Random) -> String {
    let id = *pick(random, &USERS);
    let length = 1 + random.below(id.len());
    let star = if random.below(3) == 0 { "*" } else { "" };
    match random.below(8) {
        0 => "@".to_owned(),
        1 => id.to_uppercase(),
        _ => format!("{}{star}", &id[..length]),
    }
}

fn pick<'a, T>(random: &mut Random, items: &'a [T]) -> &'a T {
    &items[random.below(items.len())]
}

/// Decisions about conversations of two tenants whose users have the same
/// names: creates, sends, edits, deletions of every scope, changes of titles
/// and members, some of them of what is not there.
pub struct Chat {
    random: Random,
    tenants: [Tenant; 2],
    users: Vec<UserId>,
    conversations: Vec<(Tenant, ConversationId)>,
    messages: Vec<(Tenant, ConversationId, MessageId)>,
    offset: i64,
}

impl Chat {
    /// The decisions of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let tenant = |name| Tenant::parse(name).expect("a valid tenant");
        let user = |name: &str| UserId::parse(name).expect("a valid user id");
        Self {
            random: Random::new(seed),
            tenants: [tenant("acme"), tenant("other")],
            users: USERS.map(user).to_vec(),
            conversations: Vec::new(),
            messages: Vec::new(),
            offset: 0,
        }
    }

    /// The next so many, with their offsets.
    pub fn take(&mut self, count: usize) -> Vec<(i64, Decision)> {
        (0..count).map(|_| self.next()).collect()
    }

    /// One message for each line, in a conversation of its own.
    pub fn of_lines(&mut self, lines: &[String]) -> (Vec<(i64, Decision)>, ConversationId) {
        let tenant = self.tenants[0].clone();
        let create = self.create(tenant.clone());
        let conversation_id = create.1.conversation_id;
        let mut decisions = vec![create];
        for (line, no) in lines.iter().zip(1..) {
            let event = self.message(no, Content::text(&**line));
            decisions.push(self.decision(tenant.clone(), conversation_id, event));
        }
        (decisions, conversation_id)
    }

    /// A message, and the decision that purges it.
    pub fn said_and_purged(&mut self, text: &str) -> ((i64, Decision), (i64, Decision)) {
        let (tenant, conversation_id) = self.conversations[0].clone();
        let event = self.message(1, Content::text(text));
        let Event::MessageSent { message_id, .. } = event else {
            unreachable!("a message")
        };
        let said = self.decision(tenant.clone(), conversation_id, event);
        let purge = Event::MessageDeleted {
            message_id,
            scope: DeleteScope::Purge,
        };
        (said, self.decision(tenant, conversation_id, purge))
    }

    /// A message that is sent again after the dedupe window: another event, and
    /// the same message.
    pub(super) fn again(&mut self, said: &Decision) -> (i64, Decision) {
        let Outcome::Accepted { event, .. } = said.outcome.clone() else {
            unreachable!("a message")
        };
        let (tenant, id) = (said.tenant.clone(), said.conversation_id);
        self.decision(tenant, id, event)
    }

    fn next(&mut self) -> (i64, Decision) {
        if self.conversations.len() < 2 || self.random.below(15) == 0 {
            let tenant = pick(&mut self.random, &self.tenants).clone();
            return self.create(tenant);
        }
        let (tenant, conversation_id) = pick(&mut self.random, &self.conversations).clone();
        let sort = self.random.below(12);
        if sort < 6 || self.messages.is_empty() {
            let mut content = Content::text(self.text());
            if self.random.below(4) == 0 {
                content.attachments.push(Attachment {
                    id: "f".to_owned(),
                    name: "kernel.png".to_owned(),
                    mime: "image/png".to_owned(),
                    size: 1,
                });
            }
            let no = 1 + self.random.below(1_000) as u64;
            let event = self.message(no, content);
            if let Event::MessageSent { message_id, .. } = &event {
                self.messages
                    .push((tenant.clone(), conversation_id, *message_id));
            }
            return self.decision(tenant, conversation_id, event);
        }
        if sort < 10 {
            return self.change_of_message();
        }
        let change = match self.random.below(6) {
            0 | 1 => Change::AddMembers(self.some_users()),
            2 => Change::RemoveMembers(self.some_users()),
            3 => Change::Leave,
            _ => Change::Rename(self.text()),
        };
        let event = Event::ConversationUpdated(change);
        self.decision(tenant, conversation_id, event)
    }

    fn change_of_message(&mut self) -> (i64, Decision) {
        let (tenant, conversation_id, message_id) = pick(&mut self.random, &self.messages).clone();
        // Now and then named in a conversation that it is not in.
        let place = if self.random.below(10) == 0 {
            pick(&mut self.random, &self.conversations).clone()
        } else {
            (tenant, conversation_id)
        };
        let scope = match self.random.below(7) {
            0 => DeleteScope::Everyone,
            1 => DeleteScope::Purge,
            2 | 3 => {
                let hide = Outcome::Noted(Own::Hide(message_id));
                return self.decision_of(place.0, place.1, hide);
            }
            _ => {
                let event = Event::MessageEdited {
                    message_id,
                    content: Content::text(self.text()),
                };
                return self.decision(place.0, place.1, event);
            }
        };
        let event = Event::MessageDeleted { message_id, scope };
        self.decision(place.0, place.1, event)
    }

    fn text(&mut self) -> String {
        let count = 1 + self.random.below(6);
        let pieces: Vec<&str> = (0..count)
            .map(|_| *pick(&mut self.random, &PIECES))
            .collect();
        let between = [" ", ", ", "-", "\n"];
        pieces.join(*pick(&mut self.random, &between))
    }

    fn some_users(&mut self) -> Vec<UserId> {
        let count = 1 + self.random.below(4);
        (0..count)
            .map(|_| pick(&mut self.random, &self.users).clone())
            .collect()
    }

    fn create(&mut self, tenant: Tenant) -> (i64, Decision) {
        let id = ConversationId(self.fresh_id());
        self.conversations.push((tenant.clone(), id));
        let users = self.some_users();
        let members = users.into_iter().map(|user_id| Member {
            user_id,
            role: Role::Member,
        });
        let change = Change::Create {
            kind: *pick(
                &mut self.random,
                &[Kind::Direct, Kind::Group, Kind::Channel],
            ),
            title: (self.random.below(4) > 0).then(|| self.text()),
            members: members.collect(),
        };
        self.decision(tenant, id, Event::ConversationUpdated(change))
    }

    fn message(&mut self, no: u64, content: Content) -> Event {
        Event::MessageSent {
            message_id: MessageId(self.fresh_id()),
            no,
            content,
            reply_to: None,
            thread: None,
            forwarded_from: None,
        }
    }

    fn fresh_id(&mut self) -> Uuid {
        let mut half = || self.random.below(usize::MAX) as u64;
        Uuid::from_u64_pair(half(), half())
    }

    fn decision(
        &mut self,
        tenant: Tenant,
        conversation_id: ConversationId,
        event: Event,
    ) -> (i64, Decision) {
        let seq = self.offset.cast_unsigned() + 1;
        self.decision_of(tenant, conversation_id, Outcome::Accepted { seq, event })
    }

    fn decision_of(
        &mut self,
        tenant: Tenant,
        conversation_id: ConversationId,
        outcome: Outcome,
    ) -> (i64, Decision) {
        self.offset += 1 + self.random.below(3) as i64;
        let decision = Decision {
            tenant,
            conversation_id,
            sender: pick(&mut self.random, &self.users).clone(),
            temp_id: TempId::parse("t").expect("a valid temp_id"),
            message_id: None,
            // Several in one millisecond.
            at: Timestamp(1_100_520_000_000 + self.offset / 5),
            outcome,
        };
        (self.offset, decision)
    }
}
