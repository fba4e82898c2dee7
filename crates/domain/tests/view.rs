//! What the history view makes of commands that meet: one outcome for each.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use tidings_domain::{
    CommandBody, Content, ConversationId, DeleteScope, Event, EventRow, Kind, MAX_REACTIONS,
    MessageId, MessageRow, Model, Mute, Outcome, Partition, ReactionOp, Timestamp, Update,
};
use uuid::Uuid;
use world::{START, command, send, user};

const ID: ConversationId = ConversationId(Uuid::from_u128(1));

/// A sequencer and a view; commands are decided and folded one by one.
struct Scene {
    partition: Partition,
    model: Model,
    next: i64,
}

impl Scene {
    /// A group of olga and mia, and a message of mia's, which says "one".
    fn new() -> (Self, MessageId) {
        let mut scene = Self {
            partition: Partition::new(),
            model: Model::default(),
            next: 0,
        };
        let create = CommandBody::Create {
            kind: Kind::Group,
            title: None,
            members: vec![user("mia")],
        };
        scene.ask("olga", create);
        scene.ask("mia", send("one"));
        let message_id = *scene.model.messages.keys().next().unwrap();
        (scene, message_id)
    }

    /// Decides and folds a command; it must be accepted.
    fn ask(&mut self, sender: &str, body: CommandBody) {
        let outcome = self.decide(sender, body);
        assert!(
            matches!(outcome, Outcome::Accepted { .. } | Outcome::Noted(_)),
            "{outcome:?}"
        );
    }

    fn decide(&mut self, sender: &str, body: CommandBody) -> Outcome {
        self.next += 1;
        let command = command("acme", ID, sender, &format!("t{}", self.next), body);
        let now = Timestamp(START.0 + self.next);
        let decision = self.partition.decide(&command, now);
        self.partition.apply(&decision);
        self.model.apply(&decision, self.next);
        decision.outcome
    }

    fn edit(&mut self, message_id: MessageId, text: &str) {
        let body = CommandBody::Edit {
            message_id,
            content: Content::text(text),
            author: Some(user("mia")),
            posted_at: Some(START),
        };
        self.ask("mia", body);
    }

    fn delete(&mut self, message_id: MessageId, scope: DeleteScope) {
        let body = CommandBody::Delete {
            message_id,
            scope,
            author: Some(user("mia")),
        };
        self.ask("mia", body);
    }

    fn react(&mut self, sender: &str, message_id: MessageId, emoji: &str, op: ReactionOp) {
        let emoji = emoji.to_owned();
        let body = CommandBody::React {
            message_id,
            emoji,
            op,
        };
        self.ask(sender, body);
    }

    fn message(&self, id: MessageId) -> MessageRow {
        self.model.messages[&id].clone()
    }

    /// What the events say of texts, as `sync` shows them and as they are kept;
    /// nothing where it is withheld.
    fn texts(&self) -> Vec<(String, String)> {
        let text = |row: &EventRow| match &row.event {
            Event::MessageSent { content, .. } | Event::MessageEdited { content, .. } => {
                Some(content.text.clone())
            }
            _ => None,
        };
        let rows = self.model.events.values();
        rows.filter_map(|row| Some((text(&row.clone().shown())?, text(row)?)))
            .collect()
    }

    fn earlier(&self) -> Vec<&str> {
        let edits = self.model.edits.values();
        edits.map(|edit| edit.content.text.as_str()).collect()
    }
}

fn pairs(texts: &[(&str, &str)]) -> Vec<(String, String)> {
    let pair = |(shown, kept): &(&str, &str)| ((*shown).to_owned(), (*kept).to_owned());
    texts.iter().map(pair).collect()
}

#[test]
fn of_two_edits_the_last_decided_stays_and_the_others_are_kept() {
    let (mut scene, id) = Scene::new();
    let posted_at = scene.message(id).at;
    scene.edit(id, "two");
    scene.edit(id, "three");
    let row = scene.message(id);
    assert_eq!(row.content, Some(Content::text("three")));
    assert_eq!(row.edited_at, Some(Timestamp(START.0 + 4)));
    assert_eq!(row.rev, 4);
    assert_eq!(scene.earlier(), ["one", "two"]);
    let written: Vec<_> = scene.model.edits.values().map(|edit| edit.at).collect();
    assert_eq!(written, [posted_at, Timestamp(START.0 + 3)]);
}

#[test]
fn a_deletion_for_all_keeps_the_text_out_of_reach_and_a_purge_takes_it_out() {
    let (mut scene, id) = Scene::new();
    scene.edit(id, "two");
    scene.react("olga", id, "+1", ReactionOp::Add);
    scene.delete(id, DeleteScope::Everyone);
    let row = scene.message(id);
    assert_eq!(row.deleted, Some(DeleteScope::Everyone));
    assert_eq!(row.content, Some(Content::text("two")));
    assert_eq!(row.clone().shown().content, None);
    assert_eq!(row.reactions, []);
    assert_eq!(scene.texts(), pairs(&[("", "one"), ("", "two")]));

    scene.delete(id, DeleteScope::Purge);
    let row = scene.message(id);
    assert_eq!((row.deleted, row.content), (Some(DeleteScope::Purge), None));
    assert_eq!(scene.texts(), pairs(&[("", ""), ("", "")]));
    assert_eq!(scene.earlier(), [""]);

    // It does not come back.
    scene.delete(id, DeleteScope::Everyone);
    assert_eq!(scene.message(id).deleted, Some(DeleteScope::Purge));
}

