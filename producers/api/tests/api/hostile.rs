//! Clients who mean harm, most of them on connections of their own making; and
//! what others notice of them, which is nothing.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Answer, PATIENCE, Setup, System, User, message, token_of};

async fn dial(system: &System) -> TcpStream {
    let address = system.url.trim_start_matches("http://");
    TcpStream::connect(address).await.unwrap()
}

/// Reads until the connection ends; what came.
async fn ended(tcp: &mut TcpStream) -> String {
    let mut came = Vec::new();
    let read = timeout(PATIENCE, tcp.read_to_end(&mut came));
    read.await.expect("it is still open").ok();
    String::from_utf8_lossy(&came).into_owned()
}

/// All that is answered to these bytes, until the server ends the connection.
async fn answers(system: &System, request: &str) -> String {
    let mut tcp = dial(system).await;
    // It may be refused before it is all read.
    tcp.write_all(request.as_bytes()).await.ok();
    ended(&mut tcp).await
}

/// The statuses of the answers in it.
fn statuses(answers: &str) -> Vec<&str> {
    let after = answers.split("HTTP/1.1 ").skip(1);
    after.map(|answer| &answer[..3]).collect()
}

/// A head up to its last header.
fn post(token: &str) -> String {
    format!(
        "POST /v1/messages HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_a_byte_at_a_time_end() {
    let system = System::start().await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    let mut stranger = dial(&system).await;
    let head = post("nonsense") + "content-length: 1000\r\n\r\n{";
    stranger.write_all(head.as_bytes()).await.unwrap();
    let refused = ended(&mut stranger).await;
    assert_eq!(statuses(&refused), ["401"], "before its body is waited for");

    let mut mallory = dial(&system).await;
    let head = post(&token_of("mallory", "acme")) + "content-length: 1000\r\n\r\n{";
    mallory.write_all(head.as_bytes()).await.unwrap();
    let mut came = String::new();
    while came.is_empty() {
        alice.say(&id, "meanwhile").await;
        let mut buffer = [0; 4_096];
        match timeout(Duration::from_millis(200), mallory.read(&mut buffer)).await {
            Ok(read) => came = String::from_utf8_lossy(&buffer[..read.unwrap()]).into_owned(),
            Err(_) => mallory.write_all(b" ").await.unwrap(),
        }
    }
    assert_eq!(statuses(&came), ["400"]);
    assert!(came.contains("The body did not come in time."), "{came}");
    assert!(!ended(&mut mallory).await.contains("HTTP"), "nothing more");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_token_push_out_each_other_and_nobody_else() {
    let mut setup = Setup::default();
    setup.bounds.unauthenticated = 30;
    setup.bounds.head = Duration::from_secs(3_600);
    let system = System::set_up(setup).await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    // Somebody waits for a decision all the while, or for the next 20 s.
    let mut waiting = dial(&system).await;
    let body = message("00000000-0000-4000-8000-000000000000", "x").to_string();
    let token = token_of("bob", "acme");
    let head = format!("{}content-length: {}\r\n\r\n", post(&token), body.len());
    waiting.write_all(head.as_bytes()).await.unwrap();
    let mut silent = Vec::new();
    for n in 0..90 {
        let mut tcp = dial(&system).await;
        if n % 2 == 0 {
            tcp.write_all(b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n")
                .await
                .unwrap();
            tcp.read_exact(&mut [0; 12]).await.unwrap();
        }
        silent.push(tcp);
        if n % 10 == 0 {
            alice.say(&id, "meanwhile").await;
        }
    }
    for tcp in &mut silent[..50] {
        ended(tcp).await;
    }
    // Who has shown a token and is not served yet was never one of them.
    waiting.write_all(body.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    waiting.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 202");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_answer_is_left() {
    let mut setup = Setup::default();
    setup.bounds.answer = Duration::from_millis(500);
    let system = System::set_up(setup).await;
    let mut tcp = dial(&system).await;
    // More is asked for than the kernel keeps for who does not read.
    let asked = "GET /openapi.json HTTP/1.1\r\nhost: t\r\n\r\n".repeat(1_000);
    let gone = async { while tcp.write_all(asked.as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, gone).await.expect("it is still served");
    assert_eq!(
        system.user("alice").get("/v1/unread").await.said(),
        (200, "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_compressed_is_not_unpacked() {
    let system = System::start().await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    let body = message(&id, "hello").to_string();
    let send = |coding: &'static str| {
        let request = alice.request(Method::POST, "/v1/messages");
        let request = request.header("content-type", "application/json");
        request
            .header("content-encoding", coding)
            .body(body.clone())
    };
    for coding in ["gzip", "deflate", "br", "zstd", "identity, gzip", "x"] {
        let answer = Answer::of(send(coding)).await;
        assert_eq!(answer.said(), (415, "unsupported_media_type"), "{coding}");
    }
    assert_eq!(Answer::of(send("identity")).await.said(), (202, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_request_ends_is_never_in_doubt() {
    let system = System::start().await;
    let token = token_of("alice", "acme");
    let smuggled = "GET /v1/unread HTTP/1.1\r\nhost: t\r\n\r\n";
    // Both lengths: chunked counts, and the connection is not used again.
    for both in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
    ] {
        let request = format!("{}{both}\r\n2\r\n{{}}\r\n0\r\n\r\n{smuggled}", post(&token));
        let came = answers(&system, &request).await;
        assert_eq!(statuses(&came), ["400"], "{came}");
        assert!(came.contains("is missing"), "of the body {{}}: {came}");
    }
    for bad in [
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: 2, 3\r\n",
        "content-length: +2\r\n",
        "content-length: -2\r\n",
        "content-length: 0x2\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: identity\r\n",
        "content-length : 2\r\n",
        "x: y\r\n folded: z\r\n",
        "x\0: y\r\n",
    ] {
        let request = format!("{}{bad}\r\n{{}}{smuggled}", post(&token));
        let came = answers(&system, &request).await;
        assert_eq!(statuses(&came), ["400"], "{bad}: {came}");
    }
    // Chunks whose lengths are no lengths.
    for chunk in [
        "fffffffffffffffff\r\n",
        "-1\r\n{}",
        "2\r\n{}x\r\n",
        "zz\r\n",
    ] {
        let head = format!("{}transfer-encoding: chunked\r\n\r\n", post(&token));
        let came = answers(&system, &format!("{head}{chunk}0\r\n\r\n{smuggled}")).await;
        assert_eq!(statuses(&came), ["400"], "{chunk}: {came}");
    }
    let old = post(&token).replace("1.1", "1.0") + "transfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(statuses(&answers(&system, &old).await), ["400"]);
    let two = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(answers(&system, two).await, "", "who speaks something else");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_their_limits() {
    let system = System::start().await;
    let alice = system.user("alice");
    let get = |query: &str, headers: &str| {
        format!("GET /v1/unread{query} HTTP/1.1\r\nhost: t\r\n{headers}\r\n")
    };
    let long = "x".repeat(20_000);
    let many: String = (0..5_000).map(|n| format!("x{n}: y\r\n")).collect();
    for (request, status) in [
        (get("", &format!("x: {long}\r\n")), "431"),
        (get("", &many), "431"),
        (get(&format!("?x={long}"), ""), "431"),
        (get("", &format!("authorization: Bearer {long}\r\n")), "431"),
    ] {
        let came = answers(&system, &request).await;
        assert_eq!(statuses(&came), [status], "{}", request.len());
    }
    // What fits is read, and refused for what it says.
    let fits = format!("/v1/search?q={}", "a".repeat(10_000));
    assert_eq!(alice.get(&fits).await.said(), (400, "invalid"));
    let parameters = "a=b&".repeat(3_000);
    assert_eq!(
        alice.get(&format!("/v1/unread?{parameters}")).await.said(),
        (200, "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn json_made_to_hurt_is_answered_like_any_other() {
    let system = System::start().await;
    let alice = system.user("alice");
    let id = alice.group(&["bob"]).await;
    let send = async |alice: &User<'_>, body: String| {
        let request = alice.request(Method::POST, "/v1/messages");
        let request = request.header("content-type", "application/json");
        Answer::of(request.header("prefer", "wait=20").body(body)).await
    };
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let with = |field: &str| {
        format!(r#"{{"conversation_id":"{id}","content":{{"text":"hello"{field}}}}}"#)
    };
    for bad in [
        "[".repeat(65_000),
        nested(32_000),
        "{\"content\":".repeat(5_000),
        with(&format!(r#","meta":{{"m":{}}}"#, nested(32))),
        with(r#","meta":{"m":1e999}"#),
        with(r#","meta":{"m":"\ud800"}"#),
        with(r#","text":"\udc00""#),
        with(&format!(r#","text":{}"#, nested(10_000))),
        with(&format!(r#","text":{}"#, "9".repeat(60_000))),
    ] {
        let answer = send(&alice, bad.clone()).await;
        assert_eq!(
            answer.said(),
            (400, "invalid"),
            "{}",
            &bad[..bad.len().min(200)]
        );
    }
    // Deep and skipped over, or said many times: the last one counts.
    let ignored = format!(
        r#"{{"x":{},"conversation_id":"{id}","content":{{"text":"1"}}}}"#,
        nested(20_000)
    );
    assert_eq!(send(&alice, ignored).await.said(), (201, ""));
    let repeated = with(&r#","text":"hello""#.repeat(3_000));
    assert_eq!(send(&alice, repeated).await.said(), (201, ""));
    let odd = "a\0b\u{202e}c\u{feff}\u{1f4a3}";
    let said = alice.say(&id, odd).await;
    let read = async || alice.get(&format!("/v1/messages/{said}")).await.body;
    tidings_testkit::eventually_async(PATIENCE, async || read().await["content"]["text"] == odd)
        .await;
    let numbers = json!({"up_to": 1e300});
    let read = alice
        .post(&format!("/v1/conversations/{id}/read"), numbers)
        .await;
    assert_eq!(read.said(), (400, "invalid"));
    assert_eq!(
        alice
            .get("/v1/conversations?limit=99999999999999999999")
            .await
            .said(),
        (400, "invalid")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_to_files_and_no_method_to_more() {
    let system = System::start().await;
    for path in [
        "/docs/../Cargo.toml",
        "/docs/../../../../../../etc/passwd",
        "/docs/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/docs/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/docs//etc/passwd",
        "/docs/..\\..\\etc\\passwd",
        "/docs/index.html%00.css",
        "//etc/passwd",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
        let came = answers(&system, &request).await;
        assert!(
            ["400", "404"].contains(&statuses(&came)[0]),
            "{path}: {came}"
        );
        assert!(
            !came.contains("root:") && !came.contains("[package]"),
            "{came}"
        );
    }
    for method in ["TRACE", "CONNECT", "PATCH", "BREW"] {
        let request = format!(
            "{method} /v1/messages HTTP/1.1\r\nhost: t\r\nx-secret: z\r\nconnection: close\r\n\r\n"
        );
        let came = answers(&system, &request).await;
        assert!(
            ["400", "404", "405"].contains(&statuses(&came)[0]),
            "{method}: {came}"
        );
        assert!(!came.contains("x-secret"), "nothing is echoed: {came}");
    }
}

/// A page of another site gets no leave from here, and would have no token.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_may_neither_ask_nor_read() {
    let system = System::start().await;
    let asked = system
        .request(Method::OPTIONS, "/v1/messages")
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization, content-type",
        );
    let answer = Answer::of(asked).await;
    assert_eq!(answer.said(), (405, "method_not_allowed"));
    let alice = system.user("alice");
    let read = alice
        .request(Method::GET, "/v1/unread")
        .header("origin", "https://evil.example");
    let read = Answer::of(read).await;
    for answer in [answer, read] {
        let mut names = answer.headers.keys();
        assert!(
            names.all(|name| !name.as_str().starts_with("access-control")),
            "{answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_stands_in_its_header_only() {
    let system = System::start().await;
    let token = token_of("alice", "acme");
    for path in ["token", "access_token", "authorization"] {
        let request = system.request(Method::GET, &format!("/v1/unread?{path}={token}"));
        assert_eq!(Answer::of(request).await.said(), (401, "unauthorized"));
    }
    let cookie = system
        .request(Method::GET, "/v1/unread")
        .header("cookie", format!("token={token}"));
    assert_eq!(Answer::of(cookie).await.said(), (401, "unauthorized"));
}
