use async_trait::async_trait;
use tidings_domain::{Decision, Tenant, UserId};
use tidings_sqlite::Database;

use super::{Audit, StoredDocument};
use crate::search::{
    ConversationDocument, Documents, MemberDocument, MessageDocument, SearchWriter, SqliteSearch,
    Wanted,
};
use crate::{Position, StoreError};

/// A document of the search view, as the fold makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchDocument {
    /// Of `messages`.
    Message(MessageDocument),
    /// Of `conversations`.
    Conversation(ConversationDocument),
    /// Of `members`.
    Member(MemberDocument),
    /// Of `users`.
    User(Tenant, UserId),
}

/// A store of the search view that can be audited.
#[async_trait]
pub trait SearchAudit: Audit {
    /// How it keeps a document.
    ///
    /// # Errors
    /// [`StoreError::Data`] where it cannot.
    fn encode(&self, document: &SearchDocument) -> Result<StoredDocument, StoreError>;
}

/// What the fold of the search view makes of the log, in a scratch file.
#[derive(Clone, Debug)]
pub struct SearchTruth {
    search: SqliteSearch,
}

impl SearchTruth {
    /// An empty one in a file that holds nothing else, or one that was copied.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(scratch: Database) -> Result<Self, StoreError> {
        let search = SqliteSearch::without_words(scratch);
        search.prepare().await?;
        search.prepare_tenants().await?;
        Ok(Self { search })
    }

    /// Loads the documents that decisions are about to change.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(&self, wanted: &Wanted) -> Result<Documents, StoreError> {
        self.search.load(wanted).await
    }

    /// Writes what decisions changed, and positions.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn write(
        &self,
        decisions: &[&Decision],
        documents: &Documents,
        positions: &[Position],
    ) -> Result<(), StoreError> {
        self.search.keep_tenants(decisions).await?;
        self.search.write(documents, positions).await
    }

    /// Gives out all documents of a kind, page by page.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn scan(
        &self,
        kind: &'static str,
        each: &mut (dyn FnMut(Vec<SearchDocument>) -> Result<(), StoreError> + Send),
    ) -> Result<(), StoreError> {
        self.search.scan_documents(kind, each).await
    }

    /// Those of these documents that there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(
        &self,
        kind: &'static str,
        keys: &[String],
    ) -> Result<Vec<SearchDocument>, StoreError> {
        self.search.get_documents(kind, keys).await
    }

    /// The keys of documents, by kind.
    #[must_use]
    pub fn keys(documents: &Documents) -> Vec<(&'static str, String)> {
        let messages = documents.messages.keys();
        let messages = messages.map(|id| ("messages", id.to_string()));
        let conversations = documents.conversations.keys();
        let conversations = conversations.map(|id| ("conversations", id.to_string()));
        let members = documents.members.keys();
        let members = members.map(|(id, user)| ("members", format!("{id}/{user}")));
        let users = documents.users.iter();
        let users = users.map(|(tenant, user)| ("users", format!("{tenant}/{user}")));
        messages
            .chain(conversations)
            .chain(members)
            .chain(users)
            .collect()
    }
}
