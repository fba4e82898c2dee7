use tidings_domain::{
    Change, Code, Content, ConversationId, Event, Kind, Member, MessageId, Role, TempId, Timestamp,
    Update, UserId,
};
use uuid::Uuid;

use super::*;

const C: &str = "11111111-1111-5111-8111-111111111111";
const M: &str = "22222222-2222-5222-8222-222222222222";

fn conversation() -> ConversationId {
    ConversationId(Uuid::parse_str(C).unwrap())
}

fn message() -> MessageId {
    MessageId(Uuid::parse_str(M).unwrap())
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn temp_id(text: &str) -> TempId {
    TempId::parse(text).unwrap()
}

/// The protocol's text with its placeholders filled in.
fn parse(text: &str) -> Result<ClientFrame, FrameError> {
    ClientFrame::parse(&text.replace("<C>", C).replace("<M>", M))
}

fn request(text: &str) -> Request {
    match parse(text) {
        Ok(ClientFrame::Command { request, .. }) => request,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn the_protocols_own_commands_are_read() {
    assert_eq!(
        parse(
            r#"{"type":"create","temp_id":"c1","kind":"group","title":"Ops","members":["bob","carol"]}"#
        ),
        Ok(ClientFrame::Command {
            temp_id: temp_id("c1"),
            retry: false,
            request: Request::Create {
                kind: Kind::Group,
                title: Some("Ops".into()),
                members: vec![user("bob"), user("carol")],
            },
        })
    );
    assert_eq!(
        parse(
            r#"{"type":"send","temp_id":"m1","conversation_id":"<C>","content":{"text":"hel\nlo","meta":{"a":[1]}},"reply_to":"<M>","retry":true,"later":{"x":1}}"#
        ),
        Ok(ClientFrame::Command {
            temp_id: temp_id("m1"),
            retry: true,
            request: Request::Send {
                conversation_id: conversation(),
                content: Content {
                    meta: Some(r#"{"a":[1]}"#.into()),
                    ..Content::text("hel\nlo")
                },
                reply_to: Some(message()),
            },
        })
    );
    let conversation_id = conversation();
    let update = |update| Request::Update {
        conversation_id,
        update,
    };
    let expected = [
        (
            r#"{"type":"edit","temp_id":"e1","conversation_id":"<C>","message_id":"<M>","content":{"text":"hello!"}}"#,
            "edit",
        ),
        (
            r#"{"type":"delete","temp_id":"d1","conversation_id":"<C>","message_id":"<M>","scope":"everyone"}"#,
            "delete",
        ),
        (
            r#"{"type":"react","temp_id":"r1","conversation_id":"<C>","message_id":"<M>","emoji":"👍","op":"add"}"#,
            "react",
        ),
        (
            r#"{"type":"forward","temp_id":"f1","conversation_id":"<C>","message_ids":["<M>"],"to":["<C>"]}"#,
            "forward",
        ),
        (
            r#"{"type":"read","temp_id":"k1","conversation_id":"<C>","up_to":9}"#,
            "read",
        ),
        (
            r#"{"type":"update","temp_id":"u1","conversation_id":"<C>","op":"leave"}"#,
            "update",
        ),
    ];
    for (text, kind) in expected {
        assert_eq!(request(text).kind(), kind);
    }
    let updates = [
        (
            r#""op":"add_members","members":["dave"]"#,
            Update::AddMembers(vec![user("dave")]),
        ),
        (
            r#""op":"remove_members","members":["dave"]"#,
            Update::RemoveMembers(vec![user("dave")]),
        ),
        (
            r#""op":"rename","title":"Ops 2""#,
            Update::Rename("Ops 2".into()),
        ),
        (
            r#""op":"set_role","user_id":"dave","role":"admin""#,
            Update::SetRole {
                user_id: user("dave"),
                role: Role::Admin,
            },
        ),
        (
            r#""op":"mute","until":"1970-01-01T00:00:01Z""#,
            Update::Mute {
                until: Some(Timestamp(1_000)),
            },
        ),
        (r#""op":"mute","until":null"#, Update::Mute { until: None }),
        (r#""op":"close""#, Update::Close),
    ];
    for (fields, expected) in updates {
        let text =
            format!(r#"{{"type":"update","temp_id":"u1","conversation_id":"{C}",{fields}}}"#);
        assert_eq!(request(&text), update(expected), "{fields}");
    }
}

#[test]
fn the_protocols_own_questions_are_read() {
    let id = || "q1".to_owned();
    let asked = |question| ClientFrame::Question { id: id(), question };
    let conversation_id = conversation();
    let table = [
        (
            r#"{"type":"hello","token":"a.b.c"}"#,
            ClientFrame::Hello {
                token: "a.b.c".into(),
            },
        ),
        (r#"{"type":"ping"}"#, ClientFrame::Ping),
        (
            r#"{"type":"sync","id":"q1","conversation_id":"<C>","after":8,"limit":500}"#,
            asked(Question::Sync {
                conversation_id,
                after: 8,
                limit: 500,
            }),
        ),
        (
            r#"{"type":"sync","id":"q1","conversation_id":"<C>","limit":100000}"#,
            asked(Question::Sync {
                conversation_id,
                after: 0,
                limit: MAX_SYNC,
            }),
        ),
        (
            r#"{"type":"sync","id":"q1","conversation_id":"<C>","after":18446744073709551615}"#,
            asked(Question::Sync {
                conversation_id,
                after: i64::MAX as u64 - 1,
                limit: 500,
            }),
        ),
        (
            r#"{"type":"list","id":"q1","limit":-3,"cursor":null}"#,
            asked(Question::List {
                limit: 1,
                cursor: None,
            }),
        ),
        (
            r#"{"type":"outcome","id":"q1","temp_ids":[{"conversation_id":"<C>","temp_id":"f1/1"}]}"#,
            asked(Question::Outcome(vec![(conversation_id, temp_id("f1/1"))])),
        ),
        (
            r#"{"type":"history","id":"q1","conversation_id":"<C>","before":120,"thread":null}"#,
            asked(Question::History {
                conversation_id,
                before: Some(120),
                thread: None,
                limit: 50,
            }),
        ),
        (
            r#"{"type":"history","id":"q1","conversation_id":"<C>","thread":"<M>","limit":1000}"#,
            asked(Question::History {
                conversation_id,
                before: None,
                thread: Some(message()),
                limit: MAX_HISTORY,
            }),
        ),
        (
            r#"{"type":"members","id":"q1","conversation_id":"<C>","limit":7,"cursor":"x"}"#,
            asked(Question::Members {
                conversation_id,
                limit: 7,
                cursor: Some("x".into()),
            }),
        ),
        (
            r#"{"type":"members","id":"q1","conversation_id":"<C>"}"#,
            asked(Question::Members {
                conversation_id,
                limit: MAX_MEMBERS,
                cursor: None,
            }),
        ),
        (
            r#"{"type":"typing","conversation_id":"<C>","on":true}"#,
            ClientFrame::Typing {
                conversation_id,
                on: true,
            },
        ),
        (
            r#"{"type":"dance","id":"q1"}"#,
            ClientFrame::Unknown { id: Some(id()) },
        ),
        (r#"{"type":"dance"}"#, ClientFrame::Unknown { id: None }),
    ];
    for (text, expected) in table {
        assert_eq!(parse(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_object_is_malformed() {
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    for text in [
        "",
        "hello",
        "[]",
        "null",
        "1",
        "\"x\"",
        "{",
        r#"{"type":"ping"} x"#,
        &deep,
    ] {
        assert_eq!(ClientFrame::parse(text), Err(FrameError::Malformed));
    }
}

#[test]
fn deep_unknown_fields_are_ignored() {
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let text = format!(r#"{{"type":"ping","x":{deep}}}"#);
    assert_eq!(ClientFrame::parse(&text), Ok(ClientFrame::Ping));
}

#[test]
fn a_bad_command_names_its_field() {
    let nested = format!("{}1{}", r#"{"a":"#.repeat(40), "}".repeat(40));
    let long = "x".repeat(16_385);
    let many = [r#"{"id":"i","name":"n","mime":"m","size":1}"#; 11].join(",");
    let send = |content: &str| {
        format!(r#"{{"type":"send","temp_id":"m1","conversation_id":"{C}","content":{content}}}"#)
    };
    let table = [
        (
            r#"{"type":"send","temp_id":"m1"}"#.to_owned(),
            "conversation_id",
            Code::Invalid,
        ),
        (
            r#"{"type":"send","temp_id":"m1","conversation_id":"x"}"#.into(),
            "conversation_id",
            Code::Invalid,
        ),
        (
            r#"{"type":"send","temp_id":"m1","conversation_id":7}"#.into(),
            "conversation_id",
            Code::Invalid,
        ),
        (
            r#"{"type":"send","temp_id":"m1","retry":1}"#.into(),
            "retry",
            Code::Invalid,
        ),
        (
            format!(r#"{{"type":"send","temp_id":"m1","conversation_id":"{C}"}}"#),
            "content",
            Code::Invalid,
        ),
        (send("7"), "content", Code::Invalid),
        (send("{}"), "content.text", Code::Invalid),
        (send(r#"{"text":""}"#), "content.text", Code::Invalid),
        (send(r#"{"text":"\ud800"}"#), "content.text", Code::Invalid),
        (
            send(&format!(r#"{{"text":"{long}"}}"#)),
            "content.text",
            Code::TooLarge,
        ),
        (
            send(r#"{"text":"x","meta":[]}"#),
            "content.meta",
            Code::Invalid,
        ),
        (
            send(&format!(r#"{{"text":"x","meta":{nested}}}"#)),
            "content.meta",
            Code::Invalid,
        ),
        (
            send(r#"{"text":"x","meta":{"a":"\ud800"}}"#),
            "content.meta",
            Code::Invalid,
        ),
        (
            send(&format!(
                r#"{{"text":"x","meta":{{"a":"{}"}}}}"#,
                "y".repeat(4096)
            )),
            "content.meta",
            Code::TooLarge,
        ),
        (
            send(&format!(r#"{{"text":"x","attachments":[{many}]}}"#)),
            "content.attachments",
            Code::TooMany,
        ),
        (
            send(r#"{"text":"x","attachments":[{"id":"i"}]}"#),
            "content.attachments",
            Code::Invalid,
        ),
        (
            r#"{"type":"create","temp_id":"m1","kind":"club"}"#.into(),
            "kind",
            Code::Invalid,
        ),
        (
            r#"{"type":"create","temp_id":"m1","kind":"direct"}"#.into(),
            "members",
            Code::Invalid,
        ),
        (
            r#"{"type":"create","temp_id":"m1","kind":"group","members":["b b"]}"#.into(),
            "members",
            Code::Invalid,
        ),
        (
            r#"{"type":"create","temp_id":"m1","kind":"group","title":""}"#.into(),
            "title",
            Code::Invalid,
        ),
        (
            format!(r#"{{"type":"update","temp_id":"m1","conversation_id":"{C}","op":"dance"}}"#),
            "op",
            Code::Invalid,
        ),
        (
            format!(r#"{{"type":"read","temp_id":"m1","conversation_id":"{C}","up_to":-1}}"#),
            "up_to",
            Code::Invalid,
        ),
    ];
    for (text, field, code) in table {
        match ClientFrame::parse(&text) {
            Err(FrameError::Command { temp_id: id, error }) => {
                assert_eq!(
                    (id, error.field, error.code),
                    (temp_id("m1"), field, code),
                    "{text}"
                );
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn other_bad_frames_name_their_field_and_question() {
    let outcomes = vec![format!(r#"{{"conversation_id":"{C}","temp_id":"a"}}"#); 101].join(",");
    let table = [
        (
            r#"{"id":"q1"}"#.to_owned(),
            Some("q1"),
            "type",
            Code::Invalid,
        ),
        (r#"{"type":7}"#.into(), None, "type", Code::Invalid),
        (r#"{"type":"hello"}"#.into(), None, "token", Code::Invalid),
        (r#"{"type":"send"}"#.into(), None, "temp_id", Code::Invalid),
        (
            r#"{"type":"send","temp_id":"é"}"#.into(),
            None,
            "temp_id",
            Code::Invalid,
        ),
        (
            r#"{"type":"sync","conversation_id":"<C>"}"#.into(),
            None,
            "id",
            Code::Invalid,
        ),
        (
            r#"{"type":"sync","id":"q1"}"#.into(),
            Some("q1"),
            "conversation_id",
            Code::Invalid,
        ),
        (
            r#"{"type":"history","id":"q1","conversation_id":"<C>","thread":"x"}"#.into(),
            Some("q1"),
            "thread",
            Code::Invalid,
        ),
        (
            r#"{"type":"members","id":"q1","conversation_id":"x"}"#.into(),
            Some("q1"),
            "conversation_id",
            Code::Invalid,
        ),
        (
            r#"{"type":"list","id":"q1","limit":"x"}"#.into(),
            Some("q1"),
            "limit",
            Code::Invalid,
        ),
        (
            format!(r#"{{"type":"outcome","id":"q1","temp_ids":[{outcomes}]}}"#),
            Some("q1"),
            "temp_ids",
            Code::TooMany,
        ),
    ];
    for (text, id, field, code) in table {
        match parse(&text) {
            Err(FrameError::Other { id: found, error }) => {
                assert_eq!(
                    (found.as_deref(), error.field, error.code),
                    (id, field, code),
                    "{text}"
                );
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn events_are_written_as_the_protocol_shows() {
    let sent = Event::MessageSent {
        message_id: message(),
        no: 9,
        content: Content {
            meta: Some(r#"{"a": 1}"#.into()),
            ..Content::text("hello")
        },
        reply_to: None,
        thread: None,
        forwarded_from: None,
    };
    let created = Event::ConversationUpdated(Change::Create {
        kind: Kind::Group,
        title: Some("Ops".into()),
        members: vec![Member {
            user_id: user("alice"),
            role: Role::Owner,
        }],
    });
    let table = [
        (sent, format!(r#"{{"kind":"message.sent","message_id":"{M}","no":9,"content":{{"text":"hello","meta":{{"a": 1}}}}}}"#)),
        (created, r#"{"kind":"conversation.updated","op":"create","conversation":{"kind":"group","title":"Ops"},"members":[{"user_id":"alice","role":"owner"}]}"#.into()),
        (
            Event::ConversationUpdated(Change::AddMembers(vec![user("dave")])),
            r#"{"kind":"conversation.updated","op":"add_members","members":["dave"]}"#.into(),
        ),
        (
            Event::ConversationUpdated(Change::Leave),
            r#"{"kind":"conversation.updated","op":"leave"}"#.into(),
        ),
    ];
    for (event, expected) in table {
        assert_eq!(EventJson::of(&event).as_str(), expected);
    }
}
