use serde_json::json;
use tidings_domain::{Code, Content, ConversationId, Kind, TempId, UserId};
use tidings_edge::{Caller, Delivered, Heard};
use tidings_wire::frames::{OutcomeState, Request};

use crate::support::{Setup, System, claims, group, pick};

fn caller(system: &System, user: &str) -> Caller {
    system.edge.caller(claims(user, "acme", None))
}

fn temp_id(text: &str) -> TempId {
    TempId::parse(text).unwrap()
}

fn send(conversation_id: ConversationId, text: &str) -> Request {
    Request::Send {
        conversation_id,
        content: Content::text(text),
        reply_to: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_commands_and_asks_without_a_socket() {
    let system = System::start().await;
    let mut bob = system.client("bob").await;
    let mut alice_socket = system.client("alice").await;
    let alice = caller(&system, "alice");
    let create = Request::Create {
        kind: Kind::Group,
        title: Some("Ops".into()),
        members: vec![UserId::parse("bob").unwrap()],
    };
    let mut created = alice.submit(temp_id("c1"), false, create);
    let Heard::Pending(pending) = created.pending().await.unwrap() else {
        panic!("a create is pending first");
    };
    let id = pending.conversation_id;
    // From another caller of the same user, before the create is decided.
    let sent = caller(&system, "alice").submit(temp_id("m1"), false, send(id, "hello"));
    assert_eq!(created.decision().await.unwrap().seq, Some(1));
    let sent = sent.decision().await.unwrap();
    assert_eq!(
        (sent.seq, sent.no, sent.duplicate),
        (Some(2), Some(1), false)
    );

    // Everybody's sockets get the events, also the caller's own.
    for seq in [1, 2] {
        assert_eq!(bob.expect_type("event").await.unwrap()["seq"], seq);
    }
    let own = alice_socket
        .wait_for(|frame| frame["seq"] == 2)
        .await
        .unwrap();
    assert_eq!(pick(&own, &["type", "temp_id"]), json!(["event", "m1"]));

    let again = alice.submit(temp_id("m1"), true, send(id, "hello"));
    let first = Delivered {
        duplicate: true,
        ..sent
    };
    assert_eq!(again.decision().await.unwrap(), first);

    let changes = alice.changes(id, 1, 10).await.unwrap();
    assert_eq!(
        (changes.events.len(), changes.last_seq, changes.more),
        (1, 2, false)
    );
    let listed = alice.list(None, 10, None).await.unwrap();
    assert_eq!(listed.conversations[0].conversation.conversation_id, id);
    let asked = [(id, temp_id("m1")), (id, temp_id("x"))];
    let outcomes = alice.outcomes(&asked).await.unwrap();
    assert!(matches!(
        outcomes[0],
        OutcomeState::Delivered { seq: Some(2), .. }
    ));
    assert_eq!(outcomes[1], OutcomeState::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_refused_as_a_socket_is() {
    let system = System::start().await;
    let mut alice = system.client("alice").await;
    let id = group(&mut alice, "c1", &["bob"]).await;
    let id = ConversationId::parse("id", &id).unwrap();
    let eve = caller(&system, "eve");
    let refused = eve.submit(temp_id("m1"), false, send(id, "hello"));
    assert_eq!(refused.decision().await.unwrap_err().code, Code::NotAMember);
    let refused = eve.changes(id, 0, 10).await.unwrap_err();
    assert_eq!(refused.code, Code::NotAMember);
    let spy = system.edge.caller(claims("bob", "umbrella", None));
    let refused = spy.submit(temp_id("m1"), false, send(id, "hello"));
    assert_eq!(refused.decision().await.unwrap_err().code, Code::NotFound);
    assert_eq!(
        spy.changes(id, 0, 10).await.unwrap_err().code,
        Code::NotFound
    );

    // A user's bucket is one, with a socket or without.
    let limited = system.edge.caller(claims("bob", "acme", Some(1)));
    let sent = limited.submit(temp_id("b1"), false, send(id, "hello"));
    sent.decision().await.unwrap();
    assert_eq!(limited.allowance().unwrap().remaining, 0);
    let mut refused = limited.submit(temp_id("b2"), false, send(id, "hello"));
    let refusal = refused.pending().await.unwrap_err();
    assert_eq!(refusal.code, Code::RateLimited);
    assert!(refusal.retry_after_ms.is_some_and(|wait| wait > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_goes_its_way_when_nobody_waits_for_it() {
    let mut system = System::set_up(Setup {
        sequencer: false,
        ..Setup::default()
    })
    .await;
    let create = Request::Create {
        kind: Kind::Group,
        title: None,
        members: Vec::new(),
    };
    let alice = caller(&system, "alice");
    let mut created = alice.submit(temp_id("c1"), false, create);
    let Heard::Pending(pending) = created.pending().await.unwrap() else {
        panic!("a create is pending first");
    };
    drop((alice, created));
    system.start_sequencer();
    // It waits behind the create, in the lane that the first caller left.
    let next = caller(&system, "alice").submit(
        temp_id("m1"),
        false,
        send(pending.conversation_id, "hello"),
    );
    assert_eq!(next.decision().await.unwrap().seq, Some(2));
}
