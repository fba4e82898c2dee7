//! Whatever happens: every command has one valid decision, and every reader
//! can fold them.

use std::time::Duration;

use proptest::prelude::*;
use tidings_domain::{
    CommandBody, CommandKey, Content, ConversationId, DeleteScope, ForwardedFrom, MessageId,
    ReactionOp, Role, TempId, Timestamp, Update,
};
use tidings_log::SequencerEvent;
use tidings_wire::Topic;

use crate::scene::{Instance, START, Scene, group, tenant, user};

#[derive(Clone, Debug)]
enum Step {
    Create {
        conversation: usize,
    },
    /// Whatever else a client can ask for.
    Ask {
        conversation: usize,
        from: usize,
        temp_id: usize,
        body: CommandBody,
    },
    Poison {
        conversation: usize,
    },
    Turn {
        who: usize,
    },
    Flush {
        who: usize,
        count: usize,
    },
    Fail {
        who: usize,
        appended: bool,
    },
    Assign {
        who: usize,
    },
    Revoke {
        who: usize,
    },
    Lose {
        who: usize,
    },
    /// Dies with some of what it had produced still getting through.
    Kill {
        who: usize,
        lands: usize,
    },
    ForeignClaim {
        partition: i32,
        above: u64,
    },
    /// A zombie writes an old snapshot once more.
    StaleSnapshot {
        partition: i32,
        which: prop::sample::Index,
    },
    /// Somebody deletes the snapshots, while no sequencer runs.
    LoseSnapshots {
        partition: i32,
    },
    Pass {
        ms: u64,
    },
}

const PARTITIONS: i32 = 2;
const INSTANCES: usize = 2;
const CONVERSATIONS: usize = 4;
const TEMP_IDS: usize = 40;
/// The owner, a member, and somebody who is neither until they are added.
const USERS: [&str; 3] = ["alice", "bob", "mallory"];

fn conversation(n: usize) -> ConversationId {
    group(&format!("c{n}"))
}

fn temp_id(n: usize) -> String {
    format!("m{n}")
}

fn any_conversation() -> impl Strategy<Value = usize> {
    0..CONVERSATIONS
}

fn any_user() -> impl Strategy<Value = usize> {
    0..USERS.len()
}

/// A message that may come to be in this conversation; now and then one of
/// another.
fn any_message(of: usize) -> impl Strategy<Value = MessageId> {
    let place = prop_oneof![9 => Just(of), 1 => any_conversation()];
    (place, any_user(), 0..TEMP_IDS).prop_map(|(place, from, n)| {
        let temp_id = TempId::parse(&temp_id(n)).unwrap();
        let (id, from) = (conversation(place), user(USERS[from]));
        CommandKey::of(&tenant(), id, &from, &temp_id).message_id()
    })
}

fn any_update() -> impl Strategy<Value = Update> {
    let some = || prop::collection::vec(any_user().prop_map(|n| user(USERS[n])), 0..3);
    let roles = prop::sample::select(vec![Role::Member, Role::Admin, Role::Owner]);
    prop_oneof![
        2 => some().prop_map(Update::AddMembers),
        1 => some().prop_map(Update::RemoveMembers),
        1 => "[a-z]{1,5}".prop_map(Update::Rename),
        1 => (any_user(), roles).prop_map(|(n, role)| Update::SetRole {
            user_id: user(USERS[n]),
            role,
        }),
        1 => Just(Update::Leave),
        1 => Just(Update::Close),
        2 => Just(Update::Reopen),
        1 => Just(Update::Archive),
        1 => Just(Update::Unarchive),
        1 => prop::option::of(0..9_i64).prop_map(|until| Update::Mute {
            until: until.map(|ms| Timestamp(START + ms)),
        }),
        1 => Just(Update::Unmute),
    ]
}

