use std::collections::BTreeMap;
use std::fmt::Debug;

use tidings_domain::{Decision, Epoch, Model, OwnerId, Ownership, Rows, Wanted};
use uuid::Uuid;

use super::{Decisions, Dump, Random};
use crate::history::{HistoryWriter, Position, StoreError};

/// The model of these decisions.
pub(super) fn model_of(decisions: &[Decision]) -> Model {
    let mut model = Model::default();
    for (decision, offset) in decisions.iter().zip(0..) {
        model.apply(decision, offset);
    }
    model
}

/// Loads and folds, as a projection does.
async fn fold(
    store: &dyn HistoryWriter,
    decisions: &[Decision],
    first: usize,
) -> Result<Rows, StoreError> {
    let mut rows = store.load(&Wanted::of(decisions)).await?;
    for (decision, offset) in decisions.iter().zip(first as i64..) {
        rows.apply(decision, offset);
    }
    Ok(rows)
}

/// Writes decisions in one batch, without a position. The first of them stands
/// at the offset `first`.
///
/// # Errors
/// Of the store.
pub async fn project(
    store: &dyn HistoryWriter,
    decisions: &[Decision],
    first: usize,
) -> Result<(), StoreError> {
    let rows = fold(store, decisions, first).await?;
    store.write(&rows, &[]).await
}

/// Only a part of what a batch writes, in the order of the port: as if the
/// projection had been stopped there.
fn cut_off(mut rows: Rows, random: &mut Random) -> Rows {
    let parts = random.below(6);
    if parts < 5 {
        rows.conversations.clear();
    }
    if parts < 4 {
        rows.messages.clear();
    }
    if parts < 3 {
        rows.withheld.truncate(1);
    }
    if parts < 2 {
        rows.withheld.clear();
        rows.members.clear();
        rows.hidden.clear();
    }
    if parts < 1 {
        rows.events.truncate(1);
        rows.edits.clear();
        rows.outcomes.clear();
    }
    rows
}

/// Whatever the batches, however often one is written again or cut off in the
/// middle, the store ends with exactly the rows of the model.
pub async fn mends_whatever_stopped_it(store: &dyn Dump, seed: u64) {
    let decisions = Decisions::new(seed).take(400);
    let mut random = Random::new(!seed);
    let mut done = 0;
    while done < decisions.len() {
        let end = (done + 1 + random.below(60)).min(decisions.len());
        let batch = &decisions[done..end];
        match random.below(5) {
            // Stopped half-way, then done again from an earlier position.
            0 => {
                let rows = fold(store, batch, done).await.expect("loads");
                store
                    .write(&cut_off(rows, &mut random), &[])
                    .await
                    .expect("writes");
                done = done.saturating_sub(random.below(80));
            }
            // An older batch comes again, from one who was the owner before.
            1 => {
                project(store, batch, done).await.expect("writes");
                let older = random.below(done + 1);
                let older_end = (older + random.below(40)).min(done);
                project(store, &decisions[older..older_end], older)
                    .await
                    .expect("writes");
                done = end;
            }
            // One who is not the owner any more has loaded, is slow, and writes
            // what has long been overtaken.
            2 => {
                let stale = fold(store, batch, done).await.expect("loads");
                project(store, batch, done).await.expect("writes");
                let next = (end + random.below(60)).min(decisions.len());
                project(store, &decisions[end..next], end)
                    .await
                    .expect("writes");
                store.write(&stale, &[]).await.expect("writes");
                done = next;
            }
            _ => {
                project(store, batch, done).await.expect("writes");
                done = end;
            }
        }
    }
    let (dumped, model) = (store.dump().await.expect("dumps"), model_of(&decisions));
    same("events", seed, &dumped.events, &model.events);
    same("outcomes", seed, &dumped.outcomes, &model.outcomes);
    same("messages", seed, &dumped.messages, &model.messages);
    same("edits", seed, &dumped.edits, &model.edits);
    same("hidden", seed, &dumped.hidden, &model.hidden);
    same(
        "conversations",
        seed,
        &dumped.conversations,
        &model.conversations,
    );
    same("members", seed, &dumped.members, &model.members);
}

/// Names the first row that differs.
fn same<K: Ord + Debug, R: PartialEq + Debug>(
    what: &str,
    seed: u64,
    stored: &BTreeMap<K, R>,
    model: &BTreeMap<K, R>,
) {
    for key in stored.keys().chain(model.keys()) {
        let (stored, model) = (stored.get(key), model.get(key));
        assert_eq!(stored, model, "{what} of seed {seed}: {key:?}");
    }
}

/// Positions come back as they were written, with their owner, and never go
/// backwards.
pub async fn keeps_positions(store: &dyn Dump) {
    let position = |partition, offset, epoch: Option<u64>| Position {
        partition,
        offset,
        current: epoch.map(|epoch| Ownership {
            epoch: Epoch(epoch),
            owner: OwnerId(Uuid::from_u128(epoch.into())),
        }),
    };
    let stored = async || {
        let mut stored = HistoryWriter::positions(store)
            .await
            .expect("reads positions");
        stored.sort_by_key(|position| position.partition);
        stored
    };
    let write = async |positions: &[Position]| {
        store
            .write(&Rows::default(), positions)
            .await
            .expect("writes positions");
    };
    assert_eq!(stored().await, []);
    let first = [position(0, 5, None), position(7, 1 << 40, Some(3))];
    write(&first).await;
    assert_eq!(stored().await, first);
    // Of partition 0 an older one, of partition 7 the same, of 9 a first one.
    write(&[
        position(0, 4, Some(9)),
        position(7, 1 << 40, Some(2)),
        position(9, 0, None),
    ])
    .await;
    assert_eq!(stored().await, [first[0], first[1], position(9, 0, None)]);
    write(&[position(0, 6, Some(1))]).await;
    assert_eq!(stored().await[0], position(0, 6, Some(1)));
    let read = crate::history::HistoryReader::positions(store)
        .await
        .expect("reads positions");
    assert_eq!(read.len(), 3);
}
