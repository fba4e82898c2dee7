//! Values of everything that is written to the log: fixed samples that use
//! each nullable part, and strategies that draw random ones.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tidings_domain::{
    Attachment, Change, Code, Command, CommandBody, CommandKey, Content, ConversationId, Decision,
    DeleteScope, Epoch, Event, First, FirstOutcome, ForwardedFrom, Kind, Member, MessageId,
    Outcome, Own, OwnerId, Ownership, ReactionOp, Role, Snapshot, TempId, Tenant, Timestamp,
    Update, UserId,
};
use tidings_wire::{Headers, Record, StateEntry, Stored, Topic, TraceParent, names};
use uuid::Uuid;

pub(crate) fn trace() -> TraceParent {
    TraceParent::new(
        0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
        0xb7ad_6b71_6920_3331,
        true,
    )
    .unwrap()
}

pub(crate) fn owner() -> Ownership {
    Ownership {
        epoch: Epoch(7),
        owner: OwnerId(Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef)),
    }
}

/// A record of a command topic, as the sequencer would find it.
pub(crate) fn input() -> Stored {
    let mut headers = Headers::default();
    headers.push(names::TRACEPARENT, trace().to_string());
    headers.push(names::TENANT, "acme");
    Stored {
        topic: Topic::MessageSent,
        partition: 3,
        offset: 4711,
        record: Record {
            key: None,
            value: None,
            headers,
            timestamp: Timestamp(0),
        },
    }
}

fn conversation() -> ConversationId {
    ConversationId(Uuid::from_u128(0x5d1f_6b5c_22d4_5e0f_9b3e_0000_0000_0001))
}

