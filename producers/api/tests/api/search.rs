use std::time::Duration;

use serde_json::{Value, json};
use tidings_testkit::eventually_async;

use crate::support::{PATIENCE, System};

fn texts(body: &Value, field: &str) -> Vec<String> {
    let hits = body["hits"].as_array().unwrap();
    let text = |hit: &Value| hit[field].as_str().unwrap().to_owned();
    hits.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_conversations_and_users_are_found() {
    let system = System::start().await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    for text in ["one kernel panic", "two kernel panics", "three"] {
        alice.say(&id, text).await;
    }
    let messages = "/v1/search/messages?q=kernel";
    // Answers are kept for a minute, so each look is for something else.
    let mut looks = 0;
    let mut pause = tokio::time::interval(Duration::from_millis(500));
    eventually_async(PATIENCE, async || {
        pause.tick().await;
        looks += 1;
        let look = format!("/v1/search/messages?q=three&limit={looks}");
        alice.get(&look).await.body["total"] == 1
    })
    .await;
    let first = alice.get("/v1/search/messages?q=kernel&limit=1").await;
    assert_eq!(first.said(), (200, ""), "{first:?}");
    assert_eq!(first.body["total"], 2, "{first:?}");
    assert_eq!(
        texts(&first.body, "snippet"),
        ["two <em>kernel</em> panics"]
    );
    let link = first.header("link");
    let next = link
        .strip_prefix('<')
        .and_then(|link| link.strip_suffix(">; rel=\"next\""));
    let second = alice.get(next.unwrap()).await;
    assert_eq!(
        texts(&second.body, "snippet"),
        ["one <em>kernel</em> panic"]
    );
    assert!(second.body["next_cursor"].is_null());

    let conversations = alice.get("/v1/search/conversations?q=ops").await;
    assert_eq!(texts(&conversations.body, "conversation_id"), [id.as_str()]);
    let users = alice.get("/v1/search/users?q=bo").await;
    assert_eq!(texts(&users.body, "user_id"), ["bob"]);
    let all = alice.get("/v1/search?q=three").await;
    assert_eq!(all.body["total"], 1, "{all:?}");

    let suggested = alice.get("/v1/search/suggestions?q=o").await;
    let suggestions = suggested.body["suggestions"].as_array().unwrap();
    assert!(
        suggestions.contains(&json!({
            "kind": "conversation", "conversation_id": id, "title": "Ops",
        })),
        "{suggested:?}"
    );
    let recent = alice.get("/v1/search/recent").await;
    assert_eq!(recent.body["searches"][0], "three");

    // Nobody else finds it.
    let mallory = system.user("mallory");
    let found = mallory.get(messages).await;
    assert_eq!(found.body["hits"], json!([]));
    let path = format!("{messages}&conversation_id={id}");
    assert_eq!(mallory.get(&path).await.said(), (403, "not_a_member"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_searches_say_what_is_wrong() {
    let system = System::start().await;
    let alice = system.user("alice");
    for bad in [
        "",
        "?q=",
        "?q=%20",
        "?q=x&limit=many",
        "?q=x&cursor=y",
        "?q=x&conversation_id=y",
        "?q=x&by=no%20one",
        "?q=x&from=yesterday",
        "?q=x&to=tomorrow",
        "?q=x&has_attachment=maybe",
    ] {
        let refused = alice.get(&format!("/v1/search/messages{bad}")).await;
        assert_eq!(refused.said(), (400, "invalid"), "{bad}");
    }
    let odd = alice.get("/v1/search?q=%22%28AND%20%5E~*%3A").await;
    assert!(odd.status.is_success(), "{odd:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_are_limited() {
    let system = System::start().await;
    let alice = system.user("alice");
    let mut limited = None;
    for _ in 0..=61 {
        let answer = alice.get("/v1/search/users?q=a").await;
        if !answer.status.is_success() {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.expect("sixty a minute");
    assert_eq!(limited.said(), (429, "rate_limited"));
    let wait: u64 = limited.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}
