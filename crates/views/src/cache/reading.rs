//! Reading values from the history view: all of one, or the parts of it that
//! are outdated.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidings_domain::{ConversationId, MessageId, Tenant, UserId};
use uuid::Uuid;

use super::shared::Shared;
use super::value::{Head, Hidden, Members, Place, Places, Recent, Value};
use super::{Key, Outdated};
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

/// Somebody who has deleted nothing for themselves. Should a user be called so
/// and have, nothing is kept of what has gaps for them.
const NOBODY: &str = "tidings:nobody";

pub(super) fn nobody() -> Result<UserId, StoreError> {
    UserId::parse(NOBODY).map_err(|error| StoreError::Fatal(error.to_string()))
}

/// Positions of the history view, as they were before a value was read.
pub(super) struct AsOf(BTreeMap<i32, i64>);

impl AsOf {
    pub(super) fn offset(&self, partition: i32) -> i64 {
        self.0.get(&partition).copied().unwrap_or(0)
    }

    pub(super) fn of(&self, partitions: &[i32]) -> Vec<(i32, i64)> {
        partitions.iter().map(|p| (*p, self.offset(*p))).collect()
    }
}

impl Shared {
    pub(super) async fn history_positions(&self) -> Result<AsOf, StoreError> {
        let positions = self.history.positions().await?;
        let offsets = positions.iter().map(|at| (at.partition, at.offset));
        Ok(AsOf(offsets.collect()))
    }

    /// All of a value. None where there is nothing to keep.
    pub(super) async fn read(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        Ok(match key {
            Key::Head(tenant, id) => {
                let mut heads = self.read_heads(tenant, &[*id]).await?;
                heads.remove(id).map(|head| Value::Head(Box::new(head)))
            }
            Key::Recent(tenant, id) => {
                let recent = self.read_recent(tenant, *id).await?;
                recent.map(Value::Recent)
            }
            Key::Members(tenant, id) => {
                let members = self.history.members(tenant, *id, None, MEMBERS + 1).await?;
                let few = (members.len() <= MEMBERS).then_some(members);
                Some(Value::Members(Members(few)))
            }
            Key::Hidden(tenant, id, user) => Some(self.read_hidden(tenant, *id, user).await?),
            Key::Places(tenant, user) => self.read_places(tenant, user).await?,
        })
    }

    /// The heads of those conversations that are there.
    pub(super) async fn read_heads(
        &self,
        tenant: &Tenant,
        ids: &[ConversationId],
    ) -> Result<HashMap<ConversationId, Head>, StoreError> {
        let conversations = self.history.conversations(tenant, ids).await?;
        let last = conversations.iter().filter_map(|row| row.last_message_id);
        let last: Vec<_> = last.collect();
        let messages = self.history.messages(tenant, &last).await?;
        let mut messages: HashMap<_, _> = messages
            .into_iter()
            .map(|row| (row.message_id, row))
            .collect();
        let heads = conversations.into_iter().filter_map(|conversation| {
            let last_message = match conversation.last_message_id {
                Some(id) => Some(messages.remove(&id)?),
                None => None,
            };
            let head = Head {
                conversation,
                last_message,
            };
            Some((head.conversation.conversation_id, head))
        });
        Ok(heads.collect())
    }

    /// The newest messages, if they are all there.
    async fn read_recent(
        &self,
        tenant: &Tenant,
        id: ConversationId,
    ) -> Result<Option<Recent>, StoreError> {
        let Some(conversation) = self.history.conversation(tenant, id).await? else {
            return Ok(None);
        };
        let nobody = nobody()?;
        let page = self.history.page(tenant, id, &nobody, None, None, RECENT);
        let recent = Recent {
            messages: page.await?,
        };
        let newest = recent.messages.first().map_or(0, |newest| newest.no);
        let is_enough = recent.messages.len() == RECENT || recent.is_all();
        let is_whole = newest >= conversation.last_no && recent.is_gapless() && is_enough;
        Ok(is_whole.then_some(recent))
    }

    /// All of it, and not only what is hidden of the messages at hand: a message
    /// may come, and be hidden, while this is read.
    async fn read_hidden(
        &self,
        tenant: &Tenant,
        id: ConversationId,
        user: &UserId,
    ) -> Result<Value, StoreError> {
        let hidden = self.history.hidden_in(tenant, id, user, HIDDEN + 1).await?;
        let few = hidden.len() <= HIDDEN;
        let ids = hidden.into_iter().map(|message| message.0);
        Ok(Value::Hidden(Hidden(few.then(|| ids.collect()))))
    }