fn message(n: u128) -> MessageId {
    MessageId(Uuid::from_u128(
        0x6e1f_6b5c_22d4_5e0f_9b3e_0000_0000_0000 + n,
    ))
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn full_content() -> Content {
    let attachment = |n: u8| Attachment {
        id: format!("file-{n}"),
        name: format!("übersicht {n}.pdf"),
        mime: "application/pdf".to_owned(),
        size: i64::from(n) * 1_000_000_007,
    };
    Content {
        text: "grüße 👋 from\nthe log".to_owned(),
        attachments: vec![attachment(0), attachment(1)],
        meta: Some(r#"{"lang":"de"}"#.to_owned()),
    }
}

fn forwarded() -> ForwardedFrom {
    ForwardedFrom {
        conversation_id: ConversationId(Uuid::from_u128(9)),
        message_id: message(9),
        by: user("carol@example.org"),
    }
}

/// A command of every body, with and without what is optional.
pub(crate) fn commands() -> Vec<Command> {
    let bodies = vec![
        CommandBody::Send {
            content: Content::text("hello"),
            reply_to: None,
            thread: None,
            forwarded_from: None,
        },
        CommandBody::Send {
            content: full_content(),
            reply_to: Some(message(1)),
            thread: Some(message(2)),
            forwarded_from: Some(forwarded()),
        },
        CommandBody::Edit {
            message_id: message(3),
            content: full_content(),
            author: Some(user("alice")),
            posted_at: Some(Timestamp(1_700_000_000_000)),
        },
        CommandBody::Edit {
            message_id: message(3),
            content: Content::text("hello"),
            author: None,
            posted_at: None,
        },
        CommandBody::Delete {
            message_id: message(4),
            scope: DeleteScope::Everyone,
            author: None,
        },
        CommandBody::Delete {
            message_id: message(4),
            scope: DeleteScope::Purge,
            author: Some(user("bob")),
        },
        CommandBody::Delete {
            message_id: message(4),
            scope: DeleteScope::Me,
            author: None,
        },
        CommandBody::React {
            message_id: message(5),
            emoji: "👍🏽".to_owned(),
            op: ReactionOp::Add,
        },
        CommandBody::React {
            message_id: message(5),
            emoji: "+1".into(),
            op: ReactionOp::Remove,
        },
        CommandBody::Read { up_to: 9 },
        CommandBody::Create {
            kind: Kind::Direct,
            title: None,
            members: vec![user("bob")],
        },
        CommandBody::Create {
            kind: Kind::Group,
            title: Some("Ops".to_owned()),
            members: vec![user("bob"), user("carol")],
        },
        CommandBody::Create {
            kind: Kind::Channel,
            title: None,
            members: vec![],
        },
        CommandBody::Update(Update::AddMembers(vec![user("dave")])),
        CommandBody::Update(Update::RemoveMembers(vec![user("dave"), user("erin")])),
        CommandBody::Update(Update::Rename("Ops and more".to_owned())),
        CommandBody::Update(Update::SetRole {
            user_id: user("bob"),
            role: Role::Admin,
        }),
        CommandBody::Update(Update::Leave),
        CommandBody::Update(Update::Close),
        CommandBody::Update(Update::Reopen),
        CommandBody::Update(Update::Archive),
        CommandBody::Update(Update::Unarchive),
        CommandBody::Update(Update::Mute { until: None }),
        CommandBody::Update(Update::Mute {
            until: Some(Timestamp(1_900_000_000_123)),
        }),
        CommandBody::Update(Update::Unmute),
    ];
    let command = |(n, body)| Command {
        tenant: Tenant::parse("acme").unwrap(),
        conversation_id: conversation(),
        sender: user("alice"),
        temp_id: TempId::parse_stored(&format!("m{n}")).unwrap(),
        at: Timestamp(1_700_000_000_000 + n as i64),
        body,
    };
    bodies.into_iter().enumerate().map(command).collect()
}

/// A decision of every outcome, event and change.
pub(crate) fn decisions() -> Vec<Decision> {
    let member = |name, role| Member {
        user_id: user(name),
        role,
    };
    let changes = vec![
        Change::Create {
            kind: Kind::Group,
            title: Some("Ops".to_owned()),
            members: vec![member("alice", Role::Owner), member("bob", Role::Member)],
        },
        Change::Create {
            kind: Kind::Direct,
            title: None,
            members: vec![member("alice", Role::Owner), member("bob", Role::Owner)],
        },
        Change::AddMembers(vec![user("carol"), user("dave")]),
        Change::RemoveMembers(vec![user("dave")]),
        Change::RemoveMembers(vec![]),
        Change::Rename("Ops and more".to_owned()),
        Change::SetRole {
            user_id: user("bob"),
            role: Role::Admin,
        },
        Change::Leave,
        Change::Close,
        Change::Reopen,
    ];
    let mut events = vec![
        Event::MessageSent {
            message_id: message(1),
            no: 1,
            content: Content::text("hello"),
            reply_to: None,
            thread: None,
            forwarded_from: None,
        },
        Event::MessageSent {
            message_id: message(2),
            no: 2,
            content: full_content(),
            reply_to: Some(message(1)),
            thread: Some(message(1)),
            forwarded_from: Some(forwarded()),
        },
        Event::MessageEdited {
            message_id: message(2),
            content: full_content(),
        },
        Event::MessageDeleted {
            message_id: message(2),
            scope: DeleteScope::Purge,
        },
        Event::MessageReacted {
            message_id: message(2),
            emoji: "👍".to_owned(),
            op: ReactionOp::Add,
        },
    ];
    events.extend(changes.into_iter().map(Event::ConversationUpdated));
    let accepted = |(n, event)| Outcome::Accepted {
        seq: n as u64 + 1,
        event,
    };
    let mut outcomes: Vec<Outcome> = events.into_iter().enumerate().map(accepted).collect();
    outcomes.extend(Code::ALL.map(Outcome::Rejected));
    outcomes.extend(owns().map(Outcome::Noted));
    let firsts = [
        FirstOutcome::Accepted {
            seq: 12,
            no: Some(9),
        },
        FirstOutcome::Accepted { seq: 1, no: None },
        FirstOutcome::Rejected(Code::NotAMember),
        FirstOutcome::Noted,
    ];
    outcomes.extend(firsts.map(|outcome| {
        Outcome::Duplicate(First {
            outcome,
            at: Timestamp(1_699_999),
        })
    }));
    outcomes.push(Outcome::Duplicate(First {
        outcome: firsts[1],
        at: Timestamp::default(),
    }));
    let decision = |(n, outcome)| Decision {
        tenant: Tenant::parse("acme").unwrap(),
        conversation_id: conversation(),
        sender: user("alice"),
        temp_id: TempId::parse_stored(&format!("m{n}")).unwrap(),
        message_id: (n % 2 == 0).then(|| message(n as u128)),
        at: Timestamp(1_700_000_000_000 + n as i64),
        outcome,
    };
    outcomes.into_iter().enumerate().map(decision).collect()
}

/// Every change that is the sender's own.
fn owns() -> [Own; 7] {
    [
        Own::Read { up_to: 9 },
        Own::Hide(message(4)),
        Own::Archive,
        Own::Unarchive,
        Own::Mute { until: None },
        Own::Mute {
            until: Some(Timestamp(1_700_000_600_000)),
        },
        Own::Unmute,
    ]
}

/// A state entry of every kind. A member's removal has no value and is not
/// among them.
pub(crate) fn states() -> Vec<StateEntry> {
    let firsts = [
        FirstOutcome::Accepted {
            seq: 12,
            no: Some(9),
        },
        FirstOutcome::Accepted {
            seq: u64::MAX,
            no: None,
        },
        FirstOutcome::Rejected(Code::Unsupported),
        FirstOutcome::Noted,
    ];
    let entries = firsts.into_iter().zip(1_u128..).map(|(outcome, n)| {
        let at = Timestamp(1_700_000_000_000 - n as i64);
        (CommandKey(Uuid::from_u128(n << 64)), First { outcome, at })
    });
    let head = |title: Option<&str>, closed| Snapshot::Head {
        conversation_id: conversation(),
        tenant: Tenant::parse("acme").unwrap(),
        kind: Kind::Group,
        title: title.map(str::to_owned),
        closed,
        last_seq: 12,
        last_no: 9,
    };
    let snapshots = vec![
        head(Some("Ops"), false),
        head(None, true),
        Snapshot::Member {
            conversation_id: conversation(),
            user_id: user("alice"),
            role: Some(Role::Owner),
        },
        Snapshot::Window(entries.collect()),
        Snapshot::Window(vec![]),
    ];
    let piece = |snapshot: Snapshot| StateEntry::Piece {
        as_of: 4712,
        by: owner(),
        chunk: if matches!(snapshot, Snapshot::Window(_)) {
            42
        } else {
            0
        },
        snapshot,
    };
    let mut states: Vec<StateEntry> = snapshots.into_iter().map(piece).collect();
    states.push(StateEntry::Checkpoint {
        upto: 4712,
        by: owner(),
        next: vec![(Topic::MessageSent, 17), (Topic::ConversationUpdated, 0)],
    });
    states.push(StateEntry::Checkpoint {
        upto: 0,
        by: owner(),
        next: vec![],
    });
    states
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_.:@-]{1,64}"
}

fn any_user() -> impl Strategy<Value = UserId> {
    name().prop_map(|name| UserId::parse(&name).unwrap())
}

fn any_tenant() -> impl Strategy<Value = Tenant> {
    name().prop_map(|name| Tenant::parse(&name).unwrap())
}

fn any_temp_id() -> impl Strategy<Value = TempId> {
    "[ -~]{1,67}".prop_map(|id| TempId::parse_stored(&id).unwrap())
}

fn any_uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn any_message() -> impl Strategy<Value = MessageId> {
    any_uuid().prop_map(MessageId)
}

fn any_conversation() -> impl Strategy<Value = ConversationId> {
    any_uuid().prop_map(ConversationId)
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

fn any_count() -> impl Strategy<Value = u64> {
    0..=i64::MAX as u64
}

fn any_content() -> impl Strategy<Value = Content> {
    let attachment = (
        any::<String>(),
        any::<String>(),
        any::<String>(),
        any::<i64>(),
    )
        .prop_map(|(id, name, mime, size)| Attachment {
            id,
            name,
            mime,
            size,
        });
    (
        any::<String>(),
        vec(attachment, 0..4),
        option::of(any::<String>()),
    )
        .prop_map(|(text, attachments, meta)| Content {
            text,
            attachments,
            meta,
        })
}

fn any_forwarded() -> impl Strategy<Value = ForwardedFrom> {
    (any_conversation(), any_message(), any_user()).prop_map(|(conversation_id, message_id, by)| {
        ForwardedFrom {
            conversation_id,
            message_id,
            by,
        }
    })
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Direct, Kind::Group, Kind::Channel])
}

