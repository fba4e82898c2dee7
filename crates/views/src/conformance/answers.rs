use std::collections::BTreeSet;

use tidings_domain::{
    Change, ConversationId, Decision, Event, EventRow, FirstOutcome, Kind, Member, MessageId,
    Model, Outcome, Role, TempId, Tenant, Timestamp, UserId,
};
use uuid::Uuid;

use super::pages::{pages_are_the_models, visible};
use super::writing::model_of;
use super::{Decisions, Dump, project};
use crate::history::{ConversationPage, ListedConversation};

/// Puts the decisions of a seed into the store.
async fn filled(store: &dyn Dump, seed: u64) -> (Vec<Decision>, Model) {
    let decisions = Decisions::new(seed).take(300);
    for (batch, n) in decisions.chunks(50).zip(0..) {
        project(store, batch, n * 50).await.expect("writes");
    }
    let model = model_of(&decisions);
    (decisions, model)
}

fn everybody(model: &Model) -> BTreeSet<(Tenant, UserId)> {
    model
        .members
        .values()
        .map(|row| (row.tenant.clone(), row.user_id.clone()))
        .collect()
}

/// A user's list as the model has it, in the order of the protocol.
fn listed(
    model: &Model,
    tenant: &Tenant,
    user_id: &UserId,
    kind: Option<Kind>,
) -> Vec<ListedConversation> {
    let places = model.members.values();
    let own = places.filter(|row| row.tenant == *tenant && row.user_id == *user_id);
    let mut listed: Vec<_> = own
        .filter(|row| row.role.is_some())
        .map(|row| {
            let conversation = model.conversations[&row.conversation_id].clone();
            let last_message = conversation.last_message_id.and_then(|id| {
                let hidden = (tenant.clone(), user_id.clone(), id);
                match model.hidden.contains_key(&hidden) {
                    false => Some(model.messages[&id].clone().shown()),
                    true => visible(model, &conversation, user_id, None)
                        .into_iter()
                        .next(),
                }
            });
            ListedConversation {
                conversation,
                member: row.clone(),
                last_message,
            }
        })
        .filter(|listed| kind.is_none_or(|kind| listed.conversation.kind == kind))
        .collect();
    listed.sort_by_key(|listed| {
        let conversation = &listed.conversation;
        (
            std::cmp::Reverse(conversation.last_at),
            conversation.conversation_id,
        )
    });
    listed
}

/// Several at once, asked as each tenant: its own, and nobody else's.
async fn rows_are_found_by_id(store: &dyn Dump, model: &Model) {
    let tenants: BTreeSet<_> = everybody(model).into_iter().map(|(of, _)| of).collect();
    let none = Uuid::from_u128(1);
    for tenant in &tenants {
        let mut ids: Vec<_> = model.conversations.keys().copied().collect();
        ids.push(ConversationId(none));
        let mut found = store.conversations(tenant, &ids).await.expect("reads");
        found.sort_unstable_by_key(|row| row.conversation_id);
        let rows = model.conversations.values();
        let own: Vec<_> = rows.filter(|row| row.tenant == *tenant).cloned().collect();
        assert_eq!(found, own);

        let mut ids: Vec<_> = model.messages.keys().copied().collect();
        ids.push(MessageId(none));
        let mut found = store.messages(tenant, &ids).await.expect("reads");
        found.sort_unstable_by_key(|row| row.message_id);
        let rows = model.messages.values();
        let own: Vec<_> = rows
            .filter(|row| row.tenant == *tenant)
            .map(|row| row.clone().shown())
            .collect();
        assert_eq!(found, own);

        let mut ids: Vec<_> = model.members.keys().cloned().collect();
        ids.extend(
            ids.first()
                .map(|(_, user)| (ConversationId(none), user.clone())),
        );
        let mut found = store.places(tenant, &ids).await.expect("reads");
        found.sort_unstable_by_key(|row| (row.conversation_id, row.user_id.clone()));
        let rows = model.members.values();
        let own: Vec<_> = rows.filter(|row| row.tenant == *tenant).cloned().collect();
        assert_eq!(found, own);
    }
    let nobody = tenants.first().expect("has tenants");
    assert!(
        store
            .conversations(nobody, &[])
            .await
            .expect("reads")
            .is_empty()
    );
    assert!(store.messages(nobody, &[]).await.expect("reads").is_empty());
    assert!(store.places(nobody, &[]).await.expect("reads").is_empty());
}

