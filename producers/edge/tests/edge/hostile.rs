//! Clients who mean harm, on connections of their own making; and what others
//! notice of them, which is nothing.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::json;
use tidings_testkit::{SocketClient, eventually_async};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{PATIENCE, Setup, System, group, pick, send, token, token_for};

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const PING: u8 = 9;
const NEVER: Duration = Duration::from_secs(3_600);

/// Connects and says nothing.
pub(crate) async fn dial(url: &str) -> TcpStream {
    let address = url.split_once("://").unwrap().1;
    TcpStream::connect(address).await.unwrap()
}

/// Reads until the edge ends the connection; what came.
pub(crate) async fn ended(tcp: &mut TcpStream) -> Vec<u8> {
    let mut came = Vec::new();
    let read = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut came));
    // One that is reset has ended, too.
    read.await.expect("it is still open").ok();
    came
}

/// What has come by now: none is nothing yet, an empty one that it has ended.
fn come_by_now(tcp: &TcpStream) -> Option<Vec<u8>> {
    let mut buffer = [0; 4_096];
    match tcp.try_read(&mut buffer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        read => Some(buffer[..read.unwrap_or(0)].to_vec()),
    }
}

/// An upgraded connection, and the head of the answer.
async fn upgraded(url: &str, more_headers: &str) -> (TcpStream, String) {
    let mut tcp = dial(url).await;
    let request = format!(
        "GET /v1/socket HTTP/1.1\r\nhost: t\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         {more_headers}\r\n"
    );
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    (tcp, String::from_utf8(head).unwrap())
}

/// The same after a hello and its welcome.
async fn welcomed(url: &str, user: &str) -> TcpStream {
    let (mut tcp, _) = upgraded(url, "").await;
    let hello = json!({"type": "hello", "token": token(user)}).to_string();
    tcp.write_all(&frame(FIN | TEXT, hello.as_bytes()))
        .await
        .unwrap();
    let mut came = Vec::new();
    while !String::from_utf8_lossy(&came).contains("max_frame_bytes") {
        came.push(tcp.read_u8().await.unwrap());
    }
    // The end of the object.
    while came.last() != Some(&b'}') {
        came.push(tcp.read_u8().await.unwrap());
    }
    tcp
}

/// A frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame
}

fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..=125 => header.push(0x80 | length as u8),
        126..=0xffff => {
            header.push(0x80 | 126);
            header.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend_from_slice(&length.to_be_bytes());
        }
    }
    header.extend_from_slice(&[0; 4]);
    header
}

