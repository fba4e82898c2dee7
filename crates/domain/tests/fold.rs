//! What holds of every history, whatever is asked.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use tidings_domain::{
    Code, Command, ConversationId, DEDUPE_WINDOW_MS, Decision, Event, First, FirstOutcome, Kind,
    Model, Outcome, Partition, Role, Snapshot, Timestamp, UserId,
};
use world::{any_command, any_commands, fold, places, run, same};

fn last_at(decisions: &[Decision]) -> Timestamp {
    decisions
        .last()
        .map_or(world::START, |decision| decision.at)
}

/// Decisions with their offsets.
fn placed(decisions: &[Decision]) -> Vec<(i64, &Decision)> {
    (0..).zip(decisions).collect()
}

fn model<'a>(decisions: impl IntoIterator<Item = (i64, &'a Decision)>) -> Model {
    let mut model = Model::default();
    for (offset, decision) in decisions {
        model.apply(decision, offset);
    }
    model
}

/// A store of snapshots as the compacted topic is one: the last piece of a key
/// counts, and one without a value deletes its key.
#[derive(Clone, Default)]
struct Compacted {
    heads: BTreeMap<ConversationId, Snapshot>,
    members: BTreeMap<(ConversationId, UserId), Snapshot>,
    windows: Vec<Snapshot>,
}

impl Compacted {
    fn save(&mut self, piece: Snapshot) {
        match &piece {
            Snapshot::Head {
                conversation_id, ..
            } => {
                self.heads.insert(*conversation_id, piece);
            }
            Snapshot::Member {
                conversation_id,
                user_id,
                role,
            } => {
                let key = (*conversation_id, user_id.clone());
                if role.is_some() {
                    self.members.insert(key, piece);
                } else {
                    self.members.remove(&key);
                }
            }
            Snapshot::Window(_) => self.windows.push(piece),
        }
    }

