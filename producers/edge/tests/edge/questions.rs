use serde_json::{Value, json};

use crate::support::{Setup, System, connect, group, pick, send};

fn sync(id: &str, after: u64, limit: u64) -> Value {
    json!({"type": "sync", "id": "q", "conversation_id": id, "after": after, "limit": limit})
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_gives_what_was_missed() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    for n in 1..=5 {
        alice
            .command(&send(&format!("m{n}"), &id, &format!("text {n}")))
            .await
            .unwrap();
    }
    let mut bob = system.client("bob").await;
    let changes = bob.ask(&sync(&id, 0, 4)).await.unwrap();
    let keys = ["type", "id", "conversation_id", "last_seq", "more"];
    assert_eq!(pick(&changes, &keys), json!(["changes", "q", id, 6, true]));
    let events = changes["events"].as_array().unwrap();
    let seqs: Vec<_> = events
        .iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, [1, 2, 3, 4]);
    assert_eq!(events[0]["event"]["op"], "create");
    assert_eq!(events[3]["event"]["content"]["text"], "text 3");
    assert_eq!(pick(&events[3], &["by", "temp_id"]), json!(["alice", null]));
    let rest = bob.ask(&sync(&id, 4, 500)).await.unwrap();
    assert_eq!(rest["events"].as_array().unwrap().len(), 2);
    assert_eq!(pick(&rest, &["last_seq", "more"]), json!([6, false]));
    let none = bob.ask(&sync(&id, u64::MAX, 500)).await.unwrap();
    assert_eq!(
        pick(&none, &["events", "last_seq", "more"]),
        json!([[], 6, false])
    );

    let mut eve = system.client("eve").await;
    assert_eq!(
        eve.ask(&sync(&id, 0, 4)).await.unwrap()["code"],
        "not_a_member"
    );
    let nowhere = "00000000-0000-4000-8000-000000000000";
    assert_eq!(
        eve.ask(&sync(nowhere, 0, 4)).await.unwrap()["code"],
        "not_found"
    );
    let remove = json!({
        "type": "update", "temp_id": "u1", "conversation_id": id, "op": "remove_members",
        "members": ["bob"],
    });
    alice.command(&remove).await.unwrap();
    assert_eq!(
        bob.ask(&sync(&id, 0, 4)).await.unwrap()["code"],
        "not_a_member"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_reflects_what_its_socket_has_seen() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    for n in 1..=50 {
        let delivered = alice
            .command(&send(&format!("m{n}"), &id, "hello"))
            .await
            .unwrap();
        let changes = alice.ask(&sync(&id, 0, 1)).await.unwrap();
        assert!(
            changes["last_seq"].as_u64() >= delivered["seq"].as_u64(),
            "{changes}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn list_gives_the_own_conversations_latest_first() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let mut bob = system.client("bob").await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(group(&mut alice, &format!("c{n}"), &["bob"]).await);
    }
    let sent = alice.command(&send("m1", &ids[0], "hello")).await.unwrap();
    let list = |limit: u64, cursor: &Value| json!({"type": "list", "id": "q", "limit": limit, "cursor": cursor});
    bob.wait_for(|frame| frame["seq"] == 2).await.unwrap();
    let first = bob.ask(&list(2, &Value::Null)).await.unwrap();
    assert_eq!(first["type"], "conversations");
    let listed = first["conversations"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    let message = json!({
        "message_id": sent["message_id"], "no": 1, "seq": 2, "by": "alice", "at": sent["at"],
        "content": {"text": "hello"}, "reply_to": null, "thread": null, "replies": 0,
        "edited_at": null, "deleted": false, "reactions": [],
    });
    let expected = json!({
        "conversation_id": ids[0], "kind": "group", "title": "Ops", "role": "member",
        "last_seq": 2, "last_no": 1, "read_up_to": 0, "unread": 1, "muted": false,
        "archived": false, "closed": false, "last_message": message,
    });
    assert_eq!(listed[0], expected);
    assert_eq!(
        pick(&listed[1], &["conversation_id", "last_message"]),
        json!([ids[2], null])
    );
    let rest = bob.ask(&list(2, &first["next_cursor"])).await.unwrap();
    assert_eq!(rest["conversations"][0]["conversation_id"], ids[1]);
    assert_eq!(rest["next_cursor"], Value::Null);
    let own = alice.ask(&list(1, &Value::Null)).await.unwrap();
    let keys = ["role", "read_up_to", "unread"];
    assert_eq!(
        pick(&own["conversations"][0], &keys),
        json!(["owner", 1, 0])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn outcome_tells_what_became_of_commands() {
    let mut system = System::set_up(Setup::default()).await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let sent = alice.command(&send("m1", &id, "hello")).await.unwrap();
    let mut eve = system.client("eve").await;
    eve.command(&send("e1", &id, "hello")).await.unwrap();
    let ask = |temp_ids: &[&str]| {
        let temp_ids: Vec<_> = temp_ids
            .iter()
            .map(|temp_id| json!({"conversation_id": id, "temp_id": temp_id}))
            .collect();
        json!({"type": "outcome", "id": "q", "temp_ids": temp_ids})
    };
    let delivered = json!({
        "temp_id": "m1", "state": "delivered", "message_id": sent["message_id"], "seq": 2, "no": 1,
    });
    let created = json!({"temp_id": "c1", "state": "delivered", "seq": 1});
    let rejected = json!({"temp_id": "e1", "state": "rejected", "code": "not_a_member"});
    let unknown = |temp_id: &str| json!({"temp_id": temp_id, "state": "unknown"});

    // An edge that was not there asks the view and the log.
    let url = system.another_edge().await;
    let mut alice_too = connect(&url, "alice").await;
    let mut eve_too = connect(&url, "eve").await;
    for client in [&mut alice, &mut alice_too] {
        let answer = client.ask(&ask(&["m1", "x", "c1"])).await.unwrap();
        assert_eq!(
            answer["outcomes"],
            json!([delivered, unknown("x"), created])
        );
    }
    for client in [&mut eve, &mut eve_too] {
        let answer = client.ask(&ask(&["e1", "m1"])).await.unwrap();
        assert_eq!(answer["outcomes"], json!([rejected, unknown("m1")]));
    }

    // Durable, and not decided.
    system.stop_sequencer().await;
    alice.send(&send("m2", &id, "hello")).await.unwrap();
    alice.expect_type("pending").await.unwrap();
    for client in [&mut alice, &mut alice_too] {
        let answer = client.ask(&ask(&["m2", "x"])).await.unwrap();
        let pending = json!({"temp_id": "m2", "state": "pending"});
        assert_eq!(answer["outcomes"], json!([pending, unknown("x")]));
    }
    system.start_sequencer();
    alice.expect_type("delivered").await.unwrap();
    let answer = alice_too.ask(&ask(&["m2"])).await.unwrap();
    let state = &answer["outcomes"][0]["state"];
    // The other edge may not have read the decision yet.
    assert!(*state == "delivered" || *state == "pending", "{answer}");

    let many: Vec<String> = (0..101).map(|n| format!("t{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(alice.ask(&ask(&many)).await.unwrap()["code"], "too_many");
    assert_eq!(alice.ask(&ask(&[])).await.unwrap()["outcomes"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_has_so_many_questions_under_way() {
    // A view that stands still keeps questions waiting.
    let mut setup = Setup {
        history: false,
        ..Setup::default()
    };
    setup.config.questions_in_flight = 2;
    let system = System::set_up(setup).await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    for _ in 0..3 {
        alice.send(&sync(&id, 0, 1)).await.unwrap();
    }
    assert_eq!(alice.recv().await.unwrap()["code"], "busy");
    // And commands do not wait for them.
    let sent = alice.command(&send("m1", &id, "hello")).await.unwrap();
    assert_eq!(sent["type"], "delivered");
    for _ in 0..2 {
        let error = alice.expect_type("error").await.unwrap();
        assert_eq!(
            pick(&error, &["code", "retry"]),
            json!(["unavailable", true])
        );
    }
}
