//! Whatever is written is read back, and nothing else is read.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod values;

use bytes::Bytes;
use proptest::prelude::*;
use tidings_domain::{Digest, Role, Snapshot, Timestamp};
use tidings_wire::{
    Codec, DecodeError, Delivered, DeliveredBody, Headers, Input, Marked, Record, StateEntry,
    Topic, delivered_header, names,
};
use values::{
    any_command, any_decision, any_state, commands, decisions, input, owner, states, trace,
};

/// Every sample as a record, with the topic it stands in.
fn records(codec: &Codec) -> Vec<(Topic, Record)> {
    let digest = Digest::default();
    let command = |it| {
        (
            Topic::of_command(it),
            codec.encode_command(it, trace()).unwrap(),
        )
    };
    let decision = |it| {
        let record = codec
            .encode_decision(it, &input(), owner(), digest)
            .unwrap();
        (Topic::MessageDelivered, record)
    };
    let state = |it| (Topic::ConversationState, codec.encode_state(3, it).unwrap());
    let mut records: Vec<_> = commands().iter().map(command).collect();
    records.extend(decisions().iter().map(decision));
    records.extend(states().iter().map(state));
    let dead = codec
        .encode_dead(&input(), Timestamp(5), owner(), digest)
        .unwrap();
    records.push((Topic::MessageDelivered, dead));
    records
}

/// Reads a record as what its topic holds; only whether that works counts.
fn read(codec: &Codec, topic: Topic, record: &Record) -> Result<(), DecodeError> {
    match topic {
        Topic::MessageDelivered => codec.decode_delivered(record).map(drop),
        Topic::ConversationState => codec.decode_state(record).map(drop),
        command => codec.decode_command(command, record).map(drop),
    }
}

fn with_value(record: &Record, value: impl Into<Bytes>) -> Record {
    Record {
        value: Some(value.into()),
        ..record.clone()
    }
}

#[test]
fn samples_come_back_as_they_were() {
    let codec = Codec::locked();
    for command in commands() {
        let record = codec.encode_command(&command, trace()).unwrap();
        let topic = Topic::of_command(&command);
        assert_eq!(codec.decode_command(topic, &record).unwrap(), command);
    }
    for decision in decisions() {
        let record = codec
            .encode_decision(&decision, &input(), owner(), Digest::default())
            .unwrap();
        let body = codec.decode_delivered(&record).unwrap();
        assert_eq!(body, DeliveredBody::Decision(decision));
    }
    for state in states() {
        let record = codec.encode_state(3, &state).unwrap();
        assert_eq!(codec.decode_state(&record).unwrap(), Some(state));
    }
}

proptest! {
    #[test]
    fn any_command_comes_back(command in any_command()) {
        let codec = Codec::locked();
        let record = codec.encode_command(&command, trace()).unwrap();
        let read = codec.decode_command(Topic::of_command(&command), &record).unwrap();
        prop_assert_eq!(read, command);
    }

    #[test]
    fn any_decision_comes_back(decision in any_decision()) {
        let codec = Codec::locked();
        let digest = Digest::default();
        let record = codec.encode_decision(&decision, &input(), owner(), digest).unwrap();
        let read = codec.decode_delivered(&record).unwrap();
        prop_assert_eq!(read, DeliveredBody::Decision(decision));
    }

    #[test]
    fn any_state_comes_back(state in any_state()) {
        let codec = Codec::locked();
        let record = codec.encode_state(3, &state).unwrap();
        prop_assert_eq!(&record.key, &Some(state.key()));
        prop_assert_eq!(codec.decode_state(&record).unwrap(), Some(state));
    }

    #[test]
    fn random_bytes_are_an_error_and_no_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        id in 0_u8..10,
    ) {
        let codec = Codec::locked();
        for (topic, record) in records(&codec) {
            let framed = [&[0, 0, 0, 0, id], bytes.as_slice()].concat();
            // Random bytes may happen to be a value; they must only not panic.
            drop(read(&codec, topic, &with_value(&record, framed.clone())));
            drop(codec.to_json(&with_value(&record, framed)));
            drop(codec.to_json(&with_value(&record, bytes.clone())));
        }
    }
}

#[test]
fn every_truncation_and_every_addition_is_malformed() {
    let codec = Codec::locked();
    for (topic, record) in records(&codec) {
        let value = record.value.clone().unwrap();
        for end in 0..value.len() {
            let cut = with_value(&record, value.slice(..end));
            let error = read(&codec, topic, &cut).unwrap_err();
            assert!(
                matches!(error, DecodeError::Malformed(_)),
                "{topic} cut at {end}: {error}"
            );
            assert!(codec.to_json(&cut).is_err(), "{topic} cut at {end}");
        }
        let longer = with_value(&record, [value.as_ref(), &[0]].concat());
        assert!(matches!(
            read(&codec, topic, &longer),
            Err(DecodeError::Malformed(_))
        ));
        assert!(codec.to_json(&longer).is_err());
    }
}

