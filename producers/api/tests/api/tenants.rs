use reqwest::Method;
use serde_json::json;

use crate::support::System;

/// Every route that names something, asked for what is another tenant's: it is
/// not there. The user has the same name in both.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_tenants_is_not_found() {
    let system = System::start().await;
    let (alice, other) = (system.user("alice"), system.user_of("alice", "other"));
    let conversation = alice.group(&["bob"]).await;
    let message = alice.say(&conversation, "hello").await;
    let sent = json!({"conversation_id": conversation, "content": {"text": "hello"}});
    let (at, message) = (
        format!("/v1/conversations/{conversation}"),
        format!("/v1/messages/{message}"),
    );
    let content = json!({"content": {"text": "x"}});
    for (method, path, body) in [
        (Method::POST, "/v1/messages".to_owned(), Some(sent)),
        (Method::GET, message.clone(), None),
        (Method::PUT, message.clone(), Some(content)),
        (Method::DELETE, message.clone(), None),
        (Method::DELETE, format!("{message}?scope=purge"), None),
        (Method::DELETE, format!("{message}?scope=me"), None),
        (Method::GET, format!("{message}/history"), None),
        (
            Method::POST,
            format!("{message}/reactions"),
            Some(json!({"emoji": "x"})),
        ),
        (Method::DELETE, format!("{message}/reactions/x"), None),
        (Method::GET, at.clone(), None),
        (
            Method::PUT,
            at.clone(),
            Some(json!({"op": "rename", "title": "x"})),
        ),
        (Method::PUT, at.clone(), Some(json!({"op": "mute"}))),
        (Method::DELETE, at.clone(), None),
        (Method::GET, format!("{at}/messages"), None),
        (Method::GET, format!("{at}/members"), None),
        (
            Method::POST,
            format!("{at}/members"),
            Some(json!({"members": ["eve"]})),
        ),
        (Method::DELETE, format!("{at}/members/bob"), None),
        (Method::DELETE, format!("{at}/members/alice"), None),
        (
            Method::PUT,
            format!("{at}/members/bob/role"),
            Some(json!({"role": "admin"})),
        ),
        (
            Method::POST,
            format!("{at}/read"),
            Some(json!({"up_to": 1})),
        ),
        (Method::GET, format!("{at}/outcomes/m1"), None),
    ] {
        let answer = other.write(method.clone(), &path, body).await;
        assert_eq!(answer.said(), (404, "not_found"), "{method} {path}");
    }
    let list = other.get("/v1/conversations").await;
    assert_eq!(list.body["conversations"], json!([]));
    for path in ["", "/messages", "/conversations", "/users"] {
        let found = other.get(&format!("/v1/search{path}?q=hello")).await;
        assert_eq!(found.body["hits"], json!([]), "{path}");
    }
    let path = format!("/v1/search/messages?q=hello&conversation_id={conversation}");
    assert_eq!(other.get(&path).await.said(), (404, "not_found"));
    assert_eq!(other.get("/v1/unread").await.body["total"], 0);
    // Nothing of it has changed anything.
    let seen = alice.get(&at).await;
    assert_eq!(
        (&seen.body["last_seq"], &seen.body["title"]),
        (&json!(2), &json!("Ops"))
    );
}
