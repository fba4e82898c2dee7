//! The stores and the registry over TLS, as their addresses ask for it: a Redis
//! that speaks it itself, and the others behind an end of TLS as a load
//! balancer is one. That clients look at whom they speak to is tried with a
//! certificate that nobody has signed whom they trust.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use tidings_domain::{ConversationId, Tenant, UserId};
use tidings_service::tls::{Certificate, install_provider};
use tidings_signals::{Exchange, RedisExchange, RedisTiming, Signal, Typing};
use tidings_testkit::{SecureRedis, fresh_name, mongodb_uri, registry_url, search_url};
use tidings_views::cache::{CacheWriter, RedisCache};
use tidings_views::history::{HistoryWriter, MongoHistory};
use tidings_views::search::{OpenSearch, SearchWriter};
use tidings_wire::{Codec, RegistryConfig};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(20);
/// By these the process that asks is told where.
const WHERE: [&str; 4] = ["TLS_REDIS", "TLS_REGISTRY", "TLS_MONGODB", "TLS_SEARCH"];

/// Which certificates are trusted is read from the environment of a process,
/// so it is processes of their own that ask.
#[tokio::test(flavor = "multi_thread")]
async fn stores_are_reached_over_tls_and_only_those_that_are_trusted() {
    if env::var_os("SSL_CERT_FILE").is_some_and(|_| env::var_os(WHERE[0]).is_some()) {
        return ask().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let [chain, key, other] =
        ["chain.pem", "key.pem", "other.pem"].map(|name| folder.path().join(name));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(&chain, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(&other, stranger.cert.pem()).unwrap();

    let servers = tokio::task::spawn_blocking({
        let (chain, key) = (chain.clone(), key.clone());
        move || {
            let redis = SecureRedis::start(&chain, &key, "tidings", "sesame").unwrap();
            (redis, registry_url(), mongodb_uri(), search_url())
        }
    });
    let (redis, registry, mongodb, search) = servers.await.unwrap();
    let certificate = Arc::new(Certificate::load(&chain, &key).unwrap());
    let behind = async |url: &str| {
        let (_, rest) = url.split_once("://").unwrap();
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        let end = end_of_tls(Arc::clone(&certificate), address.to_owned()).await;
        format!("{end}/{path}")
    };
    let registry = format!("https://{}", behind(registry).await);
    let mongodb = format!("mongodb://{}", behind(mongodb).await);
    let search = format!("https://{}", behind(search).await);
    let addresses = [redis.address(), registry, mongodb, search];
    for (trusted, expected) in [(&chain, "trusted"), (&other, "untrusted")] {
        let test = "stores_are_reached_over_tls_and_only_those_that_are_trusted";
        let mut asking = Command::new(env::current_exe().unwrap());
        asking
            .args(["--exact", test, "--nocapture"])
            .env("SSL_CERT_FILE", trusted)
            .env("TLS_EXPECTED", expected)
            .envs(WHERE.into_iter().zip(&addresses));
        let asked = tokio::task::spawn_blocking(move || asking.output().unwrap());
        let asked = asked.await.unwrap();
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert!(asked.status.success(), "{expected}: {said}");
    }
}

/// Takes TLS off, and passes on what is in it; where it listens.
async fn end_of_tls(certificate: Arc<Certificate>, server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (certificate, server) = (Arc::clone(&certificate), server.clone());
            tokio::spawn(async move {
                let mut client = certificate.accept(tcp).await?;
                let mut server = TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address.to_string()
}

async fn ask() {
    install_provider();
    let is_trusted = env::var("TLS_EXPECTED").unwrap() == "trusted";
    let [redis, registry, mongodb, search] = WHERE.map(|name| env::var(name).unwrap());
    let file = env::var("SSL_CERT_FILE").unwrap();
    let expect = |what: &str, error: Option<String>| match error {
        None => assert!(is_trusted, "{what} trusts anybody"),
        Some(error) => {
            assert!(!is_trusted, "{what}: {error}");
            assert!(!error.contains("sesame"), "{what} tells: {error}");
        }
    };
    let cache = |user: &str| {
        let url = format!("rediss://{user}@{redis}");
        RedisCache::new(&url, &fresh_name(), PATIENCE).unwrap()
    };
    let asked = cache("tidings:sesame").cursors().await;
    expect("the cache", asked.err().map(|error| error.to_string()));
    assert!(
        cache("tidings:barley").cursors().await.is_err(),
        "a wrong password"
    );
    if is_trusted {
        signals(&format!("rediss://tidings:sesame@{redis}")).await;
    }

    let config = RegistryConfig {
        url: registry,
        topic_prefix: fresh_name(),
    };
    let registered = Codec::register_all(&config).await;
    expect(
        "the registry",
        registered.err().map(|error| format!("{error:?}")),
    );

    // Its certificates are its own, whatever the system trusts.
    let uri = format!("{mongodb}?tls=true&tlsCAFile={file}&serverSelectionTimeoutMS=2000");
    let history = async { MongoHistory::connect(&uri, "test").await?.prepare().await };
    expect(
        "history",
        history.await.err().map(|error| error.to_string()),
    );

    let search = OpenSearch::new(&search, &fresh_name()).unwrap();
    let prepared = search.prepare().await;
    expect("search", prepared.err().map(|error| error.to_string()));
}

/// Two edges hear each other.
async fn signals(url: &str) {
    let exchange = || RedisExchange::new(url, "", RedisTiming::default()).unwrap();
    let (speaking, listening) = (exchange(), exchange());
    let (signals, _mine) = speaking.attach();
    let (theirs, mut heard) = listening.attach();
    let tenant = Tenant::parse(&fresh_name()).unwrap();
    let (alice, bob) = (
        UserId::parse("alice").unwrap(),
        UserId::parse("bob").unwrap(),
    );
    let conversation_id = ConversationId(uuid::Uuid::new_v4());
    signals
        .came(&tenant, &alice, [conversation_id].into())
        .await;
    theirs.came(&tenant, &bob, [conversation_id].into()).await;
    let typing = Typing {
        tenant,
        conversation_id,
        by: alice,
        on: true,
    };
    // Until the other listens nobody hears.
    tidings_testkit::eventually_async(PATIENCE, async || {
        signals.typing(typing.clone());
        let in_time = Duration::from_millis(200);
        while let Ok(Some(signal)) = tokio::time::timeout(in_time, heard.recv()).await {
            if matches!(signal, Signal::Typing(heard) if heard == typing) {
                return true;
            }
        }
        false
    })
    .await;
}