/// Any command but a create, with the facts as an edge would find them; of an
/// edit and a deletion also wrong ones.
fn any_body(of: usize) -> impl Strategy<Value = CommandBody> {
    let text = || "[a-z]{1,8}".prop_map(Content::text);
    let reply = prop::option::weighted(0.3, any_message(of));
    let from = (any_conversation(), any_message(of), any_user());
    let forwarded = prop::option::weighted(
        0.2,
        from.prop_map(|(place, message_id, by)| ForwardedFrom {
            conversation_id: conversation(place),
            message_id,
            by: user(USERS[by]),
        }),
    );
    let send = (text(), reply, forwarded).prop_map(|(content, reply_to, forwarded_from)| {
        CommandBody::Send {
            content,
            reply_to,
            thread: reply_to,
            forwarded_from,
        }
    });
    let author = || prop::option::of(any_user().prop_map(|n| user(USERS[n])));
    let posted_at = prop::option::of((-20 * 60_000..60_000_i64).prop_map(|ms| START + ms));
    let edit = (any_message(of), text(), author(), posted_at);
    let scopes = vec![DeleteScope::Everyone, DeleteScope::Purge, DeleteScope::Me];
    let delete = (any_message(of), prop::sample::select(scopes), author());
    let ops = prop::sample::select(vec![ReactionOp::Add, ReactionOp::Remove]);
    let react = (
        any_message(of),
        prop::sample::select(vec!["+1", "\u{1f44b}"]),
        ops,
    );
    prop_oneof![
        12 => send,
        3 => edit.prop_map(|(message_id, content, author, posted_at)| CommandBody::Edit {
            message_id,
            content,
            author,
            posted_at: posted_at.map(Timestamp),
        }),
        3 => delete.prop_map(|(message_id, scope, author)| CommandBody::Delete {
            message_id,
            scope,
            author,
        }),
        2 => react.prop_map(|(message_id, emoji, op)| CommandBody::React {
            message_id,
            emoji: emoji.to_owned(),
            op,
        }),
        2 => (0..12_u64).prop_map(|up_to| CommandBody::Read { up_to }),
        4 => any_update().prop_map(CommandBody::Update),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..INSTANCES;
    let partition = 0..PARTITIONS;
    prop_oneof![
        3 => any_conversation().prop_map(|conversation| Step::Create { conversation }),
        16 => any_conversation()
            .prop_flat_map(|to| (Just(to), any_user(), 0..TEMP_IDS, any_body(to)))
            .prop_map(|(conversation, from, temp_id, body)| Step::Ask {
                conversation,
                from,
                temp_id,
                body,
            }),
        1 => any_conversation().prop_map(|conversation| Step::Poison { conversation }),
        30 => who.clone().prop_map(|who| Step::Turn { who }),
        15 => (who.clone(), 1..12_usize).prop_map(|(who, count)| Step::Flush { who, count }),
        2 => (who.clone(), any::<bool>()).prop_map(|(who, appended)| Step::Fail { who, appended }),
        3 => who.clone().prop_map(|who| Step::Assign { who }),
        1 => who.clone().prop_map(|who| Step::Revoke { who }),
        1 => who.clone().prop_map(|who| Step::Lose { who }),
        1 => (who, 0..6_usize).prop_map(|(who, lands)| Step::Kill { who, lands }),
        1 => (partition.clone(), 0..3_u64)
            .prop_map(|(partition, above)| Step::ForeignClaim { partition, above }),
        1 => (partition.clone(), any::<prop::sample::Index>())
            .prop_map(|(partition, which)| Step::StaleSnapshot { partition, which }),
        1 => partition.prop_map(|partition| Step::LoseSnapshots { partition }),
        // 300 steps of at most 1.5 s are less than the dedupe window.
        6 => (1..1_500_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

fn play(scene: &Scene, instances: &mut [Instance], step: Step) {
    let all: Vec<i32> = (0..PARTITIONS).collect();
    match step {
        Step::Create { conversation: n } => {
            scene.create(&format!("c{n}"));
        }
        Step::Ask {
            conversation: n,
            from,
            temp_id: m,
            body,
        } => {
            scene.ask(conversation(n), USERS[from], &temp_id(m), body);
        }
        Step::Poison { conversation: n } => {
            scene.poison(conversation(n));
        }
        Step::Turn { who } => {
            instances[who].turn();
        }
        Step::Flush { who, count } => instances[who].side.flush(count),
        Step::Fail { who, appended } => instances[who].side.fail_next(appended),
        Step::Assign { who } => instances[who].side.tell(SequencerEvent::Assigned(all)),
        Step::Revoke { who } => instances[who].side.tell(SequencerEvent::Revoked(all)),
        Step::Lose { who } => instances[who].side.tell(SequencerEvent::Lost(all)),
        Step::Kill { who, lands } => {
            instances[who].side.flush(lands);
            instances[who] = scene.instance();
        }
        Step::ForeignClaim { partition, above } => {
            scene.foreign_claim(partition, above);
        }
        Step::StaleSnapshot { partition, which } => {
            let saved = scene.world.all(Topic::ConversationState, partition);
            if !saved.is_empty() {
                let stale = saved[which.index(saved.len())].record.clone();
                // Each part of the window has its own key, which nobody else
                // ever writes or brings back.
                if !stale
                    .key
                    .as_deref()
                    .unwrap_or_default()
                    .starts_with(b"window/")
                {
                    scene
                        .world
                        .append(Topic::ConversationState, partition, stale);
                }
            }
        }
        Step::LoseSnapshots { partition } => {
            for instance in instances {
                *instance = scene.instance();
            }
            scene.world.truncate(Topic::ConversationState, partition);
        }
        Step::Pass { ms } => scene.pass(Duration::from_millis(ms)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_command_has_one_valid_decision(
        steps in prop::collection::vec(step(), 20..300),
    ) {
        let mut scene = Scene::new(PARTITIONS);
        // Saved often, so that much happens between pieces and checkpoint.
        scene.options.checkpoint_interval = Duration::from_millis(400);
        scene.options.longest_wait = Duration::from_millis(500);
        scene.options.max_in_flight = 8;
        let mut instances: Vec<_> = (0..INSTANCES).map(|_| scene.instance()).collect();
        instances[0].side.tell(SequencerEvent::Assigned((0..PARTITIONS).collect()));
        for step in steps {
            play(&scene, &mut instances, step);
            // What is valid may never be undone, nor wrong, at any time.
        }
        // The zombies go on writing until the last one is thrown out.
        let mut last = scene.instance();
        last.side.tell(SequencerEvent::Assigned((0..PARTITIONS).collect()));
        for instance in &mut instances {
            instance.turn();
            last.turn();
            instance.side.flush_all();
        }
        drop(instances);
        for _ in 0..40 {
            last.settle();
            if last.ready.is_ready() {
                break;
            }
            scene.pass(Duration::from_millis(500));
        }
        last.settle();
        prop_assert!(last.ready.is_ready());
        scene.check_all();

        // A graceful stop, and one more owner on what it left.
        last.stop.cancel();
        prop_assert!(last.settle());
        let mut next = scene.owner();
        for n in 0..CONVERSATIONS {
            scene.create(&format!("c{n}"));
            scene.send(conversation(n), "bob", "after all");
        }
        next.settle();
        scene.check_all();
    }
}
