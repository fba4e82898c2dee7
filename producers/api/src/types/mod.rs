//! What stands in bodies. Each is made from the domain's rows, and described
//! for the OpenAPI document by its own fields.

mod command;
mod conversation;
mod message;
mod search;

pub(crate) use command::{DeliveredBody, OutcomeBody, PendingBody};
pub(crate) use conversation::{
    Conversation, ConversationList, ConversationUpdate, KindName, Member, MemberList,
    NewConversation, NewMembers, NewRole, ReadUpTo, Unread,
};
pub(crate) use message::{
    Edit, EditList, Message, MessageEdit, MessagePage, NewMessage, NewReaction,
};
pub(crate) use search::{RecentSearches, SearchResults, SuggestionList};