    /// A user's places, page by page. A conversation that moves meanwhile may
    /// be missed or met twice: then nothing is kept.
    async fn read_places(
        &self,
        tenant: &Tenant,
        user: &UserId,
    ) -> Result<Option<Value>, StoreError> {
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
                return Ok(Some(Value::Places(Places(None))));
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
        Ok((met == all).then_some(Value::Places(Places(Some(places)))))
    }

    /// An outdated value with the parts that have changed as they are now.
    /// None where that is doubtful: then all of it is to be read.
    pub(super) async fn amend(
        &self,
        key: &Key,
        outdated: &Outdated,
    ) -> Result<Option<Value>, StoreError> {
        let parts = &outdated.parts;
        let Some(value) = Value::decode(&outdated.value, key) else {
            return Ok(None);
        };
        Ok(match (key, value) {
            (Key::Recent(tenant, id), Value::Recent(recent)) => {
                let Some(ids) = uuids(parts, MessageId) else {
                    return Ok(None);
                };
                let rows = self.history.messages(tenant, &ids).await?;
                recent.amended(*id, rows, RECENT).map(Value::Recent)
            }
            (Key::Members(tenant, id), Value::Members(Members(Some(members)))) => {
                let users = parts.iter().map(|part| UserId::parse(part).ok());
                let Some(users) = users.collect::<Option<Vec<_>>>() else {
                    return Ok(None);
                };
                let ids: Vec<_> = users.into_iter().map(|user| (*id, user)).collect();
                let rows = self.history.places(tenant, &ids).await?;
                let members = Members::amended(members, rows, MEMBERS);
                Some(Value::Members(members))
            }
            (Key::Hidden(tenant, _, user), Value::Hidden(Hidden(Some(mut hidden)))) => {
                let Some(ids) = uuids(parts, MessageId) else {
                    return Ok(None);
                };
                let more = self.history.hidden(tenant, user, &ids).await?;
                let known: HashSet<_> = hidden.iter().copied().collect();
                let more = more.into_iter().map(|message| message.0);
                hidden.extend(more.filter(|id| !known.contains(id)));
                let few = hidden.len() <= HIDDEN;
                Some(Value::Hidden(Hidden(few.then_some(hidden))))
            }
            (Key::Places(tenant, user), Value::Places(Places(Some(places)))) => {
                self.amend_places(tenant, user, places, parts).await?
            }
            // Too many to be kept: whoever asks is answered by the view.
            (
                _,
                value @ (Value::Members(Members(None))
                | Value::Hidden(Hidden(None))
                | Value::Places(Places(None))),
            ) => Some(value),
            _ => None,
        })
    }

    async fn amend_places(
        &self,
        tenant: &Tenant,
        user: &UserId,
        mut places: Vec<Place>,
        parts: &[String],
    ) -> Result<Option<Value>, StoreError> {
        let Some(ids) = uuids(parts, ConversationId) else {
            return Ok(None);
        };
        let own: Vec<_> = ids.iter().map(|id| (*id, user.clone())).collect();
        let members = self.history.places(tenant, &own).await?;
        let conversations = self.history.conversations(tenant, &ids).await?;
        let last = conversations.iter().filter_map(|row| row.last_message_id);
        let last: Vec<_> = last.collect();
        let hidden = self.history.hidden(tenant, user, &last).await?;
        for member in members {
            let id = member.conversation_id;
            places.retain(|place| place.member.conversation_id != id);
            if member.role.is_none() {
                continue;
            }
            let mut of = conversations.iter();
            let Some(conversation) = of.find(|row| row.conversation_id == id) else {
                return Ok(None);
            };
            let last = conversation.last_message_id;
            places.push(Place {
                member,
                last_no: conversation.last_no,
                hides_last: last.is_some_and(|last| hidden.contains(&last)),
            });
        }
        let few = places.len() <= PLACES;
        Ok(Some(Value::Places(Places(few.then_some(places)))))
    }
}

/// Parts that are UUIDs; none, if one is not.
fn uuids<T>(parts: &[String], id: impl Fn(Uuid) -> T) -> Option<Vec<T>> {
    let parsed = parts.iter().map(|part| Uuid::try_parse(part).ok().map(&id));
    parsed.collect()
}
