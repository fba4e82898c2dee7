//! The history view: events, messages, conversations, members, outcomes.

mod store;

pub use store::{
    ConversationPage, HistoryReader, HistoryWriter, ListedConversation, Position, StoreError,
};
