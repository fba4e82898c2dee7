use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidings_domain::Rows;
use tidings_sqlite::Database;

use super::{SqliteHistory, schema};
use crate::conformance::{self, Decisions, project};
use crate::generation::{Generation, Generations};
use crate::history::{HistoryWriter, StoreError};

/// An empty view in a folder of its own.
async fn empty() -> (TempDir, Database, SqliteHistory) {
    let folder = tempfile::tempdir().expect("makes a folder");
    let database = Database::open(folder.path()).expect("opens");
    let history = SqliteHistory::new(database.clone());
    history.prepare().await.expect("makes tables");
    (folder, database, history)
}

#[tokio::test]
async fn mends_whatever_stopped_it() {
    for seed in 0..8 {
        let (_folder, _, history) = empty().await;
        conformance::mends_whatever_stopped_it(&history, seed).await;
    }
}

#[tokio::test]
async fn answers_like_the_model() {
    for seed in 100..104 {
        let (_folder, _, history) = empty().await;
        conformance::answers_like_the_model(&history, seed).await;
    }
}

#[tokio::test]
async fn keeps_tenants_apart() {
    let (_folder, _, history) = empty().await;
    conformance::keeps_tenants_apart(&history, 200).await;
}

#[tokio::test]
async fn keeps_positions() {
    let (_folder, _, history) = empty().await;
    conformance::keeps_positions(&history).await;
}

#[tokio::test]
async fn pages_lists() {
    let (_folder, _, history) = empty().await;
    conformance::pages_lists(&history).await;
}

#[tokio::test]
async fn prepare_keeps_what_is_there() {
    let (_folder, _, history) = empty().await;
    let decisions = Decisions::new(1).take(50);
    project(&history, &decisions, 0).await.expect("writes");
    let before = conformance::Dump::dump(&history).await.expect("dumps");
    history.prepare().await.expect("prepares again");
    assert_eq!(conformance::Dump::dump(&history).await, Ok(before));
}

/// Runs statements on the writer thread.
async fn execute(history: &SqliteHistory, statements: &'static str) {
    history
        .run(move |connection| connection.execute_batch(statements))
        .await
        .expect("executes");
}

/// A folder that the version before has written: other columns, and no stamp.
#[tokio::test]
async fn a_view_of_the_version_before_is_dropped_and_built_anew() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let history = SqliteHistory::new(Database::open(folder.path()).expect("opens"));
    execute(
        &history,
        "CREATE TABLE history_messages (message_id BLOB NOT NULL UNIQUE, content TEXT NOT NULL);
         INSERT INTO history_messages VALUES (x'00', '{}');
         CREATE TABLE history_positions (
             partition INTEGER NOT NULL PRIMARY KEY,
             next_offset INTEGER NOT NULL,
             epoch INTEGER,
             owner BLOB
         ) STRICT;
         INSERT INTO history_positions VALUES (0, 7, NULL, NULL);",
    )
    .await;
    history.prepare().await.expect("prepares");
    let positions = HistoryWriter::positions(&history).await;
    assert_eq!(positions, Ok(Vec::new()), "it starts at the beginning");
    project(&history, &Decisions::new(1).take(50), 0)
        .await
        .expect("writes");
    let before = conformance::Dump::dump(&history).await.expect("dumps");

    // A version that is to come is another one too.
    execute(&history, "UPDATE history_schema SET version = 99").await;
    history.prepare().await.expect("prepares");
    let emptied = conformance::Dump::dump(&history).await.expect("dumps");
    assert_ne!(emptied, before);
    assert_eq!(emptied, tidings_domain::Model::default());
}

#[tokio::test]
async fn every_query_searches_an_index() {
    let (_folder, database, _history) = empty().await;
    for query in schema::SEARCHES {
        let plan = database
            .read(|connection| {
                let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}"))?;
                let nulls = vec![rusqlite::types::Null; statement.parameter_count()];
                let rows = statement.query_map(rusqlite::params_from_iter(nulls), |row| {
                    row.get::<_, String>(3)
                })?;
                rows.collect::<rusqlite::Result<Vec<_>>>()
            })
            .expect("explains");
        assert!(
            plan.iter()
                .all(|step| !step.starts_with("SCAN") || step == "SCAN CONSTANT ROW"),
            "{query}: {plan:?}"
        );
    }
}

