//! Reading anew, in the background, what was not in the cache.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tidings_domain::{ConversationId, Tenant, UserId};
use tokio::sync::Semaphore;

use super::history::Shared;
use super::value::{Head, Hidden, Members, Place, Places, Recent};
use super::{Fill, Key, LookUp};
use crate::StoreError;

/// How many messages of a conversation are kept: a page of 50, one more that
/// tells whether it is the last, and some for what its reader has hidden.
pub(super) const RECENT: usize = 64;
/// Up to how many members of a conversation are kept.
pub(super) const MEMBERS: usize = 500;
/// Up to how many messages that a user has hidden in a conversation are kept.
pub(super) const HIDDEN: usize = 500;
/// Up to how many places of a user are kept.
pub(super) const PLACES: usize = 500;
/// How many places are read at once.
pub(super) const PLACES_PAGE: usize = 100;
/// How many values are read anew at once; what comes above is left for the
/// next reader.
const AT_ONCE: usize = 8;

/// What to read anew.
#[derive(Debug)]
pub(super) enum Refresh {
    Head(Tenant, ConversationId),
    /// As this user sees it, who has hidden none of it, or it is not kept.
    Recent(Tenant, ConversationId, UserId),
    Members(Tenant, ConversationId),
    Hidden(Tenant, ConversationId, UserId),
    Places(Tenant, UserId),
}

impl Refresh {
    fn key(&self) -> Key {
        match self {
            Self::Head(tenant, id) => Key::Head(tenant.clone(), *id),
            Self::Recent(tenant, id, _) => Key::Recent(tenant.clone(), *id),
            Self::Members(tenant, id) => Key::Members(tenant.clone(), *id),
            Self::Hidden(tenant, id, user) => Key::Hidden(tenant.clone(), *id, user.clone()),
            Self::Places(tenant, user) => Key::Places(tenant.clone(), user.clone()),
        }
    }
}

/// Reads each value once at a time, and few at once.
pub(super) struct Refresher {
    busy: Mutex<HashSet<Key>>,
    room: Arc<Semaphore>,
}

