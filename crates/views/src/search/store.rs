use async_trait::async_trait;
use tidings_domain::{ConversationId, Kind, MessageId, Tenant, Timestamp, UserId};

use super::{Documents, Query, Wanted};
use crate::{Position, StoreError};

/// The projection's side of the search store.
#[async_trait]
pub trait SearchWriter: Send + Sync {
    /// Makes indexes or tables, where they are not there.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Where every partition stands; one that is left out is at the beginning.
    async fn positions(&self) -> Result<Vec<Position>, StoreError>;

    /// Loads documents by their ids, as they were last written, whether or not
    /// a search would find them yet.
    async fn load(&self, wanted: &Wanted) -> Result<Documents, StoreError>;

    /// Writes documents, then the positions. A document whose stored version
    /// is not lower is left alone. Positions never go backwards.
    async fn write(&self, documents: &Documents, positions: &[Position]) -> Result<(), StoreError>;
}

/// The side of those who search. Every question names who asks, and finds
/// nothing of another tenant's.
#[async_trait]
pub trait SearchReader: Send + Sync {
    /// The asker's conversations' messages with all of the query's words in
    /// them, newest first (then by id). None that is deleted, or that the
    /// asker has deleted for themselves.
    async fn messages(
        &self,
        asker: &Asker,
        query: &Query,
        filters: &Filters,
        page: Page<(Timestamp, MessageId)>,
    ) -> Result<Found<MessageHit>, StoreError>;

    /// Those of the asker's conversations whose title has all of the query's
    /// words in it, or that have a member whose id begins with the query;
    /// newest first (then by id).
    async fn conversations(
        &self,
        asker: &Asker,
        query: &Query,
        page: Page<(Timestamp, ConversationId)>,
    ) -> Result<Found<ConversationHit>, StoreError>;

    /// The tenant's users whose id begins with the query, without regard to
    /// case, by id.
    async fn users(
        &self,
        asker: &Asker,
        query: &Query,
        page: Page<UserId>,
    ) -> Result<Found<UserId>, StoreError>;
}

/// Who asks, and what is theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The tenant.
    pub tenant: Tenant,
    /// The user.
    pub user_id: UserId,
    /// The conversations they are a member of now, or one of them.
    pub conversations: Vec<ConversationId>,
}

/// Which messages to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filters {
    /// Only those of this sender.
    pub by: Option<UserId>,
    /// Only those of this time or later.
    pub from: Option<Timestamp>,
    /// Only those of this time or earlier.
    pub to: Option<Timestamp>,
    /// Only those with, or without, something attached.
    pub has_attachment: Option<bool>,
}

/// Which of the hits are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Those after this one.
    pub after: Option<T>,
    /// At most so many.
    pub limit: usize,
}

/// A page of hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// In the order of the question.
    pub hits: Vec<T>,
    /// How many there are on all pages together.
    pub total: u64,
    /// Whether there are more after these.
    pub more: bool,
}

impl<T> Found<T> {
    /// Nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            hits: Vec::new(),
            total: 0,
            more: false,
        }
    }

    /// A page of what a store gave when it was asked for one more than `limit`.
    pub(crate) fn page(mut hits: Vec<T>, total: u64, limit: usize) -> Self {
        let more = hits.len() > limit;
        hits.truncate(limit);
        Self { hits, total, more }
    }
}

/// A message that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageHit {
    /// Its id.
    pub message_id: MessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Its ordinal in it.
    pub no: u64,
    /// Who wrote it.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
    /// What it says.
    pub text: String,
}

/// A conversation that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationHit {
    /// Its id.
    pub conversation_id: ConversationId,
    /// What kind it is.
    pub kind: Kind,
    /// Its title.
    pub title: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}
