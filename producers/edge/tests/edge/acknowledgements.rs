use serde_json::json;
use tidings_testkit::SocketClient;

use crate::support::{System, connect, group, pick, send};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_pending_then_delivered() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    alice.send(&send("m1", &id, "hello")).await.unwrap();
    let pending = alice.recv().await.unwrap();
    let delivered = alice.recv().await.unwrap();
    assert_eq!(
        pick(&pending, &["type", "temp_id", "conversation_id"]),
        json!(["pending", "m1", id])
    );
    let keys = [
        "type",
        "temp_id",
        "conversation_id",
        "seq",
        "no",
        "message_id",
    ];
    let message_id = &pending["message_id"];
    assert_eq!(
        pick(&delivered, &keys),
        json!(["delivered", "m1", id, 2, 1, message_id])
    );
    assert!(delivered.get("duplicate").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_is_answered_again() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let first = alice.command(&send("m1", &id, "hello")).await.unwrap();
    let mut again = send("m1", &id, "hello");
    for retry in [false, true] {
        again["retry"] = json!(retry);
        let second = alice.command(&again).await.unwrap();
        let keys = ["type", "message_id", "seq", "no", "at"];
        assert_eq!(pick(&second, &keys), pick(&first, &keys));
        assert_eq!(second["duplicate"], true);
    }
    // An edge that was not there finds it in the view.
    let url = system.another_edge().await;
    let third = connect(&url, "alice").await.command(&again).await.unwrap();
    assert_eq!(
        pick(&third, &["seq", "duplicate"]),
        json!([first["seq"], true])
    );
    let next = alice.command(&send("m2", &id, "more")).await.unwrap();
    assert_eq!(next["seq"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_and_what_follows_in_one_breath_keep_their_order() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let create = json!({"type": "create", "temp_id": "c1", "kind": "group", "members": ["bob"]});
    alice.send(&create).await.unwrap();
    let pending = alice.expect_type("pending").await.unwrap();
    let id = pending["conversation_id"].as_str().unwrap();
    for n in 1..=20 {
        alice
            .send(&send(&format!("m{n}"), id, "hello"))
            .await
            .unwrap();
    }
    alice
        .send(&json!({"type": "update", "temp_id": "u1", "conversation_id": id, "op": "close"}))
        .await
        .unwrap();
    alice.send(&send("late", id, "hello")).await.unwrap();
    assert_eq!(decided(&mut alice, "c1").await["seq"], 1);
    for n in 1..=20 {
        assert_eq!(decided(&mut alice, &format!("m{n}")).await["seq"], n + 1);
    }
    assert_eq!(decided(&mut alice, "u1").await["seq"], 22);
    assert_eq!(decided(&mut alice, "late").await["code"], "closed");
}

/// The next decision, which must be this command's.
async fn decided(client: &mut SocketClient, temp_id: &str) -> serde_json::Value {
    let frame = client
        .wait_for(|frame| frame["type"] != "pending")
        .await
        .unwrap();
    assert_eq!(frame["temp_id"], temp_id, "{frame}");
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_of_a_direct_conversation_create_the_same() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let mut bob = system.client("bob").await;
    let create = |temp_id: &str, other: &str| json!({"type": "create", "temp_id": temp_id, "kind": "direct", "members": [other]});
    let first = alice.command(&create("a", "bob")).await.unwrap();
    let second = bob.command(&create("b", "alice")).await.unwrap();
    let keys = ["type", "conversation_id", "seq"];
    assert_eq!(pick(&second, &keys), pick(&first, &keys));
    assert_eq!(pick(&second, &["duplicate"]), json!([true]));
    assert!(second["at"].as_str().unwrap().starts_with("20"), "{second}");
    let alone = alice.command(&create("c", "alice")).await.unwrap();
    assert_eq!(alone["code"], "invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_their_code() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let mut eve = system.client("eve").await;
    let theirs = eve.command(&send("m1", &id, "hello")).await.unwrap();
    assert_eq!(
        pick(&theirs, &["type", "code", "retry"]),
        json!(["rejected", "not_a_member", false])
    );
    let nowhere = "00000000-0000-4000-8000-000000000000";
    let unknown = eve.command(&send("m2", nowhere, "hello")).await.unwrap();
    assert_eq!(unknown["code"], "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_find_their_thread() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let mut bob = system.client("bob").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let other = group(&mut alice, "c2", &["bob"]).await;
    bob.wait_for(|frame| frame["conversation_id"] == *other)
        .await
        .unwrap();

    let reply = |temp_id: &str, to: &serde_json::Value| {
        let mut frame = send(temp_id, &id, "re");
        frame["reply_to"] = to.clone();
        frame
    };
    // The first reply is sent while what it replies to is undecided.
    alice.send(&send("m1", &id, "hello")).await.unwrap();
    let pending = alice.expect_type("pending").await.unwrap();
    let first = pending["message_id"].clone();
    let second = alice.command(&reply("m2", &first)).await.unwrap()["message_id"].clone();
    let third = alice.command(&reply("m3", &second)).await.unwrap();
    assert_eq!(third["type"], "delivered");
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = bob.expect_type("event").await.unwrap();
        seen.push(pick(&event["event"], &["reply_to", "thread"]));
    }
    assert_eq!(
        seen,
        [
            json!([null, null]),
            json!([first, first]),
            json!([second, first])
        ]
    );

    // An edge that was not there asks the view.
    let url = system.another_edge().await;
    let mut elsewhere = connect(&url, "alice").await;
    let fourth = elsewhere.command(&reply("m4", &second)).await.unwrap();
    assert_eq!(fourth["type"], "delivered", "{fourth}");
    let event = bob.expect_type("event").await.unwrap();
    assert_eq!(
        pick(&event["event"], &["reply_to", "thread"]),
        json!([second, first])
    );

    let nothing = json!("00000000-0000-4000-8000-000000000000");
    let missing = elsewhere.command(&reply("m5", &nothing)).await.unwrap();
    assert_eq!(missing["code"], "not_found");
    let mut astray = send("m6", &other, "re");
    astray["reply_to"] = first;
    for client in [&mut alice, &mut elsewhere] {
        let refused = client.command(&astray).await.unwrap();
        assert_eq!(refused["code"], "not_found", "of another conversation");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_keeps_the_order_of_what_comes_after() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let first = alice.command(&send("m1", &id, "hello")).await.unwrap();
    let url = system.another_edge().await;
    let mut elsewhere = connect(&url, "alice").await;
    let mut reply = send("m2", &id, "re");
    reply["reply_to"] = first["message_id"].clone();
    elsewhere.send(&reply).await.unwrap();
    elsewhere.send(&send("m3", &id, "after")).await.unwrap();
    assert_eq!(decided(&mut elsewhere, "m2").await["seq"], 3);
    assert_eq!(decided(&mut elsewhere, "m3").await["seq"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_waits_until_the_command_is_durable() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let held = system.hold_writes();
    alice.send(&send("m1", &id, "hello")).await.unwrap();
    alice.send(&json!({"type": "ping"})).await.unwrap();
    // A socket's frames are taken in order: the command is with the log by now.
    assert_eq!(alice.recv().await.unwrap(), json!({"type": "pong"}));
    drop(held);
    let pending = alice.recv().await.unwrap();
    assert_eq!(
        pick(&pending, &["type", "temp_id"]),
        json!(["pending", "m1"])
    );
    assert_eq!(decided(&mut alice, "m1").await["seq"], 2);
}
