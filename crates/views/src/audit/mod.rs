//! What operators compare and mend: every document of a store, exactly as it
//! stands there.
//!
//! [`Audit`] is the port: a store gives out its documents raw, by kind, and
//! puts single ones right. [`HistoryAudit`] and [`SearchAudit`] say how a store
//! keeps what the view's fold made, so that both can be compared field by
//! field. [`HistoryTruth`] and [`SearchTruth`] hold what the fold makes of the
//! log, in a scratch file. [`CacheAudit`] is the same of copies.
//!
//! Keys are written alike by every store: the parts of a document's key with
//! `:` or `/` between them.

mod cache;
mod document;
mod history;
mod search;
pub(crate) mod sqlite;

pub use cache::{CacheAudit, cache_keys_changed_by, cacheable};
pub(crate) use document::Raw;
pub use document::StoredDocument;
pub use history::{HistoryAudit, HistoryDocument, HistoryTruth, OutcomeKeeping, OutcomeSort};
pub use search::{SearchAudit, SearchDocument, SearchTruth};

use async_trait::async_trait;
use tidings_domain::{ConversationId, Tenant};

use crate::{Position, StoreError};

/// Which documents are meant. One that names neither means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Those of this conversation.
    pub conversation_id: Option<ConversationId>,
    /// Those of this tenant.
    pub tenant: Option<Tenant>,
}

/// Something of a store, besides its documents, that is not as
/// [`prepare`](crate::history::HistoryWriter::prepare) leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// What is wrong, and what comes of it.
    pub message: String,
    /// Whether [`Audit::mend`] puts it right.
    pub is_mendable: bool,
}

impl Flaw {
    /// One that [`Audit::mend`] puts right.
    pub(crate) fn mendable(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_mendable: true,
        }
    }
}

/// What is to become of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Replacement {
    /// The document as it was seen; none: it was not there. Where it is
    /// otherwise by now, nothing is done.
    pub seen: Option<StoredDocument>,
    /// What is to stand there; none: nothing.
    pub new: Option<StoredDocument>,
}

/// Is given a page of documents.
pub type EachPage<'a> = &'a mut (dyn FnMut(Vec<StoredDocument>) -> Result<(), StoreError> + Send);

/// A store whose documents can be compared and put right one by one.
#[async_trait]
pub trait Audit: Send + Sync {
    /// The kinds of documents it has.
    fn kinds(&self) -> &'static [&'static str];

    /// Where every partition stands, whether or not those who read and write
    /// the view find that now.
    async fn positions(&self) -> Result<Vec<Position>, StoreError>;

    /// What is wrong besides documents and positions.
    async fn flaws(&self) -> Result<Vec<Flaw>, StoreError>;

    /// Puts right what [`flaws`](Self::flaws) calls mendable.
    async fn mend(&self) -> Result<(), StoreError>;

    /// Gives out all documents of a kind, page by page, in no order. What is
    /// written meanwhile may be among them or not, and one may come twice.
    async fn scan(
        &self,
        kind: &'static str,
        part: &Part,
        each: EachPage<'_>,
    ) -> Result<(), StoreError>;

    /// Those of these documents that are there, as they were last written.
    async fn get(
        &self,
        kind: &'static str,
        keys: &[String],
    ) -> Result<Vec<StoredDocument>, StoreError>;

    /// Puts documents in the place of those that were seen, each by itself.
    /// Returns how many of them were.
    async fn replace(&self, replacements: &[Replacement]) -> Result<usize, StoreError>;

    /// Sets a partition's position, where it still is as it was seen. Returns
    /// whether it was.
    async fn set_position(&self, seen: Option<Position>, to: Position) -> Result<bool, StoreError>;
}
