use std::collections::BTreeSet;

use tidings_domain::{
    ConversationRow, EditRow, MemberRow, MessageId, MessageRow, Model, Tenant, UserId,
};

use super::Dump;

/// The messages that somebody sees in a conversation, or in one of its threads,
/// newest first.
pub(super) fn visible(
    model: &Model,
    conversation: &ConversationRow,
    viewer: &UserId,
    thread: Option<MessageId>,
) -> Vec<MessageRow> {
    let tenant = &conversation.tenant;
    let is_hidden = |id| {
        let key = (tenant.clone(), viewer.clone(), id);
        model.hidden.contains_key(&key)
    };
    let mut visible: Vec<MessageRow> = model
        .messages
        .values()
        .filter(|row| row.conversation_id == conversation.conversation_id)
        .filter(|row| thread.is_none() || row.thread == thread)
        .filter(|row| !is_hidden(row.message_id))
        .map(|row| row.clone().shown())
        .collect();
    visible.sort_by_key(|row| std::cmp::Reverse(row.no));
    visible
}

/// All pages of a conversation or thread, one after the other.
async fn paged(
    store: &dyn Dump,
    conversation: &ConversationRow,
    viewer: &UserId,
    thread: Option<MessageId>,
    limit: usize,
) -> Vec<MessageRow> {
    let (tenant, id) = (&conversation.tenant, conversation.conversation_id);
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = store
            .page(tenant, id, viewer, thread, before, limit)
            .await
            .expect("reads");
        assert!(page.len() <= limit);
        let is_last = page.len() < limit;
        before = page.last().map(|row| row.no);
        all.extend(page);
        if is_last {
            return all;
        }
    }
}

/// Pages, threads, members, edits and what is hidden are as the model has them.
pub(super) async fn pages_are_the_models(store: &dyn Dump, model: &Model) {
    let everybody: BTreeSet<&UserId> = model.members.values().map(|row| &row.user_id).collect();
    for conversation in model.conversations.values() {
        for viewer in &everybody {
            let expected = visible(model, conversation, viewer, None);
            for limit in [1, 4, 100] {
                let found = paged(store, conversation, viewer, None, limit).await;
                assert_eq!(found, expected, "{viewer} by {limit}");
            }
            let threads: BTreeSet<_> = expected.iter().filter_map(|row| row.thread).collect();
            for thread in threads {
                let expected = visible(model, conversation, viewer, Some(thread));
                for limit in [1, 100] {
                    let found = paged(store, conversation, viewer, Some(thread), limit).await;
                    assert_eq!(found, expected, "{viewer} in {thread} by {limit}");
                }
            }
        }
        members_are_the_models(store, model, conversation).await;
    }
    for row in model.messages.values() {
        edits_are_the_models(store, model, row).await;
    }
    let tenants: BTreeSet<&Tenant> = model.members.values().map(|row| &row.tenant).collect();
    let messages: Vec<MessageId> = model.messages.keys().copied().collect();
    for tenant in tenants {
        for user in &everybody {
            let is_hidden = |id: &&MessageId| {
                let key = (tenant.clone(), (*user).clone(), **id);
                model.hidden.contains_key(&key)
            };
            let expected: BTreeSet<_> = messages.iter().filter(is_hidden).copied().collect();
            let found = store.hidden(tenant, user, &messages).await.expect("reads");
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
        }
    }
}

async fn members_are_the_models(store: &dyn Dump, model: &Model, conversation: &ConversationRow) {
    let (tenant, id) = (&conversation.tenant, conversation.conversation_id);
    let expected: Vec<&MemberRow> = model
        .members
        .values()
        .filter(|row| row.conversation_id == id && row.role.is_some())
        .collect();
    for limit in [1, 3, 100] {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = store
                .members(tenant, id, after.as_ref(), limit)
                .await
                .expect("reads");
            let is_last = page.len() < limit;
            after = page.last().map(|row| row.user_id.clone());
            all.extend(page);
            if is_last {
                break;
            }
        }
        assert_eq!(all.iter().collect::<Vec<_>>(), expected, "by {limit}");
    }
}

async fn edits_are_the_models(store: &dyn Dump, model: &Model, row: &MessageRow) {
    let id = row.message_id;
    let expected: Vec<EditRow> = match row.deleted {
        Some(_) => Vec::new(),
        None => {
            let edits = model.edits.range((id, 0)..=(id, u64::MAX));
            let texts = edits.filter(|(_, edit)| !edit.content.text.is_empty());
            texts.map(|(_, edit)| edit.clone()).collect()
        }
    };
    let found = store.edits(&row.tenant, id).await.expect("reads");
    assert_eq!(found, expected);
}
