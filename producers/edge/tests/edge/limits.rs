use serde_json::json;
use tidings_testkit::SocketClient;

use crate::support::{System, group, pick, send, token_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_so_many_messages_a_minute() {
    let system = System::with_config(|config| config.limits.messages_per_minute = 2).await;
    let mut alice = system.client("alice").await;
    let mut alice_too = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    for temp_id in ["m1", "m2"] {
        let sent = alice.command(&send(temp_id, &id, "hello")).await.unwrap();
        assert_eq!(sent["type"], "delivered");
    }
    let limited = alice_too.command(&send("m3", &id, "hello")).await.unwrap();
    assert_eq!(
        pick(&limited, &["type", "code", "retry"]),
        json!(["rejected", "rate_limited", true])
    );
    let wait = limited["retry_after_ms"].as_u64().unwrap();
    assert!((1..=30_000).contains(&wait), "{wait}");

    // A token may say otherwise.
    let unlimited = token_of("alice", "acme", Some(0));
    let mut importer = SocketClient::connect(&system.url, &unlimited)
        .await
        .unwrap();
    for n in 0..10 {
        let sent = importer
            .command(&send(&format!("i{n}"), &id, "hello"))
            .await
            .unwrap();
        assert_eq!(sent["type"], "delivered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_so_many_connections() {
    let system = System::with_config(|config| config.limits.connections_per_user = 2).await;
    let _first = system.client("alice").await;
    let second = system.client("alice").await;
    let mut third = system.stranger().await;
    let hello = json!({"type": "hello", "token": crate::support::token("alice")});
    third.send(&hello).await.unwrap();
    let bye = third.expect_type("bye").await.unwrap();
    assert_eq!(pick(&bye, &["code", "reconnect"]), json!([4429, false]));
    assert_eq!(third.closed().await.unwrap(), 4429);
    let _bob = system.client("bob").await;
    drop(second);
    // The place is free as soon as the edge has seen the other go.
    tidings_testkit::eventually_async(crate::support::PATIENCE, async || {
        let token = crate::support::token("alice");
        SocketClient::connect(&system.url, &token).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_has_so_many_connections() {
    let system = System::with_config(|config| config.limits.max_connections = 1).await;
    let _alice = system.client("alice").await;
    let mut bob = system.stranger().await;
    bob.expect_type("bye").await.unwrap();
    assert_eq!(bob.closed().await.unwrap(), 4429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_has_so_many_commands_under_way() {
    let mut setup = crate::support::Setup {
        sequencer: false,
        ..Default::default()
    };
    setup.config.commands_in_flight = 3;
    setup.config.commands_waiting = 2;
    let mut system = System::set_up(setup).await;
    let mut alice = system.client("alice").await;
    let create = json!({"type": "create", "temp_id": "c1", "kind": "group", "members": ["bob"]});
    alice.send(&create).await.unwrap();
    let pending = alice.expect_type("pending").await.unwrap();
    let id = pending["conversation_id"].as_str().unwrap();
    // They wait for the create, but for the one that has no place to wait.
    for temp_id in ["m1", "m2", "m3"] {
        alice.send(&send(temp_id, id, "hello")).await.unwrap();
    }
    let busy = alice.recv().await.unwrap();
    assert_eq!(
        pick(&busy, &["type", "temp_id", "code", "retry"]),
        json!(["rejected", "m3", "busy", true])
    );
    system.start_sequencer();
    let last = alice.wait_for(|frame| frame["no"] == 2).await.unwrap();
    assert_eq!(last["temp_id"], "m2");
    let retried = alice.command(&send("m3", id, "hello")).await.unwrap();
    assert_eq!(retried["no"], 3);
}
