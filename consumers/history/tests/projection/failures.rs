//! The projection while its store fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_domain::{Content, Event, Outcome};
use tidings_projection::ProjectionError;
use tidings_testkit::eventually_async;
use tidings_views::conformance::Decisions;
use tidings_views::history::{HistoryWriter, StoreError};
use tidings_wire::names;

use crate::faulty::{Fault, FaultyStore};
use crate::faulty_log::FaultyLog;
use crate::world::{DEADLINE, World, garbled, partition, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_down_it_waits_and_loses_nothing() {
    for error in [
        StoreError::Transient("no primary".to_owned()),
        StoreError::Saturated("slow down".to_owned()),
    ] {
        let mut world = World::new();
        let decisions = Decisions::new(10).take(200);
        let (before, after) = decisions.split_at(100);
        let store = Arc::new(FaultyStore::new(world.view.clone(), Fault::None));
        let running = world.project_into(Arc::clone(&store) as _);
        world.decide_all(before);
        world.caught_up().await;

        store.set(Fault::Always(error));
        // The log takes decisions all the same.
        world.decide_all(after);
        eventually_async(DEADLINE, async || store.failed() >= 4).await;
        assert!(!world.is_caught_up().await);
        store.set(Fault::None);
        world.caught_up().await;
        running.stop().await.expect("stops");
        world.assert_view_of(&decisions).await;
        assert!(world.dead_letters().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_before_its_store_does() {
    let mut world = World::new();
    let decisions = Decisions::new(11).take(60);
    world.decide_all(&decisions);
    let down = Fault::Always(StoreError::Transient("refused".to_owned()));
    let store = Arc::new(FaultyStore::new(world.view.clone(), down));
    let running = world.project_into(Arc::clone(&store) as _);
    eventually_async(DEADLINE, async || store.failed() >= 2).await;
    store.set(Fault::None);
    world.caught_up().await;
    running.stop().await.expect("stops");
    world.assert_view_of(&decisions).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stops_at_once_though_its_store_is_down() {
    let mut world = World::new();
    world.decide_all(&Decisions::new(12).take(20));
    let down = Fault::Always(StoreError::Transient("refused".to_owned()));
    let store = Arc::new(FaultyStore::new(world.view.clone(), down));
    let running = world.project_into(Arc::clone(&store) as _);
    // By now the waits are longer than the test allows the end to take.
    eventually_async(DEADLINE, async || store.failed() >= 7).await;
    let told = Instant::now();
    running.stop().await.expect("stops");
    assert!(
        told.elapsed() < Duration::from_secs(1),
        "{:?}",
        told.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_get_lost_change_nothing() {
    let mut world = World::new();
    let mut stream = Decisions::new(13);
    let mut decisions = Vec::new();
    let store = Arc::new(FaultyStore::new(world.view.clone(), Fault::Now(0)));
    for _ in 0..5 {
        let more = stream.take(60);
        world.decide_all(&more);
        decisions.extend(more);
        let running = world.project_into(Arc::clone(&store) as _);
        world.caught_up().await;
        running.stop().await.expect("stops");
    }
    assert!(store.failed() > 10, "{} failures", store.failed());
    world.assert_view_of(&decisions).await;
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_decision_that_the_store_refuses_goes_to_the_dead_letters() {
    const POISON: &str = "the store chokes on this";
    let mut world = World::new();
    let mut decisions = Decisions::new(14).take(200);
    // The last event of a conversation, so that nothing follows on it.
    let last = decisions
        .iter()
        .enumerate()
        .rev()
        .find_map(|(index, decision)| {
            let is_message = matches!(
                decision.outcome,
                Outcome::Accepted {
                    event: Event::MessageSent { .. },
                    ..
                }
            );
            let followed = decisions[index + 1..].iter().any(|later| {
                later.conversation_id == decision.conversation_id && later.seq().is_some()
            });
            (is_message && !followed).then_some(index)
        });
    let mut poisoned = decisions.remove(last.expect("a conversation that ends with a message"));
    if let Outcome::Accepted {
        event: Event::MessageSent { content, .. },
        ..
    } = &mut poisoned.outcome
    {
        *content = Content::text(POISON);
    }
    world.decide_all(&decisions[..100]);
    world.decide_all(&decisions[100..]);
    let (_, offset) = world.decide(&poisoned, 1);

    let store = Arc::new(FaultyStore::new(world.view.clone(), Fault::Refuses(POISON)));
    let running = world.project_into(store);
    world.caught_up().await;
    running.stop().await.expect("stops");
    world.assert_view_of(&decisions).await;
    let letters = world.dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].partition, partition(&poisoned));
    let headers = &letters[0].record.headers;
    assert_eq!(
        headers.text(names::DEAD_OFFSET),
        Some(offset.to_string().as_str())
    );
    assert_eq!(
        headers.text(names::DEAD_ERROR),
        Some("will not take this text")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fatal_error_ends_it() {
    let mut world = World::new();
    world.decide_all(&Decisions::new(15).take(20));
    let store = Arc::new(FaultyStore::new(world.view.clone(), Fault::None));
    let running = world.project_into(Arc::clone(&store) as _);
    world.caught_up().await;
    store.set(Fault::Always(StoreError::Fatal(
        "not authorized".to_owned(),
    )));
    world.decide_all(&Decisions::new(16).take(20));
    let ended = running.ended().await;
    assert!(
        matches!(&ended, Err(ProjectionError::Store(StoreError::Fatal(why))) if why == "not authorized"),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_waits_for_the_dead_letter() {
    let mut world = World::new();
    let decisions = Decisions::new(17).take(60);
    let (before, after) = decisions.split_at(30);
    world.decide_all(before);
    let poison = garbled(world.record(&after[0], 1));
    let home = partition(&after[0]);
    let offset = world.append(home, poison);
    world.decide_all(after);
    let position = async || {
        let positions = HistoryWriter::positions(&world.view).await.expect("reads");
        let of_home = positions.iter().find(|at| at.partition == home);
        of_home.map_or(0, |at| at.offset)
    };

    // Whether it is stopped meanwhile or not: what has no letter is not passed.
    for _ in 0..2 {
        let log = Arc::new(FaultyLog::new(Arc::clone(&world.log) as _));
        let store = Arc::new(world.view.clone());
        let running = start(Arc::clone(&log) as _, world.codec.clone(), store);
        eventually_async(DEADLINE, async || log.refused() >= 2).await;
        assert!(
            position().await <= offset,
            "{} > {offset}",
            position().await
        );
        running.stop().await.expect("stops");
        assert!(
            position().await <= offset,
            "{} > {offset}",
            position().await
        );
        assert!(world.dead_letters().is_empty());
    }
    let log = Arc::new(FaultyLog::new(Arc::clone(&world.log) as _));
    let store = Arc::new(world.view.clone());
    let running = start(Arc::clone(&log) as _, world.codec.clone(), store);
    eventually_async(DEADLINE, async || log.refused() >= 1).await;
    log.take_letters();
    world.caught_up().await;
    running.stop().await.expect("stops");
    world.assert_view_of(&decisions).await;
    assert_eq!(world.dead_letters().len(), 1);
}
