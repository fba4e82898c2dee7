use tidings_sqlite::Database;

use super::SqliteSearch;
use crate::conformance::search as conformance;
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

#[tokio::test]
async fn a_purge_leaves_no_word_in_the_index() {
    with_store(async |store| {
        conformance::late_writes_bring_nothing_back(store).await;
        let left = store.read(|connection| {
            connection
                .prepare("SELECT block FROM search_words_data")?
                .query_map([], |row| row.get::<_, Vec<u8>>(0))?
                .collect::<rusqlite::Result<Vec<_>>>()
        });
        let needle = b"mistakable";
        let found = left.await.expect("reads");
        assert!(!found.is_empty());
        let holds = |block: &Vec<u8>| block.windows(needle.len()).any(|part| part == needle);
        assert!(!found.iter().any(holds));
    })
    .await;
}
