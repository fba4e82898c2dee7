use std::time::Duration;

use rcgen::CertifiedKey;
use serde_json::json;
use tidings_service::tls::Certificate;
use tidings_testkit::SocketClient;
use tokio::io::AsyncWriteExt;

use crate::support::{Setup, System, group, send, token};

/// Over TLS everything is as it is in the clear: long frames both ways, a
/// connection that rests in between, a close in good order. Who trusts another
/// certificate, or speaks no TLS, gets nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn sockets_over_tls() {
    let localhost = || rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let CertifiedKey { cert, signing_key } = localhost();
    let folder = tempfile::tempdir().unwrap();
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&chain, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let mut setup = Setup {
        certificate: Some(Certificate::load(&chain, &key).unwrap()),
        ..Setup::default()
    };
    setup.bounds.handshake = Duration::from_millis(500);
    let system = System::set_up(setup).await;

    let url = system.url.as_str();
    let connect = async |user: &str| {
        let trusted = cert.der().clone();
        let mut client = SocketClient::open_trusting(url, trusted).await.unwrap();
        let hello = json!({"type": "hello", "token": token(user)});
        client.send(&hello).await.unwrap();
        client.expect_type("welcome").await.unwrap();
        client
    };
    let (mut alice, mut bob) = (connect("alice").await, connect("bob").await);
    let id = group(&mut alice, "c1", &["bob"]).await;
    for n in 1..=3 {
        let text = "x".repeat(5_000 * n);
        let sent = alice.command(&send(&format!("m{n}"), &id, &text)).await;
        assert_eq!(sent.unwrap()["type"], "delivered");
        let heard = bob.wait_for(|frame| frame["event"]["no"] == n).await;
        assert_eq!(heard.unwrap()["event"]["content"]["text"], text);
    }
    bob.close().await.unwrap();

    let other = localhost().cert.der().clone();
    let refused = SocketClient::open_trusting(url, other).await;
    let error = format!("{:#}", refused.unwrap_err());
    assert!(error.contains("certificate"), "{error}");
    // Handshakes that were begun and left end, and hold up nobody.
    let mut left = Vec::new();
    for _ in 0..50 {
        let mut tcp = crate::hostile::dial(url).await;
        tcp.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
        left.push(tcp);
    }
    let sent = alice.command(&send("m5", &id, "meanwhile")).await;
    assert_eq!(sent.unwrap()["type"], "delivered");
    connect("carol").await;
    for tcp in &mut left {
        crate::hostile::ended(tcp).await;
    }
    let in_the_clear = url.replace("wss://", "ws://");
    assert!(SocketClient::open(&in_the_clear).await.is_err());
    let sent = alice.command(&send("m4", &id, "still there")).await;
    assert_eq!(sent.unwrap()["type"], "delivered");
}
