use std::collections::HashMap;

use parking_lot::Mutex;
use tidings_domain::{ConversationId, UserId};
use tungstenite::Utf8Bytes;

/// Up to how many members a conversation is small: its members are told what
/// the others have read, and who is there.
pub(crate) const MOST_OF_SMALL: usize = 100;
/// How many frames wait for the answer whether a conversation is small; the
/// oldest go first, as newer ones say more.
const MOST_WAITING: usize = 256;

/// Which conversations are small, as far as this edge knows: bounded, and
/// forgotten whenever their members change.
pub(crate) struct Sizes {
    known: Mutex<HashMap<ConversationId, Size>>,
    capacity: usize,
}

enum Size {
    Known {
        is_small: bool,
    },
    /// Somebody is finding out.
    Asked {
        waiting: Vec<Courtesy>,
        /// The members have changed since.
        is_stale: bool,
    },
}

/// A frame for all members of a small conversation but the one it is about.
pub(crate) struct Courtesy {
    pub(crate) about: UserId,
    pub(crate) frame: Utf8Bytes,
}

/// What to do with a courtesy.
pub(crate) enum Advice {
    /// Tell the members.
    Tell(Courtesy),
    /// The conversation is large: tell nobody.
    Drop,
    /// Find out how large it is, and say so by [`Sizes::found`].
    FindOut,
    /// Somebody else is finding out.
    Wait,
}

/// What is known of a conversation's size.
pub(crate) enum Asked {
    Known(bool),
    /// Find out, and say so by [`Sizes::found`].
    FindOut,
    /// Somebody else is finding out, for themselves.
    Elsewhere,
}

impl Sizes {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            known: Mutex::default(),
            capacity,
        }
    }

    /// A conversation was made with so many members.
    pub(crate) fn created(&self, id: ConversationId, members: usize) {
        let is_small = members <= MOST_OF_SMALL;
        let mut known = self.known.lock();
        self.make_room(&mut known);
        known.insert(id, Size::Known { is_small });
    }

    /// The members of a conversation have changed.
    pub(crate) fn changed(&self, id: ConversationId) {
        let mut known = self.known.lock();
        match known.get_mut(&id) {
            Some(Size::Known { .. }) => {
                known.remove(&id);
            }
            Some(Size::Asked { is_stale, .. }) => *is_stale = true,
            None => {}
        }
    }

    /// Says what to do with a courtesy.
    pub(crate) fn advise(&self, id: ConversationId, courtesy: Courtesy) -> Advice {
        let mut known = self.known.lock();
        match known.get_mut(&id) {
            Some(Size::Known { is_small: true }) => Advice::Tell(courtesy),
            Some(Size::Known { is_small: false }) => Advice::Drop,
            Some(Size::Asked { waiting, .. }) => {
                if waiting.len() >= MOST_WAITING {
                    waiting.remove(0);
                }
                waiting.push(courtesy);
                Advice::Wait
            }
            None => {
                self.make_room(&mut known);
                let waiting = vec![courtesy];
                let is_stale = false;
                known.insert(id, Size::Asked { waiting, is_stale });
                Advice::FindOut
            }
        }
    }

    /// Whether a conversation is small, where that is known. Where nobody is
    /// finding out, the caller is to, and to say so by [`found`](Self::found).
    pub(crate) fn ask(&self, id: ConversationId) -> Asked {
        let mut known = self.known.lock();
        match known.get(&id) {
            Some(Size::Known { is_small }) => Asked::Known(*is_small),
            Some(Size::Asked { .. }) => Asked::Elsewhere,
            None => {
                self.make_room(&mut known);
                let (waiting, is_stale) = (Vec::new(), false);
                known.insert(id, Size::Asked { waiting, is_stale });
                Asked::FindOut
            }
        }
    }

    /// Takes in how many members there are, if that could be found out, and
    /// gives what is to be told now.
    pub(crate) fn found(&self, id: ConversationId, members: Option<usize>) -> Vec<Courtesy> {
        let mut known = self.known.lock();
        let Some(Size::Asked { waiting, is_stale }) = known.remove(&id) else {
            return Vec::new();
        };
        let Some(is_small) = members.map(|members| members <= MOST_OF_SMALL) else {
            return Vec::new();
        };
        if !is_stale {
            known.insert(id, Size::Known { is_small });
        }
        if is_small { waiting } else { Vec::new() }
    }

    fn make_room(&self, known: &mut HashMap<ConversationId, Size>) {
        if known.len() >= self.capacity {
            known.retain(|_, size| matches!(size, Size::Asked { .. }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const C: ConversationId = ConversationId(Uuid::nil());

    fn courtesy(frame: &'static str) -> Courtesy {
        Courtesy {
            about: UserId::parse("u").unwrap(),
            frame: frame.into(),
        }
    }

    fn advise(sizes: &Sizes, frame: &'static str) -> &'static str {
        match sizes.advise(C, courtesy(frame)) {
            Advice::Tell(_) => "tell",
            Advice::Drop => "drop",
            Advice::FindOut => "find out",
            Advice::Wait => "wait",
        }
    }

    #[test]
    fn a_size_is_asked_for_once_and_again_when_members_change() {
        let sizes = Sizes::new(8);
        assert_eq!(advise(&sizes, "a"), "find out");
        assert_eq!(advise(&sizes, "b"), "wait");
        let told = sizes.found(C, Some(100));
        let frames: Vec<_> = told
            .iter()
            .map(|courtesy| courtesy.frame.as_str())
            .collect();
        assert_eq!(frames, ["a", "b"]);
        assert_eq!(advise(&sizes, "c"), "tell");
        sizes.changed(C);
        assert_eq!(advise(&sizes, "d"), "find out");
        assert!(sizes.found(C, Some(101)).is_empty());
        assert_eq!(advise(&sizes, "e"), "drop");
        sizes.created(C, 2);
        assert_eq!(advise(&sizes, "f"), "tell");
    }

    #[test]
    fn what_changed_meanwhile_or_failed_is_asked_for_again() {
        let sizes = Sizes::new(8);
        assert_eq!(advise(&sizes, "a"), "find out");
        sizes.changed(C);
        assert_eq!(sizes.found(C, Some(3)).len(), 1);
        assert_eq!(advise(&sizes, "b"), "find out");
        assert!(sizes.found(C, None).is_empty());
        assert_eq!(advise(&sizes, "c"), "find out");
    }
}
