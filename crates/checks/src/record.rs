//! Records of the log: values in Avro with Confluent's framing, and headers.

use std::sync::LazyLock;

use bytes::Bytes;
use serde::de::IgnoredAny;
use tidings_domain::{
    Command, Decision, Digest, Event, Model, Outcome, Ownership, Partition, Snapshot, Timestamp,
};
use tidings_wire::frames::EventJson;
use tidings_wire::{
    Codec, Delivered, DeliveredBody, Headers, Input, Record, StateEntry, Stored, Topic,
    TraceParent, delivered_header, names, partition_of,
};
use uuid::Uuid;

static CODEC: LazyLock<Codec> = LazyLock::new(Codec::locked);

/// The headers that are read, in the order of their numbers in the input.
pub const HEADERS: [&str; 8] = [
    names::CE_EPOCH,
    names::CE_OWNER,
    names::CE_INPUT,
    names::CE_DIGEST,
    names::TRACEPARENT,
    names::TENANT,
    names::CE_ID,
    "x",
];

/// The first byte says what the rest is: from 0 the value of a record of the
/// topic of that number in [`Topic::WITH_SCHEMA`]; 8: headers, each a number
/// in [`HEADERS`], a length and so many bytes.
///
/// What decodes can be written again and decodes to the same, the second time
/// to the same bytes; it can be folded, and folding it twice changes nothing.
///
/// # Panics
/// Where that does not hold.
pub fn check(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else {
        return;
    };
    let kind = usize::from(kind);
    match Topic::WITH_SCHEMA.get(kind) {
        Some(topic) => value(*topic, rest),
        None => headers(rest),
    }
}

fn value(topic: Topic, value: &[u8]) {
    let bytes = Bytes::copy_from_slice(value);
    let mut record = Record {
        key: None,
        value: Some(bytes),
        headers: Headers::default(),
        timestamp: Timestamp(0),
    };
    // For people: it has no more demands than the schema.
    let json = CODEC.to_json(&record);
    let conversation = json.as_ref().ok().and_then(|json| {
        let id = json.get("conversation_id")?.as_str()?;
        Uuid::try_parse(id).ok()
    });
    record.key = conversation.map(|id| id.hyphenated().to_string().into());
    let is_read = match topic {
        Topic::MessageDelivered => delivered(&record),
        Topic::ConversationState => state(&record),
        _ => command(topic, &record),
    };
    assert!(!is_read || json.is_ok(), "what is read can be shown");
}

fn command(topic: Topic, record: &Record) -> bool {
    let Ok(command) = CODEC.decode_command(topic, record) else {
        return false;
    };
    assert_eq!(Topic::of_command(&command), topic);
    let encode = |command: &Command| {
        let trace = TraceParent::new(1, 1, true).expect("neither is zero");
        CODEC.encode_command(command, trace).expect("any command")
    };
    let again = encode(&command);
    let read = CODEC.decode_command(topic, &again).expect("reads back");
    assert_eq!(read, command);
    assert_eq!(encode(&read), again);
    // Whoever decides it takes any command.
    let partition = Partition::new();
    let decision = partition.decide(&command, command.at);
    decided(&decision);
    true
}

fn delivered(record: &Record) -> bool {
    let Ok(body) = CODEC.decode_delivered(record) else {
        return false;
    };
    match body {
        DeliveredBody::Decision(decision) => {
            decided(&decision);
            folded(&decision);
        }
        DeliveredBody::Dead {
            tenant,
            conversation_id,
            at,
            ..
        } => {
            let mut headers = Headers::default();
            if let Some(tenant) = &tenant {
                headers.push(names::TENANT, tenant.as_str().to_owned());
            }
            let key = conversation_id.map(|id| id.to_string().into());
            let command = a_command(Record {
                key,
                value: None,
                headers,
                timestamp: at,
            });
            let by = an_owner();
            let again = CODEC
                .encode_dead(&command, at, by, Digest::default())
                .expect("any dead command");
            let read = CODEC.decode_delivered(&again).expect("reads back");
            let expected = DeliveredBody::Dead {
                tenant,
                conversation_id,
                sender: None,
                temp_id: None,
                at,
            };
            assert_eq!(read, expected);
        }
    }
    true
}

/// A decision is written, and read back.
fn decided(decision: &Decision) {
    let command = a_command(Record {
        key: None,
        value: None,
        headers: Headers::default(),
        timestamp: decision.at,
    });
    let encode = |decision: &Decision| {
        CODEC
            .encode_decision(decision, &command, an_owner(), Digest::default())
            .expect("any decision")
    };
    let again = encode(decision);
    let read = CODEC.decode_delivered(&again).expect("reads back");
    assert_eq!(read, DeliveredBody::Decision(decision.clone()));
    assert_eq!(encode(decision), again);
    let expected = Delivered::Decided(tidings_wire::Marked {
        by: an_owner(),
        input: Input {
            topic: command.topic,
            offset: command.offset,
        },
        digest: Digest::default(),
    });
    assert_eq!(delivered_header(&again).ok(), Some(expected));
    if let Outcome::Accepted { event, .. } = &decision.outcome {
        told(event);
    }
}

