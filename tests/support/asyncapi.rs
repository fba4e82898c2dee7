//! The AsyncAPI document: topics and schemas as they are declared, codes as the
//! code has them, and the frames of `docs/asyncapi/frames.json`.

use serde_json::{Map, Value, json};
use tidings_domain::{Code, Role, Update, UserId};
use tidings_edge::CloseReason;
use tidings_log::topics::Declared;
use tidings_wire::Topic;
use tidings_wire::frames::UNKNOWN_TYPE;

use super::cluster::repository;

const KAFKA_BINDING: &str = "0.5.0";
const SCHEMA_FORMAT: &str = "application/vnd.apache.avro+json;version=1.9.0";

/// The hand-written part.
pub(crate) fn frames() -> Value {
    let path = repository().join("docs/asyncapi/frames.json");
    let text = std::fs::read_to_string(path).expect("the frames");
    serde_json::from_str(&text).expect("JSON")
}

/// The whole document.
pub(crate) fn document() -> Value {
    let frames = frames();
    let mut document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "tidings",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "An event-sourced messaging backbone: commands over a socket, decisions \
                in Kafka. Topics are described for those who operate it; other teams read \
                message.delivered only, as docs/subscribing.md says. A deployment may put a prefix \
                before topics and subjects. Made from topics/, schemas/ and the code; do not edit.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "localhost:9092",
                "protocol": "kafka",
                "description": "The log. Schemas are in a registry with Confluent's API.",
            },
            "edge": {
                "host": "localhost:7700",
                "protocol": "ws",
                "description": "Sockets: at any edge, or tidings dev.",
            },
        },
        "channels": {"socket": socket(&frames)},
        "operations": {},
        "components": {"messages": {}, "schemas": schemas(&frames)},
    });
    let declared = Declared::built_in();
    for (topic, name, config) in declared.iter() {
        let configs = config.configs.iter();
        let configuration: Map<String, Value> = configs
            .filter(|(name, _)| BOUND.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), setting(name, value)))
            .collect();
        let messages = messages_of(topic);
        document["channels"][&name] = json!({
            "address": name,
            "description": describe(topic),
            "servers": [{"$ref": "#/servers/kafka"}],
            "messages": messages.iter().map(|(id, _)| (
                id.clone(), json!({"$ref": format!("#/components/messages/{id}")}),
            )).collect::<Map<_, _>>(),
            "bindings": {"kafka": {
                "topic": name,
                "partitions": config.partitions,
                "replicas": config.replication_factor,
                "topicConfiguration": configuration,
                "bindingVersion": KAFKA_BINDING,
            }},
        });
        let action = match Topic::COMMANDS.contains(&topic) {
            true => "receive",
            false => "send",
        };
        document["operations"][format!("{action}_{}", name.replace('.', "_"))] = json!({
            "action": action,
            "channel": {"$ref": format!("#/channels/{name}")},
        });
        for (id, message) in messages {
            document["components"]["messages"][id] = message;
        }
    }
    add_frames(&mut document, &frames);
    document
}

/// The settings that the binding knows.
const BOUND: [&str; 4] = [
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "max.message.bytes",
];

fn setting(name: &str, value: &str) -> Value {
    match (name, value.parse::<i64>()) {
        ("cleanup.policy", _) => json!([value]),
        (_, Ok(number)) => number.into(),
        _ => value.into(),
    }
}

fn describe(topic: Topic) -> &'static str {
    match topic {
        Topic::MessageSent => "Commands: sends, and what forwards make.",
        Topic::MessageEdited => "Commands: edits.",
        Topic::MessageDeleted => "Commands: deletions.",
        Topic::MessageReacted => "Commands: reactions.",
        Topic::MessageRead => "Commands: read markers.",
        Topic::ConversationUpdated => "Commands: creates and updates.",
        Topic::MessageDelivered => {
            "Decisions and claims, kept for ever. A record counts only by the reader's rule: see \
             docs/subscribing.md."
        }
        Topic::ConversationState => "The sequencer's snapshots; they can be made again.",
        Topic::DeadSequencer => "What the sequencer could not decode, as it came.",
        Topic::DeadHistory => "What the history projection could not use, as it came.",
        Topic::DeadSearch => "What the search projection could not use, as it came.",
        Topic::DeadCache => "What the cache projection could not use, as it came.",
        Topic::OperatorNotes => "What operators noted: what is paused, which letters are done.",
    }
}

