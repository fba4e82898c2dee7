//! What the protocol says in words and numbers: a change here breaks clients.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::collections::BTreeSet;

use tidings_domain::{
    Code, CommandBody, Content, ConversationId, DEDUPE_WINDOW_MS, DeleteScope, EDIT_WINDOW_MS,
    Kind, MAX_ATTACHMENTS, MAX_CHANNEL_MEMBERS, MAX_EMOJI_BYTES, MAX_GROUP_MEMBERS, MAX_META_BYTES,
    MAX_REACTIONS, MAX_TEXT_BYTES, MAX_TITLE_BYTES, MessageId, Own, Partition, ReactionOp, Role,
    Update, check_title,
};
use uuid::Uuid;
use world::{START, command, send, user};

#[test]
fn numbers_are_the_protocols() {
    const MINUTE_MS: i64 = 60_000;
    assert_eq!(EDIT_WINDOW_MS, 15 * MINUTE_MS);
    assert_eq!(DEDUPE_WINDOW_MS, 10 * MINUTE_MS);
    let most = [MAX_GROUP_MEMBERS, MAX_CHANNEL_MEMBERS, MAX_ATTACHMENTS];
    assert_eq!(most, [1_000, 100_000, 10]);
    assert_eq!(MAX_REACTIONS, 10_000);
    let bytes = [MAX_TITLE_BYTES, MAX_TEXT_BYTES, MAX_META_BYTES];
    assert_eq!(bytes, [256, 16_384, 4_096]);
    assert_eq!(MAX_EMOJI_BYTES, 32);
}

#[test]
fn words_are_read_as_they_are_spelled() {
    let kinds = [
        (Kind::Direct, "direct"),
        (Kind::Group, "group"),
        (Kind::Channel, "channel"),
    ];
    for (kind, word) in kinds {
        assert_eq!((kind.as_str(), Kind::parse(word)), (word, Some(kind)));
    }
    let roles = [
        (Role::Member, "member"),
        (Role::Admin, "admin"),
        (Role::Owner, "owner"),
    ];
    for (role, word) in roles {
        assert_eq!((role.as_str(), Role::parse(word)), (word, Some(role)));
    }
    let scopes = [
        (DeleteScope::Everyone, "everyone"),
        (DeleteScope::Purge, "purge"),
        (DeleteScope::Me, "me"),
    ];
    for (scope, word) in scopes {
        let read = DeleteScope::parse(word);
        assert_eq!((scope.as_str(), read), (word, Some(scope)));
    }
    for (op, word) in [(ReactionOp::Add, "add"), (ReactionOp::Remove, "remove")] {
        assert_eq!((op.as_str(), ReactionOp::parse(word)), (word, Some(op)));
    }
    for word in ["", "Group", "group ", "owners", "add_members"] {
        assert_eq!((Kind::parse(word), Role::parse(word)), (None, None));
        let others = (DeleteScope::parse(word), ReactionOp::parse(word));
        assert_eq!(others, (None, None));
    }
}

#[test]
fn an_update_says_what_it_does() {
    let role = Update::SetRole {
        user_id: user("mia"),
        role: Role::Admin,
    };
    let updates = [
        (Update::AddMembers(Vec::new()), "add_members"),
        (Update::RemoveMembers(Vec::new()), "remove_members"),
        (Update::Rename(String::new()), "rename"),
        (role, "set_role"),
        (Update::Leave, "leave"),
        (Update::Close, "close"),
        (Update::Reopen, "reopen"),
        (Update::Archive, "archive"),
        (Update::Unarchive, "unarchive"),
        (Update::Mute { until: None }, "mute"),
        (Update::Unmute, "unmute"),
    ];
    for (update, word) in updates {
        assert_eq!(update.op(), word);
    }
}

