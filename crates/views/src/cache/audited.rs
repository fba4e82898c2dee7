//! Cached values as documents, and what they should be.

use async_trait::async_trait;
use moka::ops::compute::Op;
use serde_json::{Map, Value, json};
use tidings_domain::{ConversationId, Tenant, UserId};

use super::reading::{HIDDEN, MEMBERS, PLACES, PLACES_PAGE, RECENT, nobody};
use super::value::{Head, Hidden, Members, Place, Places, Recent};
use super::{CacheWriter, Key, MokaCache};
use crate::audit::{Audit, CacheAudit, EachPage, Flaw, Part, Raw, Replacement, StoredDocument};
use crate::history::{HistoryReader, SqliteHistory};
use crate::{Position, StoreError};

pub(super) const KINDS: &[&str] = &["head", "recent", "members", "hidden", "places"];

/// What a cache without cursors is like.
pub(super) const NOT_KEPT: &str = "the cache is empty, and nobody keeps it: nothing is answered from it. tidings-cache begins it \
     anew when it runs";

/// A cached value as a document. What cannot be read has a hash of its bytes.
pub(super) fn stored(key: &Key, bytes: Vec<u8>) -> StoredDocument {
    let value = fields_of(key, &bytes).unwrap_or_else(|| {
        let hash = xxhash_rust::xxh3::xxh3_64(&bytes);
        json!({"unreadable": format!("{hash:016x}"), "bytes": bytes.len()})
    });
    let mut fields = Map::new();
    fields.insert("tenant".to_owned(), key.tenant().as_str().into());
    if let Some(id) = conversation_of(key) {
        fields.insert("conversation_id".to_owned(), id.to_string().into());
    }
    fields.insert("value".to_owned(), value);
    StoredDocument {
        kind: key.kind(),
        key: key.to_string(),
        version: None,
        fields,
        raw: Raw::Bytes(bytes),
    }
}

pub(super) fn conversation_of(key: &Key) -> Option<ConversationId> {
    match key {
        Key::Head(_, id) | Key::Recent(_, id) | Key::Members(_, id) | Key::Hidden(_, id, _) => {
            Some(*id)
        }
        Key::Places(..) => None,
    }
}

pub(super) fn is_part(key: &Key, part: &Part) -> bool {
    let of_conversation = |id| conversation_of(key).is_none_or(|of| of == id);
    part.conversation_id.is_none_or(of_conversation)
        && part.tenant.as_ref().is_none_or(|of| of == key.tenant())
}

/// A value as its readers understand it, where that says no more than its
/// bytes: orders that mean nothing are made the same.
fn fields_of(key: &Key, bytes: &[u8]) -> Option<Value> {
    let encoded = match key {
        Key::Head(tenant, id) => Head::decode(bytes, tenant, *id)?.encode(),
        Key::Recent(tenant, id) => Recent::decode(bytes, tenant, *id)?.encode(),
        Key::Members(tenant, _) => Members::decode(bytes, tenant)?.encode(),
        Key::Hidden(..) => {
            let mut hidden = Hidden::decode(bytes)?;
            if let Some(messages) = &mut hidden.0 {
                messages.sort_unstable();
            }
            hidden.encode()
        }
        Key::Places(tenant, _) => {
            let mut places = Places::decode(bytes, tenant)?;
            if let Some(places) = &mut places.0 {
                places.sort_by_key(|place| place.member.conversation_id);
            }
            places.encode()
        }
    };
    serde_json::from_slice(&encoded).ok()
}

/// What a reader would fill in in the place of a value.
pub(crate) async fn cacheable(
    history: &SqliteHistory,
    value: &StoredDocument,
) -> Result<Option<StoredDocument>, StoreError> {
    let (Some(key), Raw::Bytes(bytes)) = (Key::parse(&value.key), &value.raw) else {
        return Ok(None);
    };
    let right = match &key {
        Key::Head(tenant, id) => head(history, tenant, *id).await?,
        Key::Recent(tenant, id) => recent(history, tenant, *id).await?,
        Key::Members(tenant, id) => {
            if HistoryReader::conversation(history, tenant, *id)
                .await?
                .is_none()
            {
                return Ok(None);
            }
            let members = history.members(tenant, *id, None, MEMBERS + 1).await?;
            let few = (members.len() <= MEMBERS).then_some(members);
            Some(Members(few).encode())
        }
        Key::Hidden(tenant, id, user) => {
            let hidden = history.hidden_in(tenant, *id, user, HIDDEN + 1).await?;
            let few = hidden.len() <= HIDDEN;
            let ids = hidden.into_iter().map(|message| message.0);
            Some(Hidden(few.then(|| ids.collect())).encode())
        }
        Key::Places(tenant, user) => {
            let cached = Places::decode(bytes, tenant).and_then(|places| places.0);
            Some(places(history, tenant, user, cached.as_deref()).await?)
        }
    };
    Ok(right.map(|bytes| stored(&key, bytes)))
}