/// The kinds of records in a topic.
fn messages_of(topic: Topic) -> Vec<(String, Value)> {
    if topic == Topic::OperatorNotes {
        let note = json!({
            "title": "Note",
            "summary": "Of each key the newest counts; none as its value takes it back.",
            "contentType": "application/json",
            "headers": headers(EVENT, &[]),
            "payload": {"type": ["object", "null"]},
        });
        return vec![("Note".to_owned(), note)];
    }
    if !Topic::WITH_SCHEMA.contains(&topic) {
        let letter = json!({
            "title": format!("Letter in {topic}"),
            "contentType": "application/octet-stream",
            "headers": headers(DEAD, &[]),
            "payload": {"description": "The bytes as they came."},
        });
        return vec![(format!("{}.letter", topic.name()), letter)];
    }
    let path = repository().join(format!("schemas/{topic}.avsc"));
    let text = std::fs::read_to_string(path).expect("a topic's schema");
    let schema: Value = serde_json::from_str(&text).expect("a schema is JSON");
    let (own, optional): (&[_], &[_]) = match topic {
        Topic::MessageDelivered => (&[OWNER, INPUT].concat(), TRACED),
        Topic::ConversationState => (&[], &[]),
        _ => (TRACED, REDRIVEN),
    };
    let name = schema["name"].as_str().expect("a name").to_owned();
    let record = json!({
        "title": format!("{name} in {topic}"),
        "summary": schema["doc"],
        "contentType": "application/avro",
        "headers": headers(&[EVENT, own].concat(), optional),
        "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": schema},
        "bindings": {"kafka": {
            "key": {
                "type": "string",
                "description": match topic {
                    Topic::ConversationState => "The snapshot's place.",
                    _ => "The conversation's id, hyphenated, in lower case.",
                },
            },
            "schemaIdLocation": "payload",
            "schemaIdPayloadEncoding": "confluent",
            "bindingVersion": KAFKA_BINDING,
        }},
    });
    let mut messages = vec![(name, record)];
    if topic == Topic::MessageDelivered {
        let claim = json!({
            "title": "Claim",
            "summary": "Whose decisions count from here on. No key, no value; no tombstone.",
            "contentType": "application/octet-stream",
            "headers": headers(&[EVENT, OWNER].concat(), &[]),
            "payload": {"type": "null"},
        });
        messages.push(("Claim".to_owned(), claim));
    }
    messages
}

type Header = (&'static str, &'static str);

const EVENT: &[Header] = &[
    ("ce_specversion", "CloudEvents: 1.0."),
    ("ce_id", "CloudEvents: the record's id."),
    ("ce_type", "CloudEvents: what it is."),
    ("ce_source", "CloudEvents: who made it."),
    ("ce_time", "CloudEvents: when, RFC 3339."),
];
const TRACED: &[Header] = &[
    ("traceparent", "W3C trace context."),
    ("tenant", "Whose it is."),
];
const REDRIVEN: &[Header] = &[(
    "redriven_from",
    "The dead letter it was, where it went back to its topic.",
)];
const OWNER: &[Header] = &[
    ("ce_epoch", "The epoch of the writer's claim."),
    ("ce_owner", "The writer's name, from its claim."),
];
const INPUT: &[Header] = &[
    (
        "ce_input",
        "The command decided: its topic, @ and its offset.",
    ),
    ("ce_digest", "Of the sequencer's state after it."),
];
const DEAD: &[Header] = &[
    ("dead_topic", "The topic it stood in."),
    ("dead_partition", "The partition it stood in."),
    ("dead_offset", "The offset it stood at."),
    ("dead_error", "What was wrong with it."),
    ("dead_consumer", "Who could not use it."),
    ("dead_attempts", "How often it was tried."),
];

fn headers(required: &[Header], optional: &[Header]) -> Value {
    let property = |(name, text): &Header| {
        let property = json!({"type": "string", "description": text});
        ((*name).to_owned(), property)
    };
    let all = required.iter().chain(optional);
    json!({
        "type": "object",
        "properties": all.map(property).collect::<Map<_, _>>(),
        "required": required.iter().map(|(name, _)| name).collect::<Vec<_>>(),
    })
}

fn socket(frames: &Value) -> Value {
    let mut messages = Map::new();
    for side in ["client", "server"] {
        for kind in frames[side].as_object().expect("frames").keys() {
            let id = format!("{side}.{kind}");
            let reference = json!({"$ref": format!("#/components/messages/{id}")});
            messages.insert(id, reference);
        }
    }
    json!({
        "address": "/v1/socket",
        "title": "The socket protocol tidings.v1",
        "description": "One JSON object a text frame. The subprotocol tidings.v1 may be given. \
            Unknown fields are ignored. A command is answered by pending, when it is durable, and \
            then by delivered or rejected; one that is refused before by rejected alone. A \
            question is answered once, by its id.",
        "servers": [{"$ref": "#/servers/edge"}],
        "messages": messages,
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
    })
}