#[tokio::test]
async fn a_row_the_store_cannot_take_is_named_as_data() {
    let (_folder, database, history) = empty().await;
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON history_events \
        BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    let (done, made) = std::sync::mpsc::channel();
    database.submit(
        tidings_sqlite::Priority::View,
        Box::new(move |connection| connection.execute_batch(refuse)),
        Box::new(move |result| done.send(result).expect("the test waits")),
    );
    made.recv().expect("an answer").expect("makes a trigger");
    let refused = project(&history, &Decisions::new(1).take(20), 0).await;
    assert!(matches!(refused, Err(StoreError::Data(_))), "{refused:?}");
    let stored = conformance::Dump::dump(&history).await.expect("dumps");
    assert!(
        stored.conversations.is_empty(),
        "a job is written as a whole or not at all"
    );
}

/// The log waits behind a job of the view, so a job must be short. The limit
/// is wide, as a test may share its processor.
#[tokio::test]
async fn a_batch_takes_milliseconds() {
    let (_folder, _, history) = empty().await;
    let mut decisions = Decisions::new(7);
    project(&history, &decisions.take(100), 0)
        .await
        .expect("warms up");
    let batch = decisions.take(256);
    let started = Instant::now();
    project(&history, &batch, 100).await.expect("writes");
    let took = started.elapsed();
    assert!(
        took < Duration::from_millis(500),
        "{took:?} for 256 decisions"
    );
}

/// Too many rows for one job, and where they end.
fn many_rows() -> (Rows, crate::history::Position) {
    let mut rows = Rows::default();
    for (decision, offset) in Decisions::new(3).take(600).iter().zip(0..) {
        rows.apply(decision, offset);
    }
    let position = crate::history::Position {
        partition: 0,
        offset: 600,
        current: None,
    };
    (rows, position)
}

#[tokio::test]
async fn many_rows_become_several_jobs() {
    let (rows, position) = many_rows();
    let batches = super::write::batches(&rows, &[position]).expect("encodes");
    assert!(batches.len() > 2, "{} jobs", batches.len());
}

#[tokio::test]
async fn positions_come_last() {
    let (_folder, _, history) = empty().await;
    let (rows, position) = many_rows();
    // A process may be killed between any two jobs.
    let jobs = super::write::batches(&rows, &[position]).expect("encodes");
    for job in jobs {
        assert_eq!(HistoryWriter::positions(&history).await, Ok(Vec::new()));
        let written = history.run(move |connection| job.write(connection));
        written.await.expect("writes");
    }
    let positions = HistoryWriter::positions(&history).await;
    assert_eq!(positions, Ok(vec![position]));
}

#[tokio::test]
async fn another_generation_is_a_view_of_its_own() {
    let (_folder, _, first) = empty().await;
    let decisions = Decisions::new(9).take(80);
    project(&first, &decisions, 0).await.expect("writes");
    let before = conformance::Dump::dump(&first).await.expect("dumps");
    let second = async |number| {
        let view = first.of(Generation(number));
        view.prepare().await.expect("prepares");
        view
    };
    conformance::mends_whatever_stopped_it(&second(2).await, 1).await;
    conformance::answers_like_the_model(&second(3).await, 100).await;
    conformance::keeps_positions(&second(4).await).await;
    assert_eq!(conformance::Dump::dump(&first).await, Ok(before.clone()));

    conformance::keeps_a_register(&first).await;
    first.delete(Generation(3)).await.expect("deletes");
    first.delete(Generation(3)).await.expect("deletes again");
    assert_eq!(conformance::Dump::dump(&first).await, Ok(before));
    let made_anew = conformance::Dump::dump(&second(3).await).await;
    assert_eq!(made_anew, Ok(tidings_domain::Model::default()));
}
