use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_domain::{CommandKey, ConversationId, TempId, Tenant, UserId};
use tidings_views::StoreError;
use tidings_views::audit::{Audit, StoredDocument};
use uuid::Uuid;

use super::story::{StateOfView, Story, ViewDocument};
use crate::verify::{AuditedView, shown_fields};

/// What a view has of what a story is about.
pub(super) async fn state(view: &AuditedView, story: &Story, show_texts: bool) -> StateOfView {
    let mut state = StateOfView {
        view: view.name(),
        position: None,
        is_past: None,
        documents: Vec::new(),
        error: None,
    };
    let store = view.store();
    if let Err(error) = ask(&store, view, story, show_texts, &mut state).await {
        state.error = Some(error.to_string());
    }
    state
}

async fn ask(
    store: &Arc<dyn Audit>,
    view: &AuditedView,
    story: &Story,
    show_texts: bool,
    state: &mut StateOfView,
) -> Result<(), StoreError> {
    let flaws = store.flaws().await?;
    if let Some(flaw) = flaws.into_iter().next() {
        state.error = Some(flaw.message);
    }
    let positions = store.positions().await?;
    let at = positions
        .iter()
        .find(|at| Some(at.partition) == story.partition);
    state.position = at.map(|at| at.offset);
    let last = story.decisions.iter().map(|it| it.offset).max();
    state.is_past = last.map(|last| at.is_some_and(|at| at.offset > last));
    for (kind, keys) in keys(view, story) {
        let found = store.get(kind, &keys).await?;
        state
            .documents
            .extend(found.iter().map(|document| ViewDocument {
                kind,
                key: document.key.clone(),
                fields: fields(view, document, story, show_texts),
            }));
    }
    Ok(())
}

/// The documents that a view may have of it, by kind.
fn keys(view: &AuditedView, story: &Story) -> Vec<(&'static str, Vec<String>)> {
    let conversation = story.conversation_id.clone().unwrap_or_default();
    let seqs = story
        .decisions
        .iter()
        .filter(|it| it.valid && it.outcome == "accepted");
    let seqs = seqs.filter_map(|it| it.seq);
    let events = seqs.map(|seq| format!("{conversation}:{seq}")).collect();
    let messages: Vec<_> = story.message_id.iter().cloned().collect();
    match view {
        AuditedView::History(_) => vec![
            ("events", events),
            ("messages", messages),
            ("outcomes", outcomes(story)),
        ],
        AuditedView::Search(_) => vec![("messages", messages)],
        AuditedView::Cache(_) => {
            let tenant = story.tenant.clone().unwrap_or_default();
            let key = |kind| format!("{{{tenant}/{conversation}}}:{kind}");
            vec![("head", vec![key("head")]), ("recent", vec![key("recent")])]
        }
    }
}

/// The keys of a command's outcome, as the one and the other store write them.
fn outcomes(story: &Story) -> Vec<String> {
    let (Some(conversation), Some(tenant)) = (&story.conversation_id, &story.tenant) else {
        return Vec::new();
    };
    let mut keys = Vec::new();
    for decision in &story.decisions {
        let (Some(sender), Some(temp_id)) = (&decision.sender, &decision.temp_id) else {
            continue;
        };
        keys.push(format!("{conversation}/{tenant}/{sender}/{temp_id}"));
        let ids = (
            Uuid::try_parse(conversation),
            Tenant::parse(tenant),
            UserId::parse(sender),
            TempId::parse_stored(temp_id),
        );
        if let (Ok(id), Ok(tenant), Ok(sender), Ok(temp_id)) = ids {
            let key = CommandKey::of(&tenant, ConversationId(id), &sender, &temp_id).0;
            keys.extend([
                key.to_string(),
                format!("{key}:own"),
                format!("{key}:event"),
            ]);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn fields(
    view: &AuditedView,
    document: &StoredDocument,
    story: &Story,
    show_texts: bool,
) -> BTreeMap<String, String> {
    let AuditedView::Cache(_) = view else {
        return shown_fields(document, show_texts);
    };
    // A value is about many messages: told is whether it has this one.
    let text = serde_json::Value::Object(document.fields.clone()).to_string();
    let has_it = story
        .message_id
        .as_ref()
        .map(|id| text.contains(id.as_str()));
    let mut fields = BTreeMap::new();
    if let Some(has_it) = has_it {
        fields.insert("has_the_message".to_owned(), has_it.to_string());
    }
    fields
}
