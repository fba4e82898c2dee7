//! The projection on a real log and a real store.

use std::time::{Duration, Instant};

use tidings_domain::{Content, Event, Outcome, Timestamp};
use tidings_projection::ProjectionError;
use tidings_testkit::eventually_async;
use tidings_views::conformance::Decisions;
use tidings_views::history::{HistoryReader, HistoryWriter, Position};
use tidings_wire::names;

use crate::world::{self, World, garbled, headless, partition};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_view_is_what_the_model_makes_of_the_log() {
    let mut world = World::new();
    let mut stream = Decisions::new(1);
    let mut decisions = stream.take(300);
    world.decide_all(&decisions);

    let running = world.project();
    world.caught_up().await;
    world.assert_view_of(&decisions).await;
    running.stop().await.expect("stops");

    // What was decided meanwhile is made up for, and what was done is not
    // done again.
    let later = stream.take(200);
    world.decide_all(&later);
    decisions.extend(later);
    let running = world.project();
    world.caught_up().await;
    running.stop().await.expect("stops");
    world.assert_view_of(&decisions).await;
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_event_is_in_the_view_at_once() {
    let mut world = World::new();
    let decisions = Decisions::new(2).take(40);
    let running = world.project();
    world.caught_up().await;
    let mut slowest = Duration::ZERO;
    for decision in &decisions {
        let appended = Instant::now();
        world.decide(decision, 1);
        let seen = || async {
            let found = world
                .view
                .outcome(
                    &decision.tenant,
                    decision.conversation_id,
                    &decision.sender,
                    &decision.temp_id,
                )
                .await;
            found.expect("reads").is_some()
        };
        while !seen().await {
            assert!(appended.elapsed() < world::DEADLINE, "never seen");
            tokio::task::yield_now().await;
        }
        slowest = slowest.max(appended.elapsed());
    }
    running.stop().await.expect("stops");
    // Some milliseconds; wide, as a test may share its processor.
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_paused_owner_still_writes_is_void() {
    let mut world = World::new();
    let decisions = Decisions::new(3).take(120);
    let (before, after) = decisions.split_at(60);
    world.decide_all(before);
    world.claim(2);
    // The paused owner decides the next commands too, but differently.
    for decision in &after[..20] {
        let mut other = decision.clone();
        other.at = Timestamp(1);
        if let Outcome::Accepted {
            event: Event::MessageSent { content, .. },
            ..
        } = &mut other.outcome
        {
            *content = Content::text("void");
        }
        world.decide(&other, 1);
    }
    // A claim that comes too late changes nothing either.
    world.claim(1);
    for decision in after {
        world.decide(decision, 2);
    }
    let running = world.project();
    world.caught_up().await;
    running.stop().await.expect("stops");
    world.assert_view_of(&decisions).await;
    assert!(world.dead_letters().is_empty());
    let positions = HistoryWriter::positions(&world.view).await.expect("reads");
    assert!(
        positions
            .iter()
            .all(|position| position.current == Some(world::owner(2)))
    );

    // One that starts in the middle knows who the owner is.
    world.decide(&decisions[0], 1);
    let running = world.project();
    world.caught_up().await;
    running.stop().await.expect("stops");
    world.assert_view_of(&decisions).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_goes_to_the_dead_letters_as_it_came() {
    let mut world = World::new();
    let mut stream = Decisions::new(4);
    let decisions = stream.take(80);
    world.decide_all(&decisions[..40]);
    let stray = stream.take(1).remove(0);
    let bad = [
        garbled(world.record(&stray, 1)),
        headless(world.record(&stray, 1)),
    ];
    let mut places = Vec::new();
    for record in &bad {
        places.push((0, world.append(0, record.clone())));
    }
    world.decide_all(&decisions[40..]);

    let running = world.project();
    world.caught_up().await;
    running.stop().await.expect("stops");
    world.assert_view_of(&decisions).await;

    let letters = world.dead_letters();
    assert_eq!(letters.len(), bad.len());
    for ((letter, record), (partition, offset)) in letters.iter().zip(&bad).zip(places) {
        assert_eq!(letter.record.value, record.value);
        assert_eq!(letter.record.key, record.key);
        let header = |name| letter.record.headers.text(name).map(str::to_owned);
        assert_eq!(
            header(names::DEAD_TOPIC).as_deref(),
            Some("message.delivered")
        );
        assert_eq!(header(names::DEAD_PARTITION), Some(partition.to_string()));
        assert_eq!(header(names::DEAD_OFFSET), Some(offset.to_string()));
        assert_eq!(header(names::DEAD_CONSUMER).as_deref(), Some("history"));
        assert!(header(names::DEAD_ERROR).is_some_and(|cause| !cause.is_empty()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_would_leave_a_gap_goes_to_the_dead_letters() {
    let mut world = World::new();
    let decisions = Decisions::new(5).take(150);
    // The last event of some conversation comes once more, two further on.
    let last = decisions
        .iter()
        .rfind(|decision| decision.seq().is_some_and(|seq| seq > 1));
    let mut ahead = last.expect("a conversation of several events").clone();
    if let Outcome::Accepted { seq, .. } = &mut ahead.outcome {
        *seq += 2;
    }
    world.decide_all(&decisions);
    let place = world.decide(&ahead, 1);

    let running = world.project();
    world.caught_up().await;
    running.stop().await.expect("stops");
    world.assert_view_of(&decisions).await;
    let letters = world.dead_letters();
    let offsets: Vec<_> = letters
        .iter()
        .map(|letter| {
            (
                letter.partition,
                letter.record.headers.text(names::DEAD_OFFSET),
            )
        })
        .collect();
    assert_eq!(offsets, [(place.0, Some(place.1.to_string().as_str()))]);
    let cause = letters[0]
        .record
        .headers
        .text(names::DEAD_ERROR)
        .expect("a cause");
    assert!(cause.contains("comes after event"), "{cause}");
    assert_eq!(place.0, partition(&ahead));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_of_another_log_is_not_written_to() {
    let world = World::new();
    world.view.prepare().await.expect("prepares");
    let position = Position {
        partition: 1,
        offset: 1_000,
        current: None,
    };
    world
        .view
        .write(&Default::default(), &[position])
        .await
        .expect("writes");
    let ended = world.project().ended().await;
    assert!(
        matches!(
            ended,
            Err(ProjectionError::AheadOfLog {
                partition: 1,
                view: 1_000,
                ..
            })
        ),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_was_emptied_is_built_again() {
    let mut world = World::new();
    let decisions = Decisions::new(6).take(200);
    let (before, after) = decisions.split_at(150);
    world.decide_all(before);
    let running = world.project();
    world.caught_up().await;
    world.tamper(
        "DELETE FROM history_events; DELETE FROM history_messages;
         DELETE FROM history_conversations; DELETE FROM history_members;
         DELETE FROM history_edits; DELETE FROM history_hidden;
         DELETE FROM history_outcomes; DELETE FROM history_positions;",
    );
    world.decide_all(after);
    eventually_async(world::DEADLINE, async || world.is_caught_up().await).await;
    running.stop().await.expect("stops");
    world.assert_view_of(&decisions).await;
    assert!(world.dead_letters().is_empty());
}
