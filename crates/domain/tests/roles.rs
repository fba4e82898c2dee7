//! Who may do what: the protocol's rules as tables.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use tidings_domain::{
    Change, Code, CommandBody, Content, ConversationId, DeleteScope, EDIT_WINDOW_MS, Event, Kind,
    MAX_CHANNEL_MEMBERS, MAX_GROUP_MEMBERS, MessageId, Outcome, Own, Partition, ReactionOp, Role,
    Timestamp, Update, UserId,
};
use uuid::Uuid;
use world::{START, command, send, user};

const ID: ConversationId = ConversationId(Uuid::from_u128(1));

/// A partition, and a number for the next `temp_id`.
struct Scene {
    partition: Partition,
    next: u32,
}

impl Scene {
    fn empty() -> Self {
        Self {
            partition: Partition::new(),
            next: 0,
        }
    }

    /// A conversation of olga, an owner; of a group or channel also adam, an
    /// admin, and mia, a member.
    fn of(kind: Kind) -> Self {
        let mut scene = Self::empty();
        let others: &[&str] = if kind == Kind::Direct {
            &["mia"]
        } else {
            &["adam", "mia"]
        };
        assert_eq!(scene.create("olga", kind, others), Ok(()));
        if kind != Kind::Direct {
            assert_eq!(scene.update("olga", set_role("adam", Role::Admin)), Ok(()));
        }
        scene
    }

    fn ask(&mut self, sender: &str, body: CommandBody) -> Result<Event, Code> {
        match self.outcome(sender, body) {
            Outcome::Accepted { event, .. } => Ok(event),
            Outcome::Rejected(code) => Err(code),
            other => panic!("neither an event nor a refusal: {other:?}"),
        }
    }

    /// The sender's own change that comes of a command.
    fn own(&mut self, sender: &str, body: CommandBody) -> Result<Own, Code> {
        match self.outcome(sender, body) {
            Outcome::Noted(own) => Ok(own),
            Outcome::Rejected(code) => Err(code),
            other => panic!("neither an own change nor a refusal: {other:?}"),
        }
    }

    fn outcome(&mut self, sender: &str, body: CommandBody) -> Outcome {
        self.next += 1;
        let command = command("acme", ID, sender, &format!("t{}", self.next), body);
        let decision = self.partition.decide(&command, START);
        self.partition.apply(&decision);
        decision.outcome
    }

    fn create(&mut self, sender: &str, kind: Kind, members: &[&str]) -> Result<(), Code> {
        let members = users(members);
        self.ask(
            sender,
            CommandBody::Create {
                kind,
                title: None,
                members,
            },
        )
        .map(drop)
    }

    fn update(&mut self, sender: &str, update: Update) -> Result<(), Code> {
        self.ask(sender, CommandBody::Update(update)).map(drop)
    }

    fn members(&self) -> Vec<(&str, Role)> {
        let conversation = self.partition.conversation(ID).unwrap();
        conversation
            .members
            .iter()
            .map(|(user, role)| (user.as_str(), *role))
            .collect()
    }
}

fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| user(name)).collect()
}

fn set_role(name: &str, role: Role) -> Update {
    Update::SetRole {
        user_id: user(name),
        role,
    }
}

fn add(name: &str) -> Update {
    Update::AddMembers(users(&[name]))
}

fn remove(name: &str) -> Update {
    Update::RemoveMembers(users(&[name]))
}

const FORBIDDEN: Result<(), Code> = Err(Code::Forbidden);
const OK: Result<(), Code> = Ok(());
const STRANGER: Result<(), Code> = Err(Code::NotAMember);

#[test]
fn who_may_post() {
    let table = [
        (Kind::Direct, "olga", OK),
        (Kind::Direct, "mia", OK),
        (Kind::Direct, "adam", STRANGER),
        (Kind::Group, "olga", OK),
        (Kind::Group, "adam", OK),
        (Kind::Group, "mia", OK),
        (Kind::Group, "eve", STRANGER),
        (Kind::Channel, "olga", OK),
        (Kind::Channel, "adam", OK),
        (Kind::Channel, "mia", FORBIDDEN),
        (Kind::Channel, "eve", STRANGER),
    ];
    for (kind, sender, expected) in table {
        let posted = Scene::of(kind).ask(sender, send("hello")).map(drop);
        assert_eq!(posted, expected, "{sender} in a {}", kind.as_str());
    }
}

