//! The history view: rebuilt while it is written and read, twice at once, after
//! a death, switched back, pruned.

use std::sync::Arc;

use tidings_log::{Log, Pause};
use tidings_operate::rebuild::{
    Phase, RebuildError, RebuildOptions, View, prune, rebuild, rollback, status,
};
use tidings_projection::Projection;
use tidings_testkit::{eventually_async, fresh_database, servers};
use tidings_views::StoreError;
use tidings_views::conformance::Decisions;
use tidings_views::generation::{Builder, Generation, Generations, State, change};
use tidings_views::history::{HistoryReader, MongoHistory};
use tidings_wire::Codec;
use tokio_util::sync::CancellationToken;

use crate::world::{DEADLINE, Reading, World, assert_view_of};

const FIRST: Generation = Generation::FIRST;
const SECOND: Generation = Generation(2);

async fn empty_store() -> MongoHistory {
    let uri = fresh_database(&servers().mongodb_uri);
    MongoHistory::connect(&uri, "tidings-test")
        .await
        .expect("reads the address")
}

fn projection(log: Arc<dyn Log>, codec: Codec, store: MongoHistory) -> Projection {
    tidings_history::projection(log, codec, Arc::new(store))
}

async fn view(world: &World, store: &MongoHistory) -> View {
    View::history(store.clone(), world.connect().await, world.codec.clone())
}

fn running() -> CancellationToken {
    CancellationToken::new()
}

