use serde_json::{Value, json};
use tidings_testkit::SocketClient;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{System, group, pick, send, token, token_of};

#[tokio::test(flavor = "multi_thread")]
async fn bad_frames_get_their_answer_and_the_connection_stays() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let with = |field: &str, value: Value| {
        let mut frame = send("m1", &id, "hello");
        frame[field] = value;
        frame
    };
    let about = |kind: &str, rest: Value| {
        let mut frame = json!({
            "type": kind, "temp_id": "m1", "conversation_id": id,
            "message_id": "00000000-0000-4000-8000-000000000000",
        });
        frame
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        frame
    };
    let rejected = |code: &str| json!(["rejected", "m1", null, code]);
    let error = |id: Value, code: &str| json!(["error", null, id, code]);
    let table = [
        (
            json!({"type": "dance", "id": "q"}),
            error(json!("q"), "unknown_type"),
        ),
        (json!({"type": 7}), error(json!(null), "invalid")),
        (json!({"x": 7}), error(json!(null), "invalid")),
        (
            json!({"type": "hello", "token": token("bob")}),
            error(json!(null), "invalid"),
        ),
        (with("temp_id", json!(null)), error(json!(null), "invalid")),
        (with("temp_id", json!("")), error(json!(null), "invalid")),
        (
            with("temp_id", json!("x".repeat(65))),
            error(json!(null), "invalid"),
        ),
        (with("conversation_id", json!("ops")), rejected("invalid")),
        (with("content", json!({"text": ""})), rejected("invalid")),
        (
            with("content", json!({"text": "x".repeat(16_385)})),
            rejected("too_large"),
        ),
        (with("reply_to", json!("x")), rejected("invalid")),
        (
            about("delete", json!({"scope": "everyone"})),
            rejected("not_found"),
        ),
        (
            about("delete", json!({"scope": "all"})),
            rejected("invalid"),
        ),
        (
            about("edit", json!({"content": {"text": "x"}})),
            rejected("not_found"),
        ),
        (
            about("react", json!({"emoji": "👍", "op": "add"})),
            rejected("not_found"),
        ),
        (
            about("react", json!({"emoji": "", "op": "add"})),
            rejected("invalid"),
        ),
        (
            about("react", json!({"emoji": "x".repeat(33), "op": "add"})),
            rejected("too_large"),
        ),
        (about("read", json!({"up_to": -1})), rejected("invalid")),
        (
            about("update", json!({"op": "mute", "until": "soon"})),
            rejected("invalid"),
        ),
        (about("update", json!({"op": "dance"})), rejected("invalid")),
        (
            about("forward", json!({"message_ids": [], "to": [id]})),
            rejected("invalid"),
        ),
        (
            about("forward", json!({"message_ids": vec![&id; 11], "to": [id]})),
            rejected("too_many"),
        ),
        (
            about("forward", json!({"message_ids": [id], "to": vec![&id; 6]})),
            rejected("too_many"),
        ),
        (
            about("forward", json!({"message_ids": [id], "to": [id]})),
            rejected("not_found"),
        ),
        (
            json!({"type": "history", "id": "q"}),
            error(json!("q"), "invalid"),
        ),
        (
            json!({"type": "members", "id": "q", "conversation_id": id, "cursor": "no user"}),
            error(json!("q"), "invalid"),
        ),
        (
            json!({"type": "search", "id": "q"}),
            error(json!("q"), "invalid"),
        ),
        (json!({"type": "typing"}), error(json!(null), "invalid")),
        (
            json!({"type": "sync", "id": "q"}),
            error(json!("q"), "invalid"),
        ),
        (
            json!({"type": "list", "id": "q", "cursor": "x"}),
            error(json!("q"), "invalid"),
        ),
    ];
    for (frame, expected) in table {
        alice.send(&frame).await.unwrap();
        let answer = alice.recv().await.unwrap();
        assert_eq!(
            pick(&answer, &["type", "temp_id", "id", "code"]),
            expected,
            "{frame}"
        );
        assert!(
            answer["message"].is_string() && answer["retry"] == false,
            "{answer}"
        );
    }
    let largest = send("m2", &id, &"x".repeat(16_384));
    assert_eq!(alice.command(&largest).await.unwrap()["type"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_frame_closes_4400() {
    let system = System::start().await;
    let frames = [
        Message::text("hello"),
        Message::text("[]"),
        Message::text("{\"type\":\"ping\""),
        Message::binary(b"{}".to_vec()),
        Message::text(format!(
            "{{\"type\":\"ping\",\"x\":\"{}\"}}",
            "y".repeat(65_536)
        )),
        Message::text(format!(
            "{{\"type\":\"ping\",\"x\":\"{}\"}}",
            "y".repeat(300_000)
        )),
    ];
    for frame in frames {
        let mut alice = system.client("alice").await;
        let size = frame.len();
        alice.send_message(frame).await.unwrap();
        let bye = alice.expect_type("bye").await.unwrap();
        assert_eq!(
            pick(&bye, &["code", "reconnect"]),
            json!([4400, false]),
            "{size} bytes"
        );
        assert_eq!(alice.closed().await.unwrap(), 4400, "{size} bytes");
    }
    let largest = format!(
        "{{\"type\":\"ping\",\"x\":\"{}\"}}",
        "y".repeat(65_536 - 24)
    );
    assert_eq!(largest.len(), 65_536 - 2);
    let mut alice = system.client("alice").await;
    alice.send_message(Message::text(largest)).await.unwrap();
    alice.expect_type("pong").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_good_hello_opens() {
    let system = System::start().await;
    let good = token("alice");
    let forged = format!("{}x", &good[..good.len() - 1]);
    let parts: Vec<&str> = good.split('.').collect();
    // {"alg":"none","typ":"JWT"}
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
    let hello = |token: &str| json!({"type": "hello", "token": token}).to_string();
    let first_frames = [
        hello(&forged),
        hello(&none),
        hello(""),
        json!({"type": "hello"}).to_string(),
        json!({"type": "hello", "token": 7}).to_string(),
        json!({"type": "ping"}).to_string(),
        json!({"type": "list", "id": "q"}).to_string(),
    ];
    for frame in first_frames {
        let mut stranger = system.stranger().await;
        stranger
            .send_message(Message::text(frame.clone()))
            .await
            .unwrap();
        let bye = stranger.expect_type("bye").await.unwrap();
        assert_eq!(
            pick(&bye, &["code", "reconnect"]),
            json!([4401, false]),
            "{frame}"
        );
        assert_eq!(stranger.closed().await.unwrap(), 4401, "{frame}");
    }
    let mut stranger = system.stranger().await;
    stranger
        .send(&json!({"type": "hello", "token": good}))
        .await
        .unwrap();
    let welcome = stranger.recv().await.unwrap();
    let keys = [
        "type",
        "user_id",
        "tenant",
        "heartbeat_s",
        "max_frame_bytes",
    ];
    assert_eq!(
        pick(&welcome, &keys),
        json!(["welcome", "alice", "acme", 25, 65_536])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_conversation_is_not_found() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let message = alice.command(&send("m1", &id, "hello")).await.unwrap();
    let other = token_of("bob", "umbrella", None);
    let mut spy = SocketClient::connect(&system.url, &other).await.unwrap();
    let sent = spy.command(&send("m1", &id, "hello")).await.unwrap();
    let sync = json!({"type": "sync", "id": "q1", "conversation_id": id, "after": 0});
    let synced = spy.ask(&sync).await.unwrap();
    let list = spy.ask(&json!({"type": "list", "id": "q2"})).await.unwrap();
    let mut reply = send("m2", &id, "re");
    reply["reply_to"] = message["message_id"].clone();
    let replied = spy.command(&reply).await.unwrap();
    let asked = json!([{"conversation_id": id, "temp_id": "m1"}]);
    let outcome = spy
        .ask(&json!({"type": "outcome", "id": "q3", "temp_ids": asked}))
        .await;
    assert_eq!(sent["code"], "not_found");
    assert_eq!(synced["code"], "not_found");
    assert_eq!(replied["code"], "not_found");
    assert_eq!(list["conversations"], json!([]));
    // Of the spy's own command, not of alice's.
    assert_eq!(outcome.unwrap()["outcomes"][0]["code"], "not_found");
    // And no event of either side reached the other.
    spy.send(&json!({"type": "ping"})).await.unwrap();
    spy.expect_type("pong").await.unwrap();
}
