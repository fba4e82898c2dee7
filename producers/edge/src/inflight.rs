use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tidings_domain::{CommandKey, ConversationId, MessageId, TempId, Timestamp};
use tidings_service::traces::Span;
use tidings_wire::Topic;

use crate::answer::Pending;
use crate::metrics::Metrics;
use crate::peer::Reply;
use crate::socket::Socket;

/// A command of this edge that went to the log and is not decided yet.
pub(crate) struct Entry {
    pub(crate) reply: Reply,
    pub(crate) key: CommandKey,
    pub(crate) conversation_id: ConversationId,
    pub(crate) temp_id: TempId,
    pub(crate) message_id: Option<MessageId>,
    pub(crate) topic: Topic,
    pub(crate) partition: i32,
    /// When the edge took it, as the client is told.
    pub(crate) at: Timestamp,
    /// The same, to measure with.
    pub(crate) taken: Instant,
    pub(crate) state: Mutex<EntryState>,
    /// Of one that is traced; ends with it.
    pub(crate) span: Option<Span>,
}

/// How far a command has come. Answers to it are sent while this is locked,
/// so that `pending` is always before what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryState {
    /// Not known to be durable; the client was told nothing.
    Appending,
    /// Durable at this offset; the client has its `pending`.
    Durable(i64),
    /// The client has its last answer.
    Answered,
}

impl Entry {
    /// Sends `pending`, unless more than that was said already.
    pub(crate) fn durable(&self, offset: i64, metrics: &Metrics) {
        let mut state = self.state.lock();
        if let Some(span) = &self.span {
            span.offset(offset);
        }
        if *state == EntryState::Appending {
            self.send_pending(metrics);
            *state = EntryState::Durable(offset);
        }
    }

    /// Sends the last answer; before it `pending`, if the decision was read
    /// before the log said that the command is durable.
    pub(crate) fn answer(&self, metrics: &Metrics, send: impl FnOnce()) {
        let mut state = self.state.lock();
        match *state {
            EntryState::Answered => return,
            EntryState::Appending => self.send_pending(metrics),
            EntryState::Durable(_) => {}
        }
        *state = EntryState::Answered;
        send();
    }

    /// Sends the last answer, if it is the first word about this command.
    pub(crate) fn fail(&self, send: impl FnOnce()) {
        let mut state = self.state.lock();
        if *state == EntryState::Appending {
            *state = EntryState::Answered;
            send();
            if let Some(span) = &self.span {
                span.failed("not appended");
            }
        }
    }

    fn send_pending(&self, metrics: &Metrics) {
        if let Some(span) = &self.span {
            span.event("pending");
        }
        metrics.pending_seconds.record(self.taken.elapsed());
        let pending = Pending {
            conversation_id: self.conversation_id,
            message_id: self.message_id,
            at: self.at,
        };
        self.reply.pending(&self.temp_id, pending);
    }
}

/// All commands of this edge that are in the log, or about to be, and not
/// decided.
///
/// The same command may be there more than once, resent or sent by two sockets
/// of a user. Its decisions come in the order of the log, and each settles the
/// oldest.
#[derive(Default)]
pub(crate) struct InFlight {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<CommandKey, Vec<Arc<Entry>>>,
    /// How many there are for each conversation.
    conversations: HashMap<ConversationId, usize>,
}

impl InFlight {
    pub(crate) fn insert(&self, entry: Arc<Entry>) {
        let mut inner = self.inner.lock();
        *inner
            .conversations
            .entry(entry.conversation_id)
            .or_default() += 1;
        inner
            .entries
            .entry(entry.key)
            .or_insert_with(|| Vec::with_capacity(1))
            .push(entry);
    }

    /// Takes out the oldest entry of a command.
    pub(crate) fn settle(&self, key: CommandKey) -> Option<Arc<Entry>> {
        self.inner.lock().remove(key, |_| true)
    }

    /// Takes out this very entry; whether it was still there.
    pub(crate) fn remove(&self, entry: &Arc<Entry>) -> bool {
        let this = |other: &Arc<Entry>| Arc::ptr_eq(entry, other);
        self.inner.lock().remove(entry.key, this).is_some()
    }

    /// Takes out an entry of a socket that is gone.
    pub(crate) fn forget(&self, key: CommandKey, socket: &Arc<Socket>) {
        self.inner
            .lock()
            .remove(key, |entry| Arc::ptr_eq(entry.reply.peer(), &socket.peer));
    }

    /// Takes out the entry whose record is the one at this place.
    pub(crate) fn settle_at(
        &self,
        topic: Topic,
        partition: i32,
        offset: i64,
    ) -> Option<Arc<Entry>> {
        let mut inner = self.inner.lock();
        let place = |entry: &Arc<Entry>| {
            entry.topic == topic
                && entry.partition == partition
                && *entry.state.lock() == EntryState::Durable(offset)
        };
        let key = inner
            .entries
            .values()
            .flatten()
            .find(|entry| place(entry))?
            .key;
        inner.remove(key, place)
    }

