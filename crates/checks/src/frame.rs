//! The frames that clients send.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tidings_domain::{
    Command, CommandBody, Content, ConversationId, Event, Kind, MAX_CHANNEL_MEMBERS,
    MAX_GROUP_MEMBERS, MessageId, TempId, Tenant, Timestamp, Update, UserId, check_emoji,
    check_title,
};
use tidings_wire::frames::{
    ClientFrame, EventJson, FrameError, MAX_HISTORY, MAX_HITS, MAX_LIST, MAX_MEMBERS, MAX_OUTCOMES,
    MAX_SYNC, Question, Request, Search, ServerFrame,
};
use tidings_wire::{Codec, Topic, TraceParent, format_time};
use uuid::Uuid;

/// As PROTOCOL.md has it: a longer frame is not read.
const MAX_FRAME_BYTES: usize = 65_536;
/// The largest record that the log takes.
const MAX_RECORD_BYTES: usize = 1_000_000;

static CODEC: LazyLock<Codec> = LazyLock::new(Codec::locked);

/// A text frame is understood, or refused in a way that can be answered. What
/// is understood keeps the protocol's limits, is the same when it is written
/// anew, and can go into the log and come back.
///
/// # Panics
/// Where that does not hold.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.len() > MAX_FRAME_BYTES {
        return;
    }
    match ClientFrame::parse(text) {
        Ok(frame) => understood(&frame),
        Err(error) => refused(text, &error),
    }
}

fn refused(text: &str, error: &FrameError) {
    let answer = match error {
        FrameError::Malformed => {
            let parsed = serde_json::from_str::<Value>(text);
            assert!(!parsed.is_ok_and(|it| it.is_object()), "it is an object");
            return;
        }
        FrameError::Command { temp_id, error } => {
            assert!(!error.field.is_empty() && !error.message.is_empty());
            ServerFrame::rejected(temp_id, error.code, &error.message)
        }
        FrameError::Other { id, error } => {
            assert!(!error.field.is_empty() && !error.message.is_empty());
            ServerFrame::error(id.as_deref(), error.code, &error.message)
        }
    };
    let answer: Value = serde_json::from_str(&answer.to_json()).expect("the answer is JSON");
    assert!(answer.is_object());
}

fn understood(frame: &ClientFrame) {
    let again = match frame {
        ClientFrame::Command {
            temp_id,
            retry,
            request,
        } => {
            keeps_limits(request);
            goes_into_the_log(temp_id, request);
            command(temp_id, *retry, request)
        }
        ClientFrame::Question { id, question } => {
            assert!((1..=256).contains(&id.len()));
            self::question(id, question)
        }
        ClientFrame::Typing {
            conversation_id,
            on,
        } => {
            json!({"type": "typing", "conversation_id": id(conversation_id), "on": on}).to_string()
        }
        ClientFrame::Hello { token } => json!({"type": "hello", "token": token}).to_string(),
        ClientFrame::Ping | ClientFrame::Pong | ClientFrame::Unknown { .. } => return,
    };
    let again = ClientFrame::parse(&again);
    assert_eq!(again.as_ref(), Ok(frame), "written anew");
}

fn keeps_limits(request: &Request) {
    match request {
        Request::Create {
            kind,
            title,
            members,
        } => {
            let most = match kind {
                Kind::Direct | Kind::Group => MAX_GROUP_MEMBERS,
                Kind::Channel => MAX_CHANNEL_MEMBERS,
            };
            assert!(members.len() <= most);
            assert!(title.as_deref().is_none_or(|it| check_title(it).is_ok()));
        }
        Request::Send { content, .. } | Request::Edit { content, .. } => {
            assert_eq!(content.check(), Ok(()));
            if let Some(meta) = &content.meta {
                let meta: Value = serde_json::from_str(meta).expect("meta is JSON");
                assert!(meta.is_object());
            }
        }
        Request::React { emoji, .. } => assert_eq!(check_emoji(emoji), Ok(())),
        Request::Forward {
            message_ids, to, ..
        } => {
            assert!((1..=10).contains(&message_ids.len()));
            assert!((1..=5).contains(&to.len()));
        }
        Request::Read { up_to, .. } => assert!(i64::try_from(*up_to).is_ok()),
        Request::Update { update, .. } => match update {
            Update::AddMembers(users) | Update::RemoveMembers(users) => assert!(!users.is_empty()),
            Update::Rename(title) => assert_eq!(check_title(title), Ok(())),
            _ => {}
        },
        Request::Delete { .. } => {}
    }
}

