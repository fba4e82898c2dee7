//! A small world of two tenants, a few users and conversations, in which random
//! commands meet each other often.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::collection::vec;
use proptest::prelude::*;
use tidings_domain::{
    Command, CommandBody, CommandKey, Content, ConversationId, Decision, DeleteScope,
    ForwardedFrom, Kind, MessageId, Partition, ReactionOp, Role, TempId, Tenant, Timestamp, Update,
    UserId,
};

pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000);

const TENANTS: [&str; 2] = ["acme", "globex"];
const TEMP_IDS: [&str; 8] = ["t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8"];
const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

pub(crate) fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub(crate) fn temp_id(text: &str) -> TempId {
    TempId::parse(text).unwrap()
}

/// A conversation that may come to be, and the command that makes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    tenant: &'static str,
    kind: Kind,
    creator: &'static str,
    other: &'static str,
    temp_id: &'static str,
}

const PLACES: [Place; 5] = [
    Place {
        tenant: "acme",
        kind: Kind::Group,
        creator: "alice",
        other: "bob",
        temp_id: "c1",
    },
    Place {
        tenant: "acme",
        kind: Kind::Group,
        creator: "bob",
        other: "alice",
        temp_id: "c1",
    },
    Place {
        tenant: "acme",
        kind: Kind::Channel,
        creator: "alice",
        other: "carol",
        temp_id: "c2",
    },
    Place {
        tenant: "acme",
        kind: Kind::Direct,
        creator: "alice",
        other: "bob",
        temp_id: "c3",
    },
    Place {
        tenant: "globex",
        kind: Kind::Group,
        creator: "alice",
        other: "bob",
        temp_id: "c1",
    },
];

impl Place {
    pub(crate) fn id(self) -> ConversationId {
        let (tenant, creator) = (tenant(self.tenant), user(self.creator));
        match self.kind {
            Kind::Direct => ConversationId::of_direct(&tenant, &creator, &user(self.other)),
            _ => ConversationId::of_created(&tenant, &creator, &temp_id(self.temp_id)),
        }
    }

    fn create(self, by_other: bool) -> Command {
        // Either end of a direct conversation may create it.
        let swapped = by_other && self.kind == Kind::Direct;
        let (creator, other) = if swapped {
            (self.other, self.creator)
        } else {
            (self.creator, self.other)
        };
        command(
            self.tenant,
            self.id(),
            creator,
            self.temp_id,
            CommandBody::Create {
                kind: self.kind,
                title: None,
                members: vec![user(other)],
            },
        )
    }
}

pub(crate) fn command(
    tenant_name: &str,
    conversation_id: ConversationId,
    sender: &str,
    temp: &str,
    body: CommandBody,
) -> Command {
    Command {
        tenant: tenant(tenant_name),
        conversation_id,
        sender: user(sender),
        temp_id: temp_id(temp),
        at: START,
        body,
    }
}

pub(crate) fn send(text: &str) -> CommandBody {
    CommandBody::Send {
        content: Content::text(text),
        reply_to: None,
        thread: None,
        forwarded_from: None,
    }
}

fn any_place() -> impl Strategy<Value = Place> {
    prop::sample::select(PLACES.to_vec())
}

fn any_user() -> impl Strategy<Value = UserId> {
    prop::sample::select(USERS.to_vec()).prop_map(user)
}

fn any_users() -> impl Strategy<Value = Vec<UserId>> {
    vec(any_user(), 0..4)
}

fn any_role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Member, Role::Admin, Role::Owner])
}

/// A message that may come to be, in a conversation of [`PLACES`]; now and then
/// none, or one of another conversation than the command's.
fn any_message(place: Place) -> impl Strategy<Value = MessageId> {
    let temp = prop::sample::select(TEMP_IDS.to_vec());
    let other = prop_oneof![12 => Just(None), 1 => any_place().prop_map(Some)];
    (other, any_user(), temp, prop::bool::weighted(0.05)).prop_map(
        move |(other, sender, temp, nowhere)| {
            let place = other.unwrap_or(place);
            let (tenant, temp) = (tenant(place.tenant), temp_id(temp));
            match nowhere {
                true => MessageId(uuid::Uuid::from_u128(1)),
                false => CommandKey::of(&tenant, place.id(), &sender, &temp).message_id(),
            }
        },
    )
}

/// Where a message was copied from; nobody looks whether it is there.
fn any_forwarded() -> impl Strategy<Value = ForwardedFrom> {
    let placed = any_place().prop_flat_map(|place| (Just(place), any_message(place)));
    (placed, any_user()).prop_map(|((place, message_id), by)| ForwardedFrom {
        conversation_id: place.id(),
        message_id,
        by,
    })
}