#[test]
fn who_may_update() {
    use Kind::{Channel, Direct, Group};
    let rename = || Update::Rename("Ops".to_owned());
    let table: Vec<(Kind, &str, Update, Result<(), Code>)> = vec![
        // A direct conversation never changes.
        (Direct, "olga", add("eve"), FORBIDDEN),
        (Direct, "olga", remove("mia"), FORBIDDEN),
        (Direct, "olga", rename(), FORBIDDEN),
        (Direct, "olga", set_role("mia", Role::Member), FORBIDDEN),
        (Direct, "olga", Update::Leave, FORBIDDEN),
        (Direct, "olga", Update::Close, FORBIDDEN),
        (Direct, "eve", Update::Leave, STRANGER),
        // Members of a group add others; of a channel only admins do.
        (Group, "mia", add("eve"), OK),
        (Group, "eve", add("eve"), STRANGER),
        (Channel, "mia", add("eve"), FORBIDDEN),
        (Channel, "adam", add("eve"), OK),
        (Channel, "olga", add("eve"), OK),
        // Admins put members out, owners anybody.
        (Group, "mia", remove("adam"), FORBIDDEN),
        (Group, "adam", remove("mia"), OK),
        (Group, "adam", remove("adam"), OK),
        (Group, "adam", remove("olga"), FORBIDDEN),
        (Group, "olga", remove("adam"), OK),
        (Group, "olga", remove("nobody"), OK),
        (Group, "olga", remove("olga"), FORBIDDEN),
        (
            Channel,
            "olga",
            Update::RemoveMembers(users(&["adam", "mia", "olga"])),
            OK,
        ),
        (Group, "mia", rename(), FORBIDDEN),
        (Group, "adam", rename(), OK),
        (Channel, "olga", rename(), OK),
        // Only owners make and unmake owners and admins.
        (Group, "mia", set_role("mia", Role::Owner), FORBIDDEN),
        (Group, "adam", set_role("mia", Role::Admin), FORBIDDEN),
        (Group, "adam", set_role("adam", Role::Member), FORBIDDEN),
        (Group, "adam", set_role("mia", Role::Member), OK),
        (
            Group,
            "adam",
            set_role("eve", Role::Member),
            Err(Code::NotFound),
        ),
        (Group, "olga", set_role("mia", Role::Admin), OK),
        (Group, "olga", set_role("mia", Role::Owner), OK),
        (Group, "olga", set_role("adam", Role::Member), OK),
        (Group, "olga", set_role("olga", Role::Owner), OK),
        // The last owner stays as long as anybody does.
        (Group, "olga", set_role("olga", Role::Member), FORBIDDEN),
        (Group, "olga", Update::Leave, FORBIDDEN),
        (Group, "adam", Update::Leave, OK),
        (Channel, "mia", Update::Leave, OK),
        (Group, "adam", Update::Close, FORBIDDEN),
        (Group, "olga", Update::Close, OK),
        (Group, "mia", Update::Reopen, FORBIDDEN),
        (Group, "olga", Update::Reopen, OK),
    ];
    for (kind, sender, update, expected) in table {
        let mut scene = Scene::of(kind);
        let before = scene.partition.digest();
        let got = scene.update(sender, update.clone());
        assert_eq!(got, expected, "{sender} in a {}: {update:?}", kind.as_str());
        if got.is_err() {
            assert_eq!(scene.partition.digest(), before, "{update:?} was refused");
        }
    }
}

const MESSAGE: MessageId = MessageId(Uuid::from_u128(7));

fn edit(author: Option<&str>, posted_at: Option<Timestamp>) -> CommandBody {
    CommandBody::Edit {
        message_id: MESSAGE,
        content: Content::text("hello!"),
        author: author.map(user),
        posted_at,
    }
}

fn delete(scope: DeleteScope, author: &str) -> CommandBody {
    CommandBody::Delete {
        message_id: MESSAGE,
        scope,
        author: Some(user(author)),
    }
}

fn react(emoji: &str) -> CommandBody {
    CommandBody::React {
        message_id: MESSAGE,
        emoji: emoji.to_owned(),
        op: ReactionOp::Add,
    }
}

#[test]
fn only_the_author_edits_and_only_for_a_while() {
    let now = Some(START);
    let earlier = |ms| Some(START.minus_ms(ms));
    let late = Err(Code::EditWindowClosed);
    let table = [
        ("mia", edit(Some("mia"), now), OK),
        ("mia", edit(Some("mia"), earlier(EDIT_WINDOW_MS)), OK),
        ("mia", edit(Some("mia"), earlier(EDIT_WINDOW_MS + 1)), late),
        // The clocks of a sequencer and an edge may differ.
        ("mia", edit(Some("mia"), earlier(-60_000)), OK),
        ("mia", edit(Some("mia"), None), late),
        ("mia", edit(None, now), FORBIDDEN),
        ("adam", edit(Some("mia"), now), FORBIDDEN),
        ("olga", edit(Some("mia"), now), FORBIDDEN),
        (
            "olga",
            edit(Some("mia"), earlier(EDIT_WINDOW_MS + 1)),
            FORBIDDEN,
        ),
        ("eve", edit(Some("eve"), now), STRANGER),
    ];
    for kind in [Kind::Group, Kind::Channel] {
        for (sender, body, expected) in &table {
            let got = Scene::of(kind).ask(sender, body.clone()).map(drop);
            assert_eq!(got, *expected, "{sender}: {body:?}");
        }
    }
}