async fn head(
    history: &SqliteHistory,
    tenant: &Tenant,
    id: ConversationId,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(conversation) = HistoryReader::conversation(history, tenant, id).await? else {
        return Ok(None);
    };
    let last_message = match conversation.last_message_id {
        Some(message) => history.message(tenant, message).await?,
        None => None,
    };
    let head = Head {
        conversation,
        last_message,
    };
    Ok(Some(head.encode()))
}

async fn recent(
    history: &SqliteHistory,
    tenant: &Tenant,
    id: ConversationId,
) -> Result<Option<Vec<u8>>, StoreError> {
    if HistoryReader::conversation(history, tenant, id)
        .await?
        .is_none()
    {
        return Ok(None);
    }
    let nobody = nobody()?;
    let page = history.page(tenant, id, &nobody, None, None, RECENT);
    let messages = page.await?;
    Ok(Some(Recent { messages }.encode()))
}

/// A user's places. What others post moves a conversation's end without
/// changing whoever else's places: where a cached one knows an earlier end, it
/// is as good.
async fn places(
    history: &SqliteHistory,
    tenant: &Tenant,
    user: &UserId,
    cached: Option<&[Place]>,
) -> Result<Vec<u8>, StoreError> {
    let (mut places, mut after) = (Vec::new(), None);
    loop {
        let list = history.list(tenant, user, None, after, PLACES_PAGE);
        let page = list.await?;
        for listed in page.conversations {
            let last = listed.last_message.map(|row| row.message_id);
            let id = listed.conversation.conversation_id;
            let known = cached.into_iter().flatten();
            let known = known.into_iter().find(|it| it.member.conversation_id == id);
            let last_no = listed.conversation.last_no;
            places.push(match known.filter(|known| known.last_no < last_no) {
                Some(known) => Place {
                    member: listed.member,
                    ..known.clone()
                },
                None => Place {
                    member: listed.member,
                    last_no,
                    hides_last: last != listed.conversation.last_message_id,
                },
            });
        }
        if places.len() > PLACES {
            return Ok(Places(None).encode());
        }
        after = page.next;
        if after.is_none() {
            return Ok(Places(Some(places)).encode());
        }
    }
}

#[async_trait]
impl Audit for MokaCache {
    fn kinds(&self) -> &'static [&'static str] {
        KINDS
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        Ok(self.cursors().await?.positions())
    }

    async fn flaws(&self) -> Result<Vec<Flaw>, StoreError> {
        let is_kept = self.cursors.lock().session.is_some();
        let flaw = || Flaw {
            message: NOT_KEPT.to_owned(),
            is_mendable: false,
        };
        Ok((!is_kept).then(flaw).into_iter().collect())
    }

    async fn mend(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn scan(
        &self,
        kind: &'static str,
        part: &Part,
        each: EachPage<'_>,
    ) -> Result<(), StoreError> {
        let session = self.cursors.lock().session.clone();
        let records = self.records.iter().filter(|(key, record)| {
            key.kind() == kind && is_part(key, part) && Some(&record.session) == session.as_ref()
        });
        let documents = records.filter_map(|(key, record)| {
            let value = record.value.filter(|_| record.parts.is_empty())?;
            Some(stored(&key, value.to_vec()))
        });
        each(documents.collect())
    }

    async fn get(
        &self,
        _kind: &'static str,
        keys: &[String],
    ) -> Result<Vec<StoredDocument>, StoreError> {
        let session = self.cursors.lock().session.clone();
        let keys = keys.iter().filter_map(|key| Key::parse(key));
        let found = keys.filter_map(|key| {
            let record = self.records.get(&key)?;
            let value = record.value.filter(|_| record.parts.is_empty())?;
            (Some(record.session) == session).then(|| stored(&key, value.to_vec()))
        });
        Ok(found.collect())
    }

    async fn replace(&self, replacements: &[Replacement]) -> Result<usize, StoreError> {
        let mut dropped = 0;
        for replacement in replacements {
            let Some(seen) = &replacement.seen else {
                continue;
            };
            let (Some(key), Raw::Bytes(bytes)) = (Key::parse(&seen.key), &seen.raw) else {
                continue;
            };
            self.records.entry_by_ref(&key).and_compute_with(|entry| {
                let Some(mut record) = entry.map(moka::Entry::into_value) else {
                    return Op::Nop;
                };
                if record.value.as_ref().is_none_or(|it| **it != **bytes) {
                    return Op::Nop;
                }
                record.value = None;
                record.parts.clear();
                dropped += 1;
                Op::Put(record)
            });
        }
        Ok(dropped)
    }

    async fn set_position(&self, seen: Option<Position>, to: Position) -> Result<bool, StoreError> {
        let mut cursors = self.cursors.lock();
        match cursors.partitions.get_mut(&to.partition) {
            Some(cursor) if Some(cursor.position) == seen => {
                cursor.position = to;
                cursor.reaching = to.offset;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl CacheAudit for MokaCache {}
