//! One fault at a time.

use std::time::Duration;

use tidings_domain::Outcome;
use tidings_log::{LogReader, Pause, SequencerEvent};
use tidings_wire::{DeliveredBody, Topic, names};

use crate::scene::{Scene, group};

const LONG: Duration = Duration::from_secs(6);

#[test]
fn decides_each_command_once_and_numbers_it() {
    let scene = Scene::new(3);
    let mut owner = scene.owner();
    assert!(owner.ready.is_ready());
    let ids: Vec<_> = (0..6).map(|n| scene.create(&format!("c{n}"))).collect();
    // As an edge does: no send before the create is decided.
    owner.settle();
    for n in 0..20 {
        for &id in &ids {
            scene.send(id, ["alice", "bob", "mallory"][n % 3], &format!("m{n}"));
        }
    }
    owner.settle();
    let readings = scene.check_all();
    for &id in &ids {
        let reading = &readings[scene.partition(id) as usize];
        // The create, and two of three sends: mallory is no member.
        assert_eq!(reading.last_seq(id), 1 + 14);
    }
}

#[test]
fn a_repeated_command_is_answered_with_the_first_decision() {
    let scene = Scene::new(1);
    let mut owner = scene.owner();
    let id = scene.create("c");
    owner.settle();
    let first = scene.send(id, "bob", "m1");
    owner.settle();
    let again = scene.send(id, "bob", "m1");
    owner.settle();
    let readings = scene.check_all();
    let outcome = |input| readings[0].inputs[&input].as_ref().unwrap().outcome.clone();
    assert!(matches!(outcome(first), Outcome::Accepted { seq: 2, .. }));
    assert!(matches!(outcome(again), Outcome::Duplicate(_)));
}

#[test]
fn a_command_that_is_delivered_again_is_not_decided_again() {
    let scene = Scene::new(1);
    let mut owner = scene.owner();
    let id = scene.create("c");
    owner.settle();
    scene.send(id, "alice", "m1");
    scene.send(id, "alice", "m2");
    owner.settle();
    for topic in [Topic::ConversationUpdated, Topic::MessageSent] {
        for stored in scene.world.all(topic, 0) {
            owner.side.tell(SequencerEvent::Command(stored));
        }
    }
    owner.settle();
    assert_eq!(scene.check_all()[0].last_seq(id), 3);
}

#[test]
fn after_a_failed_produce_it_claims_again_and_recovers_from_the_log() {
    for appended in [false, true] {
        let scene = Scene::new(1);
        let mut owner = scene.owner();
        let id = scene.create("c");
        owner.settle();
        for n in 0..5 {
            scene.send(id, "alice", &format!("m{n}"));
        }
        owner.turn();
        assert_eq!(owner.side.waiting(), 5);
        owner.side.flush(2);
        owner.side.fail_next(appended);
        owner.side.flush_all();
        owner.turn();
        assert!(!owner.ready.is_ready());
        assert!(!owner.side.is_started(0));
        scene.pass(LONG);
        owner.settle();
        assert!(owner.ready.is_ready());
        let readings = scene.check_all();
        assert_eq!(readings[0].last_seq(id), 6, "appended: {appended}");
        assert_eq!(readings[0].owner.unwrap().epoch.0, 2);
    }
}

#[test]
fn a_newer_claim_stops_the_owner_at_once() {
    let scene = Scene::new(1);
    let mut old = scene.owner();
    let id = scene.create("c");
    old.settle();
    // Paused with two decisions on their way, while another takes over.
    scene.send(id, "alice", "m1");
    scene.send(id, "alice", "m2");
    old.turn();
    let mut new = scene.owner();
    new.settle();
    scene.send(id, "bob", "m3");
    new.settle();
    // The old one goes on: its decisions are void, and it notices.
    old.side.flush_all();
    old.turn();
    assert!(!old.ready.is_ready());
    assert_eq!(old.side.take_stopped(), [0]);
    scene.send(id, "bob", "m4");
    new.settle();
    let readings = scene.check_all();
    assert_eq!(readings[0].void, 2);
    assert_eq!(readings[0].last_seq(id), 5);
    assert!(
        new.ready.is_ready(),
        "void records between its own do not stop the new owner"
    );
}

#[test]
fn a_claim_that_comes_second_is_made_again() {
    let scene = Scene::new(1);
    let mut owner = scene.instance();
    owner.side.tell(SequencerEvent::Assigned(vec![0]));
    while owner.side.waiting() == 0 {
        owner.turn();
    }
    // The same epoch, but first in the log.
    scene.foreign_claim(0, 1);
    owner.side.flush_all();
    for _ in 0..8 {
        owner.turn();
    }
    assert!(!owner.ready.is_ready());
    scene.pass(LONG);
    owner.settle();
    assert!(owner.ready.is_ready());
    assert_eq!(scene.read(0).owner.unwrap().epoch.0, 2);
}

#[test]
fn a_failed_claim_is_made_again() {
    for appended in [false, true] {
        let scene = Scene::new(1);
        let mut owner = scene.instance();
        owner.side.tell(SequencerEvent::Assigned(vec![0]));
        while owner.side.waiting() == 0 {
            owner.turn();
        }
        owner.side.fail_next(appended);
        owner.turn();
        scene.pass(LONG);
        owner.settle();
        assert!(owner.ready.is_ready(), "appended: {appended}");
        let id = scene.create("c");
        owner.settle();
        assert_eq!(scene.check_all()[0].last_seq(id), 1);
    }
}

