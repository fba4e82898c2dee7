use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{Answer, System};

#[tokio::test(flavor = "multi_thread")]
async fn an_etag_is_a_messages_revision() {
    let system = System::start().await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    let at = format!("/v1/messages/{}", alice.say(&id, "hello").await);
    let first = alice.get(&at).await;
    assert_eq!(first.header("etag"), "\"2\"");
    let known = async |tags: &str| {
        let request = alice.request(Method::GET, &at);
        Answer::of(request.header("if-none-match", tags)).await
    };
    for tags in ["\"2\"", "W/\"2\"", "\"1\", \"2\"", "*"] {
        let unchanged = known(tags).await;
        assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED, "{tags}");
        assert_eq!(unchanged.header("etag"), "\"2\"");
        assert!(unchanged.body.is_null());
    }
    let edited = alice.put(&at, json!({"content": {"text": "hello!"}})).await;
    assert_eq!(edited.said(), (200, ""), "{edited:?}");
    assert_eq!(edited.header("etag"), "\"3\"");
    let changed = known("\"2\"").await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!(changed.header("etag"), "\"3\"");
    assert_eq!(changed.body["content"]["text"], "hello!");
    assert_eq!(changed.body["rev"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_may_be_held_to_a_revision() {
    let system = System::start().await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    let at = format!("/v1/messages/{}", alice.say(&id, "hello").await);
    let change = async |method: Method, tags: &str, text: &str| {
        let request = alice.request(method, &at).header("prefer", "wait=20");
        let request = request.header("if-match", tags);
        Answer::of(request.json(&json!({"content": {"text": text}}))).await
    };
    for tags in ["\"1\"", "W/\"2\"", "2", "\"x\""] {
        for method in [Method::PUT, Method::DELETE] {
            let outdated = change(method, tags, "too late").await;
            assert_eq!(outdated.said(), (412, "precondition_failed"), "{tags}");
        }
    }
    for (tags, text) in [("\"2\"", "one"), ("\"1\", \"3\"", "two"), ("*", "three")] {
        let edited = change(Method::PUT, tags, text).await;
        assert_eq!(edited.said(), (200, ""), "{tags} {edited:?}");
        assert_eq!(alice.get(&at).await.body["content"]["text"], text);
    }
    let history = alice.get(&format!("{at}/history")).await;
    let texts: Vec<_> = history.body["edits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edit| edit["content"]["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["hello", "one", "two"]);
    let gone = change(Method::DELETE, "\"5\"", "").await;
    assert_eq!(gone.said(), (200, ""), "{gone:?}");
}
