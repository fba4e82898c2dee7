//! What a new owner starts from.

use std::time::Duration;

use tidings_domain::{Outcome, Ownership};
use tidings_log::{LogReader, SequencerEvent};
use tidings_wire::{Record, StateEntry, Topic};

use crate::scene::{Instance, Scene};

const INTERVAL: Duration = Duration::from_secs(10);

/// Where the last checkpoint of partition 0 stands.
fn checkpoint(scene: &Scene) -> Option<i64> {
    let entries = scene.world.all(Topic::ConversationState, 0);
    entries.iter().rev().find_map(|stored| {
        match scene.codec.decode_state(&stored.record).unwrap() {
            Some(StateEntry::Checkpoint { upto, .. }) => Some(upto),
            _ => None,
        }
    })
}

fn end(scene: &Scene) -> i64 {
    scene
        .world
        .watermarks(Topic::MessageDelivered, 0)
        .unwrap()
        .1
}

/// A conversation with 50 messages, saved, and 5 more that are not.
fn used(scene: &Scene) -> (Instance, tidings_domain::ConversationId) {
    let mut owner = scene.owner();
    let id = scene.create("c");
    owner.settle();
    for n in 0..50 {
        scene.send(id, "alice", &format!("m{n}"));
    }
    owner.settle();
    assert_eq!(checkpoint(scene), None, "before it is time");
    scene.pass(INTERVAL);
    owner.settle();
    assert_eq!(checkpoint(scene), Some(end(scene)));
    for n in 50..55 {
        scene.send(id, "alice", &format!("m{n}"));
    }
    owner.settle();
    (owner, id)
}

#[test]
fn starts_from_the_checkpoint_and_folds_what_came_after() {
    let scene = Scene::new(1);
    let (crashed, id) = used(&scene);
    drop(crashed);
    scene.world.take_read(Topic::MessageDelivered);
    let mut owner = scene.owner();
    // The last decision saved, five that were not, the claim; and at most one
    // batch of those once more.
    let read = scene.world.take_read(Topic::MessageDelivered);
    assert!(read <= 14, "{read} records were read");
    // A command of before the checkpoint is still remembered.
    let again = scene.send(id, "alice", "m7");
    scene.send(id, "alice", "m55");
    owner.settle();
    let readings = scene.check_all();
    assert_eq!(readings[0].last_seq(id), 1 + 56);
    let outcome = &readings[0].inputs[&again].as_ref().unwrap().outcome;
    assert!(matches!(outcome, Outcome::Duplicate(_)), "{outcome:?}");
}

#[test]
fn without_snapshots_the_state_is_the_same() {
    let scene = Scene::new(1);
    let (crashed, id) = used(&scene);
    drop(crashed);
    scene.world.truncate(Topic::ConversationState, 0);
    let mut owner = scene.owner();
    let again = scene.send(id, "alice", "m7");
    scene.send(id, "bob", "m55");
    owner.settle();
    let readings = scene.check_all();
    assert_eq!(readings[0].last_seq(id), 1 + 56);
    let outcome = &readings[0].inputs[&again].as_ref().unwrap().outcome;
    assert!(matches!(outcome, Outcome::Duplicate(_)), "{outcome:?}");
    // And it saves all of it again.
    scene.pass(INTERVAL);
    owner.settle();
    assert_eq!(checkpoint(&scene), Some(end(&scene)));
    drop(owner);
    let mut next = scene.owner();
    scene.send(id, "bob", "m56");
    next.settle();
    assert_eq!(scene.check_all()[0].last_seq(id), 1 + 57);
}

#[test]
fn a_stale_snapshot_over_a_newer_one_is_noticed() {
    let scene = Scene::new(1);
    let (mut owner, id) = used(&scene);
    let entries = scene.world.all(Topic::ConversationState, 0);
    let stale_head = entries
        .into_iter()
        .find(|stored| stored.record.key.as_deref() == Some(id.to_string().as_bytes()))
        .unwrap();
    // The last decision saved is about something else: it would set the head
    // right again.
    scene.create("another");
    scene.pass(INTERVAL);
    owner.settle();
    drop(owner);
    scene
        .world
        .append(Topic::ConversationState, 0, stale_head.record);
    scene.world.take_read(Topic::MessageDelivered);
    let mut owner = scene.owner();
    assert!(owner.ready.is_ready());
    let read = scene.world.take_read(Topic::MessageDelivered);
    assert!(
        read > 50,
        "only {read} records were read: the snapshot was trusted"
    );
    scene.send(id, "alice", "m55");
    owner.settle();
    assert_eq!(scene.check_all()[0].last_seq(id), 1 + 56);
}