/// The code of the close frame at the end of what came.
fn close_code(came: &[u8]) -> Option<u16> {
    let bye = String::from_utf8_lossy(came);
    let (_, after) = bye.split_once(r#"{"type":"bye","code":"#)?;
    after.get(..4)?.parse().ok()
}

/// What every attack is measured by: others are served.
struct Bystanders {
    alice: SocketClient,
    bob: SocketClient,
    conversation: String,
    said: u64,
}

impl Bystanders {
    async fn of(system: &System) -> Self {
        let mut alice = system.client("alice").await;
        let bob = system.client("bob").await;
        let conversation = group(&mut alice, "c1", &["bob"]).await;
        Self {
            alice,
            bob,
            conversation,
            said: 0,
        }
    }

    async fn are_served(&mut self) {
        self.said += 1;
        let said = self.said;
        let message = send(&format!("m{said}"), &self.conversation, "hello");
        let sent = self.alice.command(&message).await.unwrap();
        assert_eq!(pick(&sent, &["type", "no"]), json!(["delivered", said]));
        let heard = self.bob.wait_for(|frame| frame["event"]["no"] == said);
        heard.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_a_byte_at_a_time_end() {
    let mut setup = Setup::default();
    setup.bounds.head = Duration::from_millis(500);
    let system = System::set_up(setup).await;
    let mut others = Bystanders::of(&system).await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        slow.push(dial(&system.url).await);
    }
    let head = b"GET /v1/socket HTTP/1.1\r\nhost: t\r\nx-padding: ".iter();
    let mut endless = head.chain(std::iter::repeat(&b'x'));
    while !slow.is_empty() {
        let byte = *endless.next().unwrap();
        let mut left = Vec::new();
        for mut tcp in slow {
            let is_open = tcp.write_all(&[byte]).await.is_ok();
            if is_open && come_by_now(&tcp).is_none() {
                left.push(tcp);
            }
        }
        slow = left;
        others.are_served().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_push_out_each_other_and_nobody_else() {
    let mut setup = Setup::default();
    // They would have all the time in the world, and places.
    setup.bounds.unauthenticated = 40;
    (setup.bounds.head, setup.config.hello_timeout) = (NEVER, NEVER);
    setup.config.limits.max_connections = 10;
    let system = System::set_up(setup).await;
    let mut others = Bystanders::of(&system).await;
    let mut silent = Vec::new();
    for n in 0..120 {
        silent.push(match n % 3 {
            0 => dial(&system.url).await,
            1 => upgraded(&system.url, "").await.0,
            // It was answered, and idles.
            _ => {
                let mut tcp = dial(&system.url).await;
                tcp.write_all(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n")
                    .await
                    .unwrap();
                tcp.read_exact(&mut [0; 12]).await.unwrap();
                tcp
            }
        });
        if n % 20 == 0 {
            others.are_served().await;
            let newcomer = system.client("carol").await;
            newcomer.close().await.unwrap();
        }
    }
    for tcp in &mut silent[..60] {
        ended(tcp).await;
    }
    let figures = metrics(&system.url).await;
    assert!(figure(&figures, "tidings_http_evicted_total") >= 60);
    let last = silent.last().unwrap();
    assert!(come_by_now(last).is_none_or(|came| !came.is_empty()));
    others.are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_a_byte_at_a_time_is_missing() {
    let system =
        System::with_config(|config| config.hello_timeout = Duration::from_millis(500)).await;
    let mut others = Bystanders::of(&system).await;
    let (mut tcp, _) = upgraded(&system.url, "").await;
    let hello = json!({"type": "hello", "token": "x".repeat(10_000)}).to_string();
    let mut came = Vec::new();
    for byte in frame(FIN | TEXT, hello.as_bytes()) {
        match come_by_now(&tcp) {
            None => tcp.write_all(&[byte]).await.unwrap(),
            Some(now) => {
                came.extend(now);
                break;
            }
        }
        others.are_served().await;
    }
    came.extend(ended(&mut tcp).await);
    assert_eq!(close_code(&came), Some(4408));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_hello_nothing_large_is_taken() {
    let system = System::start().await;
    // No byte of it need come.
    for length in [16 * 1024 + 1, 60_000, 1 << 31, 1 << 62] {
        let (mut tcp, _) = upgraded(&system.url, "").await;
        tcp.write_all(&header(FIN | TEXT, length)).await.unwrap();
        assert_eq!(close_code(&ended(&mut tcp).await), Some(4400), "{length}");
    }
    let (mut tcp, _) = upgraded(&system.url, "").await;
    let first = frame(TEXT, b"{");
    let more = frame(CONTINUE, &[b' '; 4_000]);
    tcp.write_all(&[first, more.repeat(5)].concat())
        .await
        .unwrap();
    assert_eq!(close_code(&ended(&mut tcp).await), Some(4400));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_never_end_do_not_stay() {
    let system = System::with_config(|config| config.heartbeat = Duration::from_millis(500)).await;
    let mut others = Bystanders::of(&system).await;
    let never_comes = header(FIN | TEXT, 60_000);
    for (begun, repeated, code) in [
        // Its length is announced, and then nothing.
        (never_comes, Vec::new(), 4009),
        (header(FIN | TEXT, 1 << 62), Vec::new(), 4400),
        // Fragments of nothing are no sign of life.
        (frame(TEXT, b"{"), frame(CONTINUE, b""), 4009),
        // Small ones make a message that is too large in the end.
        (
            frame(TEXT, b"{"),
            frame(CONTINUE, &[b' '; 100]).repeat(400),
            4400,
        ),
    ] {
        let mut tcp = welcomed(&system.url, "mallory").await;
        tcp.write_all(&begun).await.unwrap();
        let mut came = Vec::new();
        loop {
            others.are_served().await;
            match come_by_now(&tcp) {
                Some(now) if now.is_empty() => break,
                Some(now) => came.extend(now),
                // It may be closed by now, which the next read tells.
                None => drop(tcp.write_all(&repeated).await),
            }
        }
        assert_eq!(close_code(&came), Some(code));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_is_neither_negotiated_nor_taken() {
    let system = System::start().await;
    let offer = "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n";
    let (_tcp, head) = upgraded(&system.url, offer).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(!head.to_lowercase().contains("extensions"), "{head}");
    let unmasked = [FIN | TEXT, 15].iter().chain(br#"{"type":"ping"}"#);
    for bad in [
        frame(FIN | RSV1 | TEXT, b"a deflated bomb"),
        frame(FIN | PING, &[0; 126]),
        frame(PING, b"half a ping"),
        frame(FIN | CONTINUE, b"of nothing"),
        frame(FIN | 3, b"no such opcode"),
        unmasked.copied().collect(),
    ] {
        let mut tcp = welcomed(&system.url, "mallory").await;
        tcp.write_all(&bad).await.unwrap();
        assert_eq!(close_code(&ended(&mut tcp).await), Some(4400), "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_pings_hold_up_nobody() {
    let system = System::start().await;
    let mut others = Bystanders::of(&system).await;
    // Neither reads what it is answered.
    let mut protocol = welcomed(&system.url, "mallory").await;
    let mut own = welcomed(&system.url, "mallory").await;
    let pings = frame(FIN | PING, &[b'x'; 125]).repeat(100);
    let own_pings = frame(FIN | TEXT, br#"{"type":"ping"}"#).repeat(100);
    // One is not read from any more, the other is closed as a slow reader.
    let flood = async |tcp: &mut TcpStream, pings: &[u8]| {
        let is_stuck = Duration::from_secs(2);
        let mut flooded = 0;
        while let Ok(Ok(())) = tokio::time::timeout(is_stuck, tcp.write_all(pings)).await {
            flooded += pings.len();
            assert!(
                flooded < 64 << 20,
                "{flooded} bytes were read, and nothing back"
            );
        }
    };
    let flooding =
        async { tokio::join!(flood(&mut protocol, &pings), flood(&mut own, &own_pings)) };
    let mut flooding = std::pin::pin!(flooding);
    let mut rounds = 0;
    loop {
        tokio::select! {
            biased;
            _ = &mut flooding => break,
            () = others.are_served() => rounds += 1,
        }
    }
    assert!(rounds > 0);
    others.are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_come_and_go_leave_nothing() {
    let system = System::with_config(|config| config.limits.max_connections = 4).await;
    let mut others = Bystanders::of(&system).await;
    for n in 0..300 {
        drop(dial(&system.url).await);
        drop(upgraded(&system.url, "").await);
        // Its place is free as soon as the edge has seen the last one go.
        eventually_async(PATIENCE, async || {
            let token = token(&format!("user{n}"));
            SocketClient::connect(&system.url, &token).await.is_ok()
        })
        .await;
        if n % 20 == 0 {
            others.are_served().await;
        }
    }
    others.are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_made_to_hurt_is_answered_like_any_other() {
    let system = System::start().await;
    let mut others = Bystanders::of(&system).await;
    let id = others.conversation.clone();
    for bad in [
        "[".repeat(65_000),
        "{\"a\":".repeat(13_000),
        "\"\\ud800".repeat(8_000),
    ] {
        let mut mallory = system.client("mallory").await;
        mallory.send_message(Message::text(bad)).await.unwrap();
        assert_eq!(mallory.closed().await.unwrap(), 4400);
    }
    let sent = |content: &str| {
        format!(r#"{{"type":"send","temp_id":"x","conversation_id":"{id}","content":{content}}}"#)
    };
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let repeated = r#""type":"ping","#.repeat(4_000);
    let table = [
        // Deep, but skipped over.
        (
            format!(r#"{{"type":"ping","x":{}}}"#, nested(30_000)),
            "pong",
        ),
        // The last one counts.
        (format!("{{{repeated}\"type\":\"dance\"}}"), "unknown_type"),
        (sent(&nested(10_000)), "invalid"),
        (
            sent(&format!(r#"{{"text":"x","meta":{{"m":{}}}}}"#, nested(32))),
            "invalid",
        ),
        (sent(r#"{"text":"x","meta":{"m":1e999}}"#), "invalid"),
        (sent(r#"{"text":"x","meta":{"m":"\ud800"}}"#), "invalid"),
        (sent(r#"{"text":"\udc00"}"#), "invalid"),
        (
            sent(r#"{"text":"x","attachments":[{"id":"a","name":"b","mime":"c","size":1e400}]}"#),
            "invalid",
        ),
        (
            format!(
                r#"{{"type":"read","temp_id":"x","conversation_id":"{id}","up_to":{}}}"#,
                "9".repeat(60_000)
            ),
            "invalid",
        ),
        (
            format!(r#"{{"type":"sync","id":"q","conversation_id":"{id}","after":-1e400}}"#),
            "invalid",
        ),
    ];
    for (text, expected) in table {
        others
            .alice
            .send_message(Message::text(text.clone()))
            .await
            .unwrap();
        let answer = others.alice.recv().await.unwrap();
        let said = if answer["code"].is_null() {
            &answer["type"]
        } else {
            &answer["code"]
        };
        assert_eq!(said, expected, "{}: {answer}", &text[..text.len().min(200)]);
    }
    // What is odd and allowed comes back as it went in.
    let odd = "a\0b\u{202e}c\u{feff}\u{1f4a3}";
    others.said += 1;
    others.alice.command(&send("odd", &id, odd)).await.unwrap();
    let heard = others.bob.wait_for(|frame| frame["event"]["no"] == 1).await;
    assert_eq!(heard.unwrap()["event"]["content"]["text"], odd);
    let history = json!({"type": "history", "id": "h", "conversation_id": id});
    eventually_async(PATIENCE, async || {
        let page = others.alice.ask(&history).await.unwrap();
        page["messages"][0]["content"]["text"] == odd
    })
    .await;
    others.are_served().await;
}

/// There is no cookie, so what a page of another site may open is worth
/// nothing without a token, which only its own pages have.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_needs_a_token_like_anybody() {
    let system = System::start().await;
    let from_elsewhere = "origin: https://evil.example\r\ncookie: token=x; session=y\r\n";
    let (mut tcp, head) = upgraded(&system.url, from_elsewhere).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(!head.to_lowercase().contains("cookie"), "{head}");
    let list = json!({"type": "list", "id": "q"}).to_string();
    tcp.write_all(&frame(FIN | TEXT, list.as_bytes()))
        .await
        .unwrap();
    assert_eq!(close_code(&ended(&mut tcp).await), Some(4401));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_be_used_twice_and_is_looked_at_once() {
    let system = System::start().await;
    let soon = token_for("alice", 4_000);
    let mut first = SocketClient::connect(&system.url, &soon).await.unwrap();
    let mut second = SocketClient::connect(&system.url, &soon).await.unwrap();
    // It ends; nobody comes in by it any more, and who is in stays.
    eventually_async(PATIENCE, async || {
        SocketClient::connect(&system.url, &soon).await.is_err()
    })
    .await;
    for socket in [&mut first, &mut second] {
        let list = socket
            .ask(&json!({"type": "list", "id": "q"}))
            .await
            .unwrap();
        assert_eq!(list["type"], "conversations");
    }
    // Where a token stands in an address, it is none.
    let mut stranger = SocketClient::open(&format!(
        "{}/v1/socket?token={}",
        system.url,
        token("alice")
    ))
    .await
    .unwrap();
    stranger
        .send(&json!({"type": "list", "id": "q"}))
        .await
        .unwrap();
    stranger.expect_type("bye").await.unwrap();
    assert_eq!(stranger.closed().await.unwrap(), 4401);
}

async fn metrics(url: &str) -> String {
    let mut tcp = dial(url).await;
    let request = "GET /metrics HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
    tcp.write_all(request.as_bytes()).await.unwrap();
    String::from_utf8(ended(&mut tcp).await).unwrap()
}

/// Of all edges of this process.
fn figure(metrics: &str, name: &str) -> u64 {
    let mut lines = metrics.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines.find(|(found, _)| *found == name).unwrap();
    value.parse().unwrap()
}