/// The command that an edge makes of a request, written as a record, read
/// back, and told of as an event.
fn goes_into_the_log(temp_id: &TempId, request: &Request) {
    let Some((conversation_id, body)) = body(request) else {
        return;
    };
    let command = Command {
        tenant: Tenant::parse("acme").expect("an id"),
        conversation_id,
        sender: UserId::parse("alice").expect("an id"),
        temp_id: temp_id.clone(),
        at: Timestamp(1_700_000_000_000),
        body,
    };
    let trace = TraceParent::new(1, 1, false).expect("neither is zero");
    let record = CODEC.encode_command(&command, trace).expect("any command");
    assert!(record.value.as_ref().map_or(0, bytes::Bytes::len) <= MAX_RECORD_BYTES);
    let topic = Topic::of_command(&command);
    let read = CODEC.decode_command(topic, &record).expect("reads back");
    assert_eq!(read, command);
    if let CommandBody::Send { content, .. } = command.body {
        let event = EventJson::of(&Event::MessageSent {
            message_id: MessageId(Uuid::nil()),
            no: 1,
            content,
            reply_to: None,
            thread: None,
            forwarded_from: None,
        });
        let event: Value = serde_json::from_str(event.as_str()).expect("an event is JSON");
        assert!(event["content"]["text"].is_string());
    }
}

/// Where it goes, and what an edge makes of it; none: a forward, of which it
/// makes several.
fn body(request: &Request) -> Option<(ConversationId, CommandBody)> {
    match request.clone().command() {
        Ok(command) => Some(command),
        Err(Request::Create {
            kind,
            title,
            members,
        }) => {
            let body = CommandBody::Create {
                kind,
                title,
                members,
            };
            Some((ConversationId(Uuid::nil()), body))
        }
        Err(_) => None,
    }
}

fn id(id: &ConversationId) -> String {
    id.to_string()
}

/// A command, as PROTOCOL.md spells it.
fn command(temp_id: &TempId, retry: bool, request: &Request) -> String {
    let mut frame = json!({"type": request.kind(), "temp_id": temp_id.as_str()});
    if retry {
        frame["retry"] = true.into();
    }
    let mut set = |name: &str, value: Value| frame[name] = value;
    let mut content = None;
    let names = |users: &[UserId]| -> Value { users.iter().map(UserId::as_str).collect() };
    match request {
        Request::Create {
            kind,
            title,
            members,
        } => {
            set("kind", kind.as_str().into());
            set("title", title.as_deref().into());
            set("members", names(members));
        }
        Request::Send {
            conversation_id,
            content: said,
            reply_to,
        } => {
            set("conversation_id", id(conversation_id).into());
            set("reply_to", reply_to.map(|it| it.to_string()).into());
            content = Some(said);
        }
        Request::Edit {
            conversation_id,
            message_id,
            content: said,
        } => {
            set("conversation_id", id(conversation_id).into());
            set("message_id", message_id.to_string().into());
            content = Some(said);
        }
        Request::Delete {
            conversation_id,
            message_id,
            scope,
        } => {
            set("conversation_id", id(conversation_id).into());
            set("message_id", message_id.to_string().into());
            set("scope", scope.as_str().into());
        }
        Request::React {
            conversation_id,
            message_id,
            emoji,
            op,
        } => {
            set("conversation_id", id(conversation_id).into());
            set("message_id", message_id.to_string().into());
            set("emoji", emoji.as_str().into());
            set("op", op.as_str().into());
        }
        Request::Forward {
            conversation_id,
            message_ids,
            to,
        } => {
            set("conversation_id", id(conversation_id).into());
            let ids = message_ids.iter().map(MessageId::to_string);
            set("message_ids", ids.collect());
            set("to", to.iter().map(id).collect());
        }
        Request::Read {
            conversation_id,
            up_to,
        } => {
            set("conversation_id", id(conversation_id).into());
            set("up_to", (*up_to).into());
        }
        Request::Update {
            conversation_id,
            update,
        } => {
            set("conversation_id", id(conversation_id).into());
            set("op", update.op().into());
            match update {
                Update::AddMembers(users) | Update::RemoveMembers(users) => {
                    set("members", names(users));
                }
                Update::Rename(title) => set("title", title.as_str().into()),
                Update::SetRole { user_id, role } => {
                    set("user_id", user_id.as_str().into());
                    set("role", role.as_str().into());
                }
                Update::Mute { until } => set("until", until.map(format_time).into()),
                _ => {}
            }
        }
    }
    match content {
        None => frame.to_string(),
        Some(content) => with_content(&frame, content),
    }
}