#[test]
fn who_may_delete_for_all() {
    use Kind::{Channel, Direct, Group};
    let table = [
        (Group, "mia", "mia", OK),
        (Group, "mia", "adam", FORBIDDEN),
        (Group, "adam", "mia", OK),
        (Group, "adam", "olga", OK),
        (Group, "olga", "adam", OK),
        (Group, "eve", "eve", STRANGER),
        (Channel, "mia", "mia", OK),
        (Channel, "mia", "adam", FORBIDDEN),
        (Channel, "adam", "mia", OK),
        // Both ends of a direct conversation are its owners.
        (Direct, "mia", "olga", OK),
        (Direct, "olga", "mia", OK),
        (Direct, "adam", "mia", STRANGER),
    ];
    for (kind, sender, author, expected) in table {
        for scope in [DeleteScope::Everyone, DeleteScope::Purge] {
            let got = Scene::of(kind).ask(sender, delete(scope, author));
            assert_eq!(got.map(drop), expected, "{sender} of {author} in {kind:?}");
        }
        let own = Scene::of(kind).own(sender, delete(DeleteScope::Me, author));
        let member = expected != STRANGER;
        assert_eq!(own.is_ok(), member, "{sender} for themselves in {kind:?}");
    }
}

#[test]
fn whoever_is_a_member_reacts_reads_and_keeps_settings() {
    let mute = Update::Mute {
        until: Some(Timestamp(5)),
    };
    let table = [
        (CommandBody::Read { up_to: 1 }, Own::Read { up_to: 1 }),
        // There are no more messages than that.
        (CommandBody::Read { up_to: 9 }, Own::Read { up_to: 1 }),
        (delete(DeleteScope::Me, "olga"), Own::Hide(MESSAGE)),
        (CommandBody::Update(Update::Archive), Own::Archive),
        (CommandBody::Update(Update::Unarchive), Own::Unarchive),
        (
            CommandBody::Update(mute),
            Own::Mute {
                until: Some(Timestamp(5)),
            },
        ),
        (CommandBody::Update(Update::Unmute), Own::Unmute),
    ];
    for kind in [Kind::Direct, Kind::Group, Kind::Channel] {
        let mut scene = Scene::of(kind);
        scene.ask("olga", send("hello")).unwrap();
        let before = scene.partition.digest();
        for (body, own) in &table {
            assert_eq!(scene.own("mia", body.clone()), Ok(*own));
            assert_eq!(scene.own("eve", body.clone()), Err(Code::NotAMember));
        }
        assert_eq!(scene.partition.digest(), before, "it is no state");
        assert_eq!(scene.ask("mia", react("+1")).map(drop), OK);
        assert_eq!(scene.ask("eve", react("+1")).map(drop), STRANGER);
    }
}

#[test]
fn a_reaction_has_1_to_32_bytes() {
    let mut scene = Scene::of(Kind::Group);
    let longest = "x".repeat(32);
    assert_eq!(scene.ask("mia", react(&longest)).map(drop), OK);
    let longer = scene.ask("mia", react(&(longest + "x"))).map(drop);
    assert_eq!(longer, Err(Code::TooLarge));
    assert_eq!(scene.ask("mia", react("")).map(drop), Err(Code::Invalid));
}

#[test]
fn the_last_member_may_leave_and_leaves_nobody_behind() {
    let mut scene = Scene::empty();
    scene.create("olga", Kind::Group, &[]).unwrap();
    scene.update("olga", Update::Leave).unwrap();
    assert_eq!(scene.members(), []);
    assert_eq!(scene.update("olga", add("olga")), STRANGER);
}

#[test]
fn an_owner_may_go_once_there_is_another() {
    let mut scene = Scene::of(Kind::Channel);
    scene.update("olga", set_role("mia", Role::Owner)).unwrap();
    scene.update("olga", Update::Leave).unwrap();
    assert_eq!(
        scene.members(),
        [("adam", Role::Admin), ("mia", Role::Owner)]
    );
}