#[test]
fn an_unreadable_or_impossible_snapshot_costs_only_time() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("no avro", |value| *value = b"\x00\xff".to_vec()),
        ("a bad magic byte", |value| value[0] = 1),
        ("an unknown schema", |value| value[1..5].fill(0x7f)),
        ("a record cut short", |value| {
            value.truncate(value.len() - 3);
        }),
    ];
    for (damage, change) in damages {
        folds_from_the_start(damage, |scene, _| {
            let snapshots = scene.world.all(Topic::ConversationState, 0);
            let mut record = snapshots.into_iter().next().unwrap().record;
            let mut value = record.value.unwrap().to_vec();
            change(&mut value);
            record.value = Some(value.into());
            record
        });
    }
    folds_from_the_start("from a longer log", |scene, by| {
        let entry = StateEntry::Checkpoint {
            upto: 1_000,
            by,
            next: vec![],
        };
        scene.codec.encode_state(0, &entry).unwrap()
    });
}

/// With a bad record among the snapshots.
fn folds_from_the_start(damage: &str, bad: impl FnOnce(&Scene, Ownership) -> Record) {
    let scene = Scene::new(1);
    let (crashed, id) = used(&scene);
    let by = scene.read(0).owner.unwrap();
    drop(crashed);
    let record = bad(&scene, by);
    scene.world.append(Topic::ConversationState, 0, record);
    scene.world.take_read(Topic::MessageDelivered);
    let mut owner = scene.owner();
    let read = scene.world.take_read(Topic::MessageDelivered);
    assert!(read > 50, "{damage}: the snapshot was trusted");
    scene.send(id, "alice", "m55");
    owner.settle();
    assert_eq!(scene.check_all()[0].last_seq(id), 1 + 56, "{damage}");
}

/// The last decision again, as its owner would write it, with other bytes.
fn forge(scene: &Scene, change: impl FnOnce(&mut Vec<u8>)) {
    let mut forged = scene.world.all(Topic::MessageDelivered, 0).pop().unwrap();
    let mut value = forged.record.value.unwrap().to_vec();
    change(&mut value);
    forged.record.value = Some(value.into());
    scene
        .world
        .append(Topic::MessageDelivered, 0, forged.record);
}

#[test]
fn what_nobody_can_read_does_not_keep_a_partition_from_its_next_owner() {
    for saved in [true, false] {
        let scene = Scene::new(1);
        let (mut owner, id) = used(&scene);
        forge(&scene, |value| value.truncate(value.len() - 3));
        forge(&scene, |value| value[1..5].fill(0x7f));
        scene.send(id, "alice", "m55");
        owner.settle();
        forge(&scene, |value| value[0] = 1);
        drop(owner);
        if !saved {
            scene.world.truncate(Topic::ConversationState, 0);
        }
        let mut next = scene.owner();
        assert!(next.ready.is_ready());
        scene.send(id, "bob", "m56");
        next.settle();
        assert_eq!(scene.check_all()[0].last_seq(id), 1 + 57);
    }
}

#[test]
fn a_decision_whose_schema_is_lost_is_waited_for() {
    let scene = Scene::new(1);
    let (mut owner, id) = used(&scene);
    forge(&scene, |value| value[1..5].fill(0x7f));
    let end_before = end(&scene);
    let mut next = scene.owner();
    assert!(!next.ready.is_ready());
    assert_eq!(end(&scene), end_before, "nothing is claimed");
    // A later decision shows that it was none.
    scene.send(id, "alice", "m55");
    owner.settle();
    drop(owner);
    scene.pass(INTERVAL);
    next.settle();
    assert!(next.ready.is_ready());
    assert_eq!(scene.check_all()[0].last_seq(id), 1 + 56);
}

#[test]
fn a_decision_that_the_state_lacks_is_not_passed_over() {
    let scene = Scene::new(1);
    let (mut owner, id) = used(&scene);
    scene.create("another");
    scene.send(id, "alice", "m55");
    owner.settle();
    drop(owner);
    let mut records = scene.world.all(Topic::MessageDelivered, 0);
    let before_last = records.len() - 2;
    records[before_last].record.value = Some(b"\x00no avro"[..].into());
    scene.world.truncate(Topic::MessageDelivered, 0);
    for stored in records {
        scene
            .world
            .append(Topic::MessageDelivered, 0, stored.record);
    }
    let end_before = end(&scene);
    let mut next = scene.owner();
    for _ in 0..3 {
        scene.pass(INTERVAL);
        next.settle();
    }
    assert!(!next.ready.is_ready());
    assert_eq!(end(&scene), end_before, "nothing is claimed");
}

#[test]
fn a_checkpoint_waits_for_the_decisions_it_reflects() {
    let scene = Scene::new(1);
    let mut owner = scene.owner();
    let id = scene.create("c");
    scene.send(id, "alice", "m1");
    scene.pass(INTERVAL);
    owner.turn();
    owner.turn();
    // Both decisions wait; nothing of the snapshot may be written yet.
    assert_eq!(owner.side.waiting(), 2);
    assert!(owner.side.is_next(Topic::MessageDelivered));
    scene.send(id, "alice", "m2");
    owner.turn();
    owner.side.flush(2);
    owner.turn();
    owner.settle();
    // It covers the two, and not the third.
    assert_eq!(checkpoint(&scene), Some(end(&scene) - 1));
    scene.check_all();
}

