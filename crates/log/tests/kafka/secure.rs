//! A broker that wants TLS and a password.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidings_log::LogError;
use tidings_log::kafka::{KafkaConfig, KafkaLog};
use tidings_testkit::SecureKafka;

use crate::{apply, declared};

/// A key and its certificate for 127.0.0.1: both in one file for the broker,
/// the certificate alone for its clients.
fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("is made");
    let (key, certificate) = (made.signing_key.serialize_pem(), made.cert.pem());
    let (keystore, ca) = (folder.join("keystore.pem"), folder.join("ca.pem"));
    fs::write(&keystore, format!("{key}{certificate}")).expect("writes");
    fs::write(&ca, certificate).expect("writes");
    (keystore, ca)
}

#[test]
fn a_file_of_properties_opens_a_broker_with_tls_and_sasl() {
    let folder = TempDir::new().expect("a folder");
    let (keystore, ca) = certificate(folder.path());
    let kafka = SecureKafka::start(&keystore, "tidings", "open sesame").expect("starts");
    let config = |name: &str, password: &str| {
        let file = folder.path().join(name);
        let text = format!(
            "security.protocol=SASL_SSL\nssl.ca.location={}\n\
             sasl.mechanism=PLAIN\nsasl.username=tidings\nsasl.password={password}\n",
            ca.display()
        );
        fs::write(&file, text).expect("writes");
        let mut config = KafkaConfig::new(kafka.brokers())
            .with_properties(Some(&file))
            .expect("are properties");
        config.topic_prefix = "secure-".to_owned();
        config
    };
    let right = config("right.properties", "open sesame");
    apply(&right, &declared("secure-", 2));
    let log = KafkaLog::connect(right).expect("connects");
    assert_eq!(tidings_log::LogReader::partitions(&log), 2);

    // Who may not in is told so, in time.
    let begun = Instant::now();
    for wrong in [
        config("wrong.properties", "open barley"),
        KafkaConfig {
            topic_prefix: "secure-".to_owned(),
            ..KafkaConfig::new(kafka.brokers())
        },
    ] {
        let refused = KafkaLog::connect(wrong).map(drop);
        assert!(
            matches!(&refused, Err(LogError::Unavailable(why)) if !why.contains("barley")),
            "{refused:?}"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
}
