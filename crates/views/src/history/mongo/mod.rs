//! The history view in MongoDB, or anything that speaks its protocol and
//! answers as MongoDB 5 does: no transactions, no pipeline updates.

mod audit;
mod bulk;
mod claim;
#[cfg(any(test, feature = "testing"))]
mod dump;
mod error;
mod generations;
mod message_record;
mod prepare;
mod read;
mod record;
#[cfg(test)]
mod tests;
mod write;

use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::{Document, doc};
use mongodb::options::{
    ClientOptions, DatabaseOptions, FindOptions, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Database};
use tidings_domain::{
    CommandKey, ConversationId, ConversationRow, EditRow, EventRow, Kind, MemberRow, MessageId,
    MessageRow, OutcomeRow, Rows, TempId, Tenant, Timestamp, UserId, Wanted,
};

use self::error::classify;
use self::record::member_id;
use super::document::id_text;
use super::{ConversationPage, HistoryReader, HistoryWriter, Position, StoreError};
use crate::generation::Generation;

/// The database where the address names none.
const DEFAULT_DATABASE: &str = "tidings";
/// How long to look for a server that can be written to.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a majority of the servers may take to have a write.
const WRITE_CONCERN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long any one operation may take.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The history view in MongoDB, one generation of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MongoHistory {
    database: Database,
    generation: Generation,
}

impl MongoHistory {
    /// The view in the database that `uri` names (`tidings`, if none), as
    /// `application` in the server's own logs. Connects when it is first used:
    /// [`HistoryWriter::prepare`] shows whether the server answers.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] where `uri` cannot be read,
    /// [`StoreError::Transient`] where a name in it could not be looked up.
    pub async fn connect(uri: &str, application: &str) -> Result<Self, StoreError> {
        let mut options = ClientOptions::parse(uri)
            .await
            .map_err(|error| classify(&error))?;
        options
            .app_name
            .get_or_insert_with(|| application.to_owned());
        options
            .server_selection_timeout
            .get_or_insert(SERVER_SELECTION_TIMEOUT);
        options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
        let name = options
            .default_database
            .clone()
            .unwrap_or_else(|| DEFAULT_DATABASE.to_owned());
        let client = Client::with_options(options).map_err(|error| classify(&error))?;
        // What the view says it has, it must have for good, and a reader must
        // see what was written before it asked.
        let mut majority = WriteConcern::majority();
        majority.w_timeout = Some(WRITE_CONCERN_TIMEOUT);
        let options = DatabaseOptions::builder()
            .write_concern(majority)
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        Ok(Self {
            database: client.database_with_options(&name, options),
            generation: Generation::FIRST,
        })
    }

    /// How a collection of the view is called in this generation.
    fn name(&self, collection: &str) -> String {
        match self.generation {
            Generation::FIRST => collection.to_owned(),
            Generation(number) => format!("g{number}_{collection}"),
        }
    }

    /// A collection of the view.
    fn collection<T: Send + Sync>(&self, collection: &str) -> Collection<T> {
        self.database.collection(&self.name(collection))
    }

    /// What the collections of each generation were made by.
    fn stamps(&self) -> Collection<Document> {
        self.database.collection("versions")
    }

    /// Runs an operation within [`OPERATION_TIMEOUT`].
    async fn in_time<T>(
        &self,
        operation: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(OPERATION_TIMEOUT, operation).await {
            Ok(result) => result.map_err(|error| classify(&error)),
            Err(_) => {
                let seconds = OPERATION_TIMEOUT.as_secs();
                Err(StoreError::Transient(format!(
                    "no answer within {seconds} s"
                )))
            }
        }
    }

    async fn all_positions(&self) -> Result<Vec<Position>, StoreError> {
        read::find(self, doc! {}, FindOptions::default()).await
    }
}

#[async_trait]
impl HistoryWriter for MongoHistory {
    async fn prepare(&self) -> Result<(), StoreError> {
        prepare::prepare(self).await
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.all_positions().await
    }

