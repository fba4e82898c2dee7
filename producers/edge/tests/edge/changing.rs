//! Commands about messages, and those that only their sender is told of.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_testkit::SocketClient;

use crate::support::{Setup, System, about, connect, group, pick, send};

async fn quiet(client: &mut SocketClient) {
    client.send(&json!({"type": "ping"})).await.unwrap();
    client.expect_type("pong").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_only_another_edge_knows_can_be_changed() {
    let mut system = System::start().await;
    let url = system.another_edge().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let mut elsewhere = connect(&url, "alice").await;
    // Durable, and not decided by anybody.
    system.stop_sequencer().await;
    alice.send(&send("m1", &id, "hello")).await.unwrap();
    let message = alice.expect_type("pending").await.unwrap()["message_id"].clone();
    let commands = [
        about(
            "edit",
            "e1",
            &id,
            json!({"message_id": message, "content": {"text": "hi"}}),
        ),
        about(
            "react",
            "r1",
            &id,
            json!({"message_id": message, "emoji": "👍", "op": "add"}),
        ),
        about(
            "delete",
            "d1",
            &id,
            json!({"message_id": message, "scope": "me"}),
        ),
        about(
            "delete",
            "d2",
            &id,
            json!({"message_id": message, "scope": "everyone"}),
        ),
    ];
    for command in &commands {
        elsewhere.send(command).await.unwrap();
    }
    system.start_sequencer();
    let mut decided = Vec::new();
    while decided.len() < commands.len() {
        let frame = elsewhere.recv().await.unwrap();
        if frame["type"] == "delivered" || frame["type"] == "rejected" {
            decided.push(pick(&frame, &["type", "temp_id", "seq"]));
        }
    }
    let expected = [
        json!(["delivered", "e1", 3]),
        json!(["delivered", "r1", 4]),
        json!(["delivered", "d1", null]),
        json!(["delivered", "d2", 5]),
    ];
    assert_eq!(decided, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_can_be_edited_for_fifteen_minutes_by_its_author() {
    let almost = Duration::from_secs(14 * 60);
    let over = Duration::from_secs(15 * 60 + 1);
    for (age, expected) in [(almost, "delivered"), (over, "rejected")] {
        let system = System::set_up(Setup {
            sequencer_behind: age,
            ..Setup::default()
        })
        .await;
        let mut alice = system.client("alice").await;
        let mut bob = system.client("bob").await;
        let id = group(&mut alice, "c1", &["bob"]).await;
        let sent = alice.command(&send("m1", &id, "hello")).await.unwrap();
        let fields = json!({"message_id": sent["message_id"], "content": {"text": "hi"}});
        let edit = about("edit", "e1", &id, fields);
        // Another edge finds the message's author and time in the view.
        let url = system.another_edge().await;
        let mut alice_too = connect(&url, "alice").await;
        for (client, temp_id) in [(&mut alice, "e1"), (&mut alice_too, "e2")] {
            let mut edit = edit.clone();
            edit["temp_id"] = json!(temp_id);
            client.send(&edit).await.unwrap();
            if expected == "rejected" {
                // It never was durable.
                let refused = client
                    .wait_for(|frame| frame["temp_id"] == temp_id)
                    .await
                    .unwrap();
                assert_eq!(
                    pick(&refused, &["type", "code", "retry"]),
                    json!(["rejected", "edit_window_closed", false])
                );
            } else {
                let frame = client
                    .wait_for(|frame| frame["temp_id"] == temp_id && frame["type"] != "pending")
                    .await
                    .unwrap();
                assert_eq!(frame["type"], "delivered", "{frame}");
            }
        }
        let theirs = bob.command(&edit).await.unwrap();
        assert_eq!(theirs["code"], "forbidden");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_is_told_to_the_members_of_small_conversations() {
    let system = System::start().await;
    let url = system.another_edge().await;
    let mut alice = system.client("alice").await;
    let mut bob = system.client("bob").await;
    let mut bob_too = connect(&url, "bob").await;
    let mut elsewhere = connect(&url, "alice").await;
    let small = group(&mut alice, "c1", &["bob"]).await;
    let others: Vec<String> = (0..99).map(|n| format!("user-{n}")).collect();
    let mut others: Vec<&str> = others.iter().map(String::as_str).collect();
    others.push("bob");
    // 101 with alice.
    let large = group(&mut alice, "c2", &others).await;
    for (temp_id, id) in [("m1", &small), ("m2", &large)] {
        alice.command(&send(temp_id, id, "hello")).await.unwrap();
    }
    // An edge that came after the creates asks the view.
    let late = system.another_edge().await;
    let mut latecomer = connect(&late, "alice").await;
    for client in [&mut bob, &mut bob_too] {
        client
            .wait_for(|frame| {
                frame["no"] == 1 || frame["seq"] == 2 && frame["conversation_id"] == *large
            })
            .await
            .unwrap();
    }
    let read = |temp_id: &str, id: &str| about("read", temp_id, id, json!({"up_to": 7}));
    for (temp_id, id) in [("k1", &large), ("k2", &small)] {
        let delivered = bob.command(&read(temp_id, id)).await.unwrap();
        assert_eq!(
            pick(&delivered, &["type", "seq", "no"]),
            json!(["delivered", null, null])
        );
        assert!(delivered.get("seq").is_none());
        let own = bob_too
            .wait_for(|frame| frame["type"] == "own")
            .await
            .unwrap();
        let change = json!({"op": "read", "up_to": 1});
        assert_eq!(
            pick(&own, &["conversation_id", "change"]),
            json!([id, change]),
            "at most the last message"
        );
    }
    for client in [&mut alice, &mut elsewhere, &mut latecomer] {
        let told = client
            .wait_for(|frame| frame["type"] == "read")
            .await
            .unwrap();
        let keys = ["conversation_id", "by", "up_to"];
        assert_eq!(
            pick(&told, &keys),
            json!([small, "bob", 1]),
            "none of the large one"
        );
        assert!(told["at"].is_string());
    }
    quiet(&mut bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_of_bounded_size() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let text = "x".repeat(16_000);
    for n in 0..50 {
        alice
            .send(&send(&format!("m{n}"), &id, &text))
            .await
            .unwrap();
    }
    alice.wait_for(|frame| frame["no"] == 50).await.unwrap();
    let mut before = Value::Null;
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let question = json!({
            "type": "history", "id": "q", "conversation_id": id, "before": before, "limit": 100,
        });
        let page = alice.ask(&question).await.unwrap();
        assert!(page.to_string().len() < 600_000);
        let messages = page["messages"].as_array().unwrap();
        seen.extend(
            messages
                .iter()
                .map(|message| message["no"].as_u64().unwrap()),
        );
        pages += 1;
        before = page["next_before"].clone();
        if before.is_null() {
            break;
        }
    }
    assert_eq!(seen, (1..=50).rev().collect::<Vec<_>>());
    assert_eq!(pages, 2);
}