/// The frame with its content, whose `meta` must stay as it was written.
fn with_content(frame: &Value, content: &Content) -> String {
    #[derive(Serialize)]
    struct Framed<'a> {
        #[serde(flatten)]
        frame: &'a serde_json::Map<String, Value>,
        content: Said<'a>,
    }
    #[derive(Serialize)]
    struct Said<'a> {
        text: &'a str,
        attachments: Vec<Value>,
        meta: Option<&'a RawValue>,
    }
    let attachments = content
        .attachments
        .iter()
        .map(|it| json!({"id": it.id, "name": it.name, "mime": it.mime, "size": it.size}));
    let meta = content.meta.as_deref();
    let framed = Framed {
        frame: frame.as_object().expect("an object"),
        content: Said {
            text: &content.text,
            attachments: attachments.collect(),
            meta: meta.map(|meta| serde_json::from_str(meta).expect("JSON")),
        },
    };
    serde_json::to_string(&framed).expect("only what JSON can say")
}

/// A question, as PROTOCOL.md spells it, with its limits looked at.
fn question(id: &str, question: &Question) -> String {
    let mut frame = match question {
        Question::Sync {
            conversation_id,
            after,
            limit,
        } => {
            assert!((1..=MAX_SYNC).contains(limit) && i64::try_from(*after).is_ok());
            json!({"type": "sync", "conversation_id": self::id(conversation_id),
                "after": after, "limit": limit})
        }
        Question::History {
            conversation_id,
            before,
            thread,
            limit,
        } => {
            assert!((1..=MAX_HISTORY).contains(limit));
            assert!(before.is_none_or(|no| i64::try_from(no).is_ok()));
            json!({"type": "history", "conversation_id": self::id(conversation_id),
                "before": before, "thread": thread.map(|it| it.to_string()), "limit": limit})
        }
        Question::List { limit, cursor } => {
            assert!((1..=MAX_LIST).contains(limit));
            json!({"type": "list", "limit": limit, "cursor": cursor})
        }
        Question::Members {
            conversation_id,
            limit,
            cursor,
        } => {
            assert!((1..=MAX_MEMBERS).contains(limit));
            json!({"type": "members", "conversation_id": self::id(conversation_id),
                "limit": limit, "cursor": cursor})
        }
        Question::Outcome(commands) => {
            assert!(commands.len() <= MAX_OUTCOMES);
            let commands: Vec<Value> = commands
                .iter()
                .map(|(conversation, temp_id)| {
                    json!({"conversation_id": self::id(conversation), "temp_id": temp_id.as_str()})
                })
                .collect();
            json!({"type": "outcome", "temp_ids": commands})
        }
        Question::Search(search) => self::search(search),
    };
    frame["id"] = id.into();
    frame.to_string()
}

fn search(search: &Search) -> Value {
    assert!((1..=MAX_HITS).contains(&search.limit));
    json!({
        "type": "search",
        "in": search.within.as_str(),
        "query": search.query,
        "conversation_id": search.conversation_id.map(|it| it.to_string()),
        "by": search.by.as_ref().map(UserId::as_str),
        "from": search.from.map(format_time),
        "to": search.to.map(format_time),
        "has_attachment": search.has_attachment,
        "limit": search.limit,
        "cursor": search.cursor,
    })
}
