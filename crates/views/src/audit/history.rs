use async_trait::async_trait;
use tidings_domain::{
    ConversationRow, EditRow, EventRow, HiddenRow, MemberRow, MessageRow, OutcomeRow, Rows, Wanted,
};
use tidings_sqlite::Database;

use super::{Audit, StoredDocument};
use crate::history::{HistoryWriter, SqliteHistory};
use crate::{Position, StoreError};

/// A document of the history view, as the fold makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryDocument {
    /// Of `events`.
    Event(EventRow),
    /// Of `messages`.
    Message(MessageRow),
    /// Of `edits`.
    Edit(EditRow),
    /// Of `hidden`.
    Hidden(HiddenRow),
    /// Of `conversations`.
    Conversation(ConversationRow),
    /// Of `members`.
    Member(MemberRow),
    /// Of `outcomes`.
    Outcome(OutcomeRow, OutcomeSort),
}

/// What an outcome was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeSort {
    /// An event.
    OfEvent,
    /// An own change.
    Own,
    /// A rejection, or a decision that says that there was one before.
    Other,
}

/// Which outcomes a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKeeping {
    /// Of each command that made no event, the one that counts.
    Counting,
    /// Of each command that made no message, the first of each sort: that of
    /// the event it made, of the own change it noted, and any other.
    EachSort,
}

/// A store of the history view that can be audited.
#[async_trait]
pub trait HistoryAudit: Audit {
    /// Which outcomes it keeps.
    fn outcomes(&self) -> OutcomeKeeping;

    /// How it keeps a document.
    ///
    /// # Errors
    /// [`StoreError::Data`] where it cannot.
    fn encode(&self, document: &HistoryDocument) -> Result<StoredDocument, StoreError>;
}

/// What the fold of the history view makes of the log, in a scratch file.
#[derive(Clone, Debug)]
pub struct HistoryTruth {
    pub(crate) history: SqliteHistory,
    outcomes: OutcomeKeeping,
}

impl HistoryTruth {
    /// An empty one in a file that holds nothing else, or one that was copied.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(scratch: Database, outcomes: OutcomeKeeping) -> Result<Self, StoreError> {
        let history = SqliteHistory::new(scratch);
        history.prepare().await?;
        history.prepare_outcomes().await?;
        Ok(Self { history, outcomes })
    }

    /// Loads the rows that decisions are about to change.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(&self, wanted: &Wanted) -> Result<Rows, StoreError> {
        self.history.load(wanted).await
    }

    /// Writes rows, and positions.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn write(&self, rows: &Rows, positions: &[Position]) -> Result<(), StoreError> {
        if self.outcomes == OutcomeKeeping::EachSort {
            self.history.keep_outcomes(rows).await?;
        }
        self.history.write(rows, positions).await
    }

    /// Gives out all documents of a kind, page by page.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn scan(
        &self,
        kind: &'static str,
        each: &mut (dyn FnMut(Vec<HistoryDocument>) -> Result<(), StoreError> + Send),
    ) -> Result<(), StoreError> {
        self.history.scan_documents(kind, self.outcomes, each).await
    }

    /// Those of these documents that there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(
        &self,
        kind: &'static str,
        keys: &[String],
    ) -> Result<Vec<HistoryDocument>, StoreError> {
        self.history.get_documents(kind, self.outcomes, keys).await
    }

    /// The keys of the documents that rows stand for, by kind: all that writing
    /// them may change.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn touched(&self, rows: &Rows) -> Result<Vec<(&'static str, String)>, StoreError> {
        self.history.touched(rows, self.outcomes).await
    }
}
