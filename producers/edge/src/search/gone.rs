use std::time::Duration;

use moka::sync::Cache;
use tidings_domain::{Decision, DeleteScope, Event, MessageId, Outcome, Own, UserId};

use super::{SearchHit, SearchPage};

/// How long a deletion is remembered: longer than an answer is kept, and the
/// search view is behind.
const KEPT: Duration = Duration::from_secs(300);
/// How many are remembered.
const MOST: u64 = 100_000;

/// What was deleted lately, for all (no user) or for one.
pub(super) struct Gone {
    messages: Cache<(MessageId, Option<UserId>), ()>,
}

impl Default for Gone {
    fn default() -> Self {
        let messages = Cache::builder().time_to_live(KEPT).max_capacity(MOST);
        Self {
            messages: messages.build(),
        }
    }
}

impl Gone {
    pub(super) fn note(&self, decision: &Decision) {
        match &decision.outcome {
            Outcome::Accepted {
                event:
                    Event::MessageDeleted {
                        message_id,
                        scope: DeleteScope::Everyone | DeleteScope::Purge,
                    },
                ..
            } => self.messages.insert((*message_id, None), ()),
            Outcome::Noted(Own::Hide(message_id)) => {
                let of = Some(decision.sender.clone());
                self.messages.insert((*message_id, of), ());
            }
            _ => {}
        }
    }

    /// A page without what is gone for this user.
    pub(super) fn without(&self, page: &SearchPage, user: &UserId) -> SearchPage {
        let is_gone = |id: MessageId| {
            self.messages.contains_key(&(id, None))
                || self.messages.contains_key(&(id, Some(user.clone())))
        };
        let mut page = page.clone();
        let before = page.hits.len();
        page.hits.retain(|hit| match hit {
            SearchHit::Message { message, .. } => !is_gone(message.message_id),
            SearchHit::Conversation { .. } | SearchHit::User(_) => true,
        });
        let gone = (before - page.hits.len()) as u64;
        page.total = page.total.saturating_sub(gone);
        page
    }
}
