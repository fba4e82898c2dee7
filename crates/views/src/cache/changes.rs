use std::collections::BTreeSet;

use tidings_domain::{Decision, Event, MessageId, Outcome, Own, Wanted};

use super::{Key, OUTDATED_PARTS};

/// What a decision changes of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Changed {
    /// Which value.
    pub key: Key,
    /// Which parts of it, by id; none at all: all of it.
    pub parts: Vec<String>,
}

/// What a decision changes of what may be cached: the conversation's with every
/// event, and of every user whose place in it changes, what is theirs.
#[must_use]
pub fn changed_by(decision: &Decision) -> Vec<Changed> {
    let (tenant, id) = (&decision.tenant, decision.conversation_id);
    let mut changed = Vec::new();
    let mut change = |key, parts| changed.push(Changed { key, parts });
    match &decision.outcome {
        Outcome::Accepted { event, .. } => {
            change(Key::Head(tenant.clone(), id), Vec::new());
            let messages = messages_of(event);
            if !messages.is_empty() {
                let parts = messages.iter().map(|id| id.0.to_string());
                change(Key::Recent(tenant.clone(), id), parts.collect());
            }
        }
        Outcome::Noted(Own::Hide(message)) => {
            let key = Key::Hidden(tenant.clone(), id, decision.sender.clone());
            change(key, vec![message.0.to_string()]);
        }
        Outcome::Noted(_) => {}
        Outcome::Rejected(_) | Outcome::Duplicate(_) => return changed,
    }
    let places: BTreeSet<_> = Wanted::of([decision]).members;
    if !places.is_empty() {
        let users: Vec<_> = match places.len() <= OUTDATED_PARTS {
            true => places.iter().map(|(_, user)| user.to_string()).collect(),
            false => Vec::new(),
        };
        change(Key::Members(tenant.clone(), id), users);
    }
    for (_, user) in places {
        let key = Key::Places(tenant.clone(), user);
        change(key, vec![id.0.to_string()]);
    }
    changed
}

/// The messages whose rows an event changes.
fn messages_of(event: &Event) -> Vec<MessageId> {
    match event {
        // A reply counts with the first message of its thread.
        Event::MessageSent {
            message_id, thread, ..
        } => {
            let mut messages = vec![*message_id];
            messages.extend(thread.filter(|first| first != message_id));
            messages
        }
        Event::MessageEdited { message_id, .. }
        | Event::MessageDeleted { message_id, .. }
        | Event::MessageReacted { message_id, .. } => vec![*message_id],
        Event::ConversationUpdated(_) => Vec::new(),
    }
}
