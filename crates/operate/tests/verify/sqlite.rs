use std::sync::Arc;

use tidings_domain::ConversationId;
use tidings_operate::verify::{AuditedView, Repair, Report, Scope, What};
use tidings_views::audit::Audit;
use tidings_views::history::{HistoryReader, SqliteHistory};
use tidings_views::search::{Asker, Filters, Page, Query, SearchReader, SqliteSearch};
use uuid::Uuid;

use crate::world::{Running, World, assert_clean, found, reaches};

async fn history(world: &World) -> (AuditedView, SqliteHistory) {
    let store = SqliteHistory::new(world.database.clone());
    let projection =
        tidings_history::projection(world.log(), world.codec.clone(), Arc::new(store.clone()));
    let running = Running::start(projection);
    reaches(&world.ends(), async || {
        Audit::positions(&store).await.expect("reads")
    })
    .await;
    running.stop().await;
    (AuditedView::History(Arc::new(store.clone())), store)
}

async fn search(world: &World) -> (AuditedView, SqliteSearch) {
    let store = SqliteSearch::new(world.database.clone());
    let projection =
        tidings_search::projection(world.log(), world.codec.clone(), Arc::new(store.clone()));
    let running = Running::start(projection);
    reaches(&world.ends(), async || {
        Audit::positions(&store).await.expect("reads")
    })
    .await;
    running.stop().await;
    (AuditedView::Search(Arc::new(store.clone())), store)
}

