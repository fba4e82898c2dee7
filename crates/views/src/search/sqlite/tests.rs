use tidings_sqlite::Database;

use super::{SqliteSearch, read, write};
use crate::conformance::search as conformance;
use crate::generation::{Generation, Generations};
use crate::search::SearchWriter;

async fn with_store(check: impl AsyncFnOnce(&SqliteSearch)) {
    let folder = tempfile::tempdir().expect("makes a folder");
    let store = SqliteSearch::new(Database::open(folder.path()).expect("opens"));
    store.prepare().await.expect("prepares");
    store.prepare().await.expect("prepares again");
    check(&store).await;
}

#[tokio::test]
async fn answers_like_a_scan() {
    with_store(async |store| conformance::answers_like_a_scan(store).await).await;
}

#[tokio::test]
async fn late_writes_bring_nothing_back() {
    with_store(async |store| conformance::late_writes_bring_nothing_back(store).await).await;
}

#[tokio::test]
async fn agrees_with_the_model() {
    for seed in 0..6 {
        with_store(async |store| conformance::agrees_with_the_model(store, seed).await).await;
    }
}

#[tokio::test]
async fn keeps_positions() {
    with_store(async |store| conformance::keeps_positions(store).await).await;
}

#[tokio::test]
async fn finds_words_of_any_length() {
    with_store(async |store| conformance::finds_words_of_any_length(store).await).await;
}

#[tokio::test]
async fn finds_the_lines_that_grep_finds() {
    let (lines, words) = conformance::irc();
    with_store(async |store| {
        conformance::finds_the_lines_that_grep_finds(store, &lines, &words).await;
    })
    .await;
}

/// Every statement that looks for rows finds them by an index or by their
/// words. The list of one's conversations comes as JSON, and is read whole.
#[tokio::test]
async fn every_query_searches_an_index() {
    let fixed = [
        read::LOAD_CONVERSATION,
        read::LOAD_HIDDEN,
        read::LOAD_MESSAGE,
        read::COUNT_OF_USERS,
        read::PAGE_OF_USERS,
        write::STORED_MESSAGE,
        write::STORED_CONVERSATION,
        write::CLEAR_HIDDEN,
    ];
    let made = [
        read::count_of_messages(),
        read::page_of_messages(),
        read::count_of_conversations(),
        read::page_of_conversations(),
    ];
    let queries = fixed.map(str::to_owned).into_iter().chain(made);
    let is_search = |step: &str| {
        !step.starts_with("SCAN")
            || step.starts_with("SCAN json_each VIRTUAL TABLE INDEX 1:")
            // The letter says that it is found by its words.
            || step.starts_with("SCAN search_words VIRTUAL TABLE INDEX 0:M")
            || step.starts_with("SCAN search_titles VIRTUAL TABLE INDEX 0:M")
            || step == "SCAN CONSTANT ROW"
    };
    with_store(async |store| {
        for query in queries {
            let explain = format!("EXPLAIN QUERY PLAN {query}");
            let plan = store.read(move |connection| {
                let mut statement = connection.prepare(&explain)?;
                let nulls = vec![rusqlite::types::Null; statement.parameter_count()];
                let steps = statement.query_map(rusqlite::params_from_iter(nulls), |row| {
                    row.get::<_, String>(3)
                })?;
                steps.collect::<rusqlite::Result<Vec<_>>>()
            });
            let plan = plan.await.expect("explains");
            assert!(!plan.is_empty(), "{query}");
            assert!(plan.iter().all(|step| is_search(step)), "{query}: {plan:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_purge_leaves_no_word_in_the_index() {
    with_store(async |store| {
        let holds = async || {
            let blocks = store.read(|connection| {
                connection
                    .prepare("SELECT block FROM search_words_data")?
                    .query_map([], |row| row.get::<_, Vec<u8>>(0))?
                    .collect::<rusqlite::Result<Vec<_>>>()
            });
            // Of the words before it in a block it may share the beginning.
            let needle = b"mistakable";
            let holds = |block: &Vec<u8>| block.windows(needle.len()).any(|part| part == needle);
            blocks.await.expect("reads").iter().any(holds)
        };
        let mut chat = conformance::Chat::new(3);
        let mut decisions = chat.take(20);
        let (said, purged) = chat.said_and_purged("unmistakable");
        decisions.push(said);
        conformance::index(store, &decisions, 8).await;
        assert!(holds().await);
        conformance::index(store, &[purged], 8).await;
        assert!(!holds().await);
    })
    .await;
}

#[tokio::test]
async fn another_generation_is_a_view_of_its_own() {
    let second = async |first: &SqliteSearch, number| {
        let view = first.of(Generation(number));
        view.prepare().await.expect("prepares");
        view
    };
    with_store(async |first| {
        // Both at once: what one has, the other does not find.
        conformance::answers_like_a_scan(&second(first, 2).await).await;
        conformance::answers_like_a_scan(first).await;
        conformance::late_writes_bring_nothing_back(&second(first, 3).await).await;
        conformance::keeps_positions(&second(first, 4).await).await;
        crate::conformance::keeps_a_register(first).await;
        for number in 2..=4 {
            first.delete(Generation(number)).await.expect("deletes");
            first
                .delete(Generation(number))
                .await
                .expect("deletes again");
        }
        let left = first.read(|connection| {
            connection.query_row(
                "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'search_g[0-9]*'",
                [],
                |row| row.get::<_, i64>(0),
            )
        });
        assert_eq!(left.await, Ok(0));
        conformance::answers_like_a_scan(&second(first, 2).await).await;
    })
    .await;
}