    async fn load(&self, wanted: &Wanted) -> Result<Rows, StoreError> {
        let conversations = wanted.conversations.iter().map(|id| id_text(id.0));
        let members = wanted.members.iter().map(|(id, user)| member_id(*id, user));
        let messages = wanted.messages.iter().map(|id| id_text(id.0));
        let (conversations, members, messages) = tokio::try_join!(
            read::find_all::<ConversationRow>(self, conversations.collect()),
            read::find_all::<MemberRow>(self, members.collect()),
            read::find_all::<MessageRow>(self, messages.collect()),
        )?;
        let conversations = conversations.into_iter();
        let members = members.into_iter();
        Ok(Rows {
            conversations: conversations
                .map(|row| (row.conversation_id, row))
                .collect(),
            members: members
                .map(|row| ((row.conversation_id, row.user_id.clone()), row))
                .collect(),
            messages: messages
                .into_iter()
                .map(|row| (row.message_id, row))
                .collect(),
            ..Rows::default()
        })
    }

    async fn write(&self, rows: &Rows, positions: &[Position]) -> Result<(), StoreError> {
        write::write(self, rows, positions).await
    }
}

#[async_trait]
impl HistoryReader for MongoHistory {
    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.all_positions().await
    }

    async fn events(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        read::events(self, tenant, conversation_id, after, limit).await
    }

    async fn conversation(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
    ) -> Result<Option<ConversationRow>, StoreError> {
        read::find_one(self, tenant, id_text(conversation_id.0)).await
    }

    async fn member(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        user_id: &UserId,
    ) -> Result<Option<MemberRow>, StoreError> {
        read::find_one(self, tenant, member_id(conversation_id, user_id)).await
    }

    async fn memberships(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
    ) -> Result<Vec<ConversationId>, StoreError> {
        read::memberships(self, tenant, user_id).await
    }

    async fn members(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        read::members(self, tenant, conversation_id, after, limit).await
    }

    async fn unread(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
    ) -> Result<Vec<(ConversationId, u64)>, StoreError> {
        read::unread(self, tenant, user_id).await
    }

    async fn list(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
        kind: Option<Kind>,
        after: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<ConversationPage, StoreError> {
        read::list(self, tenant, user_id, kind, after, limit).await
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
        let query = read::PageQuery {
            conversation_id,
            viewer,
            thread,
            before,
            limit,
        };
        read::page(self, tenant, &query).await
    }

    async fn edits(
        &self,
        tenant: &Tenant,
        message_id: MessageId,
    ) -> Result<Vec<EditRow>, StoreError> {
        read::edits(self, tenant, message_id).await
    }

    async fn hidden(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
        messages: &[MessageId],
    ) -> Result<Vec<MessageId>, StoreError> {
        read::hidden(self, tenant, user_id, messages).await
    }

    async fn hidden_in(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        user_id: &UserId,
        limit: usize,
    ) -> Result<Vec<MessageId>, StoreError> {
        read::hidden_in(self, tenant, conversation_id, user_id, limit).await
    }

    async fn message(
        &self,
        tenant: &Tenant,
        message_id: MessageId,
    ) -> Result<Option<MessageRow>, StoreError> {
        let row: Option<MessageRow> = read::find_one(self, tenant, id_text(message_id.0)).await?;
        Ok(row.map(MessageRow::shown))
    }

    async fn conversations(
        &self,
        tenant: &Tenant,
        ids: &[ConversationId],
    ) -> Result<Vec<ConversationRow>, StoreError> {
        let ids = ids.iter().map(|id| id_text(id.0)).collect();
        read::find_own(self, tenant, ids).await
    }

    async fn messages(
        &self,
        tenant: &Tenant,
        ids: &[MessageId],
    ) -> Result<Vec<MessageRow>, StoreError> {
        let ids = ids.iter().map(|id| id_text(id.0)).collect();
        let rows: Vec<MessageRow> = read::find_own(self, tenant, ids).await?;
        Ok(rows.into_iter().map(MessageRow::shown).collect())
    }

    async fn places(
        &self,
        tenant: &Tenant,
        ids: &[(ConversationId, UserId)],
    ) -> Result<Vec<MemberRow>, StoreError> {
        let ids = ids.iter().map(|(id, user)| member_id(*id, user));
        read::find_own(self, tenant, ids.collect()).await
    }

    async fn outcome(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        sender: &UserId,
        temp_id: &TempId,
    ) -> Result<Option<OutcomeRow>, StoreError> {
        let key = CommandKey::of(tenant, conversation_id, sender, temp_id);
        let (message, outcome) = tokio::try_join!(
            self.message(tenant, key.message_id()),
            read::outcome(self, tenant, key),
        )?;
        Ok(message
            .map(|message| message.outcome(temp_id.clone()))
            .or(outcome))
    }
}
