//! The codec on a real schema registry.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod values;

use std::thread;

use bytes::Bytes;
use serde_json::{Value, json};
use tidings_testkit::{fresh_prefix, registry_url};
use tidings_wire::{Codec, DecodeError, Record, RegistryConfig, RegistryError, Topic};
use values::{commands, trace};

const READ_SCHEMA: &str = include_str!("../../../schemas/message.read.avsc");

fn fresh() -> RegistryConfig {
    RegistryConfig {
        url: registry_url().to_owned(),
        topic_prefix: fresh_prefix(),
    }
}

/// Decoding blocks, so it needs a thread of its own.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap())
}

/// Posts a schema to a topic's subject: the status, and the answer.
async fn post(config: &RegistryConfig, topic: Topic, schema: &str) -> (u16, Value) {
    let url = format!(
        "{}/subjects/{}{topic}-value/versions",
        config.url, config.topic_prefix
    );
    let response = reqwest::Client::new()
        .post(url)
        .json(&json!({"schema": schema}))
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

/// The schema of read commands with a field more.
fn with_field(field: Value) -> String {
    let mut schema: Value = serde_json::from_str(READ_SCHEMA).unwrap();
    schema["fields"].as_array_mut().unwrap().push(field);
    schema.to_string()
}

fn read_command() -> (tidings_domain::Command, Topic) {
    let mut commands = commands().into_iter();
    let topic = Topic::MessageRead;
    (
        commands
            .find(|command| Topic::of_command(command) == topic)
            .unwrap(),
        topic,
    )
}

fn framed(record: &Record, id: u32, more: &[u8]) -> Record {
    let datum = &record.value.as_ref().unwrap()[5..];
    let value = [&[0], id.to_be_bytes().as_slice(), datum, more].concat();
    Record {
        value: Some(Bytes::from(value)),
        ..record.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_codec_writes_another_reads() {
    let config = fresh();
    let subjects = Codec::register_all(&config).await.unwrap();
    assert_eq!(subjects.len(), Topic::WITH_SCHEMA.len());
    assert_eq!(
        subjects[0].0,
        format!("{}message.sent-value", config.topic_prefix)
    );
    assert_eq!(
        Codec::register_all(&config).await.unwrap(),
        subjects,
        "it may be done again"
    );

    let writer = Codec::connect(&config).await.unwrap();
    let reader = Codec::connect(&config).await.unwrap();
    for command in commands() {
        let topic = Topic::of_command(&command);
        let record = writer.encode_command(&command, trace()).unwrap();
        let at = Topic::WITH_SCHEMA
            .iter()
            .position(|it| *it == topic)
            .unwrap();
        assert_eq!(
            record.value.as_ref().unwrap()[1..5],
            subjects[at].1.to_be_bytes()
        );
        let read = on_a_thread(|| reader.decode_command(topic, &record));
        assert_eq!(read.unwrap(), command);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_our_settings_is_refused() {
    let config = fresh();
    let Err(error) = Codec::connect(&config).await else {
        panic!("its settings are not ours")
    };
    assert!(matches!(error, RegistryError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("FULL_TRANSITIVE"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_refuses_what_could_not_be_read() {
    let config = fresh();
    Codec::register_all(&config).await.unwrap();
    let schema = with_field(json!({"name": "device", "type": "string"}));
    let (status, answer) = post(&config, Topic::MessageRead, &schema).await;
    assert_eq!(status, 409, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_is_looked_up_and_read() {
    let config = fresh();
    Codec::register_all(&config).await.unwrap();
    let codec = Codec::connect(&config).await.unwrap();
    let field = json!({"name": "device", "type": ["null", "string"], "default": null});
    let (status, answer) = post(&config, Topic::MessageRead, &with_field(field)).await;
    assert_eq!(status, 200, "{answer}");
    let id = u32::try_from(answer["id"].as_u64().unwrap()).unwrap();

    let (command, topic) = read_command();
    let record = codec.encode_command(&command, trace()).unwrap();
    let newer = framed(&record, id, &[2, 10, b'p', b'h', b'o', b'n', b'e']);
    let (read, json) = on_a_thread(|| (codec.decode_command(topic, &newer), codec.to_json(&newer)));
    assert_eq!(read.unwrap(), command);
    assert_eq!(json.unwrap()["device"], "phone");
    // Our own version stays ours.
    let again = Codec::connect(&config).await.unwrap();
    assert_eq!(
        again.encode_command(&command, trace()).unwrap().value,
        record.value
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_id_and_a_silent_registry_are_told_apart() {
    let config = fresh();
    Codec::register_all(&config).await.unwrap();
    let codec = Codec::connect(&config).await.unwrap();
    let (command, topic) = read_command();
    let record = codec.encode_command(&command, trace()).unwrap();
    let unknown = framed(&record, 1_999_999_999, &[]);
    let error = on_a_thread(|| codec.decode_command(topic, &unknown)).unwrap_err();
    assert!(
        matches!(error, DecodeError::UnknownSchema(1_999_999_999)),
        "{error}"
    );

    // A port that was free a moment ago: nobody answers there.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let nowhere = RegistryConfig {
        url: format!("http://127.0.0.1:{port}"),
        ..config
    };
    let Err(error) = Codec::connect(&nowhere).await else {
        panic!("nobody is there")
    };
    assert!(
        matches!(error, RegistryError::Unavailable { .. }),
        "{error}"
    );
}
