use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_testkit::{SocketClient, eventually_async};

use crate::support::{PATIENCE, Setup, System, about, group, pick, send, token_of};

async fn system() -> System {
    System::set_up(Setup {
        search: true,
        ..Setup::default()
    })
    .await
}

fn search(within: &str, query: &str) -> Value {
    json!({"type": "search", "id": "q", "in": within, "query": query})
}

/// Asks again and again, with other words each time so that no kept answer
/// comes, until so many are found.
async fn finds(client: &mut SocketClient, question: &Value, total: u64) -> Value {
    let deadline = Instant::now() + PATIENCE;
    let mut spaces = String::new();
    loop {
        let mut question = question.clone();
        spaces.push(' ');
        let query = question["query"].as_str().unwrap().to_owned();
        question["query"] = json!(format!("{query}{spaces}"));
        let results = client.ask(&question).await.unwrap();
        assert_eq!(results["type"], "results", "{results}");
        if results["total"] == total {
            return results;
        }
        assert!(Instant::now() < deadline, "{results}");
        tokio::task::yield_now().await;
    }
}

fn unlimited() -> Setup {
    let mut setup = Setup {
        search: true,
        ..Setup::default()
    };
    setup.config.limits.searches_per_minute = 0;
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_by_their_words_and_marked() {
    let system = System::set_up(unlimited()).await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    for (temp_id, text) in [
        ("m1", "a <b>Kernel</b> panic"),
        ("m2", "the kernel is fine"),
        ("m3", "panic, kernel!"),
    ] {
        alice.command(&send(temp_id, &id, text)).await.unwrap();
    }
    let mut bob = system.client("bob").await;
    let results = finds(&mut bob, &search("messages", "kernel"), 3).await;
    assert_eq!(results["id"], "q");
    let nos: Vec<_> = results["hits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["no"].as_u64().unwrap())
        .collect();
    assert_eq!(nos, [3, 2, 1], "newest first");
    assert_eq!(results["next_cursor"], Value::Null);
    let first = &results["hits"][2];
    assert_eq!(
        pick(first, &["conversation_id", "by", "snippet"]),
        json!([id, "alice", "a &lt;b&gt;<em>Kernel</em>&lt;/b&gt; panic"])
    );
    assert!(first["message_id"].is_string() && first["at"].is_string());

    let table = [
        ("kernel panic", 2),
        ("\"kernel panic\"", 0),
        ("\"panic kernel\"", 1),
        ("pan*", 2),
        ("pan", 0),
        ("kernel) OR (fine:*", 0),
        ("(kernel) is: fine:*", 1),
        ("KERNEL fine", 1),
    ];
    for (query, total) in table {
        let results = bob.ask(&search("messages", query)).await.unwrap();
        assert_eq!(results["total"], total, "{query}: {results}");
    }

    // Pages go on where the one before ended.
    let mut question = search("messages", "kernel");
    question["limit"] = json!(2);
    let page = bob.ask(&question).await.unwrap();
    assert_eq!(pick(&page, &["total"]), json!([3]));
    assert_eq!(page["hits"].as_array().unwrap().len(), 2);
    question["cursor"] = page["next_cursor"].clone();
    let page = bob.ask(&question).await.unwrap();
    assert_eq!(page["hits"][0]["no"], 1);
    assert_eq!(page["next_cursor"], Value::Null);

    // Filters.
    let at = first["at"].clone();
    let filtered = [
        (json!({"by": "alice"}), 3),
        (json!({"by": "bob"}), 0),
        (json!({"conversation_id": id}), 3),
        (json!({"to": "2004-11-15"}), 0),
        (json!({"from": at, "has_attachment": false}), 3),
        (json!({"has_attachment": true}), 0),
    ];
    for (filter, total) in filtered {
        let mut question = search("messages", "kernel");
        for (field, value) in filter.as_object().unwrap() {
            question[field] = value.clone();
        }
        let results = bob.ask(&question).await.unwrap();
        assert_eq!(results["total"], total, "{filter}: {results}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_and_users_are_found_and_all_together() {
    let system = System::set_up(unlimited()).await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    alice.command(&send("m1", &id, "ops are on")).await.unwrap();
    finds(&mut alice, &search("messages", "ops"), 1).await;

    let results = alice.ask(&search("conversations", "OPS")).await.unwrap();
    assert_eq!(
        results["hits"],
        json!([{
            "conversation_id": id, "kind": "group", "title": "Ops", "snippet": "<em>Ops</em>",
        }])
    );
    let by_member = alice.ask(&search("conversations", "Bo")).await.unwrap();
    assert_eq!(by_member["total"], 1);
    let users = alice.ask(&search("users", "b")).await.unwrap();
    assert_eq!(users["hits"], json!([{"user_id": "bob"}]));
    let all = alice.ask(&search("all", "ops")).await.unwrap();
    assert_eq!(all["total"], 2, "{all}");
    assert_eq!(all["hits"][0]["title"], "Ops");
    assert_eq!(all["hits"][1]["snippet"], "<em>ops</em> are on");
    let all = alice.ask(&search("all", "bob")).await.unwrap();
    assert_eq!(all["hits"].as_array().unwrap().len(), 2, "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_finds_what_is_not_in_conversations_of_theirs() {
    let system = System::set_up(unlimited()).await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    alice.command(&send("m1", &id, "secret")).await.unwrap();
    let mut bob = system.client("bob").await;
    let question = search("messages", "secret");
    finds(&mut bob, &question, 1).await;

    let foreign = token_of("alice", "other", None);
    let mut foreign = SocketClient::connect(&system.url, &foreign).await.unwrap();
    let mut carol = system.client("carol").await;
    for stranger in [&mut foreign, &mut carol] {
        for question in [
            question.clone(),
            search("conversations", "ops"),
            search("conversations", "bob"),
            search("all", "secret"),
        ] {
            let results = stranger.ask(&question).await.unwrap();
            assert_eq!(
                pick(&results, &["total", "hits", "next_cursor"]),
                json!([0, [], null]),
                "{question}"
            );
        }
    }
    assert_eq!(
        foreign.ask(&search("users", "b")).await.unwrap()["total"],
        0
    );
    let mut here = question.clone();
    here["conversation_id"] = json!(id);
    assert_eq!(foreign.ask(&here).await.unwrap()["code"], "not_found");
    assert_eq!(carol.ask(&here).await.unwrap()["code"], "not_a_member");

    // Whoever was removed finds nothing any more, though the answer was kept.
    assert_eq!(bob.ask(&question).await.unwrap()["total"], 1);
    let remove = json!({
        "type": "update", "temp_id": "u1", "conversation_id": id, "op": "remove_members",
        "members": ["bob"],
    });
    alice.command(&remove).await.unwrap();
    bob.wait_for(|frame| frame["event"]["op"] == "remove_members")
        .await
        .unwrap();
    let results = bob.ask(&question).await.unwrap();
    assert_eq!(pick(&results, &["total", "hits"]), json!([0, []]));
    assert_eq!(bob.ask(&here).await.unwrap()["code"], "not_a_member");
}

/// Whoever looks for a message finds what it says now, by its new words and
/// not by the old ones; and once its text is gone, nothing.
#[tokio::test(flavor = "multi_thread")]
async fn edits_and_deletions_reach_the_searches() {
    let system = System::set_up(unlimited()).await;
    let mut alice = system.client("alice").await;
    let mut bob = system.client("bob").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let mut made = Vec::new();
    for (temp_id, text) in [("m1", "an apple"), ("m2", "a banana"), ("m3", "a cherry")] {
        let sent = alice.command(&send(temp_id, &id, text)).await.unwrap();
        assert_eq!(sent["type"], "delivered", "{sent}");
        made.push(sent["message_id"].clone());
    }
    finds(&mut bob, &search("messages", "cherry"), 1).await;

    let changed = json!({"message_id": made[0], "content": {"text": "a <pear>"}});
    let edit = about("edit", "e1", &id, changed);
    assert_eq!(alice.command(&edit).await.unwrap()["type"], "delivered");
    let results = finds(&mut bob, &search("messages", "pear"), 1).await;
    assert_eq!(
        pick(&results["hits"][0], &["message_id", "no", "snippet"]),
        json!([made[0], 1, "a &lt;<em>pear</em>&gt;"])
    );
    let carried = async |client: &mut SocketClient, word: &str| {
        let results = client.ask(&search("messages", word)).await.unwrap();
        assert_eq!(results["type"], "results", "{results}");
        results["total"].clone()
    };
    // The view has come to the edit: the old words lead nowhere any more.
    assert_eq!(carried(&mut bob, "apple").await, 0);
    assert_eq!(carried(&mut alice, "apple").await, 0);

    // For everyone, and for good; each on another message.
    let deletions = [
        ("d1", 1, "everyone", "banana"),
        ("d2", 2, "purge", "cherry"),
    ];
    for (temp_id, n, scope, word) in deletions {
        let delete = about(
            "delete",
            temp_id,
            &id,
            json!({"message_id": made[n], "scope": scope}),
        );
        assert_eq!(alice.command(&delete).await.unwrap()["type"], "delivered");
        for client in [&mut alice, &mut bob] {
            finds(client, &search("messages", word), 0).await;
            finds(client, &search("all", word), 0).await;
        }
    }

    // An edit of what was purged is an event and brings nothing back.
    let late = json!({"message_id": made[2], "content": {"text": "a damson"}});
    let edit = about("edit", "e2", &id, late);
    assert_eq!(alice.command(&edit).await.unwrap()["type"], "delivered");
    alice
        .command(&send("m4", &id, "an elderberry"))
        .await
        .unwrap();
    finds(&mut bob, &search("messages", "elderberry"), 1).await;
    for word in ["damson", "cherry", "banana", "apple"] {
        assert_eq!(carried(&mut bob, word).await, 0, "{word}");
    }

    // One's own deletion is one's own.
    let delete = about(
        "delete",
        "d3",
        &id,
        json!({"message_id": made[0], "scope": "me"}),
    );
    assert_eq!(bob.command(&delete).await.unwrap()["type"], "delivered");
    finds(&mut bob, &search("messages", "\"pear\""), 0).await;
    finds(&mut alice, &search("messages", "\"pear\""), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_given_again_for_a_minute() {
    let system = System::set_up(unlimited()).await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &[]).await;
    alice.command(&send("m1", &id, "again")).await.unwrap();
    let kept = search("messages", "again");
    finds(&mut alice, &kept, 1).await;
    assert_eq!(alice.ask(&kept).await.unwrap()["total"], 1);
    alice.command(&send("m2", &id, "again")).await.unwrap();
    // Asked in other words, there are two; asked as before, the one.
    finds(&mut alice, &search("messages", "\"again\""), 2).await;
    assert_eq!(alice.ask(&kept).await.unwrap()["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_invalid() {
    let system = System::set_up(unlimited()).await;
    let mut alice = system.client("alice").await;
    let long = "x".repeat(1_025);
    for (within, query) in [
        ("messages", ""),
        ("messages", "  "),
        ("messages", "*"),
        ("messages", "\"\" -"),
        ("all", ""),
        ("users", " "),
        ("conversations", long.as_str()),
        ("elsewhere", "x"),
    ] {
        let error = alice.ask(&search(within, query)).await.unwrap();
        assert_eq!(
            pick(&error, &["type", "id", "code", "retry"]),
            json!(["error", "q", "invalid", false]),
            "{within} {query:?}"
        );
    }
    let mut question = search("messages", "x");
    question["cursor"] = json!("c1.00000000000000000000000000000007");
    assert_eq!(alice.ask(&question).await.unwrap()["code"], "invalid");
    // And nothing else is.
    for query in [
        "(", "\"", "a AND", "a\\", "~a", "a^", "NEAR(a", "a:b", "{a", "a''", "-a",
    ] {
        let results = alice.ask(&search("messages", query)).await.unwrap();
        let expected = if query.contains('a') {
            "results"
        } else {
            "error"
        };
        assert_eq!(results["type"], expected, "{query}: {results}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_searches_a_minute_and_no_more() {
    let system = system().await;
    let mut alice = system.client("alice").await;
    let started = Instant::now();
    let mut refused = Value::Null;
    for _ in 0..70 {
        let answer = alice.ask(&search("messages", "x")).await.unwrap();
        if answer["type"] == "error" {
            refused = answer;
            break;
        }
    }
    // The bucket fills up by one a second meanwhile.
    assert!(started.elapsed() < Duration::from_secs(9));
    assert_eq!(
        pick(&refused, &["code", "retry"]),
        json!(["rate_limited", true]),
        "{refused}"
    );
    let wait = refused["retry_after_ms"].as_u64().unwrap();
    assert!((1..=1_000).contains(&wait), "{wait}");
    // Another user has a bucket of their own; what is not a search goes on.
    let mut bob = system.client("bob").await;
    let answer = bob.ask(&search("messages", "x")).await.unwrap();
    assert_eq!(answer["type"], "results");
    let list = json!({"type": "list", "id": "q"});
    assert_eq!(alice.ask(&list).await.unwrap()["type"], "conversations");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_view_that_is_down_stops_searches_and_nothing_else() {
    let mut setup = Setup {
        search_is_down: true,
        ..Setup::default()
    };
    setup.config.limits.searches_per_minute = 0;
    let system = System::set_up(setup).await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let started = Instant::now();
    for n in 0..10 {
        let error = alice.ask(&search("messages", "x")).await.unwrap();
        assert_eq!(
            pick(&error, &["type", "code", "retry"]),
            json!(["error", "unavailable", true]),
        );
        let sent = alice
            .command(&send(&format!("m{n}"), &id, "hello"))
            .await
            .unwrap();
        assert_eq!(sent["type"], "delivered");
    }
    assert!(started.elapsed() < Duration::from_secs(10));
    let list = json!({"type": "list", "id": "q"});
    assert_eq!(alice.ask(&list).await.unwrap()["type"], "conversations");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_search_too_and_get_suggestions() {
    use tidings_edge::{SearchHit, Suggestion};
    use tidings_wire::frames::{Search, SearchIn};

    let system = System::set_up(unlimited()).await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["opal"]).await;
    alice.command(&send("m1", &id, "hello ops")).await.unwrap();
    finds(&mut alice, &search("messages", "ops"), 1).await;

    let caller = system
        .edge
        .caller(crate::support::claims("alice", "acme", None));
    let page = caller
        .search(&Search::new(SearchIn::Messages, "ops"))
        .await
        .unwrap();
    assert!(
        matches!(&page.hits[..], [SearchHit::Message { snippet, .. }] if snippet == "hello <em>ops</em>"),
        "{page:?}"
    );
    assert_eq!(caller.recent_searches(), ["ops"]);
    caller
        .search(&Search::new(SearchIn::All, "Open"))
        .await
        .unwrap();
    assert_eq!(caller.recent_searches(), ["Open", "ops"]);

    let suggestions = caller.suggestions("op").await.unwrap();
    let recent = |text: &str| Suggestion::Recent(text.to_owned());
    assert_eq!(suggestions[..2], [recent("Open"), recent("ops")]);
    assert!(matches!(&suggestions[2], Suggestion::Conversation { title, .. } if title == "Ops"));
    assert!(matches!(&suggestions[3], Suggestion::User(user) if user.as_str() == "opal"));
    assert_eq!(suggestions.len(), 4, "{suggestions:?}");

    let stranger = system
        .edge
        .caller(crate::support::claims("alice", "other", None));
    assert_eq!(stranger.suggestions("op").await.unwrap(), []);
    eventually_async(PATIENCE, async || stranger.recent_searches().is_empty()).await;
}
