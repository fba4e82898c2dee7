//! The whole story of one message or command: every record about it, and what
//! the views make of it.
//!
//! Records are found by their keys and by the bytes of the ids in them, and
//! only those are decoded; decisions are judged by the reader's rule from the
//! beginning of their partition, so that it is told which of them are void.

mod records;
mod story;
mod views;

pub use story::{
    CommandRecord, DeadLetter, DecisionRecord, State, StateOfView, Story, ViewDocument,
};

use std::sync::Arc;

use tidings_domain::{ConversationId, MessageId, TempId, Tenant, Timestamp, UserId};
use tidings_log::{LogError, LogReader};
use tidings_wire::Codec;

use crate::verify::AuditedView;

/// Which message or command is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The event at this place of a conversation.
    Event {
        /// The conversation.
        conversation_id: ConversationId,
        /// The event's place.
        seq: u64,
    },
    /// A command by its client's id, or a message by its own.
    Command {
        /// The client's id of the command, where it can be one.
        temp_id: Option<TempId>,
        /// The message's id, where it can be one.
        message_id: Option<MessageId>,
        /// Only in this conversation: then one partition is read.
        conversation_id: Option<ConversationId>,
        /// Only of this sender.
        sender: Option<UserId>,
        /// Only of this tenant.
        tenant: Option<Tenant>,
    },
}

/// How to look for it.
#[derive(Clone, Default)]
pub struct ExplainOptions {
    /// Nothing that was written into the log before.
    pub since: Option<Timestamp>,
    /// Whether texts are shown; else their lengths and hashes.
    pub show_texts: bool,
    /// Is told how many records were read, and of how many.
    pub progress: Option<Arc<dyn Fn(u64, u64) + Send + Sync>>,
}

/// Why a story could not be told.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The schema registry, or a record that nobody can read.
    #[error("a record cannot be read: {0}")]
    Decode(String),
    /// A thread has panicked.
    #[error("reading the log has panicked: {0}")]
    Thread(String),
}

/// Tells the story of a message or command: from the log, and from those views
/// that are given. A view that cannot be asked says so in the story.
///
/// # Errors
/// [`ExplainError`].
pub async fn explain(
    log: Arc<dyn LogReader>,
    codec: Codec,
    subject: &Subject,
    views: &[AuditedView],
    options: &ExplainOptions,
) -> Result<Story, ExplainError> {
    let (reader, codec, wanted, with) = (log, codec, subject.clone(), options.clone());
    let found =
        tokio::task::spawn_blocking(move || records::find(&*reader, &codec, &wanted, &with));
    let mut story = found
        .await
        .map_err(|error| ExplainError::Thread(error.to_string()))??;
    for view in views {
        let state = views::state(view, &story, options.show_texts).await;
        story.views.push(state);
    }
    Ok(story)
}