/// Every operation of `update`.
pub(crate) fn update_ops() -> Vec<&'static str> {
    let user = || UserId::parse("u").expect("a user id");
    let all = [
        Update::AddMembers(Vec::new()),
        Update::RemoveMembers(Vec::new()),
        Update::Rename(String::new()),
        Update::SetRole {
            user_id: user(),
            role: Role::Member,
        },
        Update::Leave,
        Update::Close,
        Update::Reopen,
        Update::Archive,
        Update::Unarchive,
        Update::Mute { until: None },
        Update::Unmute,
    ];
    // One that is missing above does not compile here.
    let place = |update: &Update| match update {
        Update::AddMembers(_) => 0,
        Update::RemoveMembers(_) => 1,
        Update::Rename(_) => 2,
        Update::SetRole { .. } => 3,
        Update::Leave => 4,
        Update::Close => 5,
        Update::Reopen => 6,
        Update::Archive => 7,
        Update::Unarchive => 8,
        Update::Mute { .. } => 9,
        Update::Unmute => 10,
    };
    assert!(all.iter().enumerate().all(|(i, update)| place(update) == i));
    all.iter().map(Update::op).collect()
}

fn schemas(frames: &Value) -> Value {
    let mut schemas = frames["schemas"].clone();
    let codes: Vec<&str> = Code::ALL.into_iter().map(Code::as_str).collect();
    let each = |code: &Code| json!({"const": code.as_str(), "description": code.sentence()});
    schemas["Code"] = json!({
        "description": "Why something was refused.",
        "type": "string",
        "oneOf": Code::ALL.iter().map(each).collect::<Vec<_>>(),
    });
    schemas["ErrorCode"] = json!({
        "description": "A code, or that the frame's type is none.",
        "type": "string",
        "enum": codes.into_iter().chain([UNKNOWN_TYPE]).collect::<Vec<_>>(),
    });
    let each = |reason: &CloseReason| {
        let again = match reason.retry_after_ms() {
            Some(within) => format!("reconnect within {within} ms, at random"),
            None => "do not reconnect".to_owned(),
        };
        json!({"const": reason.code(), "description": format!("{}; {again}", reason.message())})
    };
    schemas["CloseCode"] = json!({
        "description": "The code of the close frame.",
        "type": "integer",
        "oneOf": CloseReason::ALL.iter().map(each).collect::<Vec<_>>(),
    });
    schemas["UpdateOp"] = json!({"type": "string", "enum": update_ops()});
    schemas
}

/// The schema of a frame.
pub(crate) fn frame_schema(kind: &str, frame: &Value) -> Value {
    let mut properties = json!({"type": {"const": kind}});
    for (name, schema) in frame["properties"].as_object().expect("properties") {
        properties[name] = schema.clone();
    }
    let own = frame["required"].as_array().expect("a list");
    let required: Vec<Value> = std::iter::once("type".into())
        .chain(own.iter().cloned())
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
    })
}

fn add_frames(document: &mut Value, frames: &Value) {
    for side in ["client", "server"] {
        for (kind, frame) in frames[side].as_object().expect("frames") {
            let id = format!("{side}.{kind}");
            document["components"]["messages"][&id] = json!({
                "name": kind,
                "title": format!("{kind}, from the {side}"),
                "summary": frame["summary"],
                "payload": frame_schema(kind, frame),
            });
            let reference = |id: &str| json!({"$ref": format!("#/channels/socket/messages/{id}")});
            let action = if side == "client" { "receive" } else { "send" };
            let mut operation = json!({
                "action": action,
                "channel": {"$ref": "#/channels/socket"},
                "messages": [reference(&id)],
            });
            let answers: Vec<String> = match frame["role"].as_str() {
                Some("command") => ["pending", "delivered", "rejected"]
                    .map(str::to_owned)
                    .to_vec(),
                Some("question") => {
                    let answer = frame["answer"].as_str().expect("an answer");
                    vec![answer.to_owned(), "error".to_owned()]
                }
                _ => Vec::new(),
            };
            if !answers.is_empty() {
                let answers = answers
                    .iter()
                    .map(|kind| reference(&format!("server.{kind}")));
                operation["reply"] = json!({
                    "channel": {"$ref": "#/channels/socket"},
                    "messages": answers.collect::<Vec<_>>(),
                });
            }
            document["operations"][format!("{action}_{kind}_frame")] = operation;
        }
    }
}