#[test]
fn every_flipped_byte_is_read_or_refused_without_a_panic() {
    let codec = Codec::locked();
    for (topic, record) in records(&codec) {
        let value = record.value.clone().unwrap();
        for at in 0..value.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = value.to_vec();
                bytes[at] ^= flip;
                drop(read(&codec, topic, &with_value(&record, bytes.clone())));
                drop(codec.to_json(&with_value(&record, bytes)));
            }
        }
    }
}

#[test]
fn frames_that_are_not_ours_are_told_apart() {
    let codec = Codec::locked();
    let (topic, record) = records(&codec).remove(0);
    let value = record.value.clone().unwrap();
    let refused = |bytes: Vec<u8>| read(&codec, topic, &with_value(&record, bytes)).unwrap_err();

    let mut magic = value.to_vec();
    magic[0] = 1;
    assert!(matches!(refused(magic), DecodeError::Malformed(_)));
    let mut unknown = value.to_vec();
    unknown[1..5].copy_from_slice(&77_777_u32.to_be_bytes());
    let error = refused(unknown);
    assert!(
        matches!(error, DecodeError::UnknownSchema(77_777)),
        "{error}"
    );
    assert!(!error.is_transient());
    // A length of 2⁴⁰ bytes for the first text.
    let mut huge = value[..5].to_vec();
    huge.extend([0x80, 0x80, 0x80, 0x80, 0x80, 0x40]);
    assert!(matches!(refused(huge), DecodeError::Malformed(_)));
    // Another topic's record.
    let other = codec
        .decode_command(Topic::MessageRead, &record)
        .unwrap_err();
    assert!(matches!(other, DecodeError::Malformed(_)), "{other}");
    let none = Record {
        value: None,
        ..record.clone()
    };
    assert!(matches!(
        read(&codec, topic, &none),
        Err(DecodeError::Malformed(_))
    ));
    assert_eq!(codec.to_json(&none).unwrap(), serde_json::Value::Null);
}

#[test]
fn a_command_must_be_under_its_conversations_key() {
    let codec = Codec::locked();
    let (topic, record) = records(&codec).remove(0);
    let upper = String::from_utf8(record.key.clone().unwrap().to_vec())
        .unwrap()
        .to_uppercase();
    for key in [
        None,
        Some(Bytes::from_static(b"elsewhere")),
        Some(Bytes::from(upper)),
    ] {
        let moved = Record {
            key,
            ..record.clone()
        };
        assert!(matches!(
            read(&codec, topic, &moved),
            Err(DecodeError::Malformed(_))
        ));
    }
}

#[test]
fn errors_hold_no_message_text() {
    let codec = Codec::locked();
    for (topic, record) in records(&codec) {
        let value = record.value.clone().unwrap();
        for end in 0..value.len() {
            let error = read(&codec, topic, &with_value(&record, value.slice(..end))).unwrap_err();
            assert!(!error.to_string().contains("hello"), "{error}");
        }
    }
}

fn texts(headers: &Headers) -> Vec<(&str, &str)> {
    headers
        .iter()
        .map(|(name, value)| (name, std::str::from_utf8(value).unwrap()))
        .collect()
}

#[test]
fn a_commands_headers_tell_what_it_is() {
    let command = &commands()[0];
    let record = Codec::locked().encode_command(command, trace()).unwrap();
    assert_eq!(
        texts(&record.headers),
        [
            ("ce_specversion", "1.0"),
            ("ce_type", "tidings.command.send"),
            ("ce_source", "tidings/edge"),
            ("ce_id", command.key().0.to_string().as_str()),
            ("ce_time", "2023-11-14T22:13:20.000Z"),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            ),
            ("tenant", "acme"),
        ],
    );
    assert_eq!(
        record.key.as_deref(),
        Some(command.conversation_id.to_string().as_bytes())
    );
}

