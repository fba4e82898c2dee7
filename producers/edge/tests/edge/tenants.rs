//! Another tenant finds nothing: not by any command, and not by any question.

use serde_json::{Value, json};
use tidings_domain::{Code, ConversationId, MessageId};
use tidings_testkit::SocketClient;

use crate::support::{Setup, System, about, claims, connect, group, send, token_of};

/// Every command about a conversation and message of another tenant.
fn commands(id: &str, message: &Value, own: &str, own_message: &Value) -> Vec<Value> {
    let of = |kind: &str, fields: Value| about(kind, "x", id, fields);
    let update = |op: &str, fields: Value| {
        let mut frame = of("update", fields);
        frame["op"] = json!(op);
        frame
    };
    let content = json!({"text": "x"});
    vec![
        of("send", json!({"content": content})),
        of("send", json!({"content": content, "reply_to": message})),
        of("edit", json!({"message_id": message, "content": content})),
        of(
            "delete",
            json!({"message_id": message, "scope": "everyone"}),
        ),
        of("delete", json!({"message_id": message, "scope": "purge"})),
        of("delete", json!({"message_id": message, "scope": "me"})),
        of(
            "react",
            json!({"message_id": message, "emoji": "👍", "op": "add"}),
        ),
        of(
            "react",
            json!({"message_id": message, "emoji": "👍", "op": "remove"}),
        ),
        of("forward", json!({"message_ids": [message], "to": [own]})),
        of("read", json!({"up_to": 1})),
        update("add_members", json!({"members": ["dave"]})),
        update("remove_members", json!({"members": ["bob"]})),
        update("rename", json!({"title": "x"})),
        update("set_role", json!({"user_id": "bob", "role": "admin"})),
        update("leave", json!({})),
        update("close", json!({})),
        update("reopen", json!({})),
        update("archive", json!({})),
        update("unarchive", json!({})),
        update("mute", json!({})),
        update("unmute", json!({})),
        // The other's message, as if it stood in the own conversation.
        about(
            "edit",
            "x",
            own,
            json!({"message_id": message, "content": content}),
        ),
        about(
            "delete",
            "x",
            own,
            json!({"message_id": message, "scope": "purge"}),
        ),
        about(
            "react",
            "x",
            own,
            json!({"message_id": message, "emoji": "👍", "op": "add"}),
        ),
        about(
            "send",
            "x",
            own,
            json!({"content": content, "reply_to": message}),
        ),
        about(
            "forward",
            "x",
            own,
            json!({"message_ids": [message], "to": [own]}),
        ),
        // And the own message into the other's conversation.
        about(
            "forward",
            "x",
            own,
            json!({"message_ids": [own_message], "to": [id]}),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_tenant_is_found() {
    let system = System::start().await;
    let late = system.another_edge().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let sent = alice.command(&send("m1", &id, "secret")).await.unwrap();
    let message = sent["message_id"].clone();
    // The same name, and on an edge that has seen it all, and on one that asks
    // the view.
    let token = token_of("alice", "umbrella", None);
    let mut spies = [
        SocketClient::connect(&system.url, &token).await.unwrap(),
        SocketClient::connect(&late, &token).await.unwrap(),
    ];
    let own = group(&mut spies[0], "own", &[]).await;
    let own_message = spies[0].command(&send("own", &own, "mine")).await.unwrap();
    let own_message = own_message["message_id"].clone();
    let mut number = 0;
    for spy in &mut spies {
        for mut command in commands(&id, &message, &own, &own_message) {
            number += 1;
            let temp_id = format!("x{number}");
            command["temp_id"] = json!(temp_id);
            spy.send(&command).await.unwrap();
            let answer = spy
                .wait_for(|frame| {
                    let answered = frame["temp_id"].as_str().unwrap_or_default();
                    frame["type"] != "pending" && answered.split('/').next() == Some(&temp_id)
                })
                .await
                .unwrap();
            assert_eq!(answer["code"], "not_found", "{command}: {answer}");
        }
        let questions = [
            json!({"type": "sync", "conversation_id": id, "after": 0}),
            json!({"type": "history", "conversation_id": id}),
            json!({"type": "history", "conversation_id": id, "thread": message}),
            json!({"type": "members", "conversation_id": id}),
        ];
        for mut question in questions {
            question["id"] = json!("q");
            let answer = spy.ask(&question).await.unwrap();
            assert_eq!(answer["code"], "not_found", "{question}: {answer}");
        }
        let thread = json!({
            "type": "history", "id": "q", "conversation_id": own, "thread": message,
        });
        assert_eq!(spy.ask(&thread).await.unwrap()["messages"], json!([]));
        let list = spy.ask(&json!({"type": "list", "id": "q"})).await.unwrap();
        let listed = list["conversations"].as_array().unwrap();
        assert_eq!(listed.len(), 1, "only the own: {list}");
        assert_eq!(listed[0]["conversation_id"], json!(own));
        let asked = json!([
            {"conversation_id": id, "temp_id": "m1"}, {"conversation_id": id, "temp_id": "c1"},
        ]);
        let outcome = json!({"type": "outcome", "id": "q", "temp_ids": asked});
        for outcome in spy.ask(&outcome).await.unwrap()["outcomes"]
            .as_array()
            .unwrap()
        {
            assert_eq!(outcome["state"], "unknown", "{outcome}");
        }
    }
    // Nothing of it happened, and nobody heard of it.
    let mut bob = connect(&late, "bob").await;
    let sync = json!({"type": "sync", "id": "q", "conversation_id": id, "after": 0});
    assert_eq!(bob.ask(&sync).await.unwrap()["last_seq"], 2);
    alice.send(&json!({"type": "ping"})).await.unwrap();
    alice.expect_type("pong").await.unwrap();
}

/// While the view lags behind, edges go by what the log has told them of
/// members.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_to_another_tenant() {
    let system = System::set_up(Setup {
        history: false,
        ..Setup::default()
    })
    .await;
    let token = token_of("bob", "umbrella", None);
    let spy = async |url: &str| SocketClient::connect(url, &token).await.unwrap();
    let mut spies = vec![spy(&system.url).await];
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    // One edge has seen it, and the other reads it from the log.
    let late = system.another_edge().await;
    for url in [&system.url, &late] {
        spies.push(spy(url).await);
    }
    let mut members = [system.client("bob").await, connect(&late, "bob").await];
    alice.command(&send("m1", &id, "secret")).await.unwrap();
    for bob in &mut members {
        assert_eq!(bob.expect_type("event").await.unwrap()["seq"], 2);
    }
    for spy in &mut spies {
        spy.send(&json!({"type": "ping"})).await.unwrap();
        assert_eq!(spy.recv().await.unwrap(), json!({"type": "pong"}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_of_another_tenant_finds_nothing() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let sent = alice.command(&send("m1", &id, "secret")).await.unwrap();
    let message = MessageId::parse("id", sent["message_id"].as_str().unwrap()).unwrap();
    let id = ConversationId::parse("id", &id).unwrap();
    let spy = system.edge.caller(claims("alice", "umbrella", None));
    let refused = [
        spy.conversation(id).await.map(drop),
        spy.changes(id, 0, 10).await.map(drop),
        spy.page(id, None, None, 10).await.map(drop),
        spy.page(id, Some(message), None, 10).await.map(drop),
        spy.members(id, 10, None).await.map(drop),
        spy.message(message).await.map(drop),
        spy.edits(message).await.map(drop),
    ];
    for refused in refused {
        assert_eq!(refused.unwrap_err().code, Code::NotFound);
    }
    assert!(
        spy.list(None, 10, None)
            .await
            .unwrap()
            .conversations
            .is_empty()
    );
    assert!(spy.unread().await.unwrap().is_empty());

    let eve = system.edge.caller(claims("eve", "acme", None));
    let refused = [
        eve.conversation(id).await.map(drop),
        eve.message(message).await.map(drop),
        eve.edits(message).await.map(drop),
    ];
    for refused in refused {
        assert_eq!(refused.unwrap_err().code, Code::NotAMember);
    }
    let bob = system.edge.caller(claims("bob", "acme", None));
    assert_eq!(bob.message(message).await.unwrap().message_id, message);
    assert_eq!(bob.unread().await.unwrap(), [(id, 1)]);
    assert!(bob.edits(message).await.unwrap().1.is_empty());
}
