//! `docs/asyncapi.json` is what the code is: topics, schemas, frames, codes.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Map, Value, json};
use support::asyncapi::{document, frame_schema, frames};
use support::cluster::repository;
use support::installed::python;
use tidings_domain::{
    Change, Code, ConversationId, Event, MessageId, Own, TempId, Tenant, Timestamp, UserId,
};
use tidings_edge::CloseReason;
use tidings_testkit::scenario::TRANSCRIPT;
use tidings_wire::frames::{
    ClientFrame, EventJson, FrameError, Question, Request, Results, ServerFrame,
};
use uuid::Uuid;

const ID: &str = "11111111-1111-5111-8111-111111111111";

#[test]
fn the_document_is_what_the_code_is() {
    let path = repository().join("docs/asyncapi.json");
    let made = serde_json::to_string_pretty(&document()).expect("JSON") + "\n";
    if std::env::var_os("TIDINGS_WRITE_ASYNCAPI").is_some() {
        std::fs::write(&path, &made).expect("the document can be written");
    }
    let found = std::fs::read_to_string(&path).expect("the document");
    assert!(
        found == made,
        "docs/asyncapi.json is stale: TIDINGS_WRITE_ASYNCAPI=1 cargo test -p tidings-tests --test \
         asyncapi"
    );
}

#[test]
fn the_document_is_asyncapi() {
    let schema = include_str!("data/asyncapi/3.0.0.json");
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    check(&[("the document".to_owned(), schema, document())]);
    // Every reference leads somewhere.
    let document = document();
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 100);
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect_references<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(reference) if name == "$ref" => into.push(reference),
                    _ => collect_references(value, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, into)),
        _ => {}
    }
}

