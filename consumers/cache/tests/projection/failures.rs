//! The projection while Redis is down, silent, or emptied in the middle: no
//! answer is wrong at any time, and afterwards the cache fills again.

use std::time::{Duration, Instant};

use tidings_testkit::eventually_async;
use tidings_views::conformance::Decisions;

use crate::world::{DEADLINE, World};

/// What happens to Redis.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// It is killed, and comes back empty.
    Down,
    /// It takes connections and does not answer, and comes back as it was.
    Silent,
    /// It loses all it had, and goes on.
    Flushed,
}

impl Outage {
    fn begins(self, world: &mut World) {
        match self {
            Self::Down => world.redis.kill(),
            Self::Silent => world.redis.pause(),
            Self::Flushed => world.redis.flush(),
        }
        .expect("its Redis");
    }

    fn ends(self, world: &mut World) {
        match self {
            Self::Down => world.redis.start_again(),
            Self::Silent => world.redis.resume(),
            Self::Flushed => Ok(()),
        }
        .expect("its Redis");
    }
}

/// In the middle of decisions, whatever the projection is doing then.
async fn nothing_is_wrong(outage: Outage, seed: u64) {
    let mut world = World::new().await;
    let mut stream = Decisions::new(seed);
    world.decide_all(&stream.take(120), 1);
    let running = world.project();
    world.caught_up().await;
    world.complete_history().await;
    world.fills().await;

    for _ in 0..2 {
        world.decide_all(&stream.take(40), 1);
        outage.begins(&mut world);
        // The log takes decisions all the same, and readers have answers.
        world.decide_all(&stream.take(40), 1);
        world.advance_history(20).await;
        let started = Instant::now();
        world.assert_answers().await;
        let took = started.elapsed();
        assert!(took < Duration::from_secs(15), "{outage:?}: {took:?}");
        world.complete_history().await;
        world.assert_answers().await;
        outage.ends(&mut world);
        world.caught_up().await;
        world.fills().await;
    }
    running.stop().await.expect("stops");
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_wrong_while_redis_is_down() {
    nothing_is_wrong(Outage::Down, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_wrong_while_redis_is_silent() {
    nothing_is_wrong(Outage::Silent, 11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_wrong_when_redis_is_flushed() {
    nothing_is_wrong(Outage::Flushed, 12).await;
}

/// Nothing is decided meanwhile: the projection looks by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_cache_fills_again_without_traffic() {
    let mut world = World::new().await;
    world.decide_all(&Decisions::new(13).take(100), 1);
    let running = world.project();
    world.caught_up().await;
    world.complete_history().await;
    world.fills().await;
    let session = world.cursors().await.session;
    world.redis.flush().expect("its Redis");
    assert_eq!(world.kept().await, 0);
    eventually_async(DEADLINE, async || world.cursors().await.session.is_some()).await;
    assert_ne!(world.cursors().await.session, session);
    assert!(world.is_caught_up().await, "it begins where it was");
    world.fills().await;
    running.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_before_redis_does() {
    let mut world = World::new().await;
    world.redis.kill().expect("its Redis");
    world.decide_all(&Decisions::new(14).take(100), 1);
    let running = world.project();
    world.complete_history().await;
    world.assert_answers().await;
    world.redis.start_again().expect("its Redis");
    world.caught_up().await;
    world.fills().await;
    running.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stops_at_once_though_redis_is_down() {
    let mut world = World::new().await;
    world.decide_all(&Decisions::new(15).take(60), 1);
    let running = world.project();
    world.caught_up().await;
    world.redis.kill().expect("its Redis");
    world.decide_all(&Decisions::new(16).take(20), 1);
    let told = Instant::now();
    running.stop().await.expect("stops");
    let took = told.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}
