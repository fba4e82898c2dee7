//! The history view with the cache before it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_domain::{
    ConversationId, ConversationRow, EditRow, EventRow, Kind, MemberRow, MessageId, MessageRow,
    OutcomeRow, TempId, Tenant, Timestamp, UserId,
};
use tidings_wire::partition_of;
use uuid::Uuid;

use super::guard::Guard;
use super::refresh::{Refresh, Refresher};
use super::value::{Head, Hidden, Members, Place, Places, Recent, place};
use super::{CacheReader, Cursors, Found, Key};
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

pub(super) struct Shared {
    pub(super) history: Arc<dyn HistoryReader>,
    pub(super) guard: Guard,
    pub(super) partitions: i32,
    /// The highest positions that were given, by partition.
    claimed: Mutex<HashMap<i32, i64>>,
    pub(super) refresher: Refresher,
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
        let shared = Shared {
            history,
            guard: Guard::new(cache, timeout),
            partitions,
            claimed: Mutex::default(),
            refresher: Refresher::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Has a value read anew, in the background.
    fn refresh(&self, refresh: Refresh) {
        Refresher::start(&self.shared, refresh);
    }

    async fn head(&self, tenant: &Tenant, id: ConversationId) -> Option<Head> {
        let key = Key::Head(tenant.clone(), id);
        let found = self.shared.look_up(&[key]).await?;
        let head = value(&found[0], |value| Head::decode(value, tenant, id));
        count("head", head.is_some());
        if head.is_none() {
            self.refresh(Refresh::Head(tenant.clone(), id));
        }
        head
    }

    async fn places(&self, tenant: &Tenant, user: &UserId) -> Option<Vec<Place>> {
        let key = Key::Places(tenant.clone(), user.clone());
        let found = self.shared.look_up(&[key]).await?;
        let places = value(&found[0], |value| Places::decode(value, tenant));
        count("places", places.is_some());
        if places.is_none() {
            self.refresh(Refresh::Places(tenant.clone(), user.clone()));
        }
        places?.0
    }

    /// The user's places, each with its conversation.
    async fn list_all(&self, tenant: &Tenant, user: &UserId) -> Option<Vec<(Place, Head)>> {
        let places = self.places(tenant, user).await?;
        let ids = places.iter().map(|place| place.member.conversation_id);
        let keys: Vec<_> = ids.map(|id| Key::Head(tenant.clone(), id)).collect();
        let found = self.shared.look_up(&keys).await?;
        let (mut listed, mut missing) = (Vec::with_capacity(places.len()), Vec::new());
        for (place, found) in places.into_iter().zip(&found) {
            let id = place.member.conversation_id;
            match value(found, |value| Head::decode(value, tenant, id)) {
                Some(head) => listed.push((place, head)),
                None => missing.push(id),
            }
        }
        count("head", missing.is_empty());
        if missing.is_empty() {
            return Some(listed);
        }
        for id in missing {
            self.refresh(Refresh::Head(tenant.clone(), id));
        }
        None
    }

    async fn cached_page(
        &self,
        tenant: &Tenant,
        id: ConversationId,
        viewer: &UserId,
        limit: usize,
    ) -> Option<Vec<MessageRow>> {
        let recent = Key::Recent(tenant.clone(), id);
        let hidden = Key::Hidden(tenant.clone(), id, viewer.clone());
        let found = self.shared.look_up(&[recent, hidden]).await?;
        let recent = value(&found[0], |value| Recent::decode(value, tenant, id));
        count("recent", recent.is_some());
        let Some(recent) = recent else {
            self.refresh(Refresh::Recent(tenant.clone(), id, viewer.clone()));
            return None;
        };
        let hidden = value(&found[1], Hidden::decode);
        count("hidden", hidden.is_some());
        let Some(hidden) = hidden else {
            self.refresh(Refresh::Hidden(tenant.clone(), id, viewer.clone()));
            return None;
        };
        let hidden = hidden.0?;
        let is_all = recent.is_all();
        let mut shown = recent.messages;
        shown.retain(|row| !hidden.contains(&row.message_id.0));
        // What is older than these is not here.
        if shown.len() < limit && !is_all {
            return None;
        }
        shown.truncate(limit);
        Some(shown)
    }

    async fn cached_members(&self, tenant: &Tenant, id: ConversationId) -> Option<Vec<MemberRow>> {
        let key = Key::Members(tenant.clone(), id);
        let found = self.shared.look_up(&[key]).await?;
        let members = value(&found[0], |value| Members::decode(value, tenant));
        count("members", members.is_some());
        if members.is_none() {
            self.refresh(Refresh::Members(tenant.clone(), id));
        }
        members?.0
    }
}

fn value<T>(found: &Found, decode: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    decode(found.value.as_ref()?)
}

fn count(kind: &'static str, hit: bool) {
    let name = match hit {
        true => "tidings_cache_hits_total",
        false => "tidings_cache_misses_total",
    };
    metrics::counter!(name, "kind" => kind).increment(1);
}

impl Shared {
    pub(super) fn partition_of(&self, id: ConversationId) -> i32 {
        let mut buffer = Uuid::encode_buffer();
        let text = id.0.hyphenated().encode_lower(&mut buffer);
        partition_of(text.as_bytes(), self.partitions)
    }

    /// The partitions that a key's value depends on.
    pub(super) fn partitions_of(&self, key: &Key) -> Vec<i32> {
        match key {
            Key::Head(_, id) | Key::Recent(_, id) | Key::Members(_, id) | Key::Hidden(_, id, _) => {
                vec![self.partition_of(*id)]
            }
            Key::Places(..) => (0..self.partitions).collect(),
        }
    }

    /// The values of these keys, where the cache is up and has come as far as
    /// it must: as the positions that were given.
    async fn look_up(&self, keys: &[Key]) -> Option<Vec<Found>> {
        if keys.is_empty() {
            return Some(Vec::new());
        }
        let wanted: Vec<(i32, i64)> = {
            let claimed = self.claimed.lock();
            let partitions = keys.iter().flat_map(|key| self.partitions_of(key));
            partitions
                .map(|p| (p, claimed.get(&p).copied().unwrap_or(0)))
                .collect()
        };
        let looked = self.guard.look_up(keys).await?;
        let covers = |cursors: &Cursors| {
            let reached =
                |(p, least): &(i32, i64)| cursors.offset(*p).is_some_and(|at| at >= *least);
            wanted.iter().all(reached)
        };
        if looked.found.len() != keys.len() || !covers(&looked.before) {
            metrics::counter!("tidings_cache_behind_total").increment(1);
            return None;
        }
        Some(looked.found)
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
        let places = self.places(tenant, user_id).await.unwrap_or_default();
        // Who is not there may have been.
        if let Some(place) = place(&places, conversation_id, user_id) {
            return Ok(Some(place.member.clone()));
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