#[test]
fn what_cannot_be_decoded_goes_to_the_dead_letters_and_the_partition_goes_on() {
    let scene = Scene::new(1);
    let mut owner = scene.owner();
    let id = scene.create("c");
    owner.settle();
    scene.send(id, "alice", "m1");
    let poison = scene.poison(id);
    let after = scene.send(id, "alice", "m2");
    owner.settle();
    let readings = scene.check_all();
    assert_eq!(readings[0].inputs[&poison], None);
    assert_eq!(readings[0].last_seq(id), 3);
    assert!(poison < after);

    let letters = scene.world.all(Topic::DeadSequencer, 0);
    assert_eq!(letters.len(), 1);
    let headers = &letters[0].record.headers;
    assert_eq!(
        letters[0].record.value.as_deref(),
        Some(&b"\x00no avro"[..])
    );
    assert_eq!(headers.text(names::DEAD_TOPIC), Some("message.sent"));
    assert_eq!(
        headers.text(names::DEAD_OFFSET),
        Some(poison.offset.to_string().as_str())
    );
    assert_eq!(headers.text(names::DEAD_CONSUMER), Some("sequencer"));
    let marker = scene
        .world
        .all(Topic::MessageDelivered, 0)
        .into_iter()
        .rev()
        .nth(1)
        .unwrap();
    let body = scene.codec.decode_delivered(&marker.record).unwrap();
    assert!(matches!(body, DeliveredBody::Dead { conversation_id: Some(of), .. } if of == id));
}

#[test]
fn the_marker_waits_for_the_letter() {
    let scene = Scene::new(1);
    let mut owner = scene.owner();
    let id = scene.create("c");
    owner.settle();
    scene.poison(id);
    scene.send(id, "alice", "m1");
    owner.turn();
    owner.turn();
    assert_eq!(owner.side.waiting(), 1, "only the letter");
    assert!(owner.side.is_next(Topic::DeadSequencer));
    // The letter fails: the command is looked at again by the next claim.
    owner.side.fail_next(false);
    owner.turn();
    scene.pass(LONG);
    owner.settle();
    assert_eq!(scene.check_all()[0].last_seq(id), 2);
    assert_eq!(scene.world.all(Topic::DeadSequencer, 0).len(), 1);
}

#[test]
fn a_command_in_a_partition_that_is_not_its_own_is_dead() {
    let scene = Scene::new(2);
    let mut owner = scene.owner();
    let id = scene.create("c");
    owner.settle();
    let home = scene.partition(id);
    let command = scene.world.all(Topic::ConversationUpdated, home).remove(0);
    scene
        .world
        .append(Topic::ConversationUpdated, 1 - home, command.record.clone());
    // And one under another conversation's key.
    let mut mislabelled = command.record;
    mislabelled.key = Some(group("other").to_string().into());
    scene
        .world
        .append(Topic::ConversationUpdated, home, mislabelled);
    owner.settle();
    scene.check_all();
    for partition in 0..2 {
        assert_eq!(
            scene.world.all(Topic::DeadSequencer, partition).len(),
            1,
            "{partition}"
        );
    }
}

#[test]
fn takes_no_more_commands_than_may_be_in_flight() {
    let mut scene = Scene::new(1);
    scene.options.max_in_flight = 4;
    let mut owner = scene.owner();
    let id = scene.create("c");
    owner.settle();
    for n in 0..20 {
        scene.send(id, "alice", &format!("m{n}"));
    }
    owner.turn();
    owner.turn();
    assert_eq!(owner.side.waiting(), 4);
    owner.settle();
    assert_eq!(scene.check_all()[0].last_seq(id), 21);
}

#[test]
fn is_not_disturbed_by_foreign_records_that_name_no_owner() {
    let scene = Scene::new(1);
    let mut owner = scene.owner();
    let id = scene.create("c");
    owner.settle();
    drop(owner);
    // Not read with `check_all`, which takes every record for a sequencer's.
    let foreign = scene.world.all(Topic::ConversationUpdated, 0).remove(0);
    scene
        .world
        .append(Topic::MessageDelivered, 0, foreign.record);
    let mut next = scene.owner();
    scene.send(id, "alice", "m1");
    next.settle();
    assert!(next.ready.is_ready());
    assert_eq!(
        scene
            .world
            .watermarks(Topic::MessageDelivered, 0)
            .unwrap()
            .1,
        5
    );
}

#[test]
fn while_it_is_paused_no_command_is_decided() {
    let scene = Scene::new(1);
    let mut owner = scene.owner();
    let id = scene.create("c");
    owner.settle();
    scene.send(id, "alice", "m1");
    owner.settle();
    let mut pauses = scene.world.pauses().unwrap();
    let pause = Pause::now("an upgrade".to_owned(), None);
    pauses.pause("sequencer", &pause).unwrap();
    // It looks now and then, by a clock of its own.
    while !owner.ready.is_paused() {
        owner.turn();
    }
    scene.send(id, "alice", "m2");
    owner.settle();
    assert_eq!(scene.read(0).last_seq(id), 2);
    // Nor does one that comes to own it meanwhile.
    drop(owner);
    let mut owner = scene.owner();
    owner.settle();
    assert!(owner.ready.is_ready(), "it owns it all the same");
    assert_eq!(scene.read(0).last_seq(id), 2);
    pauses.resume("sequencer").unwrap();
    while owner.ready.is_paused() {
        owner.turn();
    }
    owner.settle();
    assert_eq!(scene.check_all()[0].last_seq(id), 3);
}
