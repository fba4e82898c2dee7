use std::time::Duration;

use serde_json::json;
use tidings_testkit::eventually_async;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{PATIENCE, Setup, System, group, pick, send};

#[tokio::test(flavor = "multi_thread")]
async fn who_says_no_hello_is_closed_4408() {
    let system =
        System::with_config(|config| config.hello_timeout = Duration::from_millis(200)).await;
    let mut stranger = system.stranger().await;
    let bye = stranger.expect_type("bye").await.unwrap();
    assert_eq!(pick(&bye, &["code", "reconnect"]), json!([4408, false]));
    assert_eq!(stranger.closed().await.unwrap(), 4408);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_is_closed_4008_and_holds_up_nobody() {
    let system = System::with_config(|config| config.outbox_frames = 64).await;
    let mut alice = system.client("alice").await;
    let mut bob = system.client("bob").await;
    let mut carol = system.client("carol").await;
    let id = group(&mut alice, "c1", &["bob", "carol"]).await;
    let text = "x".repeat(16_000);
    // bob reads nothing, so the kernel's buffers and then his outbox fill up.
    let slow = async || {
        let metrics = get(&system.url, "/metrics").await;
        let count = metrics
            .lines()
            .find(|line| line.starts_with("tidings_slow_readers_total "));
        count.is_some_and(|line| !line.ends_with(" 0"))
    };
    let mut sent = 0_u64;
    while !slow().await {
        assert!(sent < 5_000, "bob is not slow after {sent} messages");
        for _ in 0..50 {
            sent += 1;
            alice
                .send(&send(&format!("m{sent}"), &id, &text))
                .await
                .unwrap();
        }
        let last = alice.wait_for(|frame| frame["no"] == sent).await.unwrap();
        assert_eq!(last["type"], "delivered");
        carol
            .wait_for(|frame| frame["event"]["no"] == sent)
            .await
            .unwrap();
    }
    // What was on its way comes, then nothing more.
    let code = bob.closed().await.unwrap();
    assert!([4008, 1006].contains(&code), "{code}");
    let mut bob = system.client("bob").await;
    let sync = json!({"type": "sync", "id": "q1", "conversation_id": id, "after": sent});
    let changes = bob.ask(&sync).await.unwrap();
    assert_eq!(
        pick(&changes, &["type", "last_seq"]),
        json!(["changes", sent + 1])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_is_pinged_and_then_closed_4009() {
    let system = System::with_config(|config| config.heartbeat = Duration::from_millis(300)).await;
    // A reader answers pings, and so stays.
    let mut alice = system.client("alice").await;
    let reading = tokio::time::timeout(Duration::from_millis(1_500), alice.recv());
    assert!(reading.await.is_err(), "nothing came but pings");
    // Who does not even read does not answer.
    let mut bob = system.client("bob").await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    let bye = bob.wait_for(|frame| frame["type"] == "bye").await.unwrap();
    assert_eq!(pick(&bye, &["code", "reconnect"]), json!([4009, true]));
    assert_eq!(bob.closed().await.unwrap(), 4009);
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_finishes_what_is_in_flight_and_closes_4012() {
    let mut system = System::set_up(Setup {
        sequencer: false,
        ..Setup::default()
    })
    .await;
    let mut alice = system.client("alice").await;
    let create = json!({"type": "create", "temp_id": "c1", "kind": "group", "members": ["bob"]});
    alice.send(&create).await.unwrap();
    alice.expect_type("pending").await.unwrap();
    let mut bob = system.client("bob").await;

    let draining = {
        let edge = std::sync::Arc::clone(&system.edge);
        tokio::spawn(async move { edge.drain().await })
    };
    let bye = bob.expect_type("bye").await.unwrap();
    assert_eq!(pick(&bye, &["code", "reconnect"]), json!([4012, true]));
    assert!(bye["retry_after_ms"].is_u64());
    assert_eq!(bob.closed().await.unwrap(), 4012);
    assert!(get(&system.url, "/readyz").await.contains("503"));
    assert!(get(&system.url, "/healthz").await.contains("200"));

    system.start_sequencer();
    assert_eq!(
        alice.expect_type("delivered").await.unwrap()["temp_id"],
        "c1"
    );
    alice.expect_type("bye").await.unwrap();
    assert_eq!(alice.closed().await.unwrap(), 4012);
    eventually_async(PATIENCE, async || draining.is_finished()).await;
    assert!(
        tidings_testkit::SocketClient::open(&system.url)
            .await
            .is_err()
    );
}

/// The whole answer of a plain HTTP request.
async fn get(url: &str, path: &str) -> String {
    let address = url.trim_start_matches("ws://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_names_the_endpoints() {
    let system = System::start().await;
    assert!(get(&system.url, "/").await.contains("/v1/socket"));
    assert!(get(&system.url, "/readyz").await.contains("200"));
}
