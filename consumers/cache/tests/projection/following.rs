//! The projection while all is well.

use bytes::Bytes;
use tidings_domain::{Content, Event, Outcome};
use tidings_views::conformance::Decisions;
use tidings_wire::{Headers, Record, names};

use crate::world::{PARTITIONS, World, owner};

/// Ahead of the history view or behind it, in whatever pieces: answers are the
/// history view's, and after each change the values come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_are_answered_as_by_the_history_view() {
    let mut world = World::new().await;
    let mut stream = Decisions::new(1);
    world.decide_all(&stream.take(150), 1);
    let running = world.project();
    world.caught_up().await;
    // The cache is ahead of the view: nothing old is taken in.
    for _ in 0..5 {
        world.advance_history(25).await;
        world.assert_answers().await;
    }
    world.complete_history().await;
    world.fills().await;

    for _ in 0..4 {
        world.decide_all(&stream.take(20), 1);
        // Meanwhile the projection takes what it finds.
        world.advance_history(10).await;
        world.assert_answers().await;
        world.caught_up().await;
        world.assert_answers().await;
        world.complete_history().await;
        world.fills().await;
    }
    running.stop().await.expect("stops");
    assert!(world.dead_letters().is_empty());
}

/// One that comes after another goes on where the cursors are, and what was
/// kept is kept still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_goes_on_where_one_stopped() {
    let mut world = World::new().await;
    let mut stream = Decisions::new(2);
    world.decide_all(&stream.take(120), 1);
    let running = world.project();
    world.caught_up().await;
    running.stop().await.expect("stops");
    world.complete_history().await;
    world.fills().await;
    let (session, kept) = (world.cursors().await.session, world.kept().await);

    let running = world.project();
    world.caught_up().await;
    assert_eq!(world.cursors().await.session, session);
    assert_eq!(world.kept().await, kept, "nothing was noted twice");
    world.decide_all(&stream.take(60), 1);
    world.complete_history().await;
    world.caught_up().await;
    world.fills().await;
    assert_eq!(world.cursors().await.session, session);
    running.stop().await.expect("stops");
}

/// While nobody projects, the cursors stand still: what is newer is answered by
/// the history view.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_noted_is_not_answered_from_the_cache() {
    let mut world = World::new().await;
    let mut stream = Decisions::new(3);
    world.decide_all(&stream.take(120), 1);
    let running = world.project();
    world.caught_up().await;
    running.stop().await.expect("stops");
    world.complete_history().await;
    world.fills().await;
    world.decide_all(&stream.take(80), 1);
    world.complete_history().await;
    world.assert_answers().await;
    assert!(!world.is_caught_up().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_paused_owner_still_writes_is_void() {
    let mut world = World::new().await;
    let decisions = Decisions::new(4).take(120);
    let (before, after) = decisions.split_at(60);
    world.decide_all(before, 1);
    world.claim(2);
    // The paused owner decides the next commands too, but differently.
    for decision in &after[..20] {
        let mut other = decision.clone();
        if let Outcome::Accepted {
            event: Event::MessageSent { content, .. },
            ..
        } = &mut other.outcome
        {
            *content = Content::text("void");
        }
        let record = world.record(&other, 1);
        world.append(crate::world::partition(other.conversation_id), record);
    }
    world.decide_all(after, 2);
    let running = world.project();
    world.caught_up().await;
    world.complete_history().await;
    world.fills().await;
    // What does not count drops nothing either.
    let kept = world.kept().await;
    for decision in &after[..20] {
        let record = world.record(decision, 1);
        world.append(crate::world::partition(decision.conversation_id), record);
    }
    world.caught_up().await;
    assert!(world.kept().await >= kept);
    running.stop().await.expect("stops");
    // Whoever goes on from these cursors knows the owner.
    let cursors = world.cursors().await;
    for partition in 0..PARTITIONS {
        let position = cursors.partitions[&partition].position;
        assert_eq!(position.current, Some(owner(2)));
    }
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_goes_to_the_dead_letters_as_it_came() {
    let mut world = World::new().await;
    let mut stream = Decisions::new(5);
    world.decide_all(&stream.take(40), 1);
    let stray = stream.take(1).remove(0);
    let garbled = Record {
        value: Some(Bytes::from_static(b"\xffnot Avro")),
        ..world.record(&stray, 1)
    };
    let headless = Record {
        headers: Headers::default(),
        ..world.record(&stray, 1)
    };
    let bad = [garbled, headless];
    let offsets: Vec<i64> = bad
        .iter()
        .map(|record| world.append(1, record.clone()))
        .collect();
    world.decide_all(&stream.take(40), 1);

    let running = world.project();
    world.caught_up().await;
    running.stop().await.expect("stops");
    let letters = world.dead_letters();
    assert_eq!(letters.len(), bad.len());
    for ((letter, record), offset) in letters.iter().zip(&bad).zip(offsets) {
        assert_eq!(letter.record.value, record.value);
        assert_eq!(letter.record.key, record.key);
        let header = |name| letter.record.headers.text(name).map(str::to_owned);
        assert_eq!(
            header(names::DEAD_TOPIC).as_deref(),
            Some("message.delivered")
        );
        assert_eq!(header(names::DEAD_PARTITION).as_deref(), Some("1"));
        assert_eq!(header(names::DEAD_OFFSET), Some(offset.to_string()));
        assert_eq!(header(names::DEAD_CONSUMER).as_deref(), Some("cache"));
        assert!(header(names::DEAD_ERROR).is_some_and(|cause| !cause.is_empty()));
    }
    // The partition went on.
    world.complete_history().await;
    world.assert_answers().await;
}
