use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{Answer, System, message, token_of};

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_good_token_is_challenged() {
    let system = System::start().await;
    let challenged = async |authorization: Option<&str>| {
        let mut request = system.request(Method::GET, "/v1/conversations");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let answer = Answer::of(request).await;
        assert_eq!(answer.said(), (401, "unauthorized"));
        answer.header("www-authenticate").to_owned()
    };
    assert_eq!(challenged(None).await, r#"Bearer realm="tidings""#);
    assert_eq!(
        challenged(Some("Basic x")).await,
        r#"Bearer realm="tidings""#
    );
    let bad = r#"Bearer realm="tidings", error="invalid_token""#;
    assert_eq!(challenged(Some("Bearer nonsense")).await, bad);
    let mut forged = token_of("alice", "acme");
    forged.truncate(forged.len() - 4);
    assert_eq!(challenged(Some(&format!("Bearer {forged}AAAA"))).await, bad);
    // That is said before anything about the request.
    let request = system.request(Method::POST, "/v1/messages").body("{");
    assert_eq!(Answer::of(request).await.said(), (401, "unauthorized"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_have_ids() {
    let system = System::start().await;
    let alice = system.user("alice");
    let given = alice.request(Method::GET, "/v1/unread");
    let answer = Answer::of(given.header("x-request-id", "abc-1")).await;
    assert_eq!(answer.header("x-request-id"), "abc-1");
    let (one, two) = (
        alice.get("/v1/unread").await,
        alice.get("/v1/nowhere").await,
    );
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_http_itself_refuses_is_a_problem_too() {
    let system = System::start().await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    assert_eq!(alice.get("/v1/nowhere").await.said(), (404, "not_found"));
    let patch = Answer::of(alice.request(Method::PATCH, "/v1/messages")).await;
    assert_eq!(patch.said(), (405, "method_not_allowed"));
    assert_eq!(patch.header("allow"), "POST");

    let html = alice
        .request(Method::GET, "/v1/unread")
        .header("accept", "text/html");
    assert_eq!(Answer::of(html).await.said(), (406, "not_acceptable"));

    let post = || alice.request(Method::POST, "/v1/messages");
    let good = message(&id, "hello").to_string();
    let plain = post()
        .header("content-type", "text/plain")
        .body(good.clone());
    assert_eq!(
        Answer::of(plain).await.said(),
        (415, "unsupported_media_type")
    );
    assert_eq!(
        Answer::of(post().body(good.clone())).await.said(),
        (415, "unsupported_media_type")
    );
    let json = || post().header("content-type", "application/json; charset=utf-8");
    assert_eq!(
        Answer::of(json().body(good)).await.status,
        StatusCode::ACCEPTED
    );
    for bad in ["", "{", "[]", "7", "\"x\"", "{}{}"] {
        assert_eq!(
            Answer::of(json().body(bad)).await.said(),
            (400, "invalid"),
            "{bad}"
        );
    }
    assert_eq!(
        Answer::of(json().body(vec![0xff, 0xfe])).await.said(),
        (400, "invalid")
    );
    let large = message(&id, "x").to_string() + &" ".repeat(65_536);
    assert_eq!(
        Answer::of(json().body(large)).await.said(),
        (413, "too_large")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_and_its_page_are_served() {
    let system = System::start().await;
    let response = system
        .request(Method::GET, "/openapi.json")
        .send()
        .await
        .unwrap();
    let served: serde_json::Value = response.json().await.unwrap();
    let committed = include_str!("../../openapi.json");
    assert_eq!(
        served,
        serde_json::from_str::<serde_json::Value>(committed).unwrap()
    );
    assert_eq!(served["openapi"], "3.1.0");
    let page = system.request(Method::GET, "/docs").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.unwrap().contains("swagger-ui"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_route() {
    let system = System::start().await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    alice.get(&format!("/v1/conversations/{id}")).await;
    let read = json!({"up_to": "x"});
    alice
        .post(&format!("/v1/conversations/{id}/read"), read)
        .await;
    let metrics = system
        .request(Method::GET, "/metrics")
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        r#"tidings_api_requests_total{method="GET",route="/v1/conversations/{conversation_id}",status="200"}"#,
        r#"tidings_api_requests_total{method="POST",route="/v1/conversations/{conversation_id}/read",status="400"}"#,
        r#"tidings_api_request_seconds_count{method="GET",route="/v1/conversations/{conversation_id}"}"#,
    ] {
        assert!(metrics.contains(line), "{line} not in {metrics}");
    }
    assert!(!metrics.contains(&id), "no id is a label");
}