#[test]
fn a_decisions_headers_tell_who_decided_what() {
    let by = owner();
    let decision = &decisions()[0];
    let digest = Digest::parse("00000000000000ff").unwrap();
    let record = Codec::locked()
        .encode_decision(decision, &input(), by, digest)
        .unwrap();
    let of = Input {
        topic: Topic::MessageSent,
        offset: 4711,
    };
    assert_eq!(
        texts(&record.headers),
        [
            ("ce_specversion", "1.0"),
            ("ce_type", "tidings.message.sent"),
            ("ce_source", "tidings/sequencer"),
            ("ce_id", of.event_id(3).to_string().as_str()),
            ("ce_time", "2023-11-14T22:13:20.000Z"),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            ),
            ("tenant", "acme"),
            ("ce_epoch", "7"),
            ("ce_owner", "01234567-89ab-4def-8123-456789abcdef"),
            ("ce_input", "message.sent@4711"),
            ("ce_digest", "00000000000000ff"),
        ],
    );
    let marked = Marked {
        by,
        input: of,
        digest,
    };
    assert_eq!(
        delivered_header(&record).unwrap(),
        Delivered::Decided(marked)
    );
}

#[test]
fn a_claim_has_neither_key_nor_value() {
    let claim = Codec::claim(owner(), Timestamp(0));
    assert_eq!((&claim.key, &claim.value), (&None, &None));
    assert_eq!(claim.headers.text(names::CE_TYPE), Some("tidings.claim"));
    assert_eq!(
        claim.headers.text(names::CE_TIME),
        Some("1970-01-01T00:00:00.000Z")
    );
    assert_eq!(delivered_header(&claim).unwrap(), Delivered::Claim(owner()));
}

#[test]
fn a_dead_marker_tells_what_could_be_read() {
    let codec = Codec::locked();
    let mut command = input();
    let conversation_id = commands()[0].conversation_id;
    command.record.key = Some(conversation_id.to_string().into());
    let digest = Digest::default();
    let record = codec
        .encode_dead(&command, Timestamp(5), owner(), digest)
        .unwrap();
    assert_eq!(
        record.headers.text(names::CE_TYPE),
        Some("tidings.command.dead")
    );
    let DeliveredBody::Dead {
        tenant,
        conversation_id: read,
        sender,
        temp_id,
        at,
    } = codec.decode_delivered(&record).unwrap()
    else {
        panic!("a dead marker");
    };
    assert_eq!(tenant.unwrap().as_str(), "acme");
    assert_eq!(read, Some(conversation_id));
    assert_eq!((sender, temp_id, at), (None, None, Timestamp(5)));
}

#[test]
fn a_dead_letter_keeps_what_came_and_says_what_was_wrong() {
    let mut from = input();
    from.record.value = Some(Bytes::from_static(b"junk"));
    let letter = Codec::dead_letter(&from, "sequencer", "the first byte is not 0", 2);
    assert_eq!(letter.value, from.record.value);
    assert_eq!(
        texts(&letter.headers)[1..],
        [
            ("tenant", "acme"),
            ("dead_topic", "message.sent"),
            ("dead_partition", "3"),
            ("dead_offset", "4711"),
            ("dead_error", "the first byte is not 0"),
            ("dead_consumer", "sequencer"),
            ("dead_attempts", "2"),
        ],
    );
}

#[test]
fn a_member_who_went_and_a_tombstone_delete_their_keys() {
    let codec = Codec::locked();
    let member = |role| StateEntry::Piece {
        as_of: 1,
        by: owner(),
        chunk: 0,
        snapshot: Snapshot::Member {
            conversation_id: commands()[0].conversation_id,
            user_id: commands()[0].sender.clone(),
            role,
        },
    };
    let gone = codec.encode_state(3, &member(None)).unwrap();
    assert_eq!(gone.key, Some(member(Some(Role::Owner)).key()));
    assert_eq!(codec.decode_state(&gone).unwrap(), None);
    let window = &states()[3];
    let key = window.key();
    assert_eq!(
        key.as_ref(),
        b"window/7/01234567-89ab-4def-8123-456789abcdef/42"
    );
    let tombstone = Codec::state_tombstone(3, key.clone());
    assert_eq!(tombstone.key, Some(key));
    assert_eq!(codec.decode_state(&tombstone).unwrap(), None);
}

#[test]
fn json_is_plain() {
    let codec = Codec::locked();
    let record = codec.encode_command(&commands()[23], trace()).unwrap();
    assert_eq!(
        codec.to_json(&record).unwrap(),
        serde_json::json!({
            "tenant": "acme",
            "conversation_id": "5d1f6b5c-22d4-5e0f-9b3e-000000000001",
            "sender": "alice",
            "temp_id": "m23",
            "at": "2023-11-14T22:13:20.023Z",
            "op": "mute",
            "kind": null,
            "title": null,
            "members": null,
            "user_id": null,
            "role": null,
            "until": "2030-03-17T17:46:40.123Z",
        }),
    );
}