#[test]
fn what_comes_after_a_deletion_has_its_seq_and_changes_nothing() {
    for scope in [DeleteScope::Everyone, DeleteScope::Purge] {
        let (mut scene, id) = Scene::new();
        scene.delete(id, scope);
        let before = scene.message(id);
        scene.edit(id, "again");
        scene.react("olga", id, "+1", ReactionOp::Add);
        let after = MessageRow {
            rev: before.rev,
            ..scene.message(id)
        };
        assert_eq!(after, before);
        assert_eq!(scene.model.edits.len(), 0);
        assert_eq!(scene.model.conversations[&ID].last_seq, 5);
        let (_, kept) = scene.texts().pop().unwrap();
        assert_eq!(kept, "", "nobody needs what that edit said");
    }
}

#[test]
fn reactions_are_sets_in_the_order_of_first_use() {
    let (mut scene, id) = Scene::new();
    scene.react("olga", id, "b", ReactionOp::Add);
    scene.react("mia", id, "a", ReactionOp::Add);
    scene.react("mia", id, "b", ReactionOp::Add);
    scene.react("mia", id, "b", ReactionOp::Add);
    scene.react("olga", id, "c", ReactionOp::Remove);
    let shown = |scene: &Scene| -> Vec<(String, Vec<String>)> {
        let reactions = scene.message(id).reactions;
        let names = |by: &[tidings_domain::UserId]| by.iter().map(ToString::to_string).collect();
        reactions
            .iter()
            .map(|it| (it.emoji.clone(), names(&it.by)))
            .collect()
    };
    let both = vec!["olga".to_owned(), "mia".to_owned()];
    let mia = vec!["mia".to_owned()];
    assert_eq!(
        shown(&scene),
        [("b".to_owned(), both), ("a".to_owned(), mia.clone())]
    );
    scene.react("olga", id, "b", ReactionOp::Remove);
    scene.react("mia", id, "b", ReactionOp::Remove);
    assert_eq!(shown(&scene), [("a".to_owned(), mia)]);
}

#[test]
fn a_message_takes_so_many_reactions_and_no_more() {
    let (mut scene, id) = Scene::new();
    for n in 0..MAX_REACTIONS + 5 {
        scene.react("mia", id, &format!("{n}"), ReactionOp::Add);
    }
    assert_eq!(scene.message(id).reactions.len(), MAX_REACTIONS);
    scene.react("mia", id, "0", ReactionOp::Remove);
    scene.react("mia", id, "one more", ReactionOp::Add);
    assert_eq!(scene.message(id).reactions.len(), MAX_REACTIONS);
}

#[test]
fn whoever_is_removed_has_nothing_decided_after_it() {
    let (mut scene, id) = Scene::new();
    let remove = Update::RemoveMembers(vec![user("mia")]);
    scene.ask("olga", CommandBody::Update(remove));
    let before = scene.model.clone();
    let refused = scene.decide("mia", send("in flight"));
    assert_eq!(refused, Outcome::Rejected(tidings_domain::Code::NotAMember));
    assert_eq!(scene.model.messages, before.messages);
    assert_eq!(scene.model.conversations, before.conversations);
    assert_eq!(scene.message(id).content, Some(Content::text("one")));
}

#[test]
fn a_thread_counts_its_replies_once() {
    let (mut scene, id) = Scene::new();
    let reply = || CommandBody::Send {
        content: Content::text("reply"),
        reply_to: Some(id),
        thread: Some(id),
        forwarded_from: None,
    };
    scene.ask("olga", reply());
    scene.ask("mia", reply());
    assert_eq!(scene.message(id).replies, 2);
    let replies = scene.model.messages.values();
    let replies: Vec<_> = replies.filter(|row| row.thread == Some(id)).collect();
    assert_eq!(replies.len(), 2);
    // A tombstone stays in its thread.
    let first = replies[0].message_id;
    scene.delete(first, DeleteScope::Purge);
    assert_eq!(scene.message(id).replies, 2);
}

#[test]
fn own_changes_are_the_users_alone() {
    let (mut scene, id) = Scene::new();
    let before = scene.model.events.clone();
    scene.delete(id, DeleteScope::Me);
    scene.ask("mia", CommandBody::Update(Update::Archive));
    let until = Some(Timestamp(START.0 + 60));
    scene.ask("mia", CommandBody::Update(Update::Mute { until }));
    scene.ask("olga", CommandBody::Read { up_to: 7 });
    scene.ask("olga", CommandBody::Read { up_to: 0 });
    assert_eq!(scene.model.events, before);
    assert_eq!(scene.message(id).deleted, None);
    let hidden: Vec<_> = scene.model.hidden.values().collect();
    assert_eq!(hidden.len(), 1);
    assert_eq!(
        (&hidden[0].user_id, hidden[0].message_id),
        (&user("mia"), id)
    );
    let mia = &scene.model.members[&(ID, user("mia"))];
    assert!(mia.archived);
    assert_eq!((mia.muted, mia.settings_rev), (Some(Mute { until }), 5));
    assert!(mia.is_muted(START) && !mia.is_muted(Timestamp(START.0 + 60)));
    let olga = &scene.model.members[&(ID, user("olga"))];
    assert_eq!((olga.read_no, olga.settings_rev), (1, -1));
    assert!(!olga.is_muted(START) && !olga.archived);
}
