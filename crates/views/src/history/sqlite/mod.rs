//! The history view in the data folder's SQLite file.

mod audit;
mod bulk;
#[cfg(any(test, feature = "testing"))]
mod dump;
mod read;
mod row;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use async_trait::async_trait;
use tidings_domain::{
    CommandKey, ConversationId, ConversationRow, EditRow, EventRow, Kind, MemberRow, MessageId,
    MessageRow, OutcomeRow, Rows, TempId, Tenant, Timestamp, UserId, Wanted,
};
use tidings_sqlite::Database;

use super::{ConversationPage, HistoryReader, HistoryWriter, Position, StoreError};
use crate::generation::{Generation, Generations, Register};
use crate::sqlite_file::{self, Scoped, Tables};

/// The view, as the register of generations names it.
const VIEW: &str = "history";

/// The history view in SQLite, one generation of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqliteHistory {
    database: Database,
    tables: Tables,
}

impl SqliteHistory {
    /// The view in this file. [`HistoryWriter::prepare`] makes its tables.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            database,
            tables: Tables::first("history_"),
        }
    }

    /// Runs a job on the writer thread and waits until it is durable.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Scoped<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tables = self.tables;
        sqlite_file::run(&self.database, move |c| job(&tables.on(c))).await
    }

    /// Reads off the runtime's threads: a read may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Scoped<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tables = self.tables;
        sqlite_file::read(&self.database, move |c| query(&tables.on(c))).await
    }

    /// The rows with these ids, as far as they are there.
    async fn found<I: Clone + Send + 'static, R: Send + 'static>(
        &self,
        ids: &[I],
        find: impl Fn(&Scoped<'_>, &I) -> rusqlite::Result<Option<R>> + Send + 'static,
    ) -> Result<Vec<R>, StoreError> {
        let ids = ids.to_vec();
        self.read(move |connection| {
            let rows = ids.iter().map(|id| find(connection, id));
            rows.filter_map(Result::transpose).collect()
        })
        .await
    }
}