async fn whole_list(
    store: &dyn Dump,
    tenant: &Tenant,
    user_id: &UserId,
    kind: Option<Kind>,
    limit: usize,
) -> Vec<ListedConversation> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page: ConversationPage = store
            .list(tenant, user_id, kind, after, limit)
            .await
            .expect("lists");
        assert!(page.conversations.len() <= limit);
        let full = page.conversations.len() == limit;
        all.extend(page.conversations);
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
        assert!(full, "a page that is not the last is full");
    }
}

/// Every question is answered with what the model has.
pub async fn answers_like_the_model(store: &dyn Dump, seed: u64) {
    let (decisions, model) = filled(store, seed).await;

    for (id, row) in &model.conversations {
        let found = store.conversation(&row.tenant, *id).await.expect("reads");
        assert_eq!(found.as_ref(), Some(row));
        let events: Vec<_> = model
            .events
            .range((*id, 0)..=(*id, u64::MAX))
            .map(|(_, e)| e)
            .collect();
        for (after, limit) in [(0, 1_000), (0, 1), (2, 3), (row.last_seq, 10)] {
            let found = store
                .events(&row.tenant, *id, after, limit)
                .await
                .expect("reads");
            let expected: Vec<EventRow> = events
                .iter()
                .filter(|event| event.seq > after)
                .take(limit)
                .map(|event| (*event).clone().shown())
                .collect();
            assert_eq!(found, expected);
        }
    }
    for ((id, user), row) in &model.members {
        let found = store.member(&row.tenant, *id, user).await.expect("reads");
        assert_eq!(found.as_ref(), Some(row));
    }
    for (id, row) in &model.messages {
        let found = store.message(&row.tenant, *id).await.expect("reads");
        assert_eq!(found, Some(row.clone().shown()));
    }
    rows_are_found_by_id(store, &model).await;
    for (tenant, user) in everybody(&model) {
        let kinds = [Kind::Direct, Kind::Group, Kind::Channel];
        for kind in kinds.map(Some).into_iter().chain([None]) {
            let expected = listed(&model, &tenant, &user, kind);
            for limit in [1, 3, 50] {
                let found = whole_list(store, &tenant, &user, kind, limit).await;
                assert_eq!(found, expected, "{kind:?}, limit {limit}");
            }
        }
        let expected = listed(&model, &tenant, &user, None);
        let unread: Vec<_> = expected
            .iter()
            .map(|listed| {
                let ListedConversation {
                    conversation,
                    member,
                    ..
                } = listed;
                let count = conversation.last_no - member.read_no;
                (conversation.conversation_id, count)
            })
            .filter(|(_, count)| *count > 0)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let found = store.unread(&tenant, &user).await.expect("reads");
        assert_eq!(found, unread);
        let mut ids: Vec<_> = expected
            .iter()
            .map(|l| l.conversation.conversation_id)
            .collect();
        ids.sort_unstable();
        let mut found = store.memberships(&tenant, &user).await.expect("reads");
        found.sort_unstable();
        assert_eq!(found, ids);
        for listed in &expected {
            let after_marker = model.messages.values().filter(|message| {
                message.conversation_id == listed.member.conversation_id
                    && message.no > listed.member.read_no
            });
            let unread = listed.conversation.last_no - listed.member.read_no;
            assert!(
                after_marker.count() as u64 <= unread,
                "a resend past the window has two numbers"
            );
        }
    }
    hidden_are_the_models(store, &model).await;
    pages_are_the_models(store, &model).await;
    outcomes_are_first_decisions(store, &decisions).await;
}

