use tidings_domain::{
    Attachment, Change, Content, ConversationId, DeleteScope, Event, ForwardedFrom, Kind, Member,
    MessageId, ReactionOp, Role, UserId,
};
use uuid::Uuid;

use super::EventDocument;

fn every_event() -> Vec<Event> {
    let user = |name: &str| UserId::parse(name).expect("a valid user id");
    let message = MessageId(Uuid::from_u128(7));
    let content = Content {
        text: "h\u{e9} \"llo\"".to_owned(),
        attachments: vec![Attachment {
            id: "f1".to_owned(),
            name: "a.png".to_owned(),
            mime: "image/png".to_owned(),
            size: i64::MAX,
        }],
        meta: Some("{\"n\": 1e400}".to_owned()),
    };
    let forwarded = ForwardedFrom {
        conversation_id: ConversationId(Uuid::from_u128(1)),
        message_id: MessageId(Uuid::from_u128(2)),
        by: user("carol"),
    };
    let changes = [
        Change::Create {
            kind: Kind::Channel,
            title: None,
            members: vec![Member {
                user_id: user("alice"),
                role: Role::Owner,
            }],
        },
        Change::AddMembers(vec![user("bob")]),
        Change::RemoveMembers(Vec::new()),
        Change::Rename("Ops".to_owned()),
        Change::SetRole {
            user_id: user("bob"),
            role: Role::Admin,
        },
        Change::Leave,
        Change::Close,
        Change::Reopen,
    ];
    let mut events = vec![
        Event::MessageSent {
            message_id: message,
            no: 3,
            content: content.clone(),
            reply_to: Some(message),
            thread: Some(message),
            forwarded_from: Some(forwarded),
        },
        Event::MessageSent {
            message_id: message,
            no: 4,
            content: Content::text("plain"),
            reply_to: None,
            thread: None,
            forwarded_from: None,
        },
        Event::MessageEdited {
            message_id: message,
            content,
        },
        Event::MessageDeleted {
            message_id: message,
            scope: DeleteScope::Purge,
        },
        Event::MessageReacted {
            message_id: message,
            emoji: "\u{1f44d}".to_owned(),
            op: ReactionOp::Remove,
        },
    ];
    events.extend(changes.into_iter().map(Event::ConversationUpdated));
    events
}

#[test]
fn every_event_comes_back_from_json() {
    for event in every_event() {
        let text = serde_json::to_string(&EventDocument::from(&event)).expect("serializes");
        let document: EventDocument<'_> = serde_json::from_str(&text).expect("parses");
        assert_eq!(Event::try_from(document), Ok(event), "{text}");
    }
}

#[test]
fn every_event_comes_back_from_bson() {
    for event in every_event() {
        let document =
            mongodb::bson::serialize_to_document(&EventDocument::from(&event)).expect("serializes");
        let read: EventDocument<'_> =
            mongodb::bson::deserialize_from_document(document.clone()).expect("parses");
        assert_eq!(Event::try_from(read), Ok(event), "{document}");
    }
}
