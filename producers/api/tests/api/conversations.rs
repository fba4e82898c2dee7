use serde_json::{Value, json};

use crate::support::System;

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_made_listed_and_changed() {
    let system = System::start().await;
    let (alice, bob) = (system.user("alice"), system.user("bob"));
    let ops = alice.group(&["bob"]).await;
    let direct = alice
        .post(
            "/v1/conversations",
            json!({"kind": "direct", "members": ["bob"]}),
        )
        .await;
    assert_eq!(direct.said(), (201, ""));
    let at = format!("/v1/conversations/{}", direct.text("conversation_id"));
    assert_eq!(direct.header("location"), at);
    // Bob makes the same one.
    let same = bob
        .post(
            "/v1/conversations",
            json!({"kind": "direct", "members": ["alice"]}),
        )
        .await;
    assert_eq!(same.said(), (200, ""), "{same:?}");
    assert_eq!(same.body["duplicate"], true);
    assert_eq!(same.header("location"), at);

    let found = alice.get(&format!("/v1/conversations/{ops}")).await;
    let expected = json!({
        "conversation_id": ops, "kind": "group", "title": "Ops", "role": "owner",
        "last_seq": 1, "last_no": 0, "read_up_to": 0, "unread": 0, "muted": false,
        "archived": false, "closed": false, "last_message": null,
    });
    assert_eq!(found.body, expected);

    let at = format!("/v1/conversations/{ops}");
    for (change, field, expected) in [
        (
            json!({"op": "rename", "title": "On call"}),
            "title",
            json!("On call"),
        ),
        (json!({"op": "close"}), "closed", json!(true)),
        (json!({"op": "reopen"}), "closed", json!(false)),
        (json!({"op": "mute"}), "muted", json!(true)),
        (json!({"op": "unmute"}), "muted", json!(false)),
        (
            json!({"op": "mute", "until": "2100-01-01T00:00:00Z"}),
            "muted",
            json!(true),
        ),
        (json!({"op": "archive"}), "archived", json!(true)),
        (json!({"op": "unarchive"}), "archived", json!(false)),
    ] {
        let changed = alice.put(&at, change.clone()).await;
        assert_eq!(changed.said(), (200, ""), "{change} {changed:?}");
        assert_eq!(alice.get(&at).await.body[field], expected, "{change}");
    }
    let archived = alice.delete(&at).await;
    assert_eq!(archived.said(), (200, ""));
    assert_eq!(alice.get(&at).await.body["archived"], true);
    assert_eq!(bob.get(&at).await.body["archived"], false);

    for (change, said) in [
        (json!({"op": "leave"}), (400, "invalid")),
        (json!({"op": "rename"}), (400, "invalid")),
        (json!({"op": 7}), (400, "invalid")),
        (json!([]), (400, "invalid")),
        (json!({"op": "mute", "until": "tomorrow"}), (400, "invalid")),
    ] {
        assert_eq!(
            alice.put(&at, change.clone()).await.said(),
            said,
            "{change}"
        );
    }
    let forbidden = bob.put(&at, json!({"op": "close"})).await;
    assert_eq!(forbidden.said(), (403, "forbidden"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_paged_and_filtered() {
    let system = System::start().await;
    let alice = system.user("alice");
    let mut groups = Vec::new();
    for _ in 0..3 {
        groups.push(alice.group(&["bob"]).await);
    }
    let direct = json!({"kind": "direct", "members": ["bob"]});
    let direct = alice.post("/v1/conversations", direct).await;
    let ids = |body: &Value| -> Vec<String> {
        let conversations = body["conversations"].as_array().unwrap();
        let id = |found: &Value| found["conversation_id"].as_str().unwrap().to_owned();
        conversations.iter().map(id).collect()
    };
    // Follow the links to the end.
    let (mut seen, mut next) = (
        Vec::new(),
        "/v1/conversations?limit=2&kind=group".to_owned(),
    );
    let mut pages = 0;
    while !next.is_empty() {
        let page = alice.get(&next).await;
        assert_eq!(page.said(), (200, ""), "{next}");
        seen.extend(ids(&page.body));
        let link = page.header("link");
        assert_eq!(link.is_empty(), page.body["next_cursor"].is_null());
        next = link
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""))
            .unwrap_or_default()
            .to_owned();
        pages += 1;
    }
    groups.reverse();
    assert_eq!((seen, pages), (groups, 2));
    let directs = alice.get("/v1/conversations?kind=direct").await;
    assert_eq!(ids(&directs.body), [direct.text("conversation_id")]);
    let channels = alice.get("/v1/conversations?kind=channel").await;
    assert!(ids(&channels.body).is_empty());
    // A limit is put into range; what is no limit at all is refused.
    assert_eq!(
        ids(&alice.get("/v1/conversations?limit=0").await.body).len(),
        1
    );
    assert_eq!(
        ids(&alice.get("/v1/conversations?limit=999").await.body).len(),
        4
    );
    for bad in ["limit=many", "cursor=x", "kind=crowd"] {
        let refused = alice.get(&format!("/v1/conversations?{bad}")).await;
        assert_eq!(refused.said(), (400, "invalid"), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go() {
    let system = System::start().await;
    let (alice, bob) = (system.user("alice"), system.user("bob"));
    let id = alice.group(&["bob"]).await;
    let at = format!("/v1/conversations/{id}/members");
    let added = alice.post(&at, json!({"members": ["carol", "dave"]})).await;
    assert_eq!(added.said(), (200, ""), "{added:?}");
    let promoted = alice
        .put(&format!("{at}/bob/role"), json!({"role": "admin"}))
        .await;
    assert_eq!(promoted.said(), (200, ""));
    let removed = bob.delete(&format!("{at}/carol")).await;
    assert_eq!(removed.said(), (200, ""));

    let roles = |body: &Value| -> Vec<Value> {
        let members = body["members"].as_array().unwrap();
        let role = |member: &Value| json!([member["user_id"], member["role"]]);
        members.iter().map(role).collect()
    };
    let first = bob.get(&format!("{at}?limit=2")).await;
    assert_eq!(
        roles(&first.body),
        [json!(["alice", "owner"]), json!(["bob", "admin"])]
    );
    let cursor = first.text("next_cursor");
    let second = bob.get(&format!("{at}?limit=2&cursor={cursor}")).await;
    assert_eq!(roles(&second.body), [json!(["dave", "member"])]);
    assert!(second.body["next_cursor"].is_null());

    let carol = system.user("carol");
    assert_eq!(carol.get(&at).await.said(), (403, "not_a_member"));
    // Dave goes himself.
    let dave = system.user("dave");
    assert_eq!(dave.delete(&format!("{at}/dave")).await.said(), (200, ""));
    assert_eq!(dave.get(&at).await.said(), (403, "not_a_member"));

    for (path, body, said) in [
        (at.clone(), json!({"members": []}), (400, "invalid")),
        (at.clone(), json!({"members": ["no one"]}), (400, "invalid")),
        (at.clone(), json!({"members": "carol"}), (400, "invalid")),
    ] {
        assert_eq!(alice.post(&path, body.clone()).await.said(), said, "{body}");
    }
    let role = format!("{at}/bob/role");
    for body in [json!({"role": "king"}), json!({})] {
        assert_eq!(alice.put(&role, body).await.said(), (400, "invalid"));
    }
    let bad = alice.delete(&format!("{at}/no%20one")).await;
    assert_eq!(bad.said(), (400, "invalid"));
    // The last owner stays as long as anybody does.
    let last = alice.delete(&format!("{at}/alice")).await;
    assert_eq!(last.said(), (403, "forbidden"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unread_is_counted() {
    let system = System::start().await;
    let (alice, bob) = (system.user("alice"), system.user("bob"));
    let (one, two) = (alice.group(&["bob"]).await, alice.group(&["bob"]).await);
    for text in ["a", "b", "c"] {
        alice.say(&one, text).await;
    }
    alice.say(&two, "d").await;
    let unread = bob.get("/v1/unread").await;
    assert_eq!(unread.body["total"], 4, "{unread:?}");
    assert_eq!(alice.get("/v1/unread").await.body["total"], 0);
    let read = bob
        .post(
            &format!("/v1/conversations/{one}/read"),
            json!({"up_to": 2}),
        )
        .await;
    assert_eq!(read.said(), (200, ""), "{read:?}");
    assert!(read.body.get("seq").is_none(), "it makes no event");
    let read = bob
        .post(
            &format!("/v1/conversations/{two}/read"),
            json!({"up_to": 1}),
        )
        .await;
    assert_eq!(read.said(), (200, ""));
    let unread = bob.get("/v1/unread").await;
    let expected = json!({
        "total": 1, "conversations": [{"conversation_id": one, "unread": 1}],
    });
    assert_eq!(unread.body, expected);
    for bad in [json!({}), json!({"up_to": -1}), json!({"up_to": "x"})] {
        let path = format!("/v1/conversations/{one}/read");
        assert_eq!(
            bob.post(&path, bad.clone()).await.said(),
            (400, "invalid"),
            "{bad}"
        );
    }
}
