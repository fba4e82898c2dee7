//! The history view with the cache before it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidings_domain::{
    ConversationId, ConversationRow, EditRow, EventRow, Kind, MemberRow, MessageId, MessageRow,
    OutcomeRow, TempId, Tenant, Timestamp, UserId,
};

use super::guard::Guard;
use super::shared::Shared;
use super::value::{Head, Place, Places, Value, place};
use super::{CacheReader, Key};
use crate::history::{ConversationPage, HistoryReader, ListedConversation};
use crate::{Position, StoreError};

#[cfg(test)]
mod tests;

/// How long one question to the cache may take, where nothing else is said.
pub const CACHE_TIMEOUT: Duration = Duration::from_millis(100);

/// A [`HistoryReader`] that answers from the cache what is there and new
/// enough, and asks the history view for the rest.
///
/// No answer is older than the last [`positions`](HistoryReader::positions)
/// that were given. While the cache is down, slow or empty, every answer is
/// the history view's.
pub struct CachedHistory {
    shared: Arc<Shared>,
}

impl CachedHistory {
    /// `partitions` is how many `message.delivered` has; `timeout` is for one
    /// question to the cache.
    #[must_use]
    pub fn new(
        history: Arc<dyn HistoryReader>,
        cache: Arc<dyn CacheReader>,
        partitions: i32,
        timeout: Duration,
    ) -> Self {
        let guard = Guard::new(cache, timeout);
        Self {
            shared: Arc::new(Shared::new(history, guard, partitions)),
        }
    }

    async fn head(&self, tenant: &Tenant, id: ConversationId) -> Option<Head> {
        let value = self.shared.value(Key::Head(tenant.clone(), id)).await?;
        match &*value {
            Value::Head(head) => Some(Head::clone(head)),
            _ => None,
        }
    }

    async fn places(&self, tenant: &Tenant, user: &UserId) -> Option<Vec<Place>> {
        let key = Key::Places(tenant.clone(), user.clone());
        match Arc::unwrap_or_clone(self.shared.value(key).await?) {
            Value::Places(places) => places.0,
            _ => None,
        }
    }

    /// The user's place in a conversation, if it is at hand: one row is read
    /// sooner than all that the user has.
    async fn place(&self, tenant: &Tenant, id: ConversationId, user: &UserId) -> Option<MemberRow> {
        let key = Key::Places(tenant.clone(), user.clone());
        let keys = std::slice::from_ref(&key);
        let wanted = self.shared.wanted(keys);
        let found = self.shared.look_up(keys, &wanted).await?.found.pop()?;
        let bytes = match (found.value, found.outdated) {
            (Some(value), _) => Some(value),
            // What has not changed is as it was.
            (None, Some(outdated)) => {
                let part = id.0.to_string();
                (!outdated.parts.contains(&part)).then_some(outdated.value)
            }
            (None, None) => None,
        };
        let places = bytes.and_then(|bytes| Places::decode(&bytes, tenant)?.0);
        self.shared.count(&key, places.is_some());
        // Who is not there may have been.
        Some(place(&places?, id, user)?.member.clone())
    }

    /// The user's places, each with its conversation.
    async fn list_all(&self, tenant: &Tenant, user: &UserId) -> Option<Vec<(Place, Head)>> {
        let places = self.places(tenant, user).await?;
        let ids = places.iter().map(|place| place.member.conversation_id);
        let keys: Vec<_> = ids.map(|id| Key::Head(tenant.clone(), id)).collect();
        let heads = self.shared.values(&keys).await?;
        let heads = heads
            .into_iter()
            .map(|head| match Arc::unwrap_or_clone(head) {
                Value::Head(head) => Some(*head),
                _ => None,
            });
        let listed = places.into_iter().zip(heads);
        listed.map(|(place, head)| Some((place, head?))).collect()
    }

    async fn cached_page(
        &self,
        tenant: &Tenant,
        id: ConversationId,
        viewer: &UserId,
        limit: usize,
    ) -> Option<Vec<MessageRow>> {
        let keys = [
            Key::Recent(tenant.clone(), id),
            Key::Hidden(tenant.clone(), id, viewer.clone()),
        ];
        let mut values = self.shared.values(&keys).await?.into_iter();
        let recent = values.next()?;
        let (Value::Recent(recent), Value::Hidden(hidden)) = (&*recent, &*values.next()?) else {
            return None;
        };
        let hidden = hidden.0.as_ref()?;
        let shown = recent.messages.iter();
        let shown = shown.filter(|row| !hidden.contains(&row.message_id.0));
        let shown: Vec<_> = shown.take(limit).cloned().collect();
        // What is older than these is not here.
        (shown.len() == limit || recent.is_all()).then_some(shown)
    }

    async fn cached_members(&self, tenant: &Tenant, id: ConversationId) -> Option<Vec<MemberRow>> {
        let key = Key::Members(tenant.clone(), id);
        match Arc::unwrap_or_clone(self.shared.value(key).await?) {
            Value::Members(members) => members.0,
            _ => None,
        }
    }
}

