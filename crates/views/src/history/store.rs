use async_trait::async_trait;
use tidings_domain::{
    ConversationId, ConversationRow, EditRow, EventRow, Kind, MemberRow, MessageId, MessageRow,
    OutcomeRow, Rows, TempId, Tenant, Timestamp, UserId, Wanted,
};

use crate::{Position, StoreError};

/// The projection's side of the history store.
#[async_trait]
pub trait HistoryWriter: Send + Sync {
    /// Makes collections or tables and indexes, where they are not there. A
    /// view of another version of this code is dropped first, with its
    /// positions, so that the projection builds it anew.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Where every partition stands; one that is left out is at the beginning.
    async fn positions(&self) -> Result<Vec<Position>, StoreError>;

    /// Loads the rows that decisions are about to change, as [`Rows`] with
    /// only `conversations`, `members` and `messages` filled.
    async fn load(&self, wanted: &Wanted) -> Result<Rows, StoreError>;

    /// Writes rows, then the positions. Inserts that are there already are
    /// left alone; rows whose stored revision is not lower are left alone.
    /// Events, edits, outcomes and members are written before what is withheld
    /// of them, that before changed messages, these before conversations, and
    /// all before the positions, so that a crash between any two is mended by
    /// applying the same decisions again. Positions never go backwards.
    async fn write(&self, rows: &Rows, positions: &[Position]) -> Result<(), StoreError>;
}

/// The edge's side of the history store. Every question names the tenant, and
/// finds nothing of another's. Rows come as members may see them: without the
/// text of what is deleted.
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

    /// The members of a conversation, by user id, after `after`, at most
    /// `limit`. Those who have gone are left out.
    async fn members(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError>;

    /// The conversations with messages that a member has not read, and how
    /// many: those after the own marker. By id.
    async fn unread(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
    ) -> Result<Vec<(ConversationId, u64)>, StoreError>;

    /// The conversations a user is a member of (of one kind, if it is given),
    /// latest activity first (then by id), after `after`, at most `limit`.
    async fn list(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
        kind: Option<Kind>,
        after: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<ConversationPage, StoreError>;

    /// A message.
    async fn message(
        &self,
        tenant: &Tenant,
        message_id: MessageId,
    ) -> Result<Option<MessageRow>, StoreError>;

    /// The messages with a `no` below `before`, newest first, at most `limit`;
    /// of a thread: its replies. Without those that `viewer` has deleted for
    /// themselves.
    async fn page(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        viewer: &UserId,
        thread: Option<MessageId>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError>;

    /// The earlier texts of a message, oldest first. None of a deleted one.
    async fn edits(
        &self,
        tenant: &Tenant,
        message_id: MessageId,
    ) -> Result<Vec<EditRow>, StoreError>;

    /// Those of these messages that a user has deleted for themselves.
    async fn hidden(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
        messages: &[MessageId],
    ) -> Result<Vec<MessageId>, StoreError>;

    /// What a user has deleted for themselves in a conversation, at most
    /// `limit` messages, in no order.
    async fn hidden_in(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        user_id: &UserId,
        limit: usize,
    ) -> Result<Vec<MessageId>, StoreError>;

    /// Those of these conversations that are there, in no order.
    async fn conversations(
        &self,
        tenant: &Tenant,
        ids: &[ConversationId],
    ) -> Result<Vec<ConversationRow>, StoreError>;

    /// Those of these messages that are there, in no order.
    async fn messages(
        &self,
        tenant: &Tenant,
        ids: &[MessageId],
    ) -> Result<Vec<MessageRow>, StoreError>;

    /// Those of these places that are there, also of who has gone, in no order.
    async fn places(
        &self,
        tenant: &Tenant,
        ids: &[(ConversationId, UserId)],
    ) -> Result<Vec<MemberRow>, StoreError>;

    /// The first decision of a command: the first that made an event, else the
    /// first that noted an own change, else the first of all.
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
    /// Its last message that the user has not deleted for themselves.
    pub last_message: Option<MessageRow>,
}