#[async_trait]
impl HistoryWriter for SqliteHistory {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.run(|connection| {
            connection.execute_batch(schema::STAMP)?;
            let found: Option<i64> =
                connection.query_row("SELECT max(version) FROM history_schema", [], |row| {
                    row.get(0)
                })?;
            if found != Some(schema::VERSION) {
                let version = schema::VERSION;
                tracing::info!(?found, version, "making the tables of the history view");
                connection.execute_batch(schema::DROP)?;
            }
            connection.execute_batch(schema::TABLES)?;
            connection
                .execute(
                    "INSERT INTO history_schema (version) VALUES (?1) ON CONFLICT DO NOTHING",
                    [schema::VERSION],
                )
                .map(drop)
        })
        .await
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.read(read::positions).await
    }

    async fn load(&self, wanted: &Wanted) -> Result<Rows, StoreError> {
        let wanted = wanted.clone();
        self.read(move |connection| {
            let mut rows = Rows::default();
            for id in wanted.conversations {
                if let Some(row) = read::load_conversation(connection, id)? {
                    rows.conversations.insert(id, row);
                }
            }
            for (id, user) in wanted.members {
                if let Some(row) = read::load_member(connection, id, &user)? {
                    rows.members.insert((id, user), row);
                }
            }
            rows.messages = read::load_messages(connection, wanted.messages)?;
            Ok(rows)
        })
        .await
    }

    async fn write(&self, rows: &Rows, positions: &[Position]) -> Result<(), StoreError> {
        // One after the other: were two in one queue and the first to fail,
        // the second could still write a position past it.
        for batch in write::batches(rows, positions)? {
            self.run(move |connection| batch.write(connection)).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Generations for SqliteHistory {
    fn of(&self, generation: Generation) -> Self {
        Self {
            database: self.database.clone(),
            tables: self.tables.of(generation),
        }
    }

    async fn reached(&self) -> Result<Vec<Position>, StoreError> {
        self.read(|connection| {
            // Nobody has prepared it yet, or it is deleted.
            match connection.has("history_positions")? {
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
impl HistoryReader for SqliteHistory {
    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.read(read::positions).await
    }

    async fn events(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection| {
            read::events(connection, &tenant, conversation_id, after, limit)
        })
        .await
    }

    async fn conversation(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
    ) -> Result<Option<ConversationRow>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection| read::conversation(connection, &tenant, conversation_id))
            .await
    }

    async fn member(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        user_id: &UserId,
    ) -> Result<Option<MemberRow>, StoreError> {
        let (tenant, user_id) = (tenant.clone(), user_id.clone());
        self.read(move |connection| read::member(connection, &tenant, conversation_id, &user_id))
            .await
    }

    async fn memberships(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let (tenant, user_id) = (tenant.clone(), user_id.clone());
        self.read(move |connection| read::memberships(connection, &tenant, &user_id))
            .await
    }

    async fn members(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        let (tenant, after) = (tenant.clone(), after.cloned());
        self.read(move |connection| {
            read::members(connection, &tenant, conversation_id, after.as_ref(), limit)
        })
        .await
    }

    async fn unread(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
    ) -> Result<Vec<(ConversationId, u64)>, StoreError> {
        let (tenant, user_id) = (tenant.clone(), user_id.clone());
        self.read(move |connection| read::unread(connection, &tenant, &user_id))
            .await
    }

    async fn list(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
        kind: Option<Kind>,
        after: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<ConversationPage, StoreError> {
        let (tenant, user_id) = (tenant.clone(), user_id.clone());
        self.read(move |connection| read::list(connection, &tenant, &user_id, kind, after, limit))
            .await
    }

    async fn page(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        viewer: &UserId,
        thread: Option<MessageId>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let (tenant, viewer) = (tenant.clone(), viewer.clone());
        self.read(move |connection| {
            let query = read::PageQuery {
                conversation_id,
                viewer: &viewer,
                thread,
                before,
                limit,
            };
            read::page(connection, &tenant, &query)
        })
        .await
    }

    async fn edits(
        &self,
        tenant: &Tenant,
        message_id: MessageId,
    ) -> Result<Vec<EditRow>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection| read::edits(connection, &tenant, message_id))
            .await
    }

    async fn hidden(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
        messages: &[MessageId],
    ) -> Result<Vec<MessageId>, StoreError> {
        let (tenant, user_id) = (tenant.clone(), user_id.clone());
        let mut messages = messages.to_vec();
        self.read(move |connection| {
            let mut failed = Ok(());
            messages.retain(
                |id| match read::is_hidden(connection, &tenant, &user_id, *id) {
                    Ok(hidden) => hidden,
                    Err(error) => {
                        failed = Err(error);
                        false
                    }
                },
            );
            failed.map(|()| messages)
        })
        .await
    }

    async fn hidden_in(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        user_id: &UserId,
        limit: usize,
    ) -> Result<Vec<MessageId>, StoreError> {
        let (tenant, user_id) = (tenant.clone(), user_id.clone());
        self.read(move |connection| {
            read::hidden_in(connection, &tenant, conversation_id, &user_id, limit)
        })
        .await
    }

    async fn message(
        &self,
        tenant: &Tenant,
        message_id: MessageId,
    ) -> Result<Option<MessageRow>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection| read::message(connection, &tenant, message_id))
            .await
    }

    async fn conversations(
        &self,
        tenant: &Tenant,
        ids: &[ConversationId],
    ) -> Result<Vec<ConversationRow>, StoreError> {
        let tenant = tenant.clone();
        self.found(ids, move |connection, id| {
            read::conversation(connection, &tenant, *id)
        })
        .await
    }

    async fn messages(
        &self,
        tenant: &Tenant,
        ids: &[MessageId],
    ) -> Result<Vec<MessageRow>, StoreError> {
        let tenant = tenant.clone();
        self.found(ids, move |connection, id| {
            read::message(connection, &tenant, *id)
        })
        .await
    }

    async fn places(
        &self,
        tenant: &Tenant,
        ids: &[(ConversationId, UserId)],
    ) -> Result<Vec<MemberRow>, StoreError> {
        let tenant = tenant.clone();
        self.found(ids, move |connection, (id, user)| {
            read::member(connection, &tenant, *id, user)
        })
        .await
    }

    async fn outcome(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        sender: &UserId,
        temp_id: &TempId,
    ) -> Result<Option<OutcomeRow>, StoreError> {
        let key = CommandKey::of(tenant, conversation_id, sender, temp_id);
        let (tenant, sender, temp_id) = (tenant.clone(), sender.clone(), temp_id.clone());
        self.read(move |connection| {
            if let Some(message) = read::message(connection, &tenant, key.message_id())? {
                return Ok(Some(message.outcome(temp_id)));
            }
            let event =
                read::event_of_command(connection, &tenant, conversation_id, &sender, &temp_id)?;
            if let Some(event) = event {
                return Ok(Some(event.outcome()));
            }
            read::outcome(connection, &tenant, conversation_id, &sender, &temp_id)
        })
        .await
    }
}