/// Checks values against schemas, all at once: what it is, schema, value.
fn check(checks: &[(String, Value, Value)]) {
    let support = repository().join("tests/support");
    let python = python("validator", &support.join("requirements.txt"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("checks.json");
    std::fs::write(&path, json!(checks).to_string()).expect("written");
    let output = Command::new(python)
        .arg(support.join("validate.py"))
        .arg(&path)
        .output();
    let output = output.expect("Python runs");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The schema of a frame, which allows nothing else, with all it refers to.
fn closed_schema(side: &str, kind: &str) -> Value {
    let frames = frames();
    let mut schema = frame_schema(kind, &frames[side][kind]);
    schema["additionalProperties"] = false.into();
    schema["components"] = document()["components"].clone();
    schema
}

/// Takes frames, and checks at the end that each is as the document has it, and
/// that all that the document has of them was among them.
struct Seen {
    side: &'static str,
    documented: Value,
    schemas: BTreeMap<String, Value>,
    fields: BTreeMap<String, BTreeSet<String>>,
    checks: Vec<(String, Value, Value)>,
}

impl Seen {
    fn by(side: &'static str) -> Self {
        Self {
            side,
            documented: frames()[side].clone(),
            schemas: BTreeMap::new(),
            fields: BTreeMap::new(),
            checks: Vec::new(),
        }
    }

    fn take(&mut self, frame: &Value) {
        let side = self.side;
        let kind = frame["type"].as_str().expect("a type").to_owned();
        let known = self.documented.get(&kind).is_some();
        assert!(known, "the document has no {kind} from the {side}: {frame}");
        let schema = self.schemas.entry(kind.clone());
        let schema = schema.or_insert_with(|| closed_schema(side, &kind)).clone();
        self.checks.push((kind.clone(), schema, frame.clone()));
        let fields = frame.as_object().expect("an object").keys().cloned();
        self.fields.entry(kind).or_default().extend(fields);
    }

    /// Nothing of the document was missing.
    fn is_all(&self) {
        let side = self.side;
        for (kind, frame) in self.documented.as_object().expect("frames") {
            let mut documented: BTreeSet<String> = frame["properties"]
                .as_object()
                .expect("fields")
                .keys()
                .cloned()
                .collect();
            documented.insert("type".to_owned());
            let seen = self.fields.get(kind).cloned().unwrap_or_default();
            assert_eq!(documented, seen, "fields of {kind} from the {side}");
        }
    }
}

/// The type of a frame. One that is new does not compile until it is here.
fn kind_of(frame: &ServerFrame<'_>) -> &'static str {
    match frame {
        ServerFrame::Welcome { .. } => "welcome",
        ServerFrame::Pending { .. } => "pending",
        ServerFrame::Delivered { .. } => "delivered",
        ServerFrame::Rejected { .. } => "rejected",
        ServerFrame::Event { .. } => "event",
        ServerFrame::Own { .. } => "own",
        ServerFrame::Read { .. } => "read",
        ServerFrame::Typing { .. } => "typing",
        ServerFrame::Presence { .. } => "presence",
        ServerFrame::Changes { .. } => "changes",
        ServerFrame::Page { .. } => "page",
        ServerFrame::Members { .. } => "members",
        ServerFrame::Conversations { .. } => "conversations",
        ServerFrame::Results(_) => "results",
        ServerFrame::Outcomes { .. } => "outcomes",
        ServerFrame::Error { .. } => "error",
        ServerFrame::Pong => "pong",
        ServerFrame::Bye { .. } => "bye",
    }
}

/// Frames that the scenario has none of, or not with all their fields.
fn samples(each: &mut dyn FnMut(&ServerFrame<'_>)) {
    let (id, at) = (Uuid::parse_str(ID).expect("a UUID"), Timestamp(0));
    let (conversation_id, message_id) = (ConversationId(id), Some(MessageId(id)));
    let user = UserId::parse("alice").expect("a user id");
    let tenant = Tenant::parse("acme").expect("a tenant");
    let temp_id = &TempId::parse("m1").expect("a temp_id");
    let event = EventJson::of(&Event::ConversationUpdated(Change::Close));
    let (seq, no) = (Some(2), Some(1));
    each(&ServerFrame::Welcome {
        session_id: "s",
        user_id: &user,
        tenant: &tenant,
        server_time: at,
        heartbeat_s: 25,
        max_frame_bytes: 65_536,
    });
    each(&ServerFrame::Pending {
        temp_id,
        conversation_id,
        message_id,
        at,
    });
    each(&ServerFrame::Delivered {
        temp_id,
        conversation_id,
        message_id,
        seq,
        no,
        at,
        duplicate: true,
    });
    for code in Code::ALL {
        each(&ServerFrame::Rejected {
            temp_id,
            code,
            message: code.sentence(),
            retry: code.retry(),
            retry_after_ms: Some(1),
        });
        each(&ServerFrame::Error {
            id: Some("q"),
            code: code.as_str(),
            message: code.sentence(),
            retry: code.retry(),
            retry_after_ms: Some(1),
        });
    }
    each(&ServerFrame::Event {
        conversation_id,
        seq: 1,
        at,
        by: &user,
        temp_id: Some(temp_id),
        event: &event,
    });
    for own in [
        Own::Archive,
        Own::Mute { until: None },
        Own::Read { up_to: 1 },
    ] {
        each(&ServerFrame::own(conversation_id, &own));
    }
    each(&ServerFrame::Read {
        conversation_id,
        by: &user,
        up_to: 1,
        at,
    });
    each(&ServerFrame::Typing {
        conversation_id,
        by: &user,
        on: true,
    });
    each(&ServerFrame::Presence {
        user_id: &user,
        online: true,
    });
    each(&ServerFrame::Results(Results {
        id: "q",
        hits: Vec::new(),
        total: 0,
        next_cursor: None,
    }));
    each(&ServerFrame::Pong);
    for reason in CloseReason::ALL {
        each(&ServerFrame::Bye {
            code: reason.code(),
            reconnect: reason.retry_after_ms().is_some(),
            retry_after_ms: Some(1),
            message: reason.message(),
        });
    }
}

#[test]
fn what_the_server_sends_is_documented() {
    let mut seen = Seen::by("server");
    for line in TRANSCRIPT.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, frame)) = line.split_once(": {") else {
            continue;
        };
        let frame: Value = serde_json::from_str(&format!("{{{frame}")).expect("JSON");
        if frame.get("type").is_some() {
            seen.take(&frame);
        }
    }
    let mut kinds = BTreeSet::new();
    samples(&mut |frame| {
        let text: Value = serde_json::from_str(&frame.to_json()).expect("JSON");
        assert_eq!(text["type"], kind_of(frame));
        kinds.insert(kind_of(frame));
        seen.take(&text);
    });
    seen.is_all();
    check(&seen.checks);
}

/// The types that clients send, as the parser has them.
fn client_kinds(frame: &ClientFrame) -> &'static str {
    match frame {
        ClientFrame::Hello { .. } => "hello",
        ClientFrame::Ping => "ping",
        ClientFrame::Pong => "pong",
        ClientFrame::Command { request, .. } => match request {
            Request::Create { .. }
            | Request::Send { .. }
            | Request::Edit { .. }
            | Request::Delete { .. }
            | Request::React { .. }
            | Request::Forward { .. }
            | Request::Read { .. }
            | Request::Update { .. } => request.kind(),
        },
        ClientFrame::Question { question, .. } => match question {
            Question::Sync { .. } => "sync",
            Question::History { .. } => "history",
            Question::List { .. } => "list",
            Question::Members { .. } => "members",
            Question::Outcome(_) => "outcome",
            Question::Search(_) => "search",
        },
        ClientFrame::Typing { .. } => "typing",
        ClientFrame::Unknown { .. } => "unknown",
    }
}

/// A value of a schema.
fn example(schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let components = document();
        let pointer = reference.strip_prefix('#').expect("within the document");
        return example(components.pointer(pointer).expect("it is there"));
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    if let Some(first) = schema["anyOf"].get(0) {
        return example(first);
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), Some("uuid")) => ID.into(),
        (Some("string"), Some("date-time")) => "2026-01-01T00:00:00Z".into(),
        (Some("string"), _) => "a".into(),
        (Some("integer"), _) => 1.into(),
        (Some("boolean"), _) => true.into(),
        (Some("array"), _) => json!([example(&schema["items"])]),
        (Some("object"), _) => {
            let required = schema["required"].as_array().into_iter().flatten();
            let names = required.map(|name| name.as_str().expect("a name"));
            let fields = names.map(|name| (name.to_owned(), example(&schema["properties"][name])));
            fields.collect::<Map<_, _>>().into()
        }
        _ => panic!("no example of {schema}"),
    }
}

