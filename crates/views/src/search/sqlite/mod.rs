//! The search view in the data folder's SQLite file.

mod audit;
mod bulk;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use async_trait::async_trait;
use tidings_domain::{ConversationId, MessageId, Timestamp, UserId};
use tidings_sqlite::Database;

use super::{
    Asker, ConversationHit, Documents, Filters, Found, MessageHit, Page, Query, SearchReader,
    SearchWriter, Wanted,
};
use crate::generation::{Generation, Generations, Register};
use crate::sqlite_file::{self, Scoped, Tables};
use crate::{Position, StoreError};

/// How many documents are written at once: the file's writer is the log's too,
/// and a long write would hold up what waits to be acknowledged.
const AT_ONCE: usize = 64;
/// The view, as the register of generations names it.
const VIEW: &str = "search";

/// The search view in SQLite, with FTS5, one generation of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqliteSearch {
    database: Database,
    tables: Tables,
    /// Whether words are kept too, or only the documents.
    has_words: bool,
}

impl SqliteSearch {
    /// The view in this file. [`SearchWriter::prepare`] makes its tables.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            database,
            tables: Tables::first("search_"),
            has_words: true,
        }
    }

    /// One that is never searched.
    pub(crate) fn without_words(database: Database) -> Self {
        Self {
            has_words: false,
            ..Self::new(database)
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Scoped<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tables = self.tables;
        sqlite_file::run(&self.database, move |c| job(&tables.on(c))).await
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Scoped<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tables = self.tables;
        sqlite_file::read(&self.database, move |c| query(&tables.on(c))).await
    }
}

#[async_trait]
impl SearchWriter for SqliteSearch {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.run(schema::prepare).await
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
            self.run(move |connection| part.write(connection, has_words))
                .await?;
        }
        if positions.is_empty() {
            return Ok(());
        }
        let positions = positions.to_vec();
        self.run(move |connection| write::positions(connection, &positions))
            .await
    }
}

#[async_trait]
impl Generations for SqliteSearch {
    fn of(&self, generation: Generation) -> Self {
        Self {
            database: self.database.clone(),
            has_words: self.has_words,
            tables: self.tables.of(generation),
        }
    }

    async fn reached(&self) -> Result<Vec<Position>, StoreError> {
        self.read(|connection| {
            // Nobody has prepared it yet, or it is deleted.
            match connection.has("search_positions")? {
                true => read::positions(connection),
                false => Ok(Vec::new()),
            }
        })
        .await
    }

    async fn register(&self) -> Result<Register, StoreError> {
        sqlite_file::read(&self.database, |c| sqlite_file::read_register(c, VIEW)).await
    }

    async fn replace(&self, register: &Register) -> Result<bool, StoreError> {
        sqlite_file::replace_register(&self.database, VIEW, register).await
    }

    async fn delete(&self, generation: Generation) -> Result<(), StoreError> {
        let view = self.of(generation);
        for statement in schema::DELETE {
            view.run(|connection| connection.execute_batch(statement))
                .await?;
        }
        Ok(())
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