    pub(crate) fn contains(&self, key: CommandKey) -> bool {
        self.inner.lock().entries.contains_key(&key)
    }

    /// Whether a command is known to be in the log, and not to be decided.
    pub(crate) fn is_durable(&self, key: CommandKey) -> bool {
        let inner = self.inner.lock();
        let mut entries = inner.entries.get(&key).into_iter().flatten();
        entries.any(|entry| matches!(*entry.state.lock(), EntryState::Durable(_)))
    }

    /// Whether a command about this conversation is in flight.
    pub(crate) fn concerns(&self, id: ConversationId) -> bool {
        self.inner.lock().conversations.contains_key(&id)
    }
}

impl Inner {
    fn remove(
        &mut self,
        key: CommandKey,
        is_it: impl Fn(&Arc<Entry>) -> bool,
    ) -> Option<Arc<Entry>> {
        let entries = self.entries.get_mut(&key)?;
        let at = entries.iter().position(is_it)?;
        let entry = entries.remove(at);
        if entries.is_empty() {
            self.entries.remove(&key);
        }
        if let Some(count) = self.conversations.get_mut(&entry.conversation_id) {
            *count -= 1;
            if *count == 0 {
                self.conversations.remove(&entry.conversation_id);
            }
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::Outbox;
    use tidings_domain::{Tenant, UserId};
    use uuid::Uuid;

    fn socket() -> Arc<Socket> {
        let who = (Tenant::parse("t").unwrap(), UserId::parse("u").unwrap());
        let outbox = Outbox::new(16, 4_096, metrics::Gauge::noop());
        Arc::new(Socket::new(
            Uuid::nil(),
            who,
            outbox,
            None,
            Arc::new(Metrics::new()),
        ))
    }

    fn entry(socket: &Arc<Socket>, key: u128) -> Arc<Entry> {
        Arc::new(Entry {
            reply: Reply::Socket(Arc::clone(socket)),
            key: CommandKey(Uuid::from_u128(key)),
            conversation_id: ConversationId(Uuid::nil()),
            temp_id: TempId::parse("m1").unwrap(),
            message_id: None,
            topic: Topic::MessageSent,
            partition: 0,
            at: Timestamp(0),
            taken: Instant::now(),
            state: Mutex::new(EntryState::Appending),
            span: None,
        })
    }

    fn sent(socket: &Socket) -> Vec<String> {
        let frames = socket.outbox.take().frames;
        frames
            .iter()
            .map(|frame| frame.as_str().chars().skip(9).take(7).collect())
            .collect()
    }

    #[test]
    fn decisions_settle_the_oldest_first() {
        let (registry, socket) = (InFlight::default(), socket());
        let [first, second] = [entry(&socket, 1), entry(&socket, 1)];
        registry.insert(Arc::clone(&first));
        registry.insert(Arc::clone(&second));
        assert!(Arc::ptr_eq(&registry.settle(first.key).unwrap(), &first));
        assert!(registry.concerns(first.conversation_id));
        assert!(!registry.remove(&first));
        assert!(registry.remove(&second));
        assert!(registry.settle(first.key).is_none());
        assert!(!registry.concerns(first.conversation_id));
    }

    #[test]
    fn pending_is_before_the_decision_whichever_is_known_first() {
        let (socket, metrics) = (socket(), Metrics::new());
        let decided = || socket.send("{\"type\":\"decided\"}");
        let first = entry(&socket, 1);
        first.durable(7, &metrics);
        first.answer(&metrics, decided);
        let second = entry(&socket, 2);
        second.answer(&metrics, decided);
        second.durable(8, &metrics);
        second.fail(|| panic!("answered already"));
        assert_eq!(sent(&socket), ["pending", "decided", "pending", "decided"]);
    }

    #[test]
    fn a_record_is_found_by_its_place() {
        let (registry, socket) = (InFlight::default(), socket());
        for key in [1, 2] {
            let entry = entry(&socket, key);
            registry.insert(Arc::clone(&entry));
            assert!(registry.contains(entry.key) && !registry.is_durable(entry.key));
            entry.durable(10 + key as i64, &Metrics::new());
            assert!(registry.is_durable(entry.key));
        }
        let found = registry.settle_at(Topic::MessageSent, 0, 12).unwrap();
        assert_eq!(found.key, CommandKey(Uuid::from_u128(2)));
        assert!(registry.settle_at(Topic::MessageSent, 0, 12).is_none());
        assert!(registry.settle_at(Topic::MessageSent, 1, 11).is_none());
    }
}
