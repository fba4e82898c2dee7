//! The search view: messages, conversations and users, found by words.
//!
//! [`SearchWriter`] is the projection's side, [`SearchReader`] that of those
//! who search. [`SqliteSearch`] and [`OpenSearch`] are both; they keep the
//! same documents and must pass the same conformance suite.

mod documents;
mod opensearch;
mod sqlite;
mod store;

pub use documents::{
    ConversationDocument, Documents, Fold, MemberDocument, MessageDocument, Wanted,
};
pub use opensearch::OpenSearch;
pub use sqlite::SqliteSearch;
pub use store::{
    Asker, ConversationHit, Filters, Found, MessageHit, Page, SearchReader, SearchWriter,
};
pub use tidings_query::{Query, QueryError, snippet};