#[test]
fn a_code_says_whether_to_try_again() {
    let codes = [
        (Code::Invalid, "invalid", false),
        (Code::TooLarge, "too_large", false),
        (Code::RateLimited, "rate_limited", true),
        (Code::NotFound, "not_found", false),
        (Code::NotAMember, "not_a_member", false),
        (Code::Forbidden, "forbidden", false),
        (Code::EditWindowClosed, "edit_window_closed", false),
        (Code::Closed, "closed", false),
        (Code::TooMany, "too_many", false),
        (Code::Busy, "busy", true),
        (Code::Unavailable, "unavailable", true),
        (Code::Unsupported, "unsupported", false),
    ];
    assert_eq!(codes.map(|(code, ..)| code), Code::ALL);
    for (code, word, retry) in codes {
        assert_eq!((code.as_str(), code.retry()), (word, retry));
        assert_eq!(
            (code.to_string().as_str(), Code::parse(word)),
            (word, Some(code))
        );
        assert!(code.sentence().ends_with('.'), "a sentence: {code}");
    }
    let sentences: BTreeSet<_> = codes.map(|(code, ..)| code.sentence()).into();
    assert_eq!(sentences.len(), codes.len(), "each its own");
    assert_eq!(Code::parse("nothing"), None);
}

#[test]
fn a_title_has_some_bytes_and_none_that_controls() {
    let refused = |title: &str| {
        check_title(title)
            .err()
            .map(|error| (error.field, error.code))
    };
    let longest = "x".repeat(MAX_TITLE_BYTES);
    for title in ["x", "Grüße", &longest] {
        assert_eq!(refused(title), None, "{title}");
    }
    let invalid = Some(("title", Code::Invalid));
    assert_eq!(
        [refused(""), refused("a\nb"), refused("\u{7f}")],
        [invalid; 3]
    );
    assert_eq!(
        refused(&format!("{longest}x")),
        Some(("title", Code::TooLarge))
    );
    // Bytes count, not characters.
    assert_eq!(refused(&"ü".repeat(129)), Some(("title", Code::TooLarge)));
}

#[test]
fn a_command_knows_which_message_it_is_about() {
    let about = MessageId(Uuid::from_u128(7));
    let conversation = ConversationId(Uuid::from_u128(1));
    let of_mia = |body| command("acme", conversation, "mia", "t1", body);
    let sent = of_mia(send("hello"));
    assert_eq!(sent.message_id(), Some(sent.key().message_id()));
    let changes = [
        CommandBody::Edit {
            message_id: about,
            content: Content::text("other"),
            author: None,
            posted_at: None,
        },
        CommandBody::Delete {
            message_id: about,
            scope: DeleteScope::Me,
            author: None,
        },
        CommandBody::React {
            message_id: about,
            emoji: "👍".to_owned(),
            op: ReactionOp::Add,
        },
    ];
    for body in changes {
        assert_eq!(of_mia(body).message_id(), Some(about));
    }
    for body in [
        CommandBody::Read { up_to: 1 },
        CommandBody::Update(Update::Leave),
    ] {
        assert_eq!(of_mia(body).message_id(), None);
    }
}

#[test]
fn what_is_the_senders_own_says_what_it_is() {
    let until = None;
    let message = MessageId(Uuid::from_u128(7));
    let own = [
        (Own::Read { up_to: 1 }, "message.read", "read"),
        (Own::Hide(message), "message.deleted", "delete"),
        (Own::Archive, "conversation.updated", "archive"),
        (Own::Unarchive, "conversation.updated", "unarchive"),
        (Own::Mute { until }, "conversation.updated", "mute"),
        (Own::Unmute, "conversation.updated", "unmute"),
    ];
    for (own, kind, op) in own {
        assert_eq!((own.kind(), own.op()), (kind, op));
    }
}

#[test]
fn only_events_have_a_seq() {
    let conversation = ConversationId(Uuid::from_u128(1));
    let mut partition = Partition::new();
    let mut seq_of = |temp_id: &str, sender: &str, body| {
        let command = command("acme", conversation, sender, temp_id, body);
        let decision = partition.decide(&command, START);
        partition.apply(&decision);
        decision.seq()
    };
    let create = CommandBody::Create {
        kind: Kind::Group,
        title: None,
        members: vec![user("bob")],
    };
    let [first, second] = ["hello", "again"].map(send);
    assert_eq!(seq_of("t1", "mia", create), Some(1));
    assert_eq!(seq_of("t2", "mia", first.clone()), Some(2));
    assert_eq!(seq_of("t3", "bob", second.clone()), Some(3));
    assert_eq!(seq_of("t2", "mia", first), None, "a duplicate");
    assert_eq!(seq_of("t4", "eve", second), None, "a rejection");
    assert_eq!(seq_of("t5", "bob", CommandBody::Read { up_to: 1 }), None);
}
