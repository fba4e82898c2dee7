use serde_json::{Value, json};
use tidings_testkit::SocketClient;
use tidings_wire::names;
use uuid::Uuid;

use crate::support::{System, connect, group, pick, send};

const KEYS: [&str; 6] = ["type", "conversation_id", "seq", "by", "temp_id", "event"];

#[tokio::test(flavor = "multi_thread")]
async fn members_get_events_and_the_senders_other_sockets_its_temp_id() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let mut alice_too = system.client("alice").await;
    let mut bob = system.client("bob").await;
    let mut eve = system.client("eve").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let members = json!([
        {"user_id": "alice", "role": "owner"}, {"user_id": "bob", "role": "member"},
    ]);
    let created = json!({
        "kind": "conversation.updated", "op": "create",
        "conversation": {"kind": "group", "title": "Ops"}, "members": members,
    });
    let seen = bob.recv().await.unwrap();
    assert_eq!(
        pick(&seen, &KEYS),
        json!(["event", id, 1, "alice", null, created])
    );
    let own = alice_too.recv().await.unwrap();
    assert_eq!(
        pick(&own, &KEYS),
        json!(["event", id, 1, "alice", "c1", created])
    );

    let delivered = alice.command(&send("m1", &id, "hello")).await.unwrap();
    let sent = json!({
        "kind": "message.sent", "message_id": delivered["message_id"], "no": 1,
        "content": {"text": "hello"},
    });
    let seen = bob.recv().await.unwrap();
    assert_eq!(
        pick(&seen, &KEYS),
        json!(["event", id, 2, "alice", null, sent])
    );
    assert!(seen.get("temp_id").is_none());
    let own = alice_too.recv().await.unwrap();
    assert_eq!(
        pick(&own, &KEYS),
        json!(["event", id, 2, "alice", "m1", sent])
    );

    // Nothing came between: not the event to its sender, and nothing to others.
    for client in [&mut alice, &mut eve] {
        client.send(&json!({"type": "ping"})).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), json!({"type": "pong"}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_the_sockets_of_another_edge() {
    let system = System::start().await;
    let url = system.another_edge().await;
    let mut bob = connect(&url, "bob").await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    alice.command(&send("m1", &id, "hello")).await.unwrap();
    for seq in [1, 2] {
        assert_eq!(bob.expect_type("event").await.unwrap()["seq"], seq);
    }
    // Who connects later belongs there too.
    let mut carol = connect(&url, "carol").await;
    let add = json!({
        "type": "update", "temp_id": "u1", "conversation_id": id, "op": "add_members",
        "members": ["carol"],
    });
    alice.command(&add).await.unwrap();
    assert_eq!(
        carol.expect_type("event").await.unwrap()["event"]["op"],
        "add_members"
    );
    let mut carol_too = connect(&url, "carol").await;
    alice.command(&send("m2", &id, "more")).await.unwrap();
    for client in [&mut bob, &mut carol, &mut carol_too] {
        let event = client.wait_for(|frame| frame["seq"] == 4).await.unwrap();
        assert_eq!(event["event"]["content"]["text"], "more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_removed_gets_that_event_and_none_after() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    // After the fact, so that the view is asked.
    let mut bob = system.client("bob").await;
    let update = |temp_id: &str, op: &str| {
        json!({
            "type": "update", "temp_id": temp_id, "conversation_id": id, "op": op,
            "members": ["bob"],
        })
    };
    alice
        .command(&update("u1", "remove_members"))
        .await
        .unwrap();
    // The create may still have been on its way to whoever is here.
    let removed = bob.wait_for(|frame| frame["seq"] != 1).await.unwrap();
    assert_eq!(pick(&removed, &["type", "seq"]), json!(["event", 2]));
    alice
        .command(&send("m1", &id, "without bob"))
        .await
        .unwrap();
    assert_refused_at_once(&mut bob, "b1", &id).await;
    alice.command(&update("u2", "add_members")).await.unwrap();
    let added = bob.recv().await.unwrap();
    assert_eq!(pick(&added, &["type", "seq"]), json!(["event", 4]));

    let leave = json!({"type": "update", "temp_id": "u3", "conversation_id": id, "op": "leave"});
    let left = bob.command(&leave).await.unwrap();
    assert_eq!(pick(&left, &["type", "seq"]), json!(["delivered", 5]));
    alice
        .command(&send("m2", &id, "without bob"))
        .await
        .unwrap();
    assert_refused_at_once(&mut bob, "b2", &id).await;
}

/// That who is no member any more is told so, and nothing else before it.
async fn assert_refused_at_once(client: &mut SocketClient, temp_id: &str, id: &str) {
    client.send(&send(temp_id, id, "hello?")).await.unwrap();
    let refused = client
        .wait_for(|frame| frame["type"] != "pending")
        .await
        .unwrap();
    let keys = ["type", "temp_id", "code"];
    assert_eq!(
        pick(&refused, &keys),
        json!(["rejected", temp_id, "not_a_member"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_sees_one_order() {
    const EACH: usize = 50;
    let system = System::start().await;
    let names = ["alice", "bob", "carol", "dave"];
    let mut clients = Vec::new();
    for name in names {
        clients.push(system.client(name).await);
    }
    let id = group(&mut clients[0], "c1", &names).await;
    for n in 0..EACH {
        for client in &mut clients {
            client
                .send(&send(&format!("m{n}"), &id, "hello"))
                .await
                .unwrap();
        }
    }
    for (name, client) in names.into_iter().zip(&mut clients) {
        // All but the owner see the create too.
        let mut seq = u64::from(name == "alice");
        while seq < (names.len() * EACH) as u64 + 1 {
            let frame: Value = client.recv().await.unwrap();
            if frame["type"] != "pending" {
                seq += 1;
                assert_eq!(frame["seq"], seq, "{name}: {frame}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_paused_owner_still_writes_is_told_to_nobody() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let mut bob = system.client("bob").await;
    alice.command(&send("m1", &id, "hello")).await.unwrap();
    let mut void = system.last_decision(&id);
    void.headers
        .set(names::CE_OWNER, Uuid::from_u128(1).to_string());
    system.append_decision(&id, void);
    alice.command(&send("m2", &id, "more")).await.unwrap();
    let mut seqs = Vec::new();
    while seqs.last() != Some(&3) {
        let event = bob.expect_type("event").await.unwrap();
        seqs.push(event["seq"].as_u64().unwrap());
    }
    // The create may still have been on its way.
    seqs.retain(|seq| *seq > 1);
    assert_eq!(seqs, [2, 3]);
}
