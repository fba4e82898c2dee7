use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_signals::{Exchange, InProcess, RedisExchange, RedisTiming};
use tidings_testkit::{SocketClient, fresh_prefix, redis_url};
use tokio::time::timeout;

use crate::support::{PATIENCE, Setup, System, connect, group, pick, send, token_of};

fn types(conversation: &str, on: bool) -> Value {
    json!({"type": "typing", "conversation_id": conversation, "on": on})
}

/// Has one type until the other hears it: edges need a moment to meet.
async fn hears(from: &mut SocketClient, to: &mut SocketClient, conversation: &str) -> Value {
    let hearing = async {
        loop {
            from.send(&types(conversation, true)).await.unwrap();
            let typing = to.wait_for(|frame| frame["type"] == "typing");
            if let Ok(heard) = timeout(Duration::from_millis(600), typing).await {
                return heard.unwrap();
            }
        }
    };
    timeout(PATIENCE, hearing).await.expect("typing is heard")
}

async fn edges_share_typing_and_presence(exchange: Arc<dyn Exchange>) {
    let system = System::set_up(Setup {
        exchange,
        ..Setup::default()
    })
    .await;
    let other = system.another_edge().await;
    let mut alice = system.client("alice").await;
    alice.hear_presence();
    let id = group(&mut alice, "c1", &["bob", "dave"]).await;
    let mut bob = connect(&other, "bob").await;
    let mut bob_too = system.client("bob").await;
    let heard = hears(&mut bob, &mut alice, &id).await;
    assert_eq!(
        heard,
        json!({"type": "typing", "conversation_id": id, "by": "bob", "on": true})
    );
    hears(&mut alice, &mut bob, &id).await;

    // On either edge the first socket counts, and the last.
    for _ in 0..2 {
        let dave = connect(&other, "dave").await;
        let presence =
            |online: bool| json!({"type": "presence", "user_id": "dave", "online": online});
        let came = alice.wait_for(|frame| frame["user_id"] == "dave").await;
        assert_eq!(came.unwrap(), presence(true));
        let dave_too = system.client("dave").await;
        drop(dave);
        drop(dave_too);
        let left = alice.wait_for(|frame| frame["user_id"] == "dave").await;
        assert_eq!(left.unwrap(), presence(false));
    }

    // Whoever types hears nothing of it, on no socket of theirs.
    alice.command(&send("m1", &id, "done")).await.unwrap();
    loop {
        let frame = bob_too.recv().await.unwrap();
        assert!(frame["type"] != "typing" || frame["by"] != "bob", "{frame}");
        if frame["event"]["message_id"].is_string() {
            break;
        }
    }

    // Others are told no more than by any other frame.
    for (tenant, user, code) in [
        ("other", "bob", "not_found"),
        ("acme", "eve", "not_a_member"),
    ] {
        let token = token_of(user, tenant, None);
        let mut stranger = SocketClient::connect(&system.url, &token).await.unwrap();
        stranger.send(&types(&id, true)).await.unwrap();
        let refused = stranger.recv().await.unwrap();
        assert_eq!(pick(&refused, &["type", "code"]), json!(["error", code]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_of_one_process_share_typing_and_presence() {
    edges_share_typing_and_presence(Arc::new(InProcess::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_share_typing_and_presence_over_redis() {
    let timing = RedisTiming::default();
    let exchange = RedisExchange::new(redis_url(), &fresh_prefix(), timing).unwrap();
    edges_share_typing_and_presence(Arc::new(exchange)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_an_edge_tells_its_own_sockets() {
    let nowhere = "redis://127.0.0.1:1";
    let exchange = RedisExchange::new(nowhere, "", RedisTiming::default()).unwrap();
    let system = System::set_up(Setup {
        exchange: Arc::new(exchange),
        ..Setup::default()
    })
    .await;
    let mut alice = system.client("alice").await;
    alice.hear_presence();
    let id = group(&mut alice, "c1", &["bob"]).await;
    let mut bob = system.client("bob").await;
    let came = alice.wait_for(|frame| frame["type"] == "presence").await;
    assert_eq!(came.unwrap()["user_id"], "bob");
    hears(&mut bob, &mut alice, &id).await;
    let sent = bob.command(&send("m1", &id, "hello")).await.unwrap();
    assert_eq!(sent["type"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_types_too_much_is_told_so() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    for _ in 0..130 {
        alice.send(&types(&id, true)).await.unwrap();
    }
    let refused = alice.recv().await.unwrap();
    assert_eq!(
        pick(&refused, &["type", "code"]),
        json!(["error", "rate_limited"])
    );
    alice
        .send(&json!({"type": "typing", "conversation_id": id}))
        .await
        .unwrap();
    let invalid = alice.wait_for(|frame| frame["code"] == "invalid").await;
    assert!(
        invalid.unwrap()["message"]
            .as_str()
            .unwrap()
            .starts_with("on")
    );
}
