use tidings_testkit::{elasticsearch_url, fresh_name, search_url};

use super::OpenSearch;
use crate::StoreError;
use crate::conformance::search as conformance;
use crate::generation::{Generation, Generations};
use crate::search::{Documents, Filters, Page, Query, SearchReader, SearchWriter};

/// Runs a check on OpenSearch and on Elasticsearch.
async fn with_stores(check: impl AsyncFn(&OpenSearch)) {
    for url in [search_url, elasticsearch_url] {
        let url = tokio::task::spawn_blocking(url).await.expect("a server");
        let store = OpenSearch::new(url, &format!("{}-", fresh_name())).expect("an address");
        store.prepare().await.expect("prepares");
        store.prepare().await.expect("prepares again");
        check(&store).await;
    }
}

#[tokio::test]
async fn answers_like_a_scan() {
    with_stores(async |store| conformance::answers_like_a_scan(store).await).await;
}

#[tokio::test]
async fn late_writes_bring_nothing_back() {
    with_stores(async |store| conformance::late_writes_bring_nothing_back(store).await).await;
}

#[tokio::test]
async fn agrees_with_the_model() {
    with_stores(async |store| conformance::agrees_with_the_model(store, 7).await).await;
}

#[tokio::test]
async fn keeps_positions() {
    with_stores(async |store| conformance::keeps_positions(store).await).await;
}

#[tokio::test]
async fn finds_words_of_any_length() {
    with_stores(async |store| conformance::finds_words_of_any_length(store).await).await;
}

#[tokio::test]
async fn finds_the_lines_that_grep_finds() {
    let (lines, words) = conformance::irc();
    with_stores(async |store| {
        conformance::finds_the_lines_that_grep_finds(store, &lines, &words).await;
    })
    .await;
}

#[tokio::test]
async fn an_index_that_was_lost_does_not_come_back_by_itself() {
    with_stores(async |store| {
        let decisions = conformance::Chat::new(6).take(30);
        conformance::index(store, &decisions, 10).await;
        let position = crate::Position {
            partition: 0,
            offset: 30,
            current: None,
        };
        let none = Documents::default();
        store.write(&none, &[position]).await.expect("writes");
        store.lose_messages().await.expect("loses them");

        // The next write notices, and the view stands at the beginning.
        let mut fold = crate::search::Fold::default();
        for (offset, decision) in &decisions {
            fold.apply(decision, *offset);
        }
        let documents = fold.into_changed();
        let written = store.write(&documents, &[]).await;
        assert!(
            matches!(written, Err(StoreError::Transient(_))),
            "{written:?}"
        );
        assert_eq!(store.positions().await, Ok(vec![]));
        store.prepare().await.expect("prepares");
        store.write(&documents, &[position]).await.expect("writes");
        assert_eq!(store.positions().await, Ok(vec![position]));
    })
    .await;
}

#[tokio::test]
async fn a_document_that_fits_no_mapping_is_refused_alone() {
    with_stores(async |store| {
        let refused = store.put_a_stranger().await;
        assert!(matches!(refused, Err(StoreError::Data(_))), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    // Nothing listens on port 1.
    let store = OpenSearch::new("http://127.0.0.1:1", "x").expect("an address");
    let query = Query::parse("x").expect("a query");
    let asker = crate::search::Asker {
        tenant: tidings_domain::Tenant::parse("t").expect("a tenant"),
        user_id: tidings_domain::UserId::parse("u").expect("a user"),
        conversations: vec![tidings_domain::ConversationId(uuid::Uuid::nil())],
    };
    let page = Page {
        after: None,
        limit: 1,
    };
    let asked = store
        .messages(&asker, &query, &Filters::default(), page)
        .await;
    assert!(matches!(asked, Err(StoreError::Transient(_))), "{asked:?}");
    assert!(matches!(
        store.positions().await,
        Err(StoreError::Transient(_))
    ));
}

#[tokio::test]
async fn another_generation_is_a_view_of_its_own() {
    let second = async |first: &OpenSearch, number| {
        let view = first.of(Generation(number));
        view.prepare().await.expect("prepares");
        view
    };
    with_stores(async |first| {
        // Both at once: what one has, the other does not find.
        conformance::answers_like_a_scan(&second(first, 2).await).await;
        conformance::answers_like_a_scan(first).await;
        conformance::keeps_positions(&second(first, 3).await).await;
        crate::conformance::keeps_a_register(first).await;
        for number in [2, 3] {
            first.delete(Generation(number)).await.expect("deletes");
            first
                .delete(Generation(number))
                .await
                .expect("deletes again");
            let gone = first.of(Generation(number));
            assert_eq!(gone.positions().await, Ok(vec![]));
            assert!(gone.refresh().await.is_err(), "no index is left");
        }
        first.refresh().await.expect("the first is there");
        conformance::answers_like_a_scan(&second(first, 2).await).await;
    })
    .await;
}
