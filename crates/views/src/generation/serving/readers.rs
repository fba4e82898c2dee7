//! The readers of each view, asked of the generation that serves.

use async_trait::async_trait;
use tidings_domain::{
    ConversationId, ConversationRow, EditRow, EventRow, Kind, MemberRow, MessageId, MessageRow,
    OutcomeRow, TempId, Tenant, Timestamp, UserId,
};

use super::Serving;
use crate::cache::{CacheReader, Fill, Key, LookUp};
use crate::generation::Generations;
use crate::history::{ConversationPage, HistoryReader};
use crate::search::{
    Asker, ConversationHit, Filters, Found, MessageHit, Page, Query, SearchReader,
};
use crate::{Position, StoreError};

impl<S: Generations> Serving<S> {
    async fn handle(&self) -> Result<std::sync::Arc<S>, StoreError> {
        self.current().await.map(|(_, handle)| handle)
    }
}

#[async_trait]
impl<S: HistoryReader + Generations> HistoryReader for Serving<S> {
    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.reached().await
    }

    async fn events(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        let handle = self.handle().await?;
        handle.events(tenant, conversation_id, after, limit).await
    }

    async fn conversation(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
    ) -> Result<Option<ConversationRow>, StoreError> {
        let handle = self.handle().await?;
        handle.conversation(tenant, conversation_id).await
    }

    async fn member(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        user_id: &UserId,
    ) -> Result<Option<MemberRow>, StoreError> {
        let handle = self.handle().await?;
        handle.member(tenant, conversation_id, user_id).await
    }

    async fn memberships(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
    ) -> Result<Vec<ConversationId>, StoreError> {
        self.handle().await?.memberships(tenant, user_id).await
    }

    async fn members(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        let handle = self.handle().await?;
        handle.members(tenant, conversation_id, after, limit).await
    }

    async fn unread(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
    ) -> Result<Vec<(ConversationId, u64)>, StoreError> {
        self.handle().await?.unread(tenant, user_id).await
    }

    async fn list(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
        kind: Option<Kind>,
        after: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<ConversationPage, StoreError> {
        let handle = self.handle().await?;
        handle.list(tenant, user_id, kind, after, limit).await
    }

    async fn message(
        &self,
        tenant: &Tenant,
        message_id: MessageId,
    ) -> Result<Option<MessageRow>, StoreError> {
        self.handle().await?.message(tenant, message_id).await
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
        let handle = self.handle().await?;
        handle
            .page(tenant, conversation_id, viewer, thread, before, limit)
            .await
    }

    async fn edits(
        &self,
        tenant: &Tenant,
        message_id: MessageId,
    ) -> Result<Vec<EditRow>, StoreError> {
        self.handle().await?.edits(tenant, message_id).await
    }

    async fn hidden(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
        messages: &[MessageId],
    ) -> Result<Vec<MessageId>, StoreError> {
        let handle = self.handle().await?;
        handle.hidden(tenant, user_id, messages).await
    }

    async fn hidden_in(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        user_id: &UserId,
        limit: usize,
    ) -> Result<Vec<MessageId>, StoreError> {
        let handle = self.handle().await?;
        handle
            .hidden_in(tenant, conversation_id, user_id, limit)
            .await
    }

    async fn conversations(
        &self,
        tenant: &Tenant,
        ids: &[ConversationId],
    ) -> Result<Vec<ConversationRow>, StoreError> {
        self.handle().await?.conversations(tenant, ids).await
    }

    async fn messages(
        &self,
        tenant: &Tenant,
        ids: &[MessageId],
    ) -> Result<Vec<MessageRow>, StoreError> {
        self.handle().await?.messages(tenant, ids).await
    }

    async fn places(
        &self,
        tenant: &Tenant,
        ids: &[(ConversationId, UserId)],
    ) -> Result<Vec<MemberRow>, StoreError> {
        self.handle().await?.places(tenant, ids).await
    }

    async fn outcome(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        sender: &UserId,
        temp_id: &TempId,
    ) -> Result<Option<OutcomeRow>, StoreError> {
        let handle = self.handle().await?;
        handle
            .outcome(tenant, conversation_id, sender, temp_id)
            .await
    }
}

#[async_trait]
impl<S: SearchReader + Generations> SearchReader for Serving<S> {
    async fn messages(
        &self,
        asker: &Asker,
        query: &Query,
        filters: &Filters,
        page: Page<(Timestamp, MessageId)>,
    ) -> Result<Found<MessageHit>, StoreError> {
        let handle = self.handle().await?;
        handle.messages(asker, query, filters, page).await
    }

    async fn conversations(
        &self,
        asker: &Asker,
        query: &Query,
        page: Page<(Timestamp, ConversationId)>,
    ) -> Result<Found<ConversationHit>, StoreError> {
        let handle = self.handle().await?;
        handle.conversations(asker, query, page).await
    }

    async fn users(
        &self,
        asker: &Asker,
        query: &Query,
        page: Page<UserId>,
    ) -> Result<Found<UserId>, StoreError> {
        self.handle().await?.users(asker, query, page).await
    }
}

#[async_trait]
impl<S: CacheReader + Generations> CacheReader for Serving<S> {
    async fn look_up(&self, keys: &[Key]) -> Result<LookUp, StoreError> {
        self.handle().await?.look_up(keys).await
    }

    /// What was looked up in another generation is refused by it: no session
    /// is in two of them.
    async fn fill(&self, fills: &[Fill]) -> Result<usize, StoreError> {
        self.handle().await?.fill(fills).await
    }
}
