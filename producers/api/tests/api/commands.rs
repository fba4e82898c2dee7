use reqwest::{Method, StatusCode};
use serde_json::json;
use tidings_testkit::eventually_async;

use crate::support::{Answer, PATIENCE, Setup, System, message};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_taken_and_its_outcome_has_an_address() {
    let system = System::start().await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    let request = alice.request(Method::POST, "/v1/messages");
    let request = request.header("idempotency-key", "m/1 ?");
    let taken = Answer::of(request.json(&message(&id, "hello"))).await;
    assert_eq!(taken.said(), (202, ""), "{taken:?}");
    assert_eq!(taken.body["state"], "pending");
    assert_eq!(taken.body["temp_id"], "m/1 ?");
    assert_eq!(taken.header("idempotency-key"), "m/1 ?");
    assert_eq!(taken.header("preference-applied"), "");
    let address = taken.header("location").to_owned();
    assert_eq!(
        address,
        format!("/v1/conversations/{id}/outcomes/m%2F1%20%3F")
    );
    assert_eq!(taken.body["outcome"], address.as_str());

    eventually_async(PATIENCE, async || {
        alice.get(&address).await.body["state"] == "delivered"
    })
    .await;
    let outcome = alice.get(&address).await;
    assert_eq!(outcome.body["message_id"], taken.body["message_id"]);
    assert_eq!(
        (&outcome.body["seq"], &outcome.body["no"]),
        (&json!(2), &json!(1))
    );
    // Another's commands are their own, and what was never sent is nowhere.
    let bob = system.user("bob");
    assert_eq!(bob.get(&address).await.said(), (404, "not_found"));
    let nowhere = format!("/v1/conversations/{id}/outcomes/m2");
    assert_eq!(alice.get(&nowhere).await.said(), (404, "not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_wait_gets_the_decision() {
    let system = System::start().await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    let sent = alice.post("/v1/messages", message(&id, "hello")).await;
    assert_eq!(sent.said(), (201, ""), "{sent:?}");
    assert_eq!(sent.header("preference-applied"), "wait=20");
    let at = format!("/v1/messages/{}", sent.text("message_id"));
    assert_eq!(sent.header("location"), at);
    assert_eq!(sent.header("etag"), "\"2\"");
    assert_eq!(sent.body["state"], "delivered");
    assert_eq!(sent.body["duplicate"], false);
    assert!(!sent.text("temp_id").is_empty(), "one was made");

    // So does who is refused.
    let mallory = system.user("mallory");
    let refused = mallory.post("/v1/messages", message(&id, "hello")).await;
    assert_eq!(refused.said(), (403, "not_a_member"));
    assert_eq!(refused.header("preference-applied"), "wait=20");
    let outcome = format!(
        "/v1/conversations/{id}/outcomes/{}",
        refused.header("idempotency-key")
    );
    let outcome = mallory.get(&outcome).await;
    assert_eq!(outcome.body["state"], "rejected", "{outcome:?}");
    assert_eq!(outcome.body["code"], "not_a_member");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_too_short_ends_in_pending() {
    let setup = Setup {
        sequencer: false,
        ..Setup::default()
    };
    let system = System::set_up(setup).await;
    let alice = system.user("alice");
    let request = alice.request(Method::POST, "/v1/conversations");
    let request = request.header("prefer", "respond-async, wait=1");
    let taken = Answer::of(request.json(&json!({"kind": "group"}))).await;
    assert_eq!(taken.said(), (202, ""), "{taken:?}");
    assert_eq!(taken.header("preference-applied"), "wait=1");
    let outcome = alice.get(taken.header("location")).await;
    assert_eq!(outcome.body["state"], "pending", "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_command() {
    let system = System::start().await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    let send = async |key: &str, retry: &str| {
        let request = alice.request(Method::POST, "/v1/messages");
        let request = request
            .header("idempotency-key", key)
            .header("tidings-retry", retry)
            .header("prefer", "wait=20");
        Answer::of(request.json(&message(&id, "hello"))).await
    };
    let first = send("m1", "false").await;
    assert_eq!(first.status, StatusCode::CREATED);
    for (key, retry) in [("m1", "false"), ("\"m1\"", "false"), ("m1", "true")] {
        let again = send(key, retry).await;
        assert_eq!(again.status, StatusCode::OK, "{again:?}");
        assert_eq!(again.body["duplicate"], true);
        for field in ["message_id", "seq", "no", "temp_id", "at"] {
            assert_eq!(again.body[field], first.body[field], "{field}");
        }
    }
    let page = alice.get(&format!("/v1/conversations/{id}/messages")).await;
    assert_eq!(page.body["messages"].as_array().unwrap().len(), 1);
    assert_eq!(send("m2", "maybe").await.said(), (400, "invalid"));
    let long = "x".repeat(65);
    for bad in ["", "\"\"", &long] {
        assert_eq!(send(bad, "false").await.said(), (400, "invalid"), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_limited_and_say_so() {
    let setup = Setup {
        messages_per_minute: 2,
        ..Setup::default()
    };
    let system = System::set_up(setup).await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    for left in ["1", "0"] {
        let sent = alice.post("/v1/messages", message(&id, "hello")).await;
        assert_eq!(sent.said(), (201, ""));
        assert_eq!(sent.header("ratelimit-policy"), r#""messages";q=2;w=60"#);
        assert_eq!(sent.header("ratelimit"), format!(r#""messages";r={left}"#));
    }
    let limited = alice.post("/v1/messages", message(&id, "hello")).await;
    assert_eq!(limited.said(), (429, "rate_limited"));
    assert_eq!(limited.body["retry"], true);
    assert_eq!(limited.header("ratelimit"), r#""messages";r=0"#);
    let wait: u64 = limited.header("retry-after").parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    // Others, and other commands, are not.
    let bob = system.user("bob");
    bob.say(&id, "hello").await;
    let read = alice
        .post(&format!("/v1/conversations/{id}/read"), json!({"up_to": 3}))
        .await;
    assert_eq!(read.said(), (200, ""), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_down_stops_questions_and_not_commands() {
    let setup = Setup {
        view_is_down: true,
        ..Setup::default()
    };
    let system = System::set_up(setup).await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    alice.say(&id, "hello").await;
    for path in [
        format!("/v1/conversations/{id}/messages"),
        format!("/v1/conversations/{id}"),
        "/v1/conversations".to_owned(),
        "/v1/unread".to_owned(),
    ] {
        let down = alice.get(&path).await;
        assert_eq!(down.said(), (503, "unavailable"), "{path}");
        assert_eq!(down.body["retry"], true);
        assert_eq!(down.header("retry-after"), "1");
    }
}
