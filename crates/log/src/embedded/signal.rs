use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tidings_wire::Topic;

/// Wakes one waiting thread.
#[derive(Debug, Default)]
pub(super) struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    pub(super) fn raise(&self) {
        *self.raised.lock() = true;
        self.changed.notify_one();
    }

    /// Lowers the signal, before looking for what it stands for: what comes
    /// after the look raises it again.
    pub(super) fn lower(&self) {
        *self.raised.lock() = false;
    }

    /// Waits until it is raised. False: not before `deadline`.
    pub(super) fn wait_until(&self, deadline: Instant) -> bool {
        let mut raised = self.raised.lock();
        while !*raised {
            if self.changed.wait_until(&mut raised, deadline).timed_out() {
                return *raised;
            }
        }
        true
    }
}

/// A set of topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Topics(u16);

impl Topics {
    /// Every topic.
    pub(super) const ALL: Self = Self(u16::MAX);

    pub(super) fn insert(&mut self, topic: Topic) {
        self.0 |= 1 << topic.number();
    }

    pub(super) fn of(topics: impl IntoIterator<Item = Topic>) -> Self {
        let mut set = Self::default();
        topics.into_iter().for_each(|topic| set.insert(topic));
        set
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Who wants to know of new records, and of which topics.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<Vec<(Topics, Weak<Signal>)>>);

impl Listeners {
    pub(super) fn add(&self, topics: Topics, signal: &Arc<Signal>) {
        self.0.lock().push((topics, Arc::downgrade(signal)));
    }

    /// Wakes those who follow any of `topics`, and forgets those who are gone.
    pub(super) fn wake(&self, topics: Topics) {
        self.0
            .lock()
            .retain(|(wanted, signal)| match signal.upgrade() {
                Some(signal) => {
                    if wanted.meets(topics) {
                        signal.raise();
                    }
                    true
                }
                None => false,
            });
    }
}
