use std::fmt;

use tidings_domain::{ConversationId, MessageId, Timestamp, UserId};
use tidings_wire::frames::SearchIn;
use uuid::Uuid;

/// Where a page of hits ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    Message(Timestamp, MessageId),
    Conversation(Timestamp, ConversationId),
    User(UserId),
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(at, id) => write!(f, "m{:x}.{}", at.0, id.0.simple()),
            Self::Conversation(at, id) => write!(f, "c{:x}.{}", at.0, id.0.simple()),
            Self::User(id) => write!(f, "u{id}"),
        }
    }
}

impl Cursor {
    /// Reads a cursor of a search in there.
    pub(super) fn parse(text: &str, within: SearchIn) -> Option<Self> {
        let place = |rest: &str| {
            let (at, id) = rest.split_once('.')?;
            let at = i64::from_str_radix(at, 16).ok().filter(|at| *at >= 0)?;
            Some((Timestamp(at), Uuid::try_parse(id).ok()?))
        };
        match within {
            SearchIn::Messages | SearchIn::All => {
                let (at, id) = place(text.strip_prefix('m')?)?;
                Some(Self::Message(at, MessageId(id)))
            }
            SearchIn::Conversations => {
                let (at, id) = place(text.strip_prefix('c')?)?;
                Some(Self::Conversation(at, ConversationId(id)))
            }
            SearchIn::Users => {
                let id = UserId::parse(text.strip_prefix('u')?);
                id.ok().map(Self::User)
            }
        }
    }

    pub(super) fn conversation(self) -> Option<(Timestamp, ConversationId)> {
        match self {
            Self::Conversation(at, id) => Some((at, id)),
            Self::Message(..) | Self::User(_) => None,
        }
    }

    pub(super) fn user(self) -> Option<UserId> {
        match self {
            Self::User(id) => Some(id),
            Self::Message(..) | Self::Conversation(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back_where_they_belong() {
        let (at, id) = (Timestamp(1_100_520_000_000), Uuid::from_u128(7));
        let table = [
            (Cursor::Message(at, MessageId(id)), SearchIn::Messages),
            (Cursor::Message(at, MessageId(id)), SearchIn::All),
            (
                Cursor::Conversation(at, ConversationId(id)),
                SearchIn::Conversations,
            ),
            (
                Cursor::User(UserId::parse("dave@x.org").unwrap()),
                SearchIn::Users,
            ),
        ];
        for (cursor, within) in table {
            let text = cursor.to_string();
            assert_eq!(Cursor::parse(&text, within), Some(cursor), "{text}");
        }
        for bad in [
            "",
            "m",
            "m1.2",
            "m-1.00000000000000000000000000000007",
            "c1.7",
            "ubob",
        ] {
            assert_eq!(Cursor::parse(bad, SearchIn::Messages), None, "{bad}");
        }
    }
}