fn any_role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Member, Role::Admin, Role::Owner])
}

fn any_scope() -> impl Strategy<Value = DeleteScope> {
    prop::sample::select(vec![
        DeleteScope::Everyone,
        DeleteScope::Purge,
        DeleteScope::Me,
    ])
}

fn any_op() -> impl Strategy<Value = ReactionOp> {
    prop::sample::select(vec![ReactionOp::Add, ReactionOp::Remove])
}

fn any_code() -> impl Strategy<Value = Code> {
    prop::sample::select(Code::ALL.to_vec())
}

fn any_update() -> impl Strategy<Value = Update> {
    prop_oneof![
        vec(any_user(), 0..5).prop_map(Update::AddMembers),
        vec(any_user(), 0..5).prop_map(Update::RemoveMembers),
        any::<String>().prop_map(Update::Rename),
        (any_user(), any_role()).prop_map(|(user_id, role)| Update::SetRole { user_id, role }),
        option::of(any_time()).prop_map(|until| Update::Mute { until }),
        prop::sample::select(vec![
            Update::Leave,
            Update::Close,
            Update::Reopen,
            Update::Archive,
            Update::Unarchive,
            Update::Unmute,
        ]),
    ]
}

fn any_body() -> impl Strategy<Value = CommandBody> {
    let message = option::of(any_message());
    prop_oneof![
        (
            any_content(),
            message,
            option::of(any_message()),
            option::of(any_forwarded())
        )
            .prop_map(
                |(content, reply_to, thread, forwarded_from)| CommandBody::Send {
                    content,
                    reply_to,
                    thread,
                    forwarded_from
                }
            ),
        (
            any_message(),
            any_content(),
            option::of(any_user()),
            option::of(any_time())
        )
            .prop_map(
                |(message_id, content, author, posted_at)| CommandBody::Edit {
                    message_id,
                    content,
                    author,
                    posted_at,
                }
            ),
        (any_message(), any_scope(), option::of(any_user())).prop_map(
            |(message_id, scope, author)| CommandBody::Delete {
                message_id,
                scope,
                author
            }
        ),
        (any_message(), any::<String>(), any_op()).prop_map(|(message_id, emoji, op)| {
            CommandBody::React {
                message_id,
                emoji,
                op,
            }
        }),
        any_count().prop_map(|up_to| CommandBody::Read { up_to }),
        (
            any_kind(),
            option::of(any::<String>()),
            vec(any_user(), 0..5)
        )
            .prop_map(|(kind, title, members)| CommandBody::Create {
                kind,
                title,
                members
            }),
        any_update().prop_map(CommandBody::Update),
    ]
}