fn quick() -> RebuildOptions {
    RebuildOptions {
        batch: 64,
        ..RebuildOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_view_is_rebuilt_while_it_is_written_and_read() {
    let world = World::new().await;
    let store = empty_store().await;
    let mut stream = Decisions::new(40);
    let mut decisions = stream.take(400);
    world.decide_all(&decisions, 0);
    let keeping = world.keep(&store, projection).await;
    world.caught_up(&store).await;
    let writing = world.write(stream, 400);
    let reading = Reading::start(&store, &decisions[0]);

    let view = view(&world, &store).await;
    let rebuilt = rebuild(&view, &quick(), &running(), &|_| {}).await;
    let rebuilt = rebuilt.expect("is rebuilt");
    assert_eq!((rebuilt.generation, rebuilt.before), (SECOND, Some(FIRST)));
    assert!(rebuilt.switched && rebuilt.records >= 400, "{rebuilt:?}");
    let back = rollback(&view, false, &running()).await.expect("goes back");
    assert_eq!((back.from, back.to), (SECOND, FIRST));
    let again = rollback(&view, false, &running()).await.expect("and again");
    assert_eq!((again.from, again.to), (FIRST, SECOND));

    decisions.extend(writing.stop().await);
    let reads = reading.stop().await;
    assert!(reads > 10, "{reads} reads");
    for generation in [FIRST, SECOND] {
        world.caught_up(&store.of(generation)).await;
        assert_view_of(&store, generation, &decisions).await;
    }

    // What is kept goes, what is read stays and is kept in step.
    let planned = prune(&view, true, &running()).await.expect("plans");
    assert_eq!((planned.deleted, planned.done), (vec![FIRST], false));
    assert_view_of(&store, FIRST, &decisions).await;
    let pruned = prune(&view, false, &running()).await.expect("prunes");
    assert_eq!((pruned.deleted, pruned.serving), (vec![FIRST], SECOND));
    assert_eq!(store.of(FIRST).reached().await, Ok(Vec::new()));
    // And is not behind for ever.
    let known = world.connect().await.consumers().expect("asks");
    assert!(known.contains(&"history.g2".to_owned()), "{known:?}");
    assert!(!known.contains(&"history".to_owned()), "{known:?}");
    assert!(matches!(
        rollback(&view, false, &running()).await,
        Err(RebuildError::NotSwitched(_))
    ));
    let later = Decisions::new(41).take(50);
    world.decide_all(&later, 1_000_000);
    world.caught_up(&store.of(SECOND)).await;
    let register = store.register().await.expect("reads");
    assert_eq!(register.followed(), [SECOND]);
    keeping.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_rebuild_at_a_time_and_the_next_goes_on_where_it_was() {
    let world = World::new().await;
    let store = empty_store().await;
    let decisions = Decisions::new(50).take(600);
    world.decide_all(&decisions, 0);
    let keeping = world.keep(&store, projection).await;
    world.caught_up(&store).await;

    // A slow one, which is in the middle of it when another begins.
    let slow = RebuildOptions {
        rate: Some(50),
        ..quick()
    };
    let (first, stop) = (view(&world, &store).await, running());
    let stopped = stop.clone();
    let one = tokio::spawn(async move { rebuild(&first, &slow, &stopped, &|_| {}).await });
    let is_under_way = async || {
        let reached = store.of(SECOND).reached().await.unwrap_or_default();
        reached.iter().any(|at| at.offset > 10)
    };
    eventually_async(DEADLINE, is_under_way).await;
    let second = view(&world, &store).await;
    let refused = rebuild(&second, &quick(), &running(), &|_| {}).await;
    let Err(RebuildError::Held {
        generation,
        build,
        applied,
        total,
        ..
    }) = &refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(*generation, SECOND);
    assert!(build.by.contains("process"), "{build:?}");
    assert!((1..*total).contains(applied), "{applied} of {total}");
    assert_eq!(
        prune(&second, false, &running())
            .await
            .expect("asks")
            .deleted,
        [],
        "what is being built stays"
    );

    stop.cancel();
    let ended = one.await.expect("does not panic");
    assert!(matches!(ended, Err(RebuildError::Stopped)), "{ended:?}");
    let before: i64 = sum(&store, SECOND).await;
    assert!(before > 10, "{before} records are there");
    let begun_at = std::sync::Mutex::new(None);
    let rebuilt = rebuild(&second, &quick(), &running(), &|progress| {
        if progress.phase == Phase::Building {
            let mut begun_at = begun_at.lock().expect("no panic");
            begun_at.get_or_insert(progress.applied);
        }
    })
    .await
    .expect("goes on");
    assert_eq!(rebuilt.generation, SECOND, "the one that was begun");
    let begun_at = begun_at.into_inner().expect("no panic");
    assert!(begun_at >= Some(before), "{begun_at:?} after {before}");
    assert!(rebuilt.applied < rebuilt.records, "{rebuilt:?}");
    world.caught_up(&store.of(SECOND)).await;
    assert_view_of(&store, SECOND, &decisions).await;
    keeping.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_generation_of_a_dead_process_is_gone_on_with() {
    let world = World::new().await;
    let store = empty_store().await;
    let decisions = Decisions::new(60).take(200);
    world.decide_all(&decisions, 0);
    // It says nothing any more, and has left half of a batch.
    let dead = Builder {
        by: "a process that is dead".to_owned(),
        token: "dead".to_owned(),
    };
    let at = tidings_domain::Timestamp(1);
    change(&store, |register| {
        let begun = register.begin(&dead, None, at);
        Ok::<_, StoreError>(begun.expect("nobody else builds"))
    })
    .await
    .expect("begins");
    let view = view(&world, &store).await;
    // A view that is paused is not built either, and that is said at once.
    let log = world.connect().await;
    let mut pauses = log.pauses().expect("is connected");
    let pause = Pause::now("the disk is exchanged".to_owned(), None);
    pauses.pause("history", &pause).expect("pauses");
    let refused = rebuild(&view, &quick(), &running(), &|_| {}).await;
    let refused = refused.expect_err("is refused").to_string();
    assert!(refused.contains("the disk is exchanged"), "{refused}");
    pauses.resume("history").expect("resumes");

    let looked = status(&view).await.expect("looks");
    assert_eq!(looked.generations[1].state, "building");
    let keep = RebuildOptions {
        switch: false,
        ..quick()
    };
    let rebuilt = rebuild(&view, &keep, &running(), &|_| {}).await;
    let rebuilt = rebuilt.expect("goes on");
    assert_eq!((rebuilt.generation, rebuilt.switched), (SECOND, false));
    let register = store.register().await.expect("reads");
    let standing = register.standing(SECOND).expect("it is there");
    assert!(matches!(standing.state, State::Built(_)), "{standing:?}");
    assert_eq!(register.serving(), FIRST);
    assert_view_of(&store, SECOND, &decisions).await;

    // Nobody keeps the view, so nobody need keep the generation.
    let switched = rebuild(&view, &quick(), &running(), &|_| {}).await;
    let switched = switched.expect("switches");
    assert_eq!(
        (switched.generation, switched.before, switched.applied),
        (SECOND, Some(FIRST), 0)
    );
    let serving = tidings_views::generation::Serving::new(store.clone());
    let of = &decisions[0];
    let found = serving.conversation(&of.tenant, of.conversation_id).await;
    assert!(found.expect("reads").is_some());
}

async fn sum(store: &MongoHistory, generation: Generation) -> i64 {
    let reached = store.of(generation).reached().await.expect("asks");
    reached.iter().map(|at| at.offset).sum()
}
