//! The question `search`, and the frame that answers it.

use serde::Serialize;
use tidings_domain::{ConversationId, InputError, MessageId, Timestamp, UserId};

use super::fields::{self, Fields};
use super::{text, time};
use crate::parse_time;

/// The most hits a `search` may ask for.
pub const MAX_HITS: usize = 100;
const DEFAULT_HITS: usize = 20;
const DAY_MS: i64 = 86_400_000;

/// What is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SearchIn {
    /// What was said.
    Messages,
    /// The own conversations, by title and member.
    Conversations,
    /// The tenant's users, by id.
    Users,
    /// All three.
    All,
}

impl SearchIn {
    const EACH: [Self; 4] = [Self::Messages, Self::Conversations, Self::Users, Self::All];

    /// As the protocol spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Conversations => "conversations",
            Self::Users => "users",
            Self::All => "all",
        }
    }
}

/// What a client searches for. `conversation_id` and what follows it are about
/// messages only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Search {
    /// Where.
    pub within: SearchIn,
    /// For what; see the protocol for what stands in it.
    pub query: String,
    /// Only in this conversation.
    pub conversation_id: Option<ConversationId>,
    /// Only of this sender.
    pub by: Option<UserId>,
    /// Only of this time or later.
    pub from: Option<Timestamp>,
    /// Only of this time or earlier.
    pub to: Option<Timestamp>,
    /// Only with, or without, something attached.
    pub has_attachment: Option<bool>,
    /// How many hits at most: 1 to [`MAX_HITS`].
    pub limit: usize,
    /// Where the page before ended, as that page's `next_cursor` said.
    pub cursor: Option<String>,
}

impl Search {
    /// A search without filters, for the first page.
    #[must_use]
    pub fn new(within: SearchIn, query: impl Into<String>) -> Self {
        Self {
            within,
            query: query.into(),
            conversation_id: None,
            by: None,
            from: None,
            to: None,
            has_attachment: None,
            limit: DEFAULT_HITS,
            cursor: None,
        }
    }
}

pub(super) fn parse(fields: &Fields<'_>) -> Result<Search, InputError> {
    let within = search_in(&fields.required_text("in")?)?;
    let conversation_id = fields
        .text("conversation_id")?
        .map(|text| ConversationId::parse("conversation_id", &text));
    let by = fields.text("by")?;
    let (from, to) = (fields.text("from")?, fields.text("to")?);
    let has_attachment = match fields.get("has_attachment") {
        Some(_) => Some(fields.flag("has_attachment")?),
        None => None,
    };
    Ok(Search {
        within,
        query: fields.required_text("query")?.into_owned(),
        conversation_id: conversation_id.transpose()?,
        by: by.map(|text| fields::user_id("by", &text)).transpose()?,
        from: from.map(|text| search_from(&text)).transpose()?,
        to: to.map(|text| search_to(&text)).transpose()?,
        has_attachment,
        limit: fields.limit("limit", DEFAULT_HITS, MAX_HITS)?,
        cursor: fields.text("cursor")?.map(Into::into),
    })
}

/// Reads what is searched.
///
/// # Errors
/// `invalid`, with the choices.
pub fn search_in(text: &str) -> Result<SearchIn, InputError> {
    let found = SearchIn::EACH.into_iter().find(|it| it.as_str() == text);
    found.ok_or_else(|| InputError::invalid("in", "must be messages, conversations, users or all"))
}

/// Reads the beginning of a time: RFC 3339, or a day alone, which is all of it
/// in UTC.
///
/// # Errors
/// `invalid`.
pub fn search_from(text: &str) -> Result<Timestamp, InputError> {
    day(text)
        .or_else(|| parse_time(text))
        .ok_or_else(|| no_time("from"))
}

/// Reads the end of a time, which is part of it; as [`search_from`].
///
/// # Errors
/// `invalid`.
pub fn search_to(text: &str) -> Result<Timestamp, InputError> {
    day(text)
        .map(|start| Timestamp(start.0 + DAY_MS - 1))
        .or_else(|| parse_time(text))
        .ok_or_else(|| no_time("to"))
}

/// The beginning of a day such as `2004-11-15`.
fn day(text: &str) -> Option<Timestamp> {
    const SHAPE: usize = "2004-11-15".len();
    let is_day = text.len() == SHAPE && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    is_day
        .then(|| parse_time(&format!("{text}T00:00:00Z")))
        .flatten()
}

fn no_time(field: &'static str) -> InputError {
    InputError::invalid(
        field,
        "must be a time such as 2004-11-15T12:18:00Z, or a day",
    )
}

/// What was found.
#[derive(Serialize)]
pub struct Results<'a> {
    /// The question's id.
    pub id: &'a str,
    /// The hits of this page, in order.
    pub hits: Vec<HitItem<'a>>,
    /// How many there are on all pages.
    pub total: u64,
    /// Where the next page goes on.
    pub next_cursor: Option<&'a str>,
}

