//! What every store of the history view must do, checked against the
//! in-memory [`Model`](tidings_domain::Model).
//!
//! Each check takes a store that is prepared and empty, and panics where the
//! store is wrong.

mod answers;
mod cache;
mod decisions;
mod generations;
mod pages;
pub mod search;
mod writing;

use std::collections::BTreeMap;

use async_trait::async_trait;
use tidings_domain::{
    ConversationRow, EditRow, EventRow, HiddenRow, MemberRow, MessageRow, Model, OutcomeRow,
};

pub use answers::{answers_like_the_model, keeps_tenants_apart, pages_lists};
pub use cache::{
    Forgetful, drops_what_changes, is_never_older_than_it_says, keeps_what_has_not_changed,
};
pub use decisions::{Decisions, Random};
pub use generations::keeps_a_register;
pub use writing::{keeps_positions, mends_whatever_stopped_it, project};

use crate::history::{HistoryReader, HistoryWriter, StoreError};

/// A store that can show all it holds.
#[async_trait]
pub trait Dump: HistoryWriter + HistoryReader {
    /// Everything but the positions, whoever's it is.
    async fn dump(&self) -> Result<Model, StoreError>;
}

/// The rows of a store, in no order.
pub(crate) struct Dumped {
    pub(crate) events: Vec<EventRow>,
    pub(crate) outcomes: Vec<OutcomeRow>,
    pub(crate) messages: Vec<MessageRow>,
    pub(crate) edits: Vec<EditRow>,
    pub(crate) hidden: Vec<HiddenRow>,
    pub(crate) conversations: Vec<ConversationRow>,
    pub(crate) members: Vec<MemberRow>,
}

/// The rows of a store as the reference holds them.
pub(crate) fn model(dumped: Dumped) -> Model {
    let mut model = Model {
        events: by(dumped.events, |row| (row.conversation_id, row.seq)),
        messages: by(dumped.messages, |row| row.message_id),
        edits: by(dumped.edits, |row| (row.message_id, row.seq)),
        hidden: by(dumped.hidden, |row| {
            (row.tenant.clone(), row.user_id.clone(), row.message_id)
        }),
        conversations: by(dumped.conversations, |row| row.conversation_id),
        members: by(dumped.members, |row| {
            (row.conversation_id, row.user_id.clone())
        }),
        ..Model::default()
    };
    for outcome in dumped.outcomes {
        model.insert_outcome(outcome);
    }
    model
}

fn by<K: Ord, R>(rows: Vec<R>, key: impl Fn(&R) -> K) -> BTreeMap<K, R> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
}