#[test]
fn what_the_dedupe_window_has_left_behind_is_deleted() {
    let scene = Scene::new(1);
    let (mut owner, id) = used(&scene);
    let windows = |scene: &Scene| {
        let mut keys = std::collections::BTreeSet::new();
        for stored in scene.world.all(Topic::ConversationState, 0) {
            let key = stored.record.key.unwrap();
            if key.starts_with(b"window/") {
                match stored.record.value {
                    Some(_) => keys.insert(key),
                    None => keys.remove(&key),
                };
            }
        }
        keys.len()
    };
    assert_eq!(windows(&scene), 1);
    scene.pass(INTERVAL);
    owner.settle();
    assert_eq!(windows(&scene), 2);
    // A new owner knows of them too.
    drop(owner);
    let mut owner = scene.owner();
    scene.pass(Duration::from_secs(11 * 60));
    scene.send(id, "alice", "late");
    owner.settle();
    assert_eq!(windows(&scene), 1);
    let last = scene.world.all(Topic::ConversationState, 0).pop().unwrap();
    assert_eq!(
        last.record.key.as_deref(),
        Some(&b"checkpoint"[..]),
        "never a deletion"
    );
    scene.check_all();
}

#[test]
fn a_graceful_stop_leaves_a_checkpoint_at_the_end() {
    let scene = Scene::new(1);
    let (mut owner, id) = used(&scene);
    scene.send(id, "alice", "last");
    owner.turn();
    owner.stop.cancel();
    assert!(owner.turn(), "a decision is in flight");
    assert!(!owner.ready.is_ready());
    assert!(owner.settle(), "it ends by itself");
    assert_eq!(owner.side.take_stopped(), [0]);
    assert_eq!(checkpoint(&scene), Some(end(&scene)));
    assert_eq!(scene.world.mark(0).unwrap().unwrap().offset, end(&scene));
    assert_eq!(scene.check_all()[0].last_seq(id), 1 + 56);
}

#[test]
fn a_revoked_partition_is_handed_over_when_it_is_finished() {
    let scene = Scene::new(2);
    let mut old = scene.owner();
    let ids: Vec<_> = (0..4).map(|n| scene.create(&format!("c{n}"))).collect();
    old.turn();
    old.side.tell(SequencerEvent::Revoked(vec![0]));
    old.turn();
    assert_eq!(
        old.side.take_stopped(),
        [] as [i32; 0],
        "not before its decisions are in"
    );
    old.settle();
    assert_eq!(old.side.take_stopped(), [0]);
    assert_eq!(checkpoint(&scene).unwrap_or_default(), end(&scene));
    assert!(old.ready.is_ready(), "the other partition is still its own");
    let mut new = scene.instance();
    new.side.tell(SequencerEvent::Assigned(vec![0]));
    new.settle();
    for &id in &ids {
        scene.send(id, "bob", "m");
    }
    old.settle();
    new.settle();
    let readings = scene.check_all();
    for id in ids {
        assert_eq!(readings[scene.partition(id) as usize].last_seq(id), 2);
    }
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let scene = Scene::new(1);
    let mut owner = scene.owner();
    scene.create("c");
    owner.turn();
    owner.stop.cancel();
    assert!(owner.turn());
    scene.pass(scene.options.drain_timeout);
    assert!(!owner.turn(), "the log does not answer");
    assert_eq!(owner.side.take_stopped(), [0]);
}

#[test]
fn a_lost_partition_is_dropped_at_once() {
    let scene = Scene::new(1);
    let mut old = scene.owner();
    let id = scene.create("c");
    old.settle();
    scene.send(id, "alice", "m1");
    old.turn();
    old.side.tell(SequencerEvent::Lost(vec![0]));
    old.turn();
    let mut new = scene.owner();
    // What the old one had on its way comes late.
    old.side.flush_all();
    old.turn();
    new.settle();
    let readings = scene.check_all();
    assert_eq!((readings[0].void, readings[0].last_seq(id)), (1, 2));
}

/// The dedupe window goes by the time of decisions: one in the past would be
/// forgotten too early, or keep what is forgotten elsewhere.
#[test]
fn time_does_not_go_back_with_a_new_owners_clock() {
    let scene = Scene::new(1);
    let mut owner = scene.owner();
    scene.pass(Duration::from_secs(9 * 60));
    let id = scene.create("c");
    let first = scene.send(id, "alice", "m1");
    owner.settle();
    drop(owner);
    scene.go_back(Duration::from_secs(5 * 60));
    let mut owner = scene.owner();
    let second = scene.send(id, "alice", "m2");
    owner.settle();
    let readings = scene.check_all();
    let at = |input| readings[0].inputs[input].as_ref().unwrap().at;
    assert!(at(&second) >= at(&first));
    assert!(at(&second) > scene.now());
    // Once its clock is past that, it goes by it again.
    scene.pass(Duration::from_secs(6 * 60));
    let third = scene.send(id, "alice", "m3");
    owner.settle();
    let decision = scene.check_all()[0].inputs[&third].clone();
    assert_eq!(decision.unwrap().at, scene.now());
}
