use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use tidings_domain::{
    CommandKey, ConversationId, Decision, Event, FirstOutcome, MessageId, Outcome, Tenant,
    Timestamp, UserId,
};

use crate::facts::Facts;

/// The first decisions of the commands that were decided last in the
/// conversations of this edge's sockets: bounded, the oldest forgotten first.
///
/// A message's id is its command's key, so messages are found here too.
pub(crate) struct Recent {
    inner: Mutex<Inner>,
    capacity: usize,
}

#[derive(Default)]
struct Inner {
    decisions: HashMap<CommandKey, RecentDecision>,
    order: VecDeque<CommandKey>,
}

/// A command's first decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecentDecision {
    pub(crate) tenant: Tenant,
    pub(crate) conversation_id: ConversationId,
    pub(crate) at: Timestamp,
    pub(crate) outcome: FirstOutcome,
    /// The message it made or is about.
    pub(crate) message_id: Option<MessageId>,
    by: UserId,
    /// The first message of the message's thread, if it is in one.
    thread: Option<MessageId>,
}

impl Recent {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            inner: Mutex::default(),
            capacity,
        }
    }

    pub(crate) fn insert(&self, key: CommandKey, decision: &Decision) {
        let (at, outcome) = match &decision.outcome {
            Outcome::Accepted { seq, event } => (
                decision.at,
                FirstOutcome::Accepted {
                    seq: *seq,
                    no: event.no(),
                },
            ),
            Outcome::Noted(_) => (decision.at, FirstOutcome::Noted),
            Outcome::Rejected(code) => (decision.at, FirstOutcome::Rejected(*code)),
            // Of a repeated message the thread is not known here: who replies
            // to it asks the view.
            Outcome::Duplicate(_) => return,
        };
        let thread = match &decision.outcome {
            Outcome::Accepted {
                event: Event::MessageSent { thread, .. },
                ..
            } => *thread,
            _ => None,
        };
        let recent = RecentDecision {
            tenant: decision.tenant.clone(),
            conversation_id: decision.conversation_id,
            at,
            outcome,
            message_id: decision.message_id,
            by: decision.sender.clone(),
            thread,
        };
        let mut inner = self.inner.lock();
        if inner.decisions.contains_key(&key) {
            return;
        }
        inner.decisions.insert(key, recent);
        inner.order.push_back(key);
        if inner.order.len() > self.capacity
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.decisions.remove(&oldest);
        }
    }

    pub(crate) fn get(&self, key: CommandKey) -> Option<RecentDecision> {
        self.inner.lock().decisions.get(&key).cloned()
    }
}

impl RecentDecision {
    /// The message's facts; none if it is no message.
    pub(crate) fn facts(&self, key: CommandKey) -> Option<Facts> {
        match self.outcome {
            FirstOutcome::Accepted { no: Some(_), .. } => Some(Facts {
                by: self.by.clone(),
                at: self.at,
                thread: self.thread.unwrap_or(key.message_id()),
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::{Code, TempId};

    fn rejected(temp_id: &str, code: Code) -> Decision {
        Decision {
            tenant: Tenant::parse("t").unwrap(),
            conversation_id: ConversationId(uuid::Uuid::nil()),
            sender: UserId::parse("u").unwrap(),
            temp_id: TempId::parse(temp_id).unwrap(),
            message_id: None,
            at: Timestamp(1),
            outcome: Outcome::Rejected(code),
        }
    }

    #[test]
    fn the_first_decision_stays_until_newer_ones_need_its_place() {
        let recent = Recent::new(2);
        let first = rejected("1", Code::Closed);
        for decision in [
            &first,
            &rejected("1", Code::Forbidden),
            &rejected("2", Code::Closed),
        ] {
            recent.insert(decision.key(), decision);
        }
        let found = recent.get(first.key()).unwrap();
        assert_eq!(found.outcome, FirstOutcome::Rejected(Code::Closed));
        assert_eq!(found.facts(first.key()), None);
        let third = rejected("3", Code::Closed);
        recent.insert(third.key(), &third);
        assert_eq!(recent.get(first.key()), None);
        assert!(recent.get(third.key()).is_some());
    }
}
