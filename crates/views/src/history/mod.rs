//! The history view: events, messages, conversations, members, outcomes.
//!
//! [`HistoryWriter`] is the projection's side, [`HistoryReader`] the edge's.
//! [`SqliteHistory`] and [`MongoHistory`] are both; they keep the same rows
//! and must pass the same conformance suite.

pub(crate) mod document;
mod mongo;
mod sqlite;
mod store;

pub use mongo::MongoHistory;
pub use sqlite::SqliteHistory;
pub use store::{ConversationPage, HistoryReader, HistoryWriter, ListedConversation};

pub use crate::{Position, StoreError};