/// One thing that was found.
#[derive(Serialize)]
#[serde(untagged)]
pub enum HitItem<'a> {
    /// A message.
    Message {
        /// Its id.
        #[serde(serialize_with = "text")]
        message_id: MessageId,
        /// Its conversation.
        #[serde(serialize_with = "text")]
        conversation_id: ConversationId,
        /// Its ordinal in it.
        no: u64,
        /// Who wrote it.
        #[serde(serialize_with = "text")]
        by: &'a UserId,
        /// When.
        #[serde(serialize_with = "time")]
        at: Timestamp,
        /// HTML: what was found between `<em>` and `</em>`.
        snippet: &'a str,
    },
    /// A conversation.
    Conversation {
        /// Its id.
        #[serde(serialize_with = "text")]
        conversation_id: ConversationId,
        /// What kind it is.
        kind: &'static str,
        /// Its title.
        title: Option<&'a str>,
        /// The title as HTML, with what was found marked.
        snippet: Option<&'a str>,
    },
    /// A user.
    User {
        /// Their id.
        #[serde(serialize_with = "text")]
        user_id: &'a UserId,
    },
}

#[cfg(test)]
mod tests {
    use tidings_domain::{ConversationId, Kind, MessageId, Timestamp, UserId};
    use uuid::Uuid;

    use super::{HitItem, Results, Search, SearchIn};
    use crate::frames::{ClientFrame, FrameError, Question, ServerFrame};

    fn parse(fields: &str) -> Result<Search, FrameError> {
        let frame = format!(r#"{{"type":"search","id":"q"{fields}}}"#);
        match ClientFrame::parse(&frame)? {
            ClientFrame::Question {
                question: Question::Search(search),
                ..
            } => Ok(search),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn searches_are_read() {
        let plain = r#","in":"messages","query":"kernel panic","conversation_id":null,"by":null,
                       "from":null,"to":null,"has_attachment":null,"limit":20,"cursor":null"#;
        assert_eq!(
            parse(plain),
            Ok(Search::new(SearchIn::Messages, "kernel panic"))
        );
        let id = Uuid::from_u128(7);
        let full = format!(
            r#","in":"all","query":"x","conversation_id":"{id}","by":"bob","from":"2004-11-15",
               "to":"2004-11-15","has_attachment":false,"limit":1000,"cursor":"m1.2""#
        );
        let expected = Search {
            conversation_id: Some(ConversationId(id)),
            by: Some(UserId::parse("bob").expect("an id")),
            from: Some(Timestamp(1_100_476_800_000)),
            to: Some(Timestamp(1_100_563_199_999)),
            has_attachment: Some(false),
            limit: 100,
            cursor: Some("m1.2".to_owned()),
            ..Search::new(SearchIn::All, "x")
        };
        assert_eq!(parse(&full), Ok(expected));
    }

    #[test]
    fn what_cannot_be_searched_says_which_field() {
        let table = [
            (r#","query":"x""#, "in"),
            (r#","in":"messages""#, "query"),
            (r#","in":"everything","query":"x""#, "in"),
            (r#","in":"messages","query":7"#, "query"),
            (
                r#","in":"messages","query":"x","conversation_id":"7""#,
                "conversation_id",
            ),
            (r#","in":"messages","query":"x","by":"a b""#, "by"),
            (r#","in":"messages","query":"x","from":"yesterday""#, "from"),
            (r#","in":"messages","query":"x","to":"2004-13-45""#, "to"),
            (
                r#","in":"messages","query":"x","has_attachment":"yes""#,
                "has_attachment",
            ),
        ];
        for (fields, expected) in table {
            match parse(fields) {
                Err(FrameError::Other { id, error }) => {
                    assert_eq!(id.as_deref(), Some("q"));
                    assert_eq!(error.field, expected, "{fields}");
                }
                other => panic!("{fields}: {other:?}"),
            }
        }
    }

    #[test]
    fn results_are_written() {
        let (message, conversation) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let bob = UserId::parse("bob").expect("an id");
        let frame = ServerFrame::Results(Results {
            id: "q4",
            hits: vec![
                HitItem::Message {
                    message_id: MessageId(message),
                    conversation_id: ConversationId(conversation),
                    no: 9,
                    by: &bob,
                    at: Timestamp(0),
                    snippet: "<em>x</em>",
                },
                HitItem::Conversation {
                    conversation_id: ConversationId(conversation),
                    kind: Kind::Group.as_str(),
                    title: Some("X"),
                    snippet: None,
                },
                HitItem::User { user_id: &bob },
            ],
            total: 3,
            next_cursor: None,
        });
        let expected = format!(
            r#"{{"type":"results","id":"q4","hits":[{{"message_id":"{message}","conversation_id":"{conversation}","no":9,"by":"bob","at":"1970-01-01T00:00:00.000Z","snippet":"<em>x</em>"}},{{"conversation_id":"{conversation}","kind":"group","title":"X","snippet":null}},{{"user_id":"bob"}}],"total":3,"next_cursor":null}}"#
        );
        assert_eq!(frame.to_json(), expected);
    }
}
