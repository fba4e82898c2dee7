use serde::Serialize;
use tidings_edge::{SearchHit, SearchPage, Suggestion};
use tidings_wire::format_time;
use utoipa::ToSchema;

use super::conversation::KindName;

/// A page of what was found.
#[derive(Serialize, ToSchema)]
pub(crate) struct SearchResults {
    hits: Vec<Hit>,
    /// How many there are on all pages together.
    #[schema(minimum = 0)]
    total: u64,
    /// The `cursor` of the next page; none at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// One thing that was found: whichever has its fields.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Hit {
    Message(MessageHit),
    Conversation(ConversationHit),
    User(UserHit),
}

/// A message that was found.
#[derive(Serialize, ToSchema)]
pub(crate) struct MessageHit {
    #[schema(format = "uuid")]
    message_id: String,
    #[schema(format = "uuid")]
    conversation_id: String,
    #[schema(minimum = 1)]
    no: u64,
    by: String,
    #[schema(format = DateTime)]
    at: String,
    /// HTML: a part of its text, each word that was found in `<em>`.
    #[schema(example = "… <em>kernel</em> <em>panic</em> …")]
    snippet: String,
}

/// A conversation that was found.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConversationHit {
    #[schema(format = "uuid")]
    conversation_id: String,
    kind: KindName,
    #[schema(required)]
    title: Option<String>,
    /// HTML: its title, each word that was found in `<em>`.
    #[schema(required)]
    snippet: Option<String>,
}

/// A user that was found.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserHit {
    user_id: String,
}

impl From<SearchPage> for SearchResults {
    fn from(page: SearchPage) -> Self {
        Self {
            hits: page.hits.into_iter().map(Hit::from).collect(),
            total: page.total,
            next_cursor: page.next_cursor,
        }
    }
}

impl From<SearchHit> for Hit {
    fn from(hit: SearchHit) -> Self {
        match hit {
            SearchHit::Message { message, snippet } => Self::Message(MessageHit {
                message_id: message.message_id.to_string(),
                conversation_id: message.conversation_id.to_string(),
                no: message.no,
                by: message.by.to_string(),
                at: format_time(message.at),
                snippet,
            }),
            SearchHit::Conversation {
                conversation,
                snippet,
            } => Self::Conversation(ConversationHit {
                conversation_id: conversation.conversation_id.to_string(),
                kind: conversation.kind.into(),
                title: conversation.title,
                snippet,
            }),
            SearchHit::User(user) => Self::User(UserHit {
                user_id: user.to_string(),
            }),
        }
    }
}

/// How what is being typed may go on.
#[derive(Serialize, ToSchema)]
pub(crate) struct SuggestionList {
    suggestions: Vec<SuggestionItem>,
}

/// One way on: as searched before, a conversation, or a user.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum SuggestionItem {
    /// As the caller searched before.
    Recent { query: String },
    /// A conversation of the caller's.
    Conversation {
        #[schema(format = "uuid")]
        conversation_id: String,
        title: String,
    },
    /// A user.
    User { user_id: String },
}

impl From<Vec<Suggestion>> for SuggestionList {
    fn from(suggestions: Vec<Suggestion>) -> Self {
        let item = |suggestion| match suggestion {
            Suggestion::Recent(query) => SuggestionItem::Recent { query },
            Suggestion::Conversation {
                conversation_id,
                title,
            } => SuggestionItem::Conversation {
                conversation_id: conversation_id.to_string(),
                title,
            },
            Suggestion::User(user) => SuggestionItem::User {
                user_id: user.to_string(),
            },
        };
        Self {
            suggestions: suggestions.into_iter().map(item).collect(),
        }
    }
}

/// What the caller searched for lately, the last first.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecentSearches {
    pub(crate) searches: Vec<String>,
}