/// What a user has hidden in a conversation, in each and also in those in which
/// they have hidden nothing.
async fn hidden_are_the_models(store: &dyn Dump, model: &Model) {
    for (tenant, user) in everybody(model) {
        for id in model.conversations.keys() {
            let expected: BTreeSet<_> = hidden_in(model, &tenant, *id, &user).collect();
            let found = store.hidden_in(&tenant, *id, &user, 1_000).await;
            let found = found.expect("reads");
            assert_eq!(found.len(), expected.len());
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
            let one = store.hidden_in(&tenant, *id, &user, 1).await;
            assert_eq!(one.expect("reads").len(), expected.len().min(1));
        }
    }
}

fn hidden_in(
    model: &Model,
    tenant: &Tenant,
    id: ConversationId,
    user: &UserId,
) -> impl Iterator<Item = MessageId> {
    let own = model.hidden.values().filter(move |row| {
        row.tenant == *tenant && row.user_id == *user && row.conversation_id == id
    });
    own.map(|row| row.message_id)
}

/// The answer to `outcome` is the first decision of a command that made an
/// event; where none did, the first that noted an own change, else the first of
/// all. There can be several only past the dedupe window.
async fn outcomes_are_first_decisions(store: &dyn Dump, decisions: &[Decision]) {
    let mut kinds = BTreeSet::new();
    for decision in decisions {
        let of_command = decisions
            .iter()
            .filter(|other| other.key() == decision.key());
        let event = of_command.clone().find(|other| other.seq().is_some());
        let is_noted = |other: &&Decision| matches!(other.outcome, Outcome::Noted(_));
        let noted = of_command.clone().find(is_noted);
        let first = event.or(noted).or_else(|| of_command.clone().next());
        let Some(first) = first else {
            continue;
        };
        let found = store
            .outcome(
                &first.tenant,
                first.conversation_id,
                &first.sender,
                &first.temp_id,
            )
            .await
            .expect("reads")
            .expect("every decided command has an outcome");
        let (kind, expected) = match &first.outcome {
            Outcome::Accepted { seq, event } => (
                "accepted",
                FirstOutcome::Accepted {
                    seq: *seq,
                    no: event.no(),
                },
            ),
            Outcome::Noted(_) => ("noted", FirstOutcome::Noted),
            Outcome::Rejected(code) => ("rejected", FirstOutcome::Rejected(*code)),
            Outcome::Duplicate(first) => ("duplicate", first.outcome),
        };
        kinds.insert(kind);
        assert_eq!(found.outcome, expected, "{first:?}");
        assert_eq!(
            (found.at, &found.by, &found.temp_id),
            (first.at, &first.sender, &first.temp_id)
        );
        if !matches!(first.outcome, Outcome::Rejected(_)) {
            assert_eq!(found.message_id, first.message_id);
        }
    }
    assert!(
        kinds.contains("accepted") && kinds.contains("rejected"),
        "the stream is a dull one"
    );
    let Some(any) = decisions.first() else { return };
    let unknown = TempId::parse("never sent").expect("a valid temp_id");
    let found = store
        .outcome(&any.tenant, any.conversation_id, &any.sender, &unknown)
        .await;
    assert_eq!(found.expect("reads"), None);
}

