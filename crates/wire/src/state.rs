use bytes::Bytes;
use tidings_domain::{Ownership, Snapshot};

use crate::Topic;

/// A record of `conversation.state`, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateEntry {
    /// A piece of the partition's state, reflecting all valid decisions below
    /// offset `as_of`.
    Piece {
        /// The first offset of `message.delivered` that it does not reflect.
        as_of: i64,
        /// Who wrote it.
        by: Ownership,
        /// Of a [`Snapshot::Window`]: its number, counted by its owner, so
        /// that each has a key of its own. Else 0.
        chunk: u64,
        /// The piece.
        snapshot: Snapshot,
    },
    /// All of the state below offset `upto` stands in this topic before this
    /// record.
    Checkpoint {
        /// The first offset of `message.delivered` that is not covered.
        upto: i64,
        /// Who owned the partition at `upto`.
        by: Ownership,
        /// The next offset of each command topic after those decided below
        /// `upto`.
        next: Vec<(Topic, i64)>,
    },
}

impl StateEntry {
    /// The key of its record. Of two records with one key the later counts; a
    /// later one without a value (see [`crate::Codec::state_tombstone`])
    /// deletes the earlier.
    ///
    /// A head's key is the conversation id, a member's
    /// `<conversation id>/<user id>`, a checkpoint's `checkpoint`. A window
    /// chunk's is `window/<epoch>/<owner>/<chunk>`, so that no owner, however
    /// late, can overwrite another's.
    #[must_use]
    pub fn key(&self) -> Bytes {
        match self {
            Self::Checkpoint { .. } => Bytes::from_static(b"checkpoint"),
            Self::Piece {
                by,
                chunk,
                snapshot,
                ..
            } => match snapshot {
                Snapshot::Head {
                    conversation_id, ..
                } => conversation_id.to_string().into(),
                Snapshot::Member {
                    conversation_id,
                    user_id,
                    ..
                } => format!("{conversation_id}/{user_id}").into(),
                Snapshot::Window(_) => format!("window/{}/{}/{chunk}", by.epoch, by.owner).into(),
            },
        }
    }
}
