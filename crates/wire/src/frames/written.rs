//! What the edge sends, to the letter.

use tidings_domain::{
    Change, Code, ConversationId, Event, FirstOutcome, MessageId, Own, TempId, Tenant, Timestamp,
    UserId,
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

#[test]
fn frames_are_written_as_the_protocol_shows() {
    let (alice, acme, m1) = (user("alice"), Tenant::parse("acme").unwrap(), temp_id("m1"));
    let at = Timestamp(0);
    let event = EventJson::of(&Event::ConversationUpdated(Change::Close));
    let conversation_id = conversation();
    let message_id = Some(message());
    let table = [
        (
            ServerFrame::Welcome {
                session_id: "s",
                user_id: &alice,
                tenant: &acme,
                server_time: at,
                heartbeat_s: 25,
                max_frame_bytes: 65_536,
            },
            r#"{"type":"welcome","session_id":"s","user_id":"alice","tenant":"acme","server_time":"1970-01-01T00:00:00.000Z","heartbeat_s":25,"max_frame_bytes":65536}"#.to_owned(),
        ),
        (
            ServerFrame::Pending { temp_id: &m1, conversation_id, message_id, at },
            format!(r#"{{"type":"pending","temp_id":"m1","conversation_id":"{C}","message_id":"{M}","at":"1970-01-01T00:00:00.000Z"}}"#),
        ),
        (
            ServerFrame::Delivered { temp_id: &m1, conversation_id, message_id, seq: Some(12), no: Some(9), at, duplicate: false },
            format!(r#"{{"type":"delivered","temp_id":"m1","conversation_id":"{C}","message_id":"{M}","seq":12,"no":9,"at":"1970-01-01T00:00:00.000Z"}}"#),
        ),
        (
            ServerFrame::Delivered { temp_id: &m1, conversation_id, message_id: None, seq: Some(1), no: None, at, duplicate: true },
            format!(r#"{{"type":"delivered","temp_id":"m1","conversation_id":"{C}","seq":1,"at":"1970-01-01T00:00:00.000Z","duplicate":true}}"#),
        ),
        (
            ServerFrame::rejected(&m1, Code::NotAMember, "no"),
            r#"{"type":"rejected","temp_id":"m1","code":"not_a_member","message":"no","retry":false}"#.into(),
        ),
        (
            ServerFrame::Event { conversation_id, seq: 12, at, by: &alice, temp_id: Some(&m1), event: &event },
            format!(r#"{{"type":"event","conversation_id":"{C}","seq":12,"at":"1970-01-01T00:00:00.000Z","by":"alice","temp_id":"m1","event":{{"kind":"conversation.updated","op":"close"}}}}"#),
        ),
        (
            ServerFrame::Changes {
                id: "q1",
                conversation_id,
                events: vec![ChangeItem { seq: 9, at, by: &alice, event: event.clone() }],
                last_seq: 12,
                more: false,
            },
            format!(r#"{{"type":"changes","id":"q1","conversation_id":"{C}","events":[{{"seq":9,"at":"1970-01-01T00:00:00.000Z","by":"alice","event":{{"kind":"conversation.updated","op":"close"}}}}],"last_seq":12,"more":false}}"#),
        ),
        (
            ServerFrame::Outcomes {
                id: "q5",
                outcomes: vec![
                    OutcomeItem { temp_id: &m1, state: OutcomeState::Delivered { message_id, seq: Some(12), no: Some(9) } },
                    OutcomeItem { temp_id: &m1, state: OutcomeState::Rejected { code: Code::Closed } },
                    OutcomeItem { temp_id: &m1, state: OutcomeState::Unknown },
                ],
            },
            format!(r#"{{"type":"outcomes","id":"q5","outcomes":[{{"temp_id":"m1","state":"delivered","message_id":"{M}","seq":12,"no":9}},{{"temp_id":"m1","state":"rejected","code":"closed"}},{{"temp_id":"m1","state":"unknown"}}]}}"#),
        ),
        (
            ServerFrame::error(Some("q1"), Code::Unavailable, "later"),
            r#"{"type":"error","id":"q1","code":"unavailable","message":"later","retry":true}"#.into(),
        ),
        (ServerFrame::Pong, r#"{"type":"pong"}"#.into()),
        (
            ServerFrame::Bye { code: 4401, reconnect: false, retry_after_ms: None, message: "no" },
            r#"{"type":"bye","code":4401,"reconnect":false,"message":"no"}"#.into(),
        ),
    ];
    for (frame, expected) in table {
        assert_eq!(frame.to_json(), expected);
    }
}

#[test]
fn own_changes_name_their_operation() {
    let table = [
        (Own::Read { up_to: 9 }, r#"{"op":"read","up_to":9}"#),
        (
            Own::Hide(MessageId(Uuid::from_u128(2))),
            r#"{"op":"delete","message_id":"00000000-0000-0000-0000-000000000002"}"#,
        ),
        (Own::Archive, r#"{"op":"archive"}"#),
        (Own::Unarchive, r#"{"op":"unarchive"}"#),
        (
            Own::Mute {
                until: Some(Timestamp(0)),
            },
            r#"{"op":"mute","until":"1970-01-01T00:00:00.000Z"}"#,
        ),
        (Own::Mute { until: None }, r#"{"op":"mute","until":null}"#),
        (Own::Unmute, r#"{"op":"unmute"}"#),
    ];
    for (own, change) in table {
        let expected = format!(
            r#"{{"type":"own","conversation_id":"11111111-1111-5111-8111-111111111111","change":{change}}}"#
        );
        assert_eq!(ServerFrame::own(conversation(), &own).to_json(), expected);
    }
}

#[test]
fn what_makes_no_event_has_no_seq() {
    let (alice, k1) = (
        UserId::parse("alice").unwrap(),
        TempId::parse("k1").unwrap(),
    );
    let delivered = ServerFrame::Delivered {
        temp_id: &k1,
        conversation_id: conversation(),
        message_id: None,
        seq: None,
        no: None,
        at: Timestamp(0),
        duplicate: false,
    };
    let read = ServerFrame::Read {
        conversation_id: conversation(),
        by: &alice,
        up_to: 9,
        at: Timestamp(0),
    };
    let outcome = OutcomeItem {
        temp_id: &k1,
        state: OutcomeState::of(FirstOutcome::Noted, None),
    };
    let outcomes = ServerFrame::Outcomes {
        id: "q5",
        outcomes: vec![outcome],
    };
    let table = [
        (
            delivered,
            r#"{"type":"delivered","temp_id":"k1","conversation_id":"11111111-1111-5111-8111-111111111111","at":"1970-01-01T00:00:00.000Z"}"#,
        ),
        (
            read,
            r#"{"type":"read","conversation_id":"11111111-1111-5111-8111-111111111111","by":"alice","up_to":9,"at":"1970-01-01T00:00:00.000Z"}"#,
        ),
        (
            outcomes,
            r#"{"type":"outcomes","id":"q5","outcomes":[{"temp_id":"k1","state":"delivered"}]}"#,
        ),
    ];
    for (frame, expected) in table {
        assert_eq!(frame.to_json(), expected);
    }
}