/// Nobody finds anything by asking in another tenant's name.
pub async fn keeps_tenants_apart(store: &dyn Dump, seed: u64) {
    let (decisions, model) = filled(store, seed).await;
    let tenants: BTreeSet<_> = decisions
        .iter()
        .map(|decision| decision.tenant.clone())
        .collect();
    let nobody = Tenant::parse("nobody").expect("a valid tenant");
    let others = |own: &Tenant| {
        let known = tenants.iter().filter(move |tenant| *tenant != own);
        known.chain([&nobody]).cloned().collect::<Vec<_>>()
    };
    for (id, row) in &model.conversations {
        for other in others(&row.tenant) {
            assert_eq!(store.conversation(&other, *id).await.expect("reads"), None);
            assert_eq!(store.events(&other, *id, 0, 100).await.expect("reads"), []);
        }
    }
    for ((id, user), row) in &model.members {
        for other in others(&row.tenant) {
            assert_eq!(store.member(&other, *id, user).await.expect("reads"), None);
            let places = store.memberships(&other, user).await.expect("reads");
            assert!(!places.contains(id));
            let page = store
                .list(&other, user, None, None, 100)
                .await
                .expect("reads");
            let rows = page.conversations.iter();
            assert!(
                rows.into_iter()
                    .all(|listed| listed.conversation.tenant == other)
            );
        }
    }
    for (id, row) in &model.messages {
        for other in others(&row.tenant) {
            assert_eq!(store.message(&other, *id).await.expect("reads"), None);
            assert_eq!(store.edits(&other, *id).await.expect("reads"), []);
            let thread = store.page(&other, row.conversation_id, &row.by, Some(*id), None, 9);
            assert_eq!(thread.await.expect("reads"), []);
        }
    }
    for ((tenant, user, id), row) in &model.hidden {
        for other in others(tenant) {
            let there = row.conversation_id;
            let found = store
                .hidden_in(&other, there, user, 9)
                .await
                .expect("reads");
            assert_eq!(found.len(), hidden_in(&model, &other, there, user).count());
            let own = model
                .hidden
                .contains_key(&(other.clone(), user.clone(), *id));
            let found = store.hidden(&other, user, &[*id]).await.expect("reads");
            assert_eq!(found.is_empty(), !own);
        }
    }
    for decision in &decisions {
        let (id, sender, temp_id) = (
            decision.conversation_id,
            &decision.sender,
            &decision.temp_id,
        );
        assert_eq!(
            store
                .outcome(&nobody, id, sender, temp_id)
                .await
                .expect("reads"),
            None
        );
        for other in others(&decision.tenant) {
            let found = store
                .outcome(&other, id, sender, temp_id)
                .await
                .expect("reads");
            assert!(found.is_none_or(|row| row.tenant == other));
        }
    }
}

/// A list whose conversations all moved in the same millisecond is paged
/// without a repeat or an omission, and without those one has left.
pub async fn pages_lists(store: &dyn Dump) {
    const CONVERSATIONS: u128 = 25;
    let tenant = Tenant::parse("acme").expect("a valid tenant");
    let user = UserId::parse("alice").expect("a valid user id");
    let decision = |n: u128, seq, change| Decision {
        tenant: tenant.clone(),
        conversation_id: ConversationId(Uuid::from_u128(n << 64 | n)),
        sender: user.clone(),
        temp_id: TempId::parse(&format!("c{n}")).expect("a valid temp_id"),
        message_id: None,
        at: Timestamp(1_000),
        outcome: Outcome::Accepted {
            seq,
            event: Event::ConversationUpdated(change),
        },
    };
    let owner = Member {
        user_id: user.clone(),
        role: Role::Owner,
    };
    let mut decisions: Vec<_> = (1..=CONVERSATIONS)
        .map(|n| {
            let members = vec![owner.clone()];
            decision(
                n,
                1,
                Change::Create {
                    kind: Kind::Group,
                    title: None,
                    members,
                },
            )
        })
        .collect();
    decisions.push(decision(4, 2, Change::Leave));
    project(store, &decisions, 0).await.expect("writes");
    let expected = listed(&model_of(&decisions), &tenant, &user, None);
    assert_eq!(expected.len() as u128, CONVERSATIONS - 1);
    for limit in [1, 7, 8, 24, 25] {
        assert_eq!(
            whole_list(store, &tenant, &user, None, limit).await,
            expected,
            "limit {limit}"
        );
    }
}