#[async_trait]
impl HistoryReader for CachedHistory {
    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        let positions = self.shared.history.positions().await?;
        let mut claimed = self.shared.claimed.lock();
        for position in &positions {
            let known = claimed.entry(position.partition).or_default();
            *known = (*known).max(position.offset);
        }
        drop(claimed);
        Ok(positions)
    }

    async fn events(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        let history = &self.shared.history;
        history.events(tenant, conversation_id, after, limit).await
    }

    async fn conversation(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
    ) -> Result<Option<ConversationRow>, StoreError> {
        if let Some(head) = self.head(tenant, conversation_id).await {
            return Ok(Some(head.conversation));
        }
        let history = &self.shared.history;
        history.conversation(tenant, conversation_id).await
    }

    async fn member(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        user_id: &UserId,
    ) -> Result<Option<MemberRow>, StoreError> {
        if let Some(member) = self.place(tenant, conversation_id, user_id).await {
            return Ok(Some(member));
        }
        let history = &self.shared.history;
        history.member(tenant, conversation_id, user_id).await
    }

    async fn memberships(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
    ) -> Result<Vec<ConversationId>, StoreError> {
        if let Some(places) = self.places(tenant, user_id).await {
            let ids = places.iter().map(|place| place.member.conversation_id);
            return Ok(ids.collect());
        }
        self.shared.history.memberships(tenant, user_id).await
    }

    async fn members(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        if let Some(mut members) = self.cached_members(tenant, conversation_id).await {
            members.retain(|row| after.is_none_or(|after| row.user_id > *after));
            members.truncate(limit);
            return Ok(members);
        }
        let history = &self.shared.history;
        history.members(tenant, conversation_id, after, limit).await
    }

    async fn unread(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
    ) -> Result<Vec<(ConversationId, u64)>, StoreError> {
        if let Some(listed) = self.list_all(tenant, user_id).await {
            let counted = listed.iter().map(|(place, head)| {
                let unread = head
                    .conversation
                    .last_no
                    .saturating_sub(place.member.read_no);
                (place.member.conversation_id, unread)
            });
            let mut unread: Vec<_> = counted.filter(|(_, unread)| *unread > 0).collect();
            unread.sort_unstable();
            return Ok(unread);
        }
        self.shared.history.unread(tenant, user_id).await
    }

    async fn list(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
        kind: Option<Kind>,
        after: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<ConversationPage, StoreError> {
        if let Some(listed) = self.list_all(tenant, user_id).await
            && let Some(page) = page_of(listed, kind, after, limit)
        {
            return Ok(page);
        }
        let history = &self.shared.history;
        history.list(tenant, user_id, kind, after, limit).await
    }

    async fn message(
        &self,
        tenant: &Tenant,
        message_id: MessageId,
    ) -> Result<Option<MessageRow>, StoreError> {
        self.shared.history.message(tenant, message_id).await
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
        if thread.is_none()
            && before.is_none()
            && let Some(page) = self
                .cached_page(tenant, conversation_id, viewer, limit)
                .await
        {
            return Ok(page);
        }
        let history = &self.shared.history;
        history
            .page(tenant, conversation_id, viewer, thread, before, limit)
            .await
    }

    async fn edits(
        &self,
        tenant: &Tenant,
        message_id: MessageId,
    ) -> Result<Vec<EditRow>, StoreError> {
        self.shared.history.edits(tenant, message_id).await
    }

    async fn hidden(
        &self,
        tenant: &Tenant,
        user_id: &UserId,
        messages: &[MessageId],
    ) -> Result<Vec<MessageId>, StoreError> {
        self.shared.history.hidden(tenant, user_id, messages).await
    }

    async fn hidden_in(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        user_id: &UserId,
        limit: usize,
    ) -> Result<Vec<MessageId>, StoreError> {
        let history = &self.shared.history;
        history
            .hidden_in(tenant, conversation_id, user_id, limit)
            .await
    }

    async fn conversations(
        &self,
        tenant: &Tenant,
        ids: &[ConversationId],
    ) -> Result<Vec<ConversationRow>, StoreError> {
        self.shared.history.conversations(tenant, ids).await
    }

    async fn messages(
        &self,
        tenant: &Tenant,
        ids: &[MessageId],
    ) -> Result<Vec<MessageRow>, StoreError> {
        self.shared.history.messages(tenant, ids).await
    }

    async fn places(
        &self,
        tenant: &Tenant,
        ids: &[(ConversationId, UserId)],
    ) -> Result<Vec<MemberRow>, StoreError> {
        self.shared.history.places(tenant, ids).await
    }

    async fn outcome(
        &self,
        tenant: &Tenant,
        conversation_id: ConversationId,
        sender: &UserId,
        temp_id: &TempId,
    ) -> Result<Option<OutcomeRow>, StoreError> {
        let history = &self.shared.history;
        history
            .outcome(tenant, conversation_id, sender, temp_id)
            .await
    }
}

/// A page of a list. None where the last message that a user sees of one of
/// its conversations is not known: the one that is last is deleted for them,
/// or may be.
fn page_of(
    mut listed: Vec<(Place, Head)>,
    kind: Option<Kind>,
    after: Option<(Timestamp, ConversationId)>,
    limit: usize,
) -> Option<ConversationPage> {
    let order = |head: &Head| {
        let row = &head.conversation;
        (std::cmp::Reverse(row.last_at), row.conversation_id)
    };
    listed.retain(|(_, head)| {
        let is_after = after.is_none_or(|(at, id)| order(head) > (std::cmp::Reverse(at), id));
        is_after && kind.is_none_or(|kind| head.conversation.kind == kind)
    });
    listed.sort_by_key(|(_, head)| order(head));
    let more = listed.len() > limit;
    listed.truncate(limit);
    let knows_last = |(place, head): &(Place, Head)| {
        let last_no = head.conversation.last_no;
        last_no > place.last_no || (last_no == place.last_no && !place.hides_last)
    };
    if !listed.iter().all(knows_last) {
        return None;
    }
    let next = listed
        .last()
        .filter(|_| more)
        .map(|(_, last)| (last.conversation.last_at, last.conversation.conversation_id));
    let conversations = listed.into_iter().map(|(place, head)| ListedConversation {
        conversation: head.conversation,
        member: place.member,
        last_message: head.last_message,
    });
    Some(ConversationPage {
        conversations: conversations.collect(),
        next,
    })
}
