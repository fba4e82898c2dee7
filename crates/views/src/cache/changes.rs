use std::collections::BTreeSet;

use tidings_domain::{Decision, Event, Outcome, Own, Wanted};

use super::Key;

/// What a decision changes of what may be cached: the conversation's with every
/// event, and of every user whose place in it changes, what is theirs.
#[must_use]
pub fn changed_by(decision: &Decision) -> Vec<Key> {
    let (tenant, id) = (&decision.tenant, decision.conversation_id);
    let mut keys = Vec::new();
    match &decision.outcome {
        Outcome::Accepted { event, .. } => {
            keys.push(Key::Head(tenant.clone(), id));
            match event {
                Event::MessageSent { .. }
                | Event::MessageEdited { .. }
                | Event::MessageDeleted { .. }
                | Event::MessageReacted { .. } => keys.push(Key::Recent(tenant.clone(), id)),
                Event::ConversationUpdated(_) => {}
            }
        }
        Outcome::Noted(Own::Hide(_)) => {
            keys.push(Key::Hidden(tenant.clone(), id, decision.sender.clone()));
        }
        Outcome::Noted(_) => {}
        Outcome::Rejected(_) | Outcome::Duplicate(_) => return keys,
    }
    let places: BTreeSet<_> = Wanted::of([decision]).members;
    if !places.is_empty() {
        keys.push(Key::Members(tenant.clone(), id));
    }
    let users = places.into_iter().map(|(_, user)| user);
    keys.extend(users.map(|user| Key::Places(tenant.clone(), user)));
    keys
}
