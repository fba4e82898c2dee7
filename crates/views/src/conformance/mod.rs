//! What every store of the history view must do, checked against the
//! in-memory [`Model`](tidings_domain::Model).
//!
//! Each check takes a store that is prepared and empty, and panics where the
//! store is wrong.

mod answers;
mod decisions;
mod writing;

use async_trait::async_trait;
use tidings_domain::{ConversationRow, EventRow, MemberRow, MessageRow, Model, OutcomeRow};

pub use answers::{answers_like_the_model, keeps_tenants_apart, pages_lists};
pub use decisions::{Decisions, Random};
pub use writing::{keeps_positions, mends_whatever_stopped_it, project};

use crate::history::{HistoryReader, HistoryWriter, StoreError};

/// A store that can show all it holds.
#[async_trait]
pub trait Dump: HistoryWriter + HistoryReader {
    /// Everything but the positions, whoever's it is.
    async fn dump(&self) -> Result<Model, StoreError>;
}

/// The rows of a store as the reference holds them.
pub(crate) fn model(
    events: Vec<EventRow>,
    outcomes: Vec<OutcomeRow>,
    messages: Vec<MessageRow>,
    conversations: Vec<ConversationRow>,
    members: Vec<MemberRow>,
) -> Model {
    Model {
        events: events
            .into_iter()
            .map(|row| ((row.conversation_id, row.seq), row))
            .collect(),
        outcomes: outcomes
            .into_iter()
            .map(|row| {
                let (by, temp_id) = (row.by.clone(), row.temp_id.clone());
                ((row.tenant.clone(), row.conversation_id, by, temp_id), row)
            })
            .collect(),
        messages: messages
            .into_iter()
            .map(|row| (row.message_id, row))
            .collect(),
        conversations: conversations
            .into_iter()
            .map(|row| (row.conversation_id, row))
            .collect(),
        members: members
            .into_iter()
            .map(|row| ((row.conversation_id, row.user_id.clone()), row))
            .collect(),
    }
}