    fn restore(&self) -> Partition {
        // In no particular order, as a map gives them.
        let windows = self.windows.iter().rev();
        let all = self
            .heads
            .values()
            .chain(windows)
            .chain(self.members.values());
        Partition::restore(all.cloned())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// seq is 1, 2, 3 … over a conversation's events, no over its messages.
    #[test]
    fn events_and_messages_are_numbered_without_gaps(commands in any_commands(120)) {
        let (_, decisions) = run(&commands);
        let mut last: HashMap<ConversationId, (u64, u64)> = HashMap::new();
        for decision in &decisions {
            let Outcome::Accepted { seq, event } = &decision.outcome else { continue };
            let (last_seq, last_no) = last.entry(decision.conversation_id).or_default();
            prop_assert_eq!(*seq, *last_seq + 1);
            let is_create = matches!(
                event,
                Event::ConversationUpdated(tidings_domain::Change::Create { .. })
            );
            prop_assert_eq!(is_create, *seq == 1);
            *last_seq = *seq;
            if let Some(no) = event.no() {
                prop_assert_eq!(no, *last_no + 1);
                *last_no = no;
            }
        }
    }

    /// A command has one decision that is no duplicate within the window, and
    /// all later ones name it.
    #[test]
    fn a_command_is_decided_once_within_the_window(commands in any_commands(120)) {
        let (_, decisions) = run(&commands);
        let mut first: HashMap<_, (First, Option<_>)> = HashMap::new();
        for decision in &decisions {
            let oldest = decision.at.minus_ms(DEDUPE_WINDOW_MS);
            let known =
                first.get(&decision.key()).copied().filter(|(known, _)| known.at >= oldest);
            let outcome = match &decision.outcome {
                Outcome::Accepted { seq, event } => {
                    FirstOutcome::Accepted { seq: *seq, no: event.no() }
                }
                Outcome::Noted(_) => FirstOutcome::Noted,
                Outcome::Rejected(code) => FirstOutcome::Rejected(*code),
                Outcome::Duplicate(named) => {
                    if let Some((known, message_id)) = known {
                        prop_assert_eq!(*named, known);
                        // A resend names the same message.
                        if let (Some(first), Some(second)) = (message_id, decision.message_id) {
                            let key = decision.key().message_id();
                            prop_assert!(first == second || first != key || second != key);
                        }
                    } else {
                        // A conversation is made once, however late it is asked for.
                        prop_assert_eq!(
                            named.outcome,
                            FirstOutcome::Accepted { seq: 1, no: None }
                        );
                    }
                    continue;
                }
            };
            prop_assert!(known.is_none(), "decided twice: {:?}", decision);
            let now = First { outcome, at: decision.at };
            first.insert(decision.key(), (now, decision.message_id));
        }
    }

    /// As long as anybody is in a group or channel, an owner is; a direct
    /// conversation has its two members for ever.
    #[test]
    fn there_is_always_an_owner(commands in any_commands(120)) {
        let mut partition = Partition::new();
        for (command, _) in &commands {
            partition.apply(&partition.decide(command, world::START));
            let Some(conversation) = partition.conversation(command.conversation_id) else {
                continue;
            };
            let mut roles = conversation.members.values();
            prop_assert!(roles.len() == 0 || roles.any(|role| *role == Role::Owner));
            if conversation.kind == Kind::Direct {
                prop_assert_eq!(conversation.members.len(), 2);
            }
        }
    }

    /// Folding what is already in, from any point on or a single one that comes
    /// late, changes nothing.
    #[test]
    fn a_partition_ignores_repeats(
        commands in any_commands(80),
        probes in any_commands(20),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
    ) {
        let (straight, decisions) = run(&commands);
        let (from, to) = (from.index(decisions.len()), to.index(decisions.len()));
        let now = last_at(&decisions);
        let repeated = decisions[..to].iter().chain(&decisions[from.min(to)..]);
        same(&fold(repeated), &straight, &probes, now)?;
        let twice = decisions.iter().flat_map(|decision| [decision, decision]);
        same(&fold(twice), &straight, &probes, now)?;
        let late = decisions.iter().chain(&decisions[from..=from]);
        same(&fold(late), &straight, &probes, now)?;
    }

    #[test]
    fn a_view_ignores_repeats(
        commands in any_commands(80),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
    ) {
        let (_, decisions) = run(&commands);
        let decisions = placed(&decisions);
        let straight = model(decisions.iter().copied());
        let (from, to) = (from.index(decisions.len()), to.index(decisions.len()));
        let repeated = decisions[..to].iter().chain(&decisions[from.min(to)..]);
        prop_assert_eq!(&model(repeated.copied()), &straight);
        let twice = decisions.iter().flat_map(|decision| [*decision, *decision]);
        prop_assert_eq!(&model(twice), &straight);
        let late = decisions.iter().chain(&decisions[from..=from]);
        prop_assert_eq!(&model(late.copied()), &straight);
    }

    /// The view and the sequencer agree on who is where and what came last.
    #[test]
    fn the_view_agrees_with_the_sequencer(commands in any_commands(120)) {
        let (partition, decisions) = run(&commands);
        let model = model(placed(&decisions));
        prop_assert_eq!(model.conversations.len(), partition.len());
        for id in places() {
            let Some(conversation) = partition.conversation(id) else { continue };
            let row = &model.conversations[&id];
            prop_assert_eq!(row.last_seq, conversation.last_seq);
            prop_assert_eq!(row.last_no, conversation.last_no);
            prop_assert_eq!(&row.title, &conversation.title);
            prop_assert_eq!(row.closed, conversation.closed);
            prop_assert_eq!(&row.tenant, &conversation.tenant);
            let members: BTreeMap<UserId, Role> = model
                .members
                .values()
                .filter(|row| row.conversation_id == id)
                .filter_map(|row| Some((row.user_id.clone(), row.role?)))
                .collect();
            prop_assert_eq!(&members, &conversation.members);
            let events = model.events.range((id, 0)..=(id, u64::MAX));
            prop_assert_eq!(events.count() as u64, conversation.last_seq);
            // A resend past the window names the message that is there.
            let sent = decisions.iter().filter(|it| it.conversation_id == id);
            let sent = sent.filter_map(|it| match &it.outcome {
                Outcome::Accepted { event: Event::MessageSent { message_id, .. }, .. } => {
                    Some(*message_id)
                }
                _ => None,
            });
            let sent: BTreeSet<_> = sent.collect();
            let messages = model.messages.values().filter(|row| row.conversation_id == id);
            let messages: BTreeSet<_> = messages.map(|row| row.message_id).collect();
            prop_assert_eq!(messages, sent);
        }
    }

    /// Saved over time and restored, at any checkpoint, with any part of what
    /// was saved later, and the rest folded: the same as folding it all.
    #[test]
    fn a_restored_partition_is_the_one_that_was_saved(
        commands in any_commands(100),
        probes in any_commands(20),
        saves in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        chunk in 1_usize..8,
        stray in any::<prop::sample::Index>(),
    ) {
        let mut save_at: Vec<usize> =
            saves.iter().map(|index| index.index(commands.len())).collect();
        save_at.sort_unstable();
        let (straight, decisions) = run(&commands);
        let now = last_at(&decisions);

        let mut partition = Partition::new();
        let mut store = Compacted::default();
        // The store at each checkpoint, with how much it covers.
        let mut checkpoints = vec![(0, store.clone())];
        for (n, decision) in decisions.iter().enumerate() {
            partition.apply(decision);
            if save_at.contains(&n) {
                let pieces = partition.take_snapshot(chunk);
                // A crash in the middle leaves the checkpoint before, and some
                // of the pieces: members first, then heads, then the window.
                let mut torn = store.clone();
                let upto = checkpoints[checkpoints.len() - 1].0;
                let written = stray.index(pieces.len() + 1);
                pieces[..written].iter().cloned().for_each(|piece| torn.save(piece));
                checkpoints.push((upto, torn));
                pieces.into_iter().for_each(|piece| store.save(piece));
                checkpoints.push((n + 1, store.clone()));
            }
        }
        for (upto, store) in checkpoints {
            let mut restored = store.restore();
            decisions[upto..].iter().for_each(|decision| restored.apply(decision));
            same(&restored, &straight, &probes, now)?;
        }
    }

    /// The digest kept along the way is that of the state as it is.
    #[test]
    fn the_digest_is_the_states(commands in any_commands(100)) {
        let mut partition = Partition::new();
        let mut store = Compacted::default();
        for (command, _) in &commands {
            partition.apply(&partition.decide(command, world::START));
            partition.take_snapshot(100).into_iter().for_each(|piece| store.save(piece));
            prop_assert_eq!(store.restore().digest(), partition.digest());
        }
    }

    /// A command of another tenant finds nothing and changes nothing.
    #[test]
    fn tenants_never_meet(commands in any_commands(80), asked in any_command()) {
        let (mut partition, decisions) = run(&commands);
        let now = last_at(&decisions);
        let made: Vec<_> = places()
            .filter_map(|id| Some((id, partition.conversation(id)?.tenant.clone())))
            .collect();
        let unknown = ConversationId(uuid::Uuid::from_u128(404));
        for (id, tenant) in made {
            let stranger = if tenant.as_str() == "acme" { "globex" } else { "acme" };
            let tenant = world::tenant(stranger);
            let into = |conversation_id, body| Command {
                tenant: tenant.clone(),
                conversation_id,
                body,
                ..asked.clone()
            };
            // What exists elsewhere and what exists nowhere answer alike.
            let strangers = [into(id, asked.body.clone()), into(unknown, world::send("hello"))];
            for command in strangers {
                let before = partition.digest();
                let decision = partition.decide(&command, now);
                let code = match decision.outcome {
                    Outcome::Rejected(code) => code,
                    Outcome::Duplicate(First { outcome: FirstOutcome::Rejected(code), .. }) => code,
                    ref other => panic!("{other:?}"),
                };
                prop_assert_eq!(code, Code::NotFound);
                partition.apply(&decision);
                prop_assert_eq!(partition.digest(), before);
            }
        }
    }
}

#[test]
fn a_command_is_forgotten_after_ten_minutes_and_names_the_same_message() {
    let place = places().next().unwrap();
    let create = tidings_domain::CommandBody::Create {
        kind: Kind::Group,
        title: None,
        members: vec![world::user("bob")],
    };
    let create = world::command("acme", place, "alice", "c1", create);
    let send = world::command("acme", place, "alice", "m1", world::send("hello"));
    let start = world::START;
    let after = |ms| Timestamp(start.0 + ms);
    let mut partition = Partition::new();
    partition.apply(&partition.decide(&create, start));
    let first = partition.decide(&send, start);
    partition.apply(&first);
    let first_outcome = First {
        outcome: FirstOutcome::Accepted {
            seq: 2,
            no: Some(1),
        },
        at: start,
    };

    let again = partition.decide(&send, after(DEDUPE_WINDOW_MS));
    assert_eq!(again.outcome, Outcome::Duplicate(first_outcome));
    // A duplicate is not a first decision: it does not make it remembered longer.
    partition.apply(&again);
    let late = partition.decide(&send, after(DEDUPE_WINDOW_MS + 1));
    assert!(matches!(late.outcome, Outcome::Accepted { seq: 3, .. }));
    assert_eq!(late.message_id, first.message_id);
    partition.apply(&late);
    let later = partition.decide(&send, after(DEDUPE_WINDOW_MS + 2));
    assert!(matches!(later.outcome, Outcome::Duplicate(First { at, .. }) if at == late.at));
    assert_eq!(
        partition.window().len(),
        1,
        "what is past the window is not kept"
    );

    // A create is known for ever by the conversation it made.
    let recreated = partition.decide(&create, after(10 * DEDUPE_WINDOW_MS));
    assert!(matches!(
        recreated.outcome,
        Outcome::Duplicate(First {
            outcome: FirstOutcome::Accepted { seq: 1, no: None },
            ..
        })
    ));
}
