use std::collections::{HashMap, VecDeque};

use crate::{CommandKey, First, Timestamp};

/// How long a command is remembered for deduplication, in milliseconds.
pub const DEDUPE_WINDOW_MS: i64 = 10 * 60 * 1000;

/// The commands decided in the last ten minutes, with their first decisions.
#[derive(Debug, Default)]
pub struct Window {
    first: HashMap<CommandKey, First>,
    /// In the order they were decided; the front is the oldest.
    order: VecDeque<CommandKey>,
}

impl Window {
    /// The first decision of this command, if it was made in the ten minutes
    /// before `now`. One that is older and still held, as nothing was decided
    /// since or as a snapshot held it, is forgotten all the same: what is
    /// decided must not depend on that.
    #[must_use]
    pub fn get(&self, key: CommandKey, now: Timestamp) -> Option<First> {
        let oldest = now.minus_ms(DEDUPE_WINDOW_MS);
        self.first
            .get(&key)
            .filter(|first| first.at >= oldest)
            .copied()
    }

    /// Remembers a first decision; says whether it was new. A second one of
    /// the same command is ignored, unless the one before is forgotten by then.
    pub fn insert(&mut self, key: CommandKey, first: First) -> bool {
        let forgotten_by_then = first.at.minus_ms(DEDUPE_WINDOW_MS);
        let is_new = self
            .first
            .get(&key)
            .is_none_or(|known| known.at < forgotten_by_then);
        if is_new {
            self.first.insert(key, first);
            self.order.push_back(key);
        }
        is_new
    }

    /// Forgets what was decided more than ten minutes before `now`.
    pub fn forget_before(&mut self, now: Timestamp) {
        let oldest = now.minus_ms(DEDUPE_WINDOW_MS);
        while let Some(key) = self.order.front() {
            match self.first.get(key) {
                Some(first) if first.at >= oldest => break,
                _ => {
                    self.first.remove(key);
                    self.order.pop_front();
                }
            }
        }
    }

    /// How many commands are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The last `count` remembered, oldest first.
    pub(crate) fn last(&self, count: usize) -> impl Iterator<Item = (CommandKey, First)> + '_ {
        let skipped = self.order.len().saturating_sub(count);
        self.order
            .iter()
            .skip(skipped)
            .filter_map(|key| Some((*key, *self.first.get(key)?)))
    }
}
