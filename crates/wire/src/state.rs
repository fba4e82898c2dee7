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
