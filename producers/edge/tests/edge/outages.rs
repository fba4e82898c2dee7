use serde_json::json;
use tidings_testkit::eventually_async;

use crate::support::{PATIENCE, Setup, System, connect, group, pick, send};

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_down_stops_questions_and_nothing_else() {
    let system = System::set_up(Setup {
        view_is_down: true,
        history: false,
        ..Setup::default()
    })
    .await;
    let mut alice = system.client("alice").await;
    let mut bob = system.client("bob").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let sent = alice.command(&send("m1", &id, "hello")).await.unwrap();
    assert_eq!(sent["type"], "delivered");
    for seq in [1, 2] {
        assert_eq!(bob.expect_type("event").await.unwrap()["seq"], seq);
    }
    let mut reply = send("m2", &id, "re");
    reply["reply_to"] = sent["message_id"].clone();
    assert_eq!(bob.command(&reply).await.unwrap()["type"], "delivered");
    let sync = json!({"type": "sync", "id": "q", "conversation_id": id, "after": 0});
    let error = alice.ask(&sync).await.unwrap();
    assert_eq!(
        pick(&error, &["type", "code", "retry"]),
        json!(["error", "unavailable", true])
    );

    // Who comes back is in where they post.
    let mut alice_too = system.client("alice").await;
    let posted = alice_too.command(&send("m3", &id, "back")).await.unwrap();
    assert_eq!(posted["type"], "delivered");
    alice.command(&send("m4", &id, "more")).await.unwrap();
    let event = alice_too.wait_for(|frame| frame["seq"] == 5).await.unwrap();
    assert_eq!(event["temp_id"], "m4");

    // Sent again, and not known to be remembered: better not than twice.
    let mut again = send("m9", &id, "again?");
    again["retry"] = json!(true);
    let refused = alice.command(&again).await.unwrap();
    assert_eq!(
        pick(&refused, &["code", "retry"]),
        json!(["unavailable", true])
    );
    again["temp_id"] = json!("m1");
    let known = alice.command(&again).await.unwrap();
    assert_eq!(
        pick(&known, &["type", "seq", "duplicate"]),
        json!(["delivered", 2, true])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_brings_somebody_in_while_the_view_is_down_gets_what_follows() {
    let system = System::set_up(Setup {
        view_is_down: true,
        history: false,
        ..Setup::default()
    })
    .await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let mut bob = system.client("bob").await;
    let add = json!({"type": "update", "temp_id": "u1", "conversation_id": id,
        "op": "add_members", "members": ["carol"]});
    assert_eq!(bob.command(&add).await.unwrap()["seq"], 2);
    alice.command(&send("m1", &id, "hello")).await.unwrap();
    assert_eq!(bob.expect_type("event").await.unwrap()["seq"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_lags_behind_misses_no_member() {
    let system = System::set_up(Setup {
        history: false,
        ..Setup::default()
    })
    .await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob", "carol"]).await;
    let remove = json!({
        "type": "update", "temp_id": "u1", "conversation_id": id, "op": "remove_members",
        "members": ["carol"],
    });
    alice.command(&remove).await.unwrap();
    // The view knows nothing of all this: one edge has seen it, the other
    // reads it from the log.
    let url = system.another_edge().await;
    let mut members = [system.client("bob").await, connect(&url, "bob").await];
    let mut others = [system.client("carol").await, connect(&url, "carol").await];
    alice.command(&send("m1", &id, "hello")).await.unwrap();
    for bob in &mut members {
        assert_eq!(bob.expect_type("event").await.unwrap()["seq"], 3);
    }
    for carol in &mut others {
        carol.send(&json!({"type": "ping"})).await.unwrap();
        carol.expect_type("pong").await.unwrap();
    }
    // A resend of what the sequencer remembers needs no view either.
    let mut again = send("m2", &id, "again");
    again["retry"] = json!(true);
    assert_eq!(alice.command(&again).await.unwrap()["seq"], 4);
    system.start_history();
    let sync = json!({"type": "sync", "id": "q", "conversation_id": id, "after": 0});
    let synced = async || members[0].ask(&sync).await.unwrap()["last_seq"] == 4;
    eventually_async(PATIENCE, synced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_wait_for_a_sequencer_and_lose_nothing() {
    let mut system = System::set_up(Setup {
        sequencer: false,
        ..Setup::default()
    })
    .await;
    let mut alice = system.client("alice").await;
    let create = json!({"type": "create", "temp_id": "c1", "kind": "group", "members": ["bob"]});
    alice.send(&create).await.unwrap();
    let pending = alice.expect_type("pending").await.unwrap();
    let id = pending["conversation_id"].as_str().unwrap().to_owned();
    drop(alice);
    system.start_sequencer();
    let mut alice = system.client("alice").await;
    let mut again = create.clone();
    again["retry"] = json!(true);
    let delivered = alice.command(&again).await.unwrap();
    assert_eq!(
        pick(&delivered, &["type", "conversation_id", "seq"]),
        json!(["delivered", id, 1])
    );
    assert_eq!(
        alice.command(&send("m1", &id, "hello")).await.unwrap()["seq"],
        2
    );
}