fn any_update() -> impl Strategy<Value = Update> {
    prop_oneof![
        3 => any_users().prop_map(Update::AddMembers),
        2 => any_users().prop_map(Update::RemoveMembers),
        1 => "[a-z]{1,5}".prop_map(Update::Rename),
        3 => (any_user(), any_role())
            .prop_map(|(user_id, role)| Update::SetRole { user_id, role }),
        2 => Just(Update::Leave),
        1 => Just(Update::Close),
        2 => Just(Update::Reopen),
        1 => Just(Update::Archive),
        1 => Just(Update::Unarchive),
        2 => proptest::option::of((0_i64..9).prop_map(Timestamp))
            .prop_map(|until| Update::Mute { until }),
        1 => Just(Update::Unmute),
    ]
}

fn any_body(place: Place) -> impl Strategy<Value = CommandBody> {
    let text = || "[a-z]{1,5}".prop_map(Content::text);
    let reply = proptest::option::weighted(0.4, any_message(place));
    let forwarded = proptest::option::weighted(0.2, any_forwarded());
    let send = (text(), reply, forwarded).prop_map(|(content, reply_to, forwarded_from)| {
        CommandBody::Send {
            content,
            reply_to,
            thread: reply_to,
            forwarded_from,
        }
    });
    let edit =
        (any_message(place), text(), any_user()).prop_map(|(message_id, content, author)| {
            CommandBody::Edit {
                message_id,
                content,
                author: Some(author),
                posted_at: Some(START),
            }
        });
    let scopes = vec![DeleteScope::Everyone, DeleteScope::Purge, DeleteScope::Me];
    let delete = (
        any_message(place),
        prop::sample::select(scopes),
        proptest::option::of(any_user()),
    )
        .prop_map(|(message_id, scope, author)| CommandBody::Delete {
            message_id,
            scope,
            author,
        });
    let ops = prop::sample::select(vec![ReactionOp::Add, ReactionOp::Add, ReactionOp::Remove]);
    let emoji = prop::sample::select(vec!["+1", "\u{1f44b}"]);
    let react =
        (any_message(place), emoji, ops).prop_map(|(message_id, emoji, op)| CommandBody::React {
            message_id,
            emoji: emoji.to_owned(),
            op,
        });
    prop_oneof![
        8 => send,
        6 => any_update().prop_map(CommandBody::Update),
        4 => edit,
        2 => delete,
        4 => react,
        2 => (0_u64..6).prop_map(|up_to| CommandBody::Read { up_to }),
    ]
}

pub(crate) fn any_command() -> impl Strategy<Value = Command> {
    let create = (any_place(), any::<bool>()).prop_map(|(place, other)| place.create(other));
    let temp = prop::sample::select(TEMP_IDS.to_vec());
    let own = prop::bool::weighted(0.95);
    let placed = any_place().prop_flat_map(|place| (Just(place), any_body(place)));
    let other = (placed, own, any_user(), temp).prop_map(|((place, body), own, sender, temp)| {
        let stranger = TENANTS
            .into_iter()
            .find(|name| *name != place.tenant)
            .unwrap();
        let tenant = if own { place.tenant } else { stranger };
        command(tenant, place.id(), sender.as_str(), temp, body)
    });
    prop_oneof![1 => create, 4 => other]
}

/// Commands, each with how many milliseconds after the one before it comes.
pub(crate) fn any_commands(most: usize) -> impl Strategy<Value = Vec<(Command, i64)>> {
    let gap = prop_oneof![
        20 => 0_i64..2_000,
        1 => 0_i64..20 * 60 * 1_000,
    ];
    vec((any_command(), gap), 1..most)
}

/// Decides commands one after another and folds each decision.
pub(crate) fn run(commands: &[(Command, i64)]) -> (Partition, Vec<Decision>) {
    let mut partition = Partition::new();
    let mut now = START;
    let mut decisions = Vec::with_capacity(commands.len());
    for (command, gap) in commands {
        now = Timestamp(now.0 + gap);
        let decision = partition.decide(command, now);
        partition.apply(&decision);
        decisions.push(decision);
    }
    (partition, decisions)
}

pub(crate) fn fold<'a>(decisions: impl IntoIterator<Item = &'a Decision>) -> Partition {
    let mut partition = Partition::new();
    decisions
        .into_iter()
        .for_each(|decision| partition.apply(decision));
    partition
}

/// Whether two states are the same to whoever asks: the same conversations and
/// digest, and the same decision about any of these commands.
pub(crate) fn same(
    one: &Partition,
    other: &Partition,
    probes: &[(Command, i64)],
    now: Timestamp,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(one.digest(), other.digest());
    prop_assert_eq!(one.len(), other.len());
    for place in PLACES {
        prop_assert_eq!(one.conversation(place.id()), other.conversation(place.id()));
    }
    for (probe, _) in probes {
        prop_assert_eq!(one.decide(probe, now), other.decide(probe, now));
    }
    Ok(())
}

/// The ids of all conversations that may come to be.
pub(crate) fn places() -> impl Iterator<Item = ConversationId> {
    PLACES.into_iter().map(Place::id)
}
