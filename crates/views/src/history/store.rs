use async_trait::async_trait;
use tidings_domain::{
    ConversationId, ConversationRow, EventRow, MemberRow, MessageId, MessageRow, OutcomeRow, Rows,
    TempId, Tenant, Timestamp, UserId,
};

use crate::{Position, StoreError};

/// The projection's side of the history store.
#[async_trait]
pub trait HistoryWriter: Send + Sync {
    /// Makes collections or tables and indexes, where they are not there.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Where every partition stands; one that is left out is at the beginning.
    async fn positions(&self) -> Result<Vec<Position>, StoreError>;

    /// Loads the rows that decisions are about to change, as [`Rows`] with
    /// only `conversations` and `members` filled.
    async fn load(
        &self,
        conversations: &[ConversationId],
        members: &[(ConversationId, UserId)],
    ) -> Result<Rows, StoreError>;

    /// Writes rows, then the positions. Inserts that are there already are
    /// left alone; rows whose stored revision is not lower are left alone.
    /// Events, outcomes, messages and members are written before
    /// conversations, and all before the positions, so that a crash between
    /// any two is mended by applying the same decisions again. Positions never
    /// go backwards.
    async fn write(&self, rows: &Rows, positions: &[Position]) -> Result<(), StoreError>;
}

/// The edge's side of the history store. Every question names the tenant, and
/// finds nothing of another's.
#[async_trait]
pub trait HistoryReader: Send + Sync {
    /// Where every partition stands.
    async fn positions(&self) -> Result<Vec<Position>, StoreError>;

    /// The events after `after`, oldest first, at most `limit`.
    async fn events(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError>;

    /// A conversation.
    async fn conversation(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
    ) -> Result<Option<ConversationRow>, StoreError>;

    /// A user's place in a conversation, also if they have gone.
    async fn member(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        user_id: &UserId,
    ) -> Result<Option<MemberRow>, StoreError>;

    /// The conversations a user is a member of.
    async fn memberships(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
    ) -> Result<Vec<ConversationId>, StoreError>;

    /// The conversations a user is a member of, latest activity first (then by
    /// id), after `after`, at most `limit`.
    async fn list(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
        after: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<ConversationPage, StoreError>;

    /// A message.
    async fn message(
        &self,
        tenant: &Tenant,
        message_id: MessageId,
    ) -> Result<Option<MessageRow>, StoreError>;

    /// The first decision of a command: of an accepted one from its event, of
    /// any other from its outcome.
    async fn outcome(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        sender: &UserId,
        temp_id: &TempId,
    ) -> Result<Option<OutcomeRow>, StoreError>;
}

/// A page of a user's conversations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversationPage {
    /// Latest activity first.
    pub conversations: Vec<ListedConversation>,
    /// Where the next page goes on; none at the end.
    pub next: Option<(Timestamp, ConversationId)>,
}

/// A conversation as one of its members sees it in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedConversation {
    /// The conversation.
    pub conversation: ConversationRow,
    /// The user's place in it.
    pub member: MemberRow,
    /// Its last message.
    pub last_message: Option<MessageRow>,
}