pub(crate) fn any_command() -> impl Strategy<Value = Command> {
    (
        any_tenant(),
        any_conversation(),
        any_user(),
        any_temp_id(),
        any_time(),
        any_body(),
    )
        .prop_map(
            |(tenant, conversation_id, sender, temp_id, at, body)| Command {
                tenant,
                conversation_id,
                sender,
                temp_id,
                at,
                body,
            },
        )
}

fn any_change() -> impl Strategy<Value = Change> {
    let member = (any_user(), any_role()).prop_map(|(user_id, role)| Member { user_id, role });
    prop_oneof![
        (any_kind(), option::of(any::<String>()), vec(member, 0..5)).prop_map(
            |(kind, title, members)| Change::Create {
                kind,
                title,
                members
            }
        ),
        vec(any_user(), 0..5).prop_map(Change::AddMembers),
        vec(any_user(), 0..5).prop_map(Change::RemoveMembers),
        any::<String>().prop_map(Change::Rename),
        (any_user(), any_role()).prop_map(|(user_id, role)| Change::SetRole { user_id, role }),
        prop::sample::select(vec![Change::Leave, Change::Close, Change::Reopen]),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let sent = (
        any_message(),
        any_count(),
        any_content(),
        option::of(any_message()),
        option::of(any_message()),
        option::of(any_forwarded()),
    );
    prop_oneof![
        sent.prop_map(
            |(message_id, no, content, reply_to, thread, forwarded_from)| {
                Event::MessageSent {
                    message_id,
                    no,
                    content,
                    reply_to,
                    thread,
                    forwarded_from,
                }
            }
        ),
        (any_message(), any_content()).prop_map(|(message_id, content)| Event::MessageEdited {
            message_id,
            content
        }),
        (any_message(), any_scope())
            .prop_map(|(message_id, scope)| Event::MessageDeleted { message_id, scope }),
        (any_message(), any::<String>(), any_op()).prop_map(|(message_id, emoji, op)| {
            Event::MessageReacted {
                message_id,
                emoji,
                op,
            }
        }),
        any_change().prop_map(Event::ConversationUpdated),
    ]
}

fn any_own() -> impl Strategy<Value = Own> {
    prop_oneof![
        any_count().prop_map(|up_to| Own::Read { up_to }),
        any_message().prop_map(Own::Hide),
        option::of(any_time()).prop_map(|until| Own::Mute { until }),
        prop::sample::select(vec![Own::Archive, Own::Unarchive, Own::Unmute]),
    ]
}

fn any_first() -> impl Strategy<Value = First> {
    let outcome = prop_oneof![
        (any_count(), option::of(any_count()))
            .prop_map(|(seq, no)| FirstOutcome::Accepted { seq, no }),
        any_code().prop_map(FirstOutcome::Rejected),
        Just(FirstOutcome::Noted),
    ];
    (outcome, any_time()).prop_map(|(outcome, at)| First { outcome, at })
}

pub(crate) fn any_decision() -> impl Strategy<Value = Decision> {
    let outcome = prop_oneof![
        (any_count(), any_event()).prop_map(|(seq, event)| Outcome::Accepted { seq, event }),
        any_own().prop_map(Outcome::Noted),
        any_code().prop_map(Outcome::Rejected),
        any_first().prop_map(Outcome::Duplicate),
    ];
    let message = option::of(any_message());
    (
        any_tenant(),
        any_conversation(),
        any_user(),
        any_temp_id(),
        message,
        any_time(),
        outcome,
    )
        .prop_map(
            |(tenant, conversation_id, sender, temp_id, message_id, at, outcome)| Decision {
                tenant,
                conversation_id,
                sender,
                temp_id,
                message_id,
                at,
                outcome,
            },
        )
}

fn any_owner() -> impl Strategy<Value = Ownership> {
    (any_count(), any_uuid()).prop_map(|(epoch, owner)| Ownership {
        epoch: Epoch(epoch),
        owner: OwnerId(owner),
    })
}

pub(crate) fn any_state() -> impl Strategy<Value = StateEntry> {
    let head = (
        any_conversation(),
        any_tenant(),
        any_kind(),
        option::of(any::<String>()),
        any::<bool>(),
        any_count(),
        any_count(),
    );
    let key = any_uuid().prop_map(CommandKey);
    let snapshot = prop_oneof![
        head.prop_map(
            |(conversation_id, tenant, kind, title, closed, last_seq, last_no)| {
                Snapshot::Head {
                    conversation_id,
                    tenant,
                    kind,
                    title,
                    closed,
                    last_seq,
                    last_no,
                }
            }
        ),
        (any_conversation(), any_user(), any_role()).prop_map(
            |(conversation_id, user_id, role)| {
                Snapshot::Member {
                    conversation_id,
                    user_id,
                    role: Some(role),
                }
            }
        ),
        vec((key, any_first()), 0..50).prop_map(Snapshot::Window),
    ];
    let topic = prop::sample::select(Topic::COMMANDS.to_vec());
    let next = vec((topic, any::<i64>()), 0..6);
    let piece = (any::<i64>(), any_owner(), any_count(), snapshot).prop_map(
        |(as_of, by, chunk, snapshot)| {
            let chunk = if matches!(snapshot, Snapshot::Window(_)) {
                chunk
            } else {
                0
            };
            StateEntry::Piece {
                as_of,
                by,
                chunk,
                snapshot,
            }
        },
    );
    prop_oneof![
        piece,
        (any::<i64>(), any_owner(), next).prop_map(|(upto, by, next)| StateEntry::Checkpoint {
            upto,
            by,
            next
        }),
    ]
}