/// What was found is mended, and is not found again.
async fn mends(world: &World, view: &AuditedView) -> Report {
    let report = world.repair(view).await;
    assert!(!report.is_clean());
    assert!(report.is_right_now(), "{report:#?}");
    assert_eq!(report.repaired, report.wrong());
    assert_clean(&world.verify(view).await);
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_view_is_clean() {
    for seed in 0..3 {
        let world = World::new(seed, 400).await;
        let (view, _) = history(&world).await;
        assert_clean(&world.verify(&view).await);
        let (view, _) = search(&world).await;
        assert_clean(&world.verify(&view).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_in_every_table_of_the_history_are_found_and_mended() {
    let world = World::new(1, 500).await;
    let (view, _) = history(&world).await;
    let planted = [
        ("DELETE FROM history_events WHERE rowid IN (3, 7)", 2),
        ("UPDATE history_events SET at = at + 1 WHERE rowid = 9", 1),
        (
            "UPDATE history_events SET event = 'nonsense' WHERE rowid = 10",
            1,
        ),
        ("DELETE FROM history_messages WHERE rowid = 2", 1),
        (
            "UPDATE history_messages SET content = json_set(content, '$.text', 'forged') \
             WHERE rowid = (SELECT min(rowid) FROM history_messages WHERE content IS NOT NULL \
             AND rowid > 4)",
            1,
        ),
        (
            "UPDATE history_messages SET rev = rev + 1000 WHERE rowid = 3",
            1,
        ),
        (
            "INSERT INTO history_messages SELECT randomblob(16), conversation_id, tenant, 999, \
             999, 999, sender, at, content, NULL, NULL, NULL, NULL, NULL, NULL, 0 \
             FROM history_messages LIMIT 1",
            1,
        ),
        (
            "INSERT INTO history_hidden VALUES ('acme', 'mallory', zeroblob(16), zeroblob(16))",
            1,
        ),
        (
            "UPDATE history_conversations SET title = 'x', last_no = last_no + 1 \
          WHERE conversation_id = (SELECT min(conversation_id) FROM history_conversations)",
            1,
        ),
        (
            "UPDATE history_members SET role = 'owner', read_no = 4711 WHERE (conversation_id, \
          user_id) = (SELECT conversation_id, min(user_id) FROM history_members WHERE role IS NULL \
          OR role != 'owner')",
            1,
        ),
        (
            "DELETE FROM history_edits WHERE (message_id, seq) = (SELECT message_id, seq FROM \
          history_edits LIMIT 1)",
            1,
        ),
        (
            "DELETE FROM history_outcomes WHERE temp_id = (SELECT min(temp_id) FROM \
          history_outcomes)",
            1,
        ),
    ];
    for (sql, least) in planted {
        assert!(world.execute(sql) >= least, "{sql}");
    }
    let report = world.verify(&view).await;
    assert_eq!(report.repaired, 0);
    let is_outcome = |kind| kind == "outcomes";
    let without_outcomes: Vec<_> = found(&report)
        .into_iter()
        .filter(|(kind, ..)| !is_outcome(*kind))
        .collect();
    assert_eq!(
        without_outcomes,
        [
            ("conversations", 0, 0, 1),
            ("edits", 1, 0, 0),
            ("events", 2, 0, 2),
            ("hidden", 0, 1, 0),
            ("members", 0, 0, 1),
            ("messages", 1, 1, 2),
        ]
    );
    assert!(report.found["outcomes"].missing > 0);
    let forged = report
        .differences
        .iter()
        .find(|it| it.fields.iter().any(|field| field.name == "content.text"));
    let forged = forged.expect("the forged text");
    assert_eq!(forged.what, What::Different);
    assert_eq!(forged.fields.len(), 1, "{forged:?}");
    let shown = format!("{report:?}");
    assert!(
        !shown.contains("forged") && !shown.contains("nonsense"),
        "{shown}"
    );

    mends(&world, &view).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_stamp_index_and_position_are_told_and_mended() {
    let world = World::new(2, 300).await;
    let (view, store) = history(&world).await;
    world.execute("DELETE FROM history_schema");
    world.execute("DROP INDEX history_messages_by_no");
    world.execute("UPDATE history_positions SET epoch = 1 WHERE partition = 0");
    world.execute(
        "UPDATE history_positions SET next_offset = next_offset + 100 WHERE partition = 1",
    );
    let report = world.verify(&view).await;
    assert_eq!(report.flaws.len(), 2, "{report:#?}");
    assert_eq!(report.positions.len(), 2, "{report:#?}");
    assert_eq!(report.wrong(), 0);
    mends(&world, &view).await;
    let positions = Audit::positions(&store).await.expect("reads");
    assert_eq!(positions[1].offset, world.ends()[&1]);

    // One that is lost is not guessed: the projection applies all again.
    world.execute("DELETE FROM history_positions WHERE partition = 2");
    let report = world.repair(&view).await;
    assert_eq!(report.lost_positions, [2]);
    assert_eq!(report.wrong(), 0, "{report:#?}");
    assert!(!report.is_right_now());
    let (view, _) = history(&world).await;
    assert_clean(&world.verify(&view).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_lags_is_compared_where_it_stands() {
    let world = World::new(3, 300).await;
    let (view, _) = history(&world).await;
    world.append(200).await;
    assert_clean(&world.verify(&view).await);
    world.execute("DELETE FROM history_messages WHERE rowid = 5");
    world.execute("UPDATE history_members SET read_no = read_no + 1 WHERE user_id = 'bob'");
    assert!(world.verify(&view).await.wrong() > 1);
    mends(&world, &view).await;
    // What was put in is of where the view stood, so the rest follows on it.
    let (view, _) = history(&world).await;
    assert_clean(&world.verify(&view).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_of_a_batch_is_no_error() {
    let world = World::new(4, 300).await;
    let (view, _) = history(&world).await;
    // Documents are written before positions.
    world.execute("UPDATE history_positions SET next_offset = next_offset - 40");
    assert_clean(&world.verify(&view).await);
    world.execute(
        "DELETE FROM history_events WHERE rowid = (SELECT max(rowid) FROM history_events)",
    );
    let report = world.verify(&view).await;
    // It may be one that the view need not have yet.
    assert!(report.wrong() <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_wrong_while_the_projection_works() {
    let world = Arc::new(World::new(5, 200).await);
    let (view, store) = history(&world).await;
    let running = Running::start(
        tidings_history::projection(world.log(), world.codec.clone(), Arc::new(store)).batch(16),
    );
    let (search_view, search_store) = search(&world).await;
    let running_search = Running::start(
        tidings_search::projection(world.log(), world.codec.clone(), Arc::new(search_store))
            .batch(16),
    );
    let appending = Arc::clone(&world);
    let traffic = tokio::spawn(async move {
        for _ in 0..60 {
            appending.append(20).await;
        }
    });
    let mut rounds = 0;
    while !traffic.is_finished() || rounds == 0 {
        assert_clean(&world.verify(&view).await);
        assert_clean(&world.verify(&search_view).await);
        rounds += 1;
    }
    traffic.await.expect("appends");

    // Mended beside it, too.
    let appending = Arc::clone(&world);
    let traffic = tokio::spawn(async move {
        for _ in 0..60 {
            appending.append(20).await;
        }
    });
    world.execute("UPDATE history_messages SET sender = 'mallory' WHERE rowid % 7 = 0");
    world.execute("DELETE FROM history_events WHERE rowid % 11 = 0");
    world.execute("UPDATE search_messages SET text = 'forged' WHERE number % 5 = 0");
    for view in [&view, &search_view] {
        let report = world.repair(view).await;
        assert!(report.wrong() > 5, "{report:#?}");
        assert!(report.is_right_now(), "{report:#?}");
    }
    traffic.await.expect("appends");
    reaches(&world.ends(), async || {
        let store = SqliteHistory::new(world.database.clone());
        HistoryReader::positions(&store).await.expect("reads")
    })
    .await;
    assert_clean(&world.verify(&view).await);
    assert_clean(&world.verify(&search_view).await);
    running.stop().await;
    running_search.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_verified_and_mended_alone() {
    let world = World::new(6, 500).await;
    let (view, store) = history(&world).await;
    let mut conversations = Vec::new();
    let mut each = |documents: Vec<tidings_views::audit::StoredDocument>| {
        conversations.extend(documents.iter().filter_map(|it| it.conversation_id()));
        Ok(())
    };
    let part = tidings_views::audit::Part::default();
    store
        .scan("conversations", &part, &mut each)
        .await
        .expect("scans");
    assert!(conversations.len() > 4);
    world.execute("UPDATE history_conversations SET closed = 1 - closed");
    world.execute("DELETE FROM history_members WHERE user_id = 'alice'");

    let all = world.verify(&view).await.wrong();
    let one = Scope {
        conversation_id: Some(conversations[0]),
        ..Scope::default()
    };
    let of_one = world.verify_with(&view, &one, Repair::No).await.wrong();
    assert!((1..=2).contains(&of_one), "{of_one}");
    let acme = |name: &str| Scope {
        tenant: Some(tidings_domain::Tenant::parse(name).expect("a tenant")),
        ..Scope::default()
    };
    let of_acme = world
        .verify_with(&view, &acme("acme"), Repair::No)
        .await
        .wrong();
    let of_other = world
        .verify_with(&view, &acme("other"), Repair::No)
        .await
        .wrong();
    assert_eq!(of_acme + of_other, all);
    let half = Scope {
        sample: Some(50.0),
        ..Scope::default()
    };
    let of_half = world.verify_with(&view, &half, Repair::No).await.wrong();
    assert!(0 < of_half && of_half < all, "{of_half} of {all}");

    let mended = world.verify_with(&view, &one, Repair::Yes).await;
    assert_eq!(mended.repaired, of_one);
    assert_eq!(world.verify(&view).await.wrong(), all - of_one);
    let nobody = Scope {
        conversation_id: Some(ConversationId(Uuid::nil())),
        ..Scope::default()
    };
    assert_eq!(
        world.verify_with(&view, &nobody, Repair::No).await.wrong(),
        0
    );
    mends(&world, &view).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_in_every_table_of_the_search_view_are_found_and_mended() {
    let world = World::new(7, 500).await;
    let (view, store) = search(&world).await;
    let planted = [
        ("DELETE FROM search_messages WHERE number = 2", 1),
        (
            "UPDATE search_messages SET text = 'mistakable words' WHERE number = \
          (SELECT min(number) FROM search_messages WHERE text IS NOT NULL AND number > 3)",
            1,
        ),
        (
            "INSERT INTO search_messages VALUES (NULL, randomblob(16), zeroblob(16), 'acme', 1, \
          'alice', 1, 'planted', 0, 1)",
            1,
        ),
        (
            "INSERT INTO search_hidden SELECT message_id, 'zoe' FROM search_messages \
          WHERE number = 1",
            1,
        ),
        (
            "UPDATE search_conversations SET title = 'x' WHERE number = 1",
            1,
        ),
        (
            "DELETE FROM search_members WHERE (conversation_id, folded, user_id) IN \
          (SELECT conversation_id, folded, user_id FROM search_members LIMIT 1)",
            1,
        ),
        (
            "INSERT INTO search_users VALUES ('acme', 'mallory', 'Mallory')",
            1,
        ),
        (
            "UPDATE search_messages SET version = 1000000 WHERE number = \
          (SELECT max(number) - 1 FROM search_messages)",
            1,
        ),
    ];
    for (sql, least) in planted {
        assert!(world.execute(sql) >= least, "{sql}");
    }
    let report = world.verify(&view).await;
    assert_eq!(
        found(&report),
        [
            ("conversations", 0, 0, 1),
            ("members", 1, 0, 0),
            ("messages", 1, 1, 3),
            ("users", 0, 1, 0),
        ]
    );
    mends(&world, &view).await;
    // The words went with the text that they were not of.
    let asker = Asker {
        tenant: tidings_domain::Tenant::parse("acme").expect("a tenant"),
        user_id: tidings_domain::UserId::parse("alice").expect("a user"),
        conversations: conversations(&store).await,
    };
    let finds = async |query: &str| {
        let query = Query::parse(query).expect("a query");
        let page = Page {
            after: None,
            limit: 100,
        };
        let found = store
            .messages(&asker, &query, &Filters::default(), page)
            .await;
        found.expect("searches").total
    };
    assert_eq!(finds("mistakable").await, 0);
    assert_eq!(finds("planted").await, 0);
    assert!(finds("h\u{e9}llo").await > 10);
}

async fn conversations(store: &SqliteSearch) -> Vec<ConversationId> {
    let mut conversations = Vec::new();
    let mut each = |documents: Vec<tidings_views::audit::StoredDocument>| {
        conversations.extend(documents.iter().filter_map(|it| it.conversation_id()));
        Ok(())
    };
    let part = tidings_views::audit::Part::default();
    store
        .scan("conversations", &part, &mut each)
        .await
        .expect("scans");
    conversations
}
