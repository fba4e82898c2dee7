use serde_json::{Value, json};
use tidings_domain::{ConversationId, MessageId, TempId};
use tidings_testkit::SocketClient;

use crate::support::{Setup, System, about, claims, connect, group, pick, send, token_of};

fn forward(temp_id: &str, from: &str, ids: &[&Value], to: &[&str]) -> Value {
    about(
        "forward",
        temp_id,
        from,
        json!({"message_ids": ids, "to": to}),
    )
}

/// The next answers that are no `pending`, by `temp_id`.
async fn answers(client: &mut SocketClient, count: usize) -> Vec<Value> {
    let mut answers = Vec::new();
    while answers.len() < count {
        let frame = client.recv().await.unwrap();
        if frame["type"] == "delivered" || frame["type"] == "rejected" {
            answers.push(frame);
        }
    }
    answers.sort_by_key(|frame| frame["temp_id"].to_string());
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_makes_a_message_for_each_target_in_order() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let mut bob = system.client("bob").await;
    let from = group(&mut alice, "c1", &[]).await;
    let [first, second] = [
        group(&mut alice, "c2", &["bob"]).await,
        group(&mut alice, "c3", &["bob"]).await,
    ];
    let content = json!({
        "text": "see this", "meta": {"a": [1]},
        "attachments": [{"id": "a", "name": "n", "mime": "text/plain", "size": 1}],
    });
    let one = about("send", "m1", &from, json!({"content": content}));
    let one = alice.command(&one).await.unwrap()["message_id"].clone();
    let two = alice.command(&send("m2", &from, "and this")).await.unwrap()["message_id"].clone();
    let sent = forward("f1", &from, &[&two, &one], &[&first, &second]);
    alice.send(&sent).await.unwrap();
    // What follows in a target comes after.
    alice.send(&send("m3", &first, "after")).await.unwrap();
    let made = answers(&mut alice, 5).await;
    let places: Vec<_> = made
        .iter()
        .map(|frame| pick(frame, &["type", "temp_id", "conversation_id", "no"]))
        .collect();
    let expected = [
        json!(["delivered", "f1/1", first, 1]),
        json!(["delivered", "f1/2", first, 2]),
        json!(["delivered", "f1/3", second, 1]),
        json!(["delivered", "f1/4", second, 2]),
        json!(["delivered", "m3", first, 3]),
    ];
    assert_eq!(places, expected);
    let event = bob
        .wait_for(|frame| frame["event"]["no"] == 2 && frame["conversation_id"] == *first)
        .await
        .unwrap();
    let source = json!({"conversation_id": from, "message_id": one, "by": "alice"});
    assert_eq!(
        pick(&event["event"], &["content", "forwarded_from"]),
        json!([content, source])
    );

    // A forward of a forward names its immediate source.
    let copy = event["event"]["message_id"].clone();
    bob.send(&forward("g1", &first, &[&copy], &[&second]))
        .await
        .unwrap();
    answers(&mut bob, 1).await;
    let event = alice.wait_for(|frame| frame["by"] == "bob").await.unwrap();
    let source = json!({"conversation_id": first, "message_id": copy, "by": "alice"});
    assert_eq!(event["event"]["forwarded_from"], source);

    // Sent again, to another edge too, it makes nothing new.
    let mut again = sent.clone();
    again["retry"] = json!(true);
    let mut elsewhere = connect(&system.another_edge().await, "alice").await;
    for client in [&mut alice, &mut elsewhere] {
        client.send(&again).await.unwrap();
        for (frame, first) in answers(client, 4).await.iter().zip(&made) {
            let keys = ["temp_id", "seq", "no", "message_id"];
            assert_eq!(pick(frame, &keys), pick(first, &keys));
            assert_eq!(frame["duplicate"], true);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_is_refused_as_a_whole_once() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let mut bob = system.client("bob").await;
    let from = group(&mut alice, "c1", &["bob"]).await;
    let own = group(&mut bob, "c2", &[]).await;
    let sent = alice.command(&send("m1", &from, "hello")).await.unwrap();
    let good = sent["message_id"].clone();
    let gone = alice.command(&send("m2", &from, "oops")).await.unwrap()["message_id"].clone();
    let delete = about(
        "delete",
        "d1",
        &from,
        json!({"message_id": gone, "scope": "everyone"}),
    );
    alice.command(&delete).await.unwrap();
    let nowhere = json!("00000000-0000-4000-8000-000000000000");
    let refused = [
        (
            forward("f1", &from, &[&good, &gone], &[&own, &from]),
            "not_found",
        ),
        (
            forward("f2", &from, &[&good, &nowhere], &[&own, &from]),
            "not_found",
        ),
        // Of another conversation than it says.
        (forward("f3", &own, &[&good], &[&own, &from]), "not_found"),
        (
            forward("f4", nowhere.as_str().unwrap(), &[&good], &[&own, &from]),
            "not_found",
        ),
    ];
    for (command, code) in refused {
        bob.send(&command).await.unwrap();
        bob.send(&json!({"type": "list", "id": "after"}))
            .await
            .unwrap();
        let mut answers = Vec::new();
        loop {
            let frame = bob.recv().await.unwrap();
            if frame["temp_id"].is_string() {
                answers.push(pick(&frame, &["type", "temp_id", "code"]));
            }
            if !answers.is_empty() && frame["temp_id"].is_null() && frame["id"] == "after" {
                break;
            }
            if answers.len() == 1 {
                bob.send(&json!({"type": "list", "id": "after"}))
                    .await
                    .unwrap();
            }
        }
        assert_eq!(answers, [json!(["rejected", command["temp_id"], code])]);
    }
    let mut eve = system.client("eve").await;
    let hers = group(&mut eve, "c3", &[]).await;
    let stolen = eve
        .command(&forward("f5", &from, &[&good], &[&hers]))
        .await
        .unwrap();
    assert_eq!(stolen["code"], "not_a_member");
    // What a target refuses is refused for itself.
    bob.send(&forward("f6", &from, &[&good], &[&hers, &own]))
        .await
        .unwrap();
    let made = answers(&mut bob, 2).await;
    assert_eq!(
        pick(&made[0], &["temp_id", "code"]),
        json!(["f6/1", "not_a_member"])
    );
    assert_eq!(
        pick(&made[1], &["temp_id", "type"]),
        json!(["f6/2", "delivered"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_that_a_forward_makes_counts() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let sent = alice.command(&send("m1", &id, "hello")).await.unwrap();
    let message = sent["message_id"].clone();
    let limited = token_of("bob", "acme", Some(5));
    let mut bob = SocketClient::connect(&system.url, &limited).await.unwrap();
    let two = |temp_id: &str| forward(temp_id, &id, &[&message], &[&id, &id]);
    for temp_id in ["f1", "f2"] {
        bob.send(&two(temp_id)).await.unwrap();
        for made in answers(&mut bob, 2).await {
            assert_eq!(made["type"], "delivered", "{made}");
        }
    }
    let refused = bob.command(&two("f3")).await.unwrap();
    assert_eq!(
        pick(&refused, &["code", "retry"]),
        json!(["rate_limited", true])
    );
    assert!(refused["retry_after_ms"].as_u64().unwrap() > 0);
    let six = forward("f4", &id, &[&message, &message], &[&id, &id, &id]);
    let refused = bob.command(&six).await.unwrap();
    assert_eq!(
        pick(&refused, &["code", "retry"]),
        json!(["too_many", false])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_forwards_too() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let sent = alice.command(&send("m1", &id, "hello")).await.unwrap();
    let message = MessageId::parse("id", sent["message_id"].as_str().unwrap()).unwrap();
    let id = ConversationId::parse("id", &id).unwrap();
    let bob = system.edge.caller(claims("bob", "acme", None));
    let temp_id = |text| TempId::parse(text).unwrap();
    let made = bob
        .forward(temp_id("f1"), false, id, vec![message], vec![id, id])
        .unwrap();
    for ((temp_id, submission), no) in made.into_iter().zip(2..) {
        assert_eq!(temp_id.as_str(), format!("f1/{}", no - 1));
        assert_eq!(submission.decision().await.unwrap().no, Some(no));
    }
    let nothing = MessageId(tidings_domain::NAMESPACE);
    let made = bob
        .forward(temp_id("f2"), false, id, vec![nothing], vec![id, id])
        .unwrap();
    for (_, submission) in made {
        let refusal = submission.decision().await.unwrap_err();
        assert_eq!(refusal.code, tidings_domain::Code::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_forward_cannot_look_up_is_unavailable() {
    let system = System::set_up(Setup {
        view_is_down: true,
        history: false,
        ..Setup::default()
    })
    .await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let sent = alice.command(&send("m1", &id, "hello")).await.unwrap();
    let message = sent["message_id"].clone();
    let refused = alice
        .command(&forward("f1", &id, &[&message], &[&id, &id]))
        .await
        .unwrap();
    assert_eq!(
        pick(&refused, &["code", "retry"]),
        json!(["unavailable", true])
    );
    // What this edge has just seen needs no view.
    let fields = json!({"message_id": message, "emoji": "👍", "op": "add"});
    let reacted = alice
        .command(&about("react", "r1", &id, fields))
        .await
        .unwrap();
    assert_eq!(reacted["type"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_for_oneself_cannot_be_forwarded() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let mut bob = system.client("bob").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let sent = alice.command(&send("m1", &id, "hello")).await.unwrap();
    let message = sent["message_id"].clone();
    let fields = json!({"message_id": message, "scope": "me"});
    let hidden = bob.command(&about("delete", "d1", &id, fields)).await;
    assert_eq!(hidden.unwrap()["type"], "delivered");
    let refused = bob.command(&forward("f1", &id, &[&message], &[&id])).await;
    assert_eq!(refused.unwrap()["code"], "not_found");
    // Others still see it.
    let shown = forward("f1", &id, &[&message], &[&id]);
    alice.send(&shown).await.unwrap();
    assert_eq!(answers(&mut alice, 1).await[0]["type"], "delivered");
}