impl Default for Refresher {
    fn default() -> Self {
        Self {
            busy: Mutex::default(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

/// A value that is being read.
struct Busy {
    shared: Arc<Shared>,
    key: Key,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.shared.refresher.busy.lock().remove(&self.key);
    }
}

impl Refresher {
    /// Whether nothing is being read.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.busy.lock().is_empty()
    }

    /// Begins to read a value, unless somebody does, or there is no room.
    pub(super) fn start(shared: &Arc<Shared>, refresh: Refresh) {
        let Ok(room) = Arc::clone(&shared.refresher.room).try_acquire_owned() else {
            return;
        };
        let key = refresh.key();
        if !shared.refresher.busy.lock().insert(key.clone()) {
            return;
        }
        let busy = Busy {
            shared: Arc::clone(shared),
            key,
        };
        tokio::spawn(async move {
            let (key, shared) = (&busy.key, &busy.shared);
            if let Err(error) = shared.read_anew(key, &refresh).await {
                tracing::debug!(%error, kind = key.kind(), "cannot fill the cache");
            }
            drop(room);
        });
    }
}

/// Positions of the history view, as they were before a value was read.
struct AsOf(BTreeMap<i32, i64>);

impl Shared {
    async fn history_positions(&self) -> Result<AsOf, StoreError> {
        let positions = self.history.positions().await?;
        let offsets = positions.iter().map(|at| (at.partition, at.offset));
        Ok(AsOf(offsets.collect()))
    }

    async fn read_anew(&self, key: &Key, refresh: &Refresh) -> Result<(), StoreError> {
        let keys = std::slice::from_ref(key);
        let Some(looked) = self.guard.look_up(keys).await else {
            return Ok(());
        };
        let as_of = self.history_positions().await?;
        let value = match refresh {
            Refresh::Head(tenant, id) => self.read_head(tenant, *id).await?,
            Refresh::Recent(tenant, id, viewer) => self.read_recent(tenant, *id, viewer).await?,
            Refresh::Members(tenant, id) => Some(self.read_members(tenant, *id).await?),
            Refresh::Hidden(tenant, id, user) => Some(self.read_hidden(tenant, *id, user).await?),
            Refresh::Places(tenant, user) => self.read_places(tenant, user).await?,
        };
        match value {
            Some(value) => self.take_in(&looked, key.clone(), value, &as_of).await,
            None => Ok(()),
        }
    }

    /// Fills a value in, if the view was nowhere set back while it was read.
    async fn take_in(
        &self,
        looked: &LookUp,
        key: Key,
        value: Vec<u8>,
        as_of: &AsOf,
    ) -> Result<(), StoreError> {
        let now = self.history_positions().await?;
        let offset = |at: &AsOf, partition| at.0.get(&partition).copied().unwrap_or(0);
        let partitions = self.partitions_of(&key);
        let was_set_back = |partition: &i32| offset(&now, *partition) < offset(as_of, *partition);
        if partitions.iter().any(was_set_back) {
            return Ok(());
        }
        let as_of = partitions.iter().map(|p| (*p, offset(as_of, *p))).collect();
        let fills: Vec<Fill> = looked.fill(0, key, value, as_of).into_iter().collect();
        let taken = match fills.is_empty() {
            true => Some(0),
            false => self.guard.fill(&fills).await,
        };
        match taken {
            Some(0) => metrics::counter!("tidings_cache_fills_refused_total").increment(1),
            Some(_) => metrics::counter!("tidings_cache_fills_total").increment(1),
            None => {}
        }
        Ok(())
    }

    async fn read_head(
        &self,
        tenant: &Tenant,
        id: ConversationId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(conversation) = self.history.conversation(tenant, id).await? else {
            return Ok(None);
        };
        let last_message = match conversation.last_message_id {
            Some(message) => self.history.message(tenant, message).await?,
            None => None,
        };
        if last_message.is_none() && conversation.last_message_id.is_some() {
            return Ok(None);
        }
        let head = Head {
            conversation,
            last_message,
        };
        Ok(Some(head.encode()))
    }

    /// The newest messages, if they are all there: whatever this viewer has
    /// deleted for themselves leaves a gap.
    async fn read_recent(
        &self,
        tenant: &Tenant,
        id: ConversationId,
        viewer: &UserId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(conversation) = self.history.conversation(tenant, id).await? else {
            return Ok(None);
        };
        let page = self.history.page(tenant, id, viewer, None, None, RECENT);
        let messages = page.await?;
        let newest = messages.first().map_or(0, |newest| newest.no);
        let is_gapless = (1..=newest)
            .rev()
            .zip(&messages)
            .all(|(no, row)| no == row.no);
        let recent = Recent { messages };
        let is_whole = recent.messages.len() == RECENT || recent.is_all();
        let is_all_there = newest >= conversation.last_no && is_gapless && is_whole;
        Ok(is_all_there.then(|| recent.encode()))
    }

    async fn read_members(
        &self,
        tenant: &Tenant,
        id: ConversationId,
    ) -> Result<Vec<u8>, StoreError> {
        let members = self.history.members(tenant, id, None, MEMBERS + 1).await?;
        let few = (members.len() <= MEMBERS).then_some(members);
        Ok(Members(few).encode())
    }

    /// All of it, and not only what is hidden of the messages at hand: a message
    /// may come, and be hidden, while this is read.
    async fn read_hidden(
        &self,
        tenant: &Tenant,
        id: ConversationId,
        user: &UserId,
    ) -> Result<Vec<u8>, StoreError> {
        let hidden = self.history.hidden_in(tenant, id, user, HIDDEN + 1).await?;
        let few = hidden.len() <= HIDDEN;
        let ids = hidden.into_iter().map(|message| message.0);
        Ok(Hidden(few.then(|| ids.collect())).encode())
    }

    /// A user's places, page by page. A conversation that moves meanwhile may
    /// be missed or met twice: then nothing is kept.
    async fn read_places(
        &self,
        tenant: &Tenant,
        user: &UserId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let (mut places, mut after) = (Vec::new(), None);
        loop {
            let list = self.history.list(tenant, user, None, after, PLACES_PAGE);
            let page = list.await?;
            places.extend(page.conversations.into_iter().map(|listed| {
                let last = listed.last_message.map(|row| row.message_id);
                Place {
                    member: listed.member,
                    last_no: listed.conversation.last_no,
                    hides_last: last != listed.conversation.last_message_id,
                }
            }));
            if places.len() > PLACES {
                return Ok(Some(Places(None).encode()));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let ids = places
            .iter()
            .map(|place: &Place| place.member.conversation_id);
        let mut met: Vec<_> = ids.collect();
        let mut all = self.history.memberships(tenant, user).await?;
        met.sort_unstable();
        all.sort_unstable();
        Ok((met == all).then(|| Places(Some(places)).encode()))
    }
}
