use reqwest::Method;
use serde_json::{Value, json};

use crate::support::System;

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_paged_newest_first() {
    let system = System::start().await;
    let (alice, bob) = (system.user("alice"), system.user("bob"));
    let id = alice.group(&["bob"]).await;
    let mut ids = Vec::new();
    for n in 1..=5 {
        ids.push(alice.say(&id, &format!("message {n}")).await);
    }
    let at = format!("/v1/conversations/{id}/messages");
    let nos = |body: &Value| -> Vec<u64> {
        let messages = body["messages"].as_array().unwrap();
        messages
            .iter()
            .map(|found| found["no"].as_u64().unwrap())
            .collect()
    };
    let first = bob.get(&format!("{at}?limit=2")).await;
    assert_eq!(nos(&first.body), [5, 4]);
    let cursor = first.text("next_cursor");
    assert_eq!(
        first.header("link"),
        format!("<{at}?limit=2&cursor={cursor}>; rel=\"next\"")
    );
    let second = bob.get(&format!("{at}?limit=2&cursor={cursor}")).await;
    assert_eq!(nos(&second.body), [3, 2]);
    let cursor = second.text("next_cursor");
    let last = bob.get(&format!("{at}?limit=2&cursor={cursor}")).await;
    assert_eq!(nos(&last.body), [1]);
    assert!(last.body["next_cursor"].is_null() && last.header("link").is_empty());

    // A message in a page is the message itself.
    let message = bob.get(&format!("/v1/messages/{}", ids[4])).await;
    assert_eq!(message.body, first.body["messages"][0]);
    let expected = json!({
        "message_id": ids[4], "conversation_id": id, "no": 5, "seq": 6, "rev": 6,
        "by": "alice", "at": message.body["at"], "content": {"text": "message 5"},
        "reply_to": null, "thread": null, "replies": 0, "edited_at": null,
        "deleted": false, "reactions": [],
    });
    assert_eq!(message.body, expected);

    for bad in ["limit=x", "cursor=x", "cursor=-1", "thread=x"] {
        let refused = bob.get(&format!("{at}?{bad}")).await;
        assert_eq!(refused.said(), (400, "invalid"), "{bad}");
    }
    let mallory = system.user("mallory");
    assert_eq!(mallory.get(&at).await.said(), (403, "not_a_member"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_carries_all_that_happens_to_it() {
    let system = System::start().await;
    let (alice, bob) = (system.user("alice"), system.user("bob"));
    let id = alice.group(&["bob"]).await;
    let content = json!({
        "text": "look", "meta": {"a": [1, {"b": null}]},
        "attachments": [{"id": "f1", "name": "a.png", "mime": "image/png", "size": 7}],
    });
    let sent = alice
        .post(
            "/v1/messages",
            json!({"conversation_id": id, "content": content}),
        )
        .await;
    let at = format!("/v1/messages/{}", sent.text("message_id"));
    assert_eq!(bob.get(&at).await.body["content"], content);

    // Replies make a thread.
    let reply = json!({
        "conversation_id": id, "content": {"text": "nice"}, "reply_to": sent.body["message_id"],
    });
    let reply = bob.post("/v1/messages", reply).await;
    assert_eq!(reply.said(), (201, ""), "{reply:?}");
    let thread = sent.text("message_id");
    let page = format!("/v1/conversations/{id}/messages?thread={thread}");
    let page = alice.get(&page).await;
    assert_eq!(page.body["messages"].as_array().unwrap().len(), 1);
    assert_eq!(page.body["messages"][0]["thread"], thread.as_str());
    assert_eq!(alice.get(&at).await.body["replies"], 1);

    // Reactions, one of them with characters that a path must escape.
    for emoji in ["👍", "a/b?"] {
        let reacted = bob
            .post(&format!("{at}/reactions"), json!({"emoji": emoji}))
            .await;
        assert_eq!(reacted.said(), (200, ""), "{reacted:?}");
    }
    let expected = json!([{"emoji": "👍", "by": ["bob"]}, {"emoji": "a/b?", "by": ["bob"]}]);
    assert_eq!(alice.get(&at).await.body["reactions"], expected);
    let taken_back = bob.delete(&format!("{at}/reactions/a%2Fb%3F")).await;
    assert_eq!(taken_back.said(), (200, ""), "{taken_back:?}");
    let expected = json!([{"emoji": "👍", "by": ["bob"]}]);
    assert_eq!(alice.get(&at).await.body["reactions"], expected);

    // Only the author edits.
    let edit = json!({"content": {"text": "look here"}});
    assert_eq!(bob.put(&at, edit.clone()).await.said(), (403, "forbidden"));
    assert_eq!(alice.put(&at, edit).await.said(), (200, ""));
    let edited = bob.get(&at).await;
    assert_eq!(edited.body["content"]["text"], "look here");
    assert!(edited.body["edited_at"].is_string());
    let history = bob.get(&format!("{at}/history")).await;
    assert_eq!(history.body["message_id"], thread.as_str());
    assert_eq!(history.body["edits"].as_array().unwrap().len(), 1);
    assert_eq!(history.body["edits"][0]["content"], content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_deleted_for_one_or_for_all() {
    let system = System::start().await;
    let (alice, bob) = (system.user("alice"), system.user("bob"));
    let id = alice.group(&["bob"]).await;
    let mut at = Vec::new();
    for text in ["one", "two", "three"] {
        at.push(format!("/v1/messages/{}", alice.say(&id, text).await));
    }
    let gone = bob.delete(&format!("{}?scope=me", at[0])).await;
    assert_eq!(gone.said(), (200, ""), "{gone:?}");
    assert!(gone.body.get("seq").is_none(), "it makes no event");
    assert_eq!(bob.get(&at[0]).await.said(), (404, "not_found"));
    assert_eq!(alice.get(&at[0]).await.said(), (200, ""));

    assert_eq!(bob.delete(&at[1]).await.said(), (403, "forbidden"));
    assert_eq!(alice.delete(&at[1]).await.said(), (200, ""));
    let purged = alice.delete(&format!("{}?scope=purge", at[2])).await;
    assert_eq!(purged.said(), (200, ""));
    for at in &at[1..] {
        let tombstone = bob.get(at).await;
        assert_eq!(tombstone.body["deleted"], true);
        assert!(tombstone.body["content"].is_null(), "{tombstone:?}");
        let history = bob.get(&format!("{at}/history")).await;
        assert_eq!(history.body["edits"], json!([]));
    }
    let page = bob.get(&format!("/v1/conversations/{id}/messages")).await;
    assert_eq!(page.body["messages"].as_array().unwrap().len(), 2);
    let bad = alice.delete(&format!("{}?scope=all", at[0])).await;
    assert_eq!(bad.said(), (400, "invalid"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_are_refused_with_their_code() {
    let system = System::start().await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    let nowhere = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    let text = |length: usize| json!({"text": "x".repeat(length)});
    let file = json!({"id": "f", "name": "n", "mime": "m", "size": 1});
    for (body, said) in [
        (json!({}), (400, "invalid")),
        (json!({"conversation_id": id}), (400, "invalid")),
        (
            json!({"conversation_id": "x", "content": text(1)}),
            (400, "invalid"),
        ),
        (
            json!({"conversation_id": id, "content": text(0)}),
            (400, "invalid"),
        ),
        (
            json!({"conversation_id": id, "content": text(16_385)}),
            (413, "too_large"),
        ),
        (
            json!({"conversation_id": id, "content": {"text": "x", "attachments": vec![file; 11]}}),
            (422, "too_many"),
        ),
        (
            json!({"conversation_id": nowhere, "content": text(1)}),
            (404, "not_found"),
        ),
        (
            json!({"conversation_id": id, "content": text(1), "reply_to": nowhere}),
            (404, "not_found"),
        ),
    ] {
        let refused = alice.post("/v1/messages", body).await;
        assert_eq!(refused.said(), said, "{refused:?}");
        assert!(!refused.body["detail"].as_str().unwrap().contains("xxx"));
    }
    let at = format!("/v1/messages/{nowhere}");
    assert_eq!(alice.get(&at).await.said(), (404, "not_found"));
    assert_eq!(
        alice.get(&format!("{at}/history")).await.said(),
        (404, "not_found")
    );
    let edit = json!({"content": {"text": "x"}});
    assert_eq!(alice.put(&at, edit).await.said(), (404, "not_found"));
    assert_eq!(alice.delete(&at).await.said(), (404, "not_found"));
    assert_eq!(alice.get("/v1/messages/x").await.said(), (400, "invalid"));
    let reaction = json!({"emoji": "x".repeat(33)});
    let at = format!("/v1/messages/{}/reactions", alice.say(&id, "hello").await);
    assert_eq!(alice.post(&at, reaction).await.said(), (413, "too_large"));
    let closed = alice
        .put(&format!("/v1/conversations/{id}"), json!({"op": "close"}))
        .await;
    assert_eq!(closed.said(), (200, ""));
    let late = json!({"conversation_id": id, "content": text(1)});
    let late = alice.write(Method::POST, "/v1/messages", Some(late)).await;
    assert_eq!(late.said(), (409, "closed"));
}

/// Who is no member, and who is none any more, gets nothing of a message.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_its_members_alone() {
    let system = System::start().await;
    let (alice, bob, eve) = (system.user("alice"), system.user("bob"), system.user("eve"));
    let id = alice.group(&["bob"]).await;
    let message = format!("/v1/messages/{}", alice.say(&id, "hello").await);
    let edit = json!({"content": {"text": "hello, Bob"}});
    assert_eq!(alice.put(&message, edit).await.said(), (200, ""));
    let paths = [message.clone(), format!("{message}/history")];
    for path in &paths {
        assert_eq!(bob.get(path).await.status, 200, "{path}");
        assert_eq!(eve.get(path).await.said(), (403, "not_a_member"), "{path}");
    }
    let gone = alice
        .delete(&format!("/v1/conversations/{id}/members/bob"))
        .await;
    assert_eq!(gone.said(), (200, ""));
    for path in &paths {
        assert_eq!(bob.get(path).await.said(), (403, "not_a_member"), "{path}");
    }
}
