//! `tidings dev` with few files to open, and more clients than that.

mod support;

use std::process::Command;
use std::time::Duration;

use serde_json::json;
use support::Dev;
use tidings_testkit::{SocketClient, eventually_async};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(60);
/// What it may have open; a third of it is not for clients.
const FILES: &str = "200";

#[tokio::test]
async fn it_serves_as_many_as_it_has_files_for_and_is_not_filled_by_silence() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("log");
    let log = std::fs::File::create(&path).expect("a file");
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"ulimit -n "$0" && exec "$@""#, FILES])
        .arg(env!("CARGO_BIN_EXE_tidings"))
        .args(["dev", "--listen", "127.0.0.1:0", "--log", "info"])
        .args(["--connections-per-user", "0"])
        .stderr(log);
    let dev = Dev::start_by(&mut command, &dir.path().join("data"));
    let address = dev.url.split('/').nth(2).expect("ws://address/path");
    let connect = async || SocketClient::connect(&dev.url, &dev.token).await;
    let mut alice = connect().await.expect("is welcome");
    let group = json!({"type": "create", "temp_id": "c", "kind": "group", "members": ["bob"]});
    let created = alice.command(&group).await.expect("is decided");
    let mut said = 0;
    let mut is_served = async |socket: &mut SocketClient| {
        said += 1;
        let send = json!({"type": "send", "temp_id": format!("m{said}"),
            "conversation_id": created["conversation_id"], "content": {"text": "hello"}});
        let sent = socket.command(&send).await.expect("is decided");
        assert_eq!(sent["type"], "delivered", "{sent}");
    };

    let mut silent = Vec::new();
    for n in 0..300 {
        let tcp = TcpStream::connect(address).await;
        silent.push(tcp.expect("is taken or waits"));
        if n % 50 == 49 {
            is_served(&mut alice).await;
            is_served(&mut connect().await.expect("is welcome")).await;
        }
    }
    // They were not waited for: the oldest went when others came.
    for mut tcp in silent.drain(..100) {
        let ended = tokio::time::timeout(PATIENCE, tcp.read_u8());
        assert!(matches!(ended.await, Ok(Err(_))), "it is still open");
    }
    drop(silent);

    // With a token they stay, and then there is no room for one more.
    let mut welcome = Vec::new();
    while let Ok(socket) = connect().await {
        welcome.push(socket);
        assert!(welcome.len() < 200, "more than it has files for");
    }
    assert!(welcome.len() > 100, "{} are few", welcome.len());
    is_served(&mut alice).await;
    welcome.truncate(50);
    eventually_async(PATIENCE, async || connect().await.is_ok()).await;
    for socket in &mut welcome {
        is_served(socket).await;
    }
    assert_eq!(dev.stop(), Some(0));
    let log = std::fs::read_to_string(&path).expect("the log");
    assert!(!log.contains("cannot accept"), "{log}");
    let lines = log.lines().count();
    assert!(lines < 100, "{lines} lines");
}
