//! The search view in the data folder's SQLite file.

mod audit;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use async_trait::async_trait;
use rusqlite::Connection;
use tidings_domain::{ConversationId, MessageId, Timestamp, UserId};
use tidings_sqlite::Database;

use super::{
    Asker, ConversationHit, Documents, Filters, Found, MessageHit, Page, Query, SearchReader,
    SearchWriter, Wanted,
};
use crate::{Position, StoreError, sqlite_file};

/// How many documents are written at once: the file's writer is the log's too,
/// and a long write would hold up what waits to be acknowledged.
const AT_ONCE: usize = 64;

/// The search view in SQLite, with FTS5. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqliteSearch {
    database: Database,
    /// Whether words are kept too, or only the documents.
    has_words: bool,
}

impl SqliteSearch {
    /// The view in this file. [`SearchWriter::prepare`] makes its tables.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            database,
            has_words: true,
        }
    }

    /// One that is never searched.
    pub(crate) fn without_words(database: Database) -> Self {
        Self {
            database,
            has_words: false,
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        sqlite_file::read(&self.database, query).await
    }
}

#[async_trait]
impl SearchWriter for SqliteSearch {
    async fn prepare(&self) -> Result<(), StoreError> {
        sqlite_file::run(&self.database, schema::prepare).await
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.read(read::positions).await
    }

    async fn load(&self, wanted: &Wanted) -> Result<Documents, StoreError> {
        let wanted = wanted.clone();
        self.read(move |connection| read::load(connection, &wanted))
            .await
    }

    async fn write(&self, documents: &Documents, positions: &[Position]) -> Result<(), StoreError> {
        // One after the other: were two in one queue and the first to fail,
        // the second could still write a position past it.
        for part in write::parts(documents, AT_ONCE) {
            let has_words = self.has_words;
            sqlite_file::run(&self.database, move |connection| {
                part.write(connection, has_words)
            })
            .await?;
        }
        if positions.is_empty() {
            return Ok(());
        }
        let positions = positions.to_vec();
        sqlite_file::run(&self.database, move |connection| {
            write::positions(connection, &positions)
        })
        .await
    }
}

#[async_trait]
impl SearchReader for SqliteSearch {
    async fn messages(
        &self,
        asker: &Asker,
        query: &Query,
        filters: &Filters,
        page: Page<(Timestamp, MessageId)>,
    ) -> Result<Found<MessageHit>, StoreError> {
        let (asker, query, filters) = (asker.clone(), query.clone(), filters.clone());
        self.read(move |connection| read::messages(connection, &asker, &query, &filters, &page))
            .await
    }

    async fn conversations(
        &self,
        asker: &Asker,
        query: &Query,
        page: Page<(Timestamp, ConversationId)>,
    ) -> Result<Found<ConversationHit>, StoreError> {
        let (asker, query) = (asker.clone(), query.clone());
        self.read(move |connection| read::conversations(connection, &asker, &query, &page))
            .await
    }

    async fn users(
        &self,
        asker: &Asker,
        query: &Query,
        page: Page<UserId>,
    ) -> Result<Found<UserId>, StoreError> {
        let Some(prefix) = query.id_prefix() else {
            return Ok(Found::nothing());
        };
        let tenant = asker.tenant.clone();
        self.read(move |connection| read::users(connection, &tenant, &prefix, &page))
            .await
    }
}