/// An event is JSON, whatever stands in it.
fn told(event: &Event) {
    let json = EventJson::of(event);
    assert!(serde_json::from_str::<IgnoredAny>(json.as_str()).is_ok());
}

/// The folds of views and sequencers take any decision, and twice.
fn folded(decision: &Decision) {
    let mut model = Model::default();
    model.apply(decision, 0);
    let once = model.clone();
    model.apply(decision, 0);
    assert_eq!(model, once, "applied twice");

    let mut partition = Partition::new();
    partition.apply(decision);
    let pieces = partition.take_snapshot(100);
    let restored = pieces.into_iter().map(|piece| {
        let entry = StateEntry::Piece {
            as_of: 1,
            by: an_owner(),
            chunk: 0,
            snapshot: piece.clone(),
        };
        match saved(&entry) {
            Some(StateEntry::Piece { snapshot, .. }) => snapshot,
            _ => piece,
        }
    });
    let restored = Partition::restore(restored.collect::<Vec<_>>());
    assert_eq!(restored.digest(), partition.digest(), "saved and restored");
}

fn state(record: &Record) -> bool {
    let Ok(Some(entry)) = CODEC.decode_state(record) else {
        return false;
    };
    let again = saved(&entry).expect("what was read is no deletion");
    assert_eq!(again, entry);
    if let StateEntry::Piece { snapshot, .. } = entry {
        let partition = Partition::restore([snapshot]);
        assert!(partition.len() <= 1);
    }
    true
}

/// An entry as it is read back; none: it deletes its key.
fn saved(entry: &StateEntry) -> Option<StateEntry> {
    let record = CODEC.encode_state(3, entry).expect("any entry");
    assert_eq!(record.key, Some(entry.key()));
    let is_member_gone = matches!(
        entry,
        StateEntry::Piece {
            snapshot: Snapshot::Member { role: None, .. },
            ..
        }
    );
    assert_eq!(record.value.is_none(), is_member_gone);
    let read = CODEC.decode_state(&record).expect("reads back");
    assert!(read.is_none() || read.as_ref() == Some(entry));
    read
}

fn headers(mut data: &[u8]) {
    let mut headers = Headers::default();
    while let [number, length, rest @ ..] = data {
        let name = HEADERS[usize::from(*number) % HEADERS.len()];
        let (value, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        headers.push_read(name, Bytes::copy_from_slice(value));
        assert_eq!(
            headers.get(name).map(|it| &**it),
            Some(value),
            "the last counts"
        );
        data = rest;
    }
    if let Some(text) = headers.text(names::TRACEPARENT)
        && let Some(trace) = TraceParent::parse(text)
    {
        // https://www.w3.org/TR/trace-context/#traceparent-header-field-values
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b) || b == b'-';
        assert!(text.len() == 55 && text.bytes().all(is_hex), "{text:?}");
        assert_eq!(TraceParent::parse(&trace.to_string()), Some(trace));
    }
    if let Some(key) = headers.get("x") {
        assert!((0..12).contains(&partition_of(key, 12)));
    }
    for value in [None, Some(Bytes::new())] {
        let is_claim = value.is_none();
        let record = Record {
            key: None,
            value,
            headers: headers.clone(),
            timestamp: Timestamp(0),
        };
        match delivered_header(&record) {
            Ok(Delivered::Claim(by)) => {
                assert!(is_claim);
                owned(by);
                let again = Codec::claim(by, Timestamp(0));
                assert_eq!(delivered_header(&again).ok(), Some(Delivered::Claim(by)));
            }
            Ok(Delivered::Decided(marked)) => {
                assert!(!is_claim);
                owned(marked.by);
                // The next command's offset is one more.
                assert!((0..i64::MAX).contains(&marked.input.offset));
                let input = marked.input.to_string();
                assert_eq!(input.parse(), Ok(marked.input));
                let digest = marked.digest.to_string();
                assert_eq!(Digest::parse(&digest), Some(marked.digest));
                assert!(
                    headers
                        .text(names::CE_DIGEST)
                        .is_some_and(|text| { text.bytes().all(|b| b.is_ascii_hexdigit()) })
                );
            }
            Err(error) => assert!(!error.is_transient() && !error.to_string().is_empty()),
        }
    }
}

/// A later claim takes the epoch after this one, and snapshots hold it as a
/// signed number.
fn owned(by: Ownership) {
    assert!(by.epoch.0 < i64::MAX.unsigned_abs(), "{by:?}");
    let entry = StateEntry::Checkpoint {
        upto: 0,
        by,
        next: Vec::new(),
    };
    assert_eq!(saved(&entry), Some(entry));
}

fn an_owner() -> Ownership {
    Ownership {
        epoch: tidings_domain::Epoch(1),
        owner: tidings_domain::OwnerId(Uuid::nil()),
    }
}

fn a_command(record: Record) -> Stored {
    Stored {
        topic: Topic::MessageSent,
        partition: 3,
        offset: 17,
        record,
    }
}