/// The fields of `update` that only some operations have.
fn op_with(field: &str) -> Option<&'static str> {
    Some(match field {
        "members" => "add_members",
        "title" => "rename",
        "user_id" | "role" => "set_role",
        "until" => "mute",
        _ => return None,
    })
}

#[test]
fn what_clients_send_is_documented() {
    let documented = frames()["client"].clone();
    let mut kinds = BTreeSet::new();
    for (kind, frame) in documented.as_object().expect("frames") {
        let properties = frame["properties"].as_object().expect("fields");
        let required: Vec<&str> = frame["required"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let with = |field: &str| {
            let mut fields: Map<String, Value> = Map::new();
            fields.insert("type".to_owned(), kind.as_str().into());
            for name in &required {
                fields.insert((*name).to_owned(), example(&properties[*name]));
            }
            if kind == "update" {
                let op = op_with(field).unwrap_or("leave");
                fields.insert("op".to_owned(), op.into());
                for (name, schema) in properties.iter().filter(|(n, _)| op_with(n) == Some(op)) {
                    fields.insert(name.clone(), example(schema));
                }
            }
            fields
        };
        let parse = |fields: &Map<String, Value>| {
            ClientFrame::parse(&Value::from(fields.clone()).to_string())
        };
        let sample = with("");
        let parsed = parse(&sample).unwrap_or_else(|error| panic!("{sample:?}: {error:?}"));
        assert_eq!(client_kinds(&parsed), kind, "{sample:?}");
        kinds.insert(client_kinds(&parsed));
        for name in &required {
            let mut fields = sample.clone();
            fields.remove(*name);
            parse(&fields).expect_err(&format!("{kind} without {name}"));
        }
        // A field that the parser does not know, it ignores.
        for (name, schema) in properties {
            let mut fields = with(name);
            fields
                .entry(name.clone())
                .or_insert_with(|| example(schema));
            parse(&fields).unwrap_or_else(|error| panic!("{fields:?}: {error:?}"));
            fields.insert(name.clone(), json!({"not": "that"}));
            let refused = parse(&fields);
            assert!(
                matches!(
                    refused,
                    Err(FrameError::Command { .. } | FrameError::Other { .. })
                ),
                "{kind} with another {name}: {refused:?}"
            );
        }
    }
    let all = [
        "hello", "ping", "pong", "create", "send", "edit", "delete", "react", "forward", "read",
        "update", "sync", "history", "list", "members", "outcome", "search", "typing",
    ];
    assert_eq!(kinds, BTreeSet::from(all), "see `client_kinds`");
}

#[test]
fn what_the_scenario_sends_is_documented() {
    let mut seen = Seen::by("client");
    for line in TRANSCRIPT.lines() {
        let sent = line
            .split_once(" sends {")
            .or_else(|| line.split_once(" asks {"));
        let Some((_, frame)) = sent.filter(|_| line.starts_with('#')) else {
            continue;
        };
        let frame: Value = serde_json::from_str(&format!("{{{frame}")).expect("JSON");
        seen.take(&frame);
    }
    let commands = [
        "create", "send", "edit", "delete", "react", "forward", "read", "update",
    ];
    for kind in commands {
        assert!(
            seen.fields.contains_key(kind),
            "the scenario sends no {kind}"
        );
    }
    check(&seen.checks);
}