#[test]
fn nothing_is_posted_while_closed() {
    let mut scene = Scene::of(Kind::Group);
    scene.update("olga", Update::Close).unwrap();
    assert_eq!(
        scene.ask("olga", send("hello")).map(drop),
        Err(Code::Closed)
    );
    let edited = scene.ask("olga", edit(Some("olga"), Some(START)));
    assert_eq!(edited.map(drop), Err(Code::Closed));
    let deleted = scene.ask("olga", delete(DeleteScope::Everyone, "olga"));
    assert_eq!(deleted.map(drop), OK);
    assert_eq!(scene.ask("mia", react("+1")).map(drop), OK);
    let read = scene.own("mia", CommandBody::Read { up_to: 0 });
    assert_eq!(read, Ok(Own::Read { up_to: 0 }));
    assert_eq!(
        scene.own("mia", CommandBody::Update(Update::Archive)),
        Ok(Own::Archive)
    );
    assert_eq!(scene.update("mia", add("eve")), OK);
    scene.update("olga", Update::Reopen).unwrap();
    assert_eq!(scene.ask("mia", send("hello")).map(drop), OK);
}

#[test]
fn changes_name_only_those_they_change_in_order() {
    let mut scene = Scene::of(Kind::Group);
    let asked = Update::AddMembers(users(&["zoe", "mia", "eve", "zoe"]));
    let event = scene.ask("mia", CommandBody::Update(asked)).unwrap();
    let Event::ConversationUpdated(change) = event else {
        panic!("{event:?}")
    };
    assert_eq!(change, Change::AddMembers(users(&["eve", "zoe"])));
    let asked = Update::RemoveMembers(users(&["zoe", "nobody", "eve", "eve"]));
    let event = scene.ask("adam", CommandBody::Update(asked)).unwrap();
    let Event::ConversationUpdated(change) = event else {
        panic!("{event:?}")
    };
    assert_eq!(change, Change::RemoveMembers(users(&["eve", "zoe"])));
}

#[test]
fn one_who_comes_back_is_a_member_again() {
    let mut scene = Scene::of(Kind::Group);
    scene.update("adam", Update::Leave).unwrap();
    scene.update("mia", add("adam")).unwrap();
    assert_eq!(
        scene.members(),
        [
            ("adam", Role::Member),
            ("mia", Role::Member),
            ("olga", Role::Owner)
        ]
    );
}

#[test]
fn a_direct_conversation_is_of_exactly_two() {
    let table: [(&[&str], Result<(), Code>); 6] = [
        (&["mia"], OK),
        (&["mia", "mia"], OK),
        (&["mia", "olga"], OK),
        (&[], Err(Code::Invalid)),
        (&["olga"], Err(Code::Invalid)),
        (&["mia", "eve"], Err(Code::Invalid)),
    ];
    for (others, expected) in table {
        assert_eq!(
            Scene::empty().create("olga", Kind::Direct, others),
            expected,
            "{others:?}"
        );
    }
}

#[test]
fn groups_and_channels_have_a_most() {
    for (kind, most) in [
        (Kind::Group, MAX_GROUP_MEMBERS),
        (Kind::Channel, MAX_CHANNEL_MEMBERS),
    ] {
        let names: Vec<String> = (0..most).map(|n| format!("user-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(
            Scene::empty().create("olga", kind, &names),
            Err(Code::TooMany)
        );

        let mut scene = Scene::empty();
        assert_eq!(scene.create("olga", kind, &names[2..]), OK);
        let both = Update::AddMembers(users(&names[..2]));
        assert_eq!(scene.update("olga", both), Err(Code::TooMany));
        assert_eq!(scene.update("olga", add(names[0])), OK);
        assert_eq!(
            scene.partition.conversation(ID).unwrap().members.len(),
            most
        );
        assert_eq!(scene.update("olga", add(names[1])), Err(Code::TooMany));
        // Who is there already takes no room.
        assert_eq!(scene.update("olga", add(names[0])), OK);
        assert_eq!(scene.update("olga", remove(names[0])), OK);
        assert_eq!(scene.update("olga", add(names[1])), OK);
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let mut scene = Scene::empty();
    assert_eq!(
        scene.ask("olga", send("hello")).map(drop),
        Err(Code::NotFound)
    );
    assert_eq!(scene.update("olga", Update::Leave), Err(Code::NotFound));
}

#[test]
fn the_other_end_of_a_direct_conversation_finds_it_made() {
    let mut scene = Scene::of(Kind::Direct);
    let create = |other| CommandBody::Create {
        kind: Kind::Direct,
        title: None,
        members: users(&[other]),
    };
    let by_mia = command("acme", ID, "mia", "theirs", create("olga"));
    let decision = scene.partition.decide(&by_mia, START);
    assert!(matches!(decision.outcome, Outcome::Duplicate(first)
        if first.outcome == tidings_domain::FirstOutcome::Accepted { seq: 1, no: None }));
    scene.partition.apply(&decision);
    let by_eve = command("acme", ID, "eve", "theirs", create("olga"));
    let decision = scene.partition.decide(&by_eve, START);
    assert_eq!(decision.outcome, Outcome::Rejected(Code::NotAMember));
}
