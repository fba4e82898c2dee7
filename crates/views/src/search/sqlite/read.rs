use std::collections::BTreeSet;

use rusqlite::types::{ToSql, Type};
use rusqlite::{OptionalExtension, Row, params};
use tidings_domain::{
    ConversationId, Epoch, Kind, MessageId, OwnerId, Ownership, Tenant, Timestamp, UserId,
};
use tidings_query::fts5;
use tidings_query::words::folded;
use uuid::Uuid;

use crate::Position;
use crate::search::{
    Asker, ConversationDocument, ConversationHit, Documents, Filters, Found, MessageDocument,
    MessageHit, Page, Query, Wanted,
};
use crate::sqlite_file::Scoped;

/// All positions: one row a partition.
const POSITIONS: &str = "SELECT partition, offset, epoch, owner FROM search_positions";

pub(super) const LOAD_CONVERSATION: &str = "
SELECT conversation_id, kind, title, created_at, tenant, version
FROM search_conversations WHERE conversation_id = ?1";

pub(super) const LOAD_HIDDEN: &str = "SELECT user_id FROM search_hidden WHERE message_id = ?1";

pub(super) const LOAD_MESSAGE: &str = "
SELECT conversation_id, tenant, no, sender, at, text, has_attachment, version
FROM search_messages WHERE message_id = ?1";

pub(super) fn positions(connection: &Scoped<'_>) -> rusqlite::Result<Vec<Position>> {
    connection
        .prepare_cached(POSITIONS)?
        .query_map([], |row| {
            let epoch: Option<i64> = row.get(2)?;
            let owner: Option<[u8; 16]> = row.get(3)?;
            Ok(Position {
                partition: row.get(0)?,
                offset: row.get(1)?,
                current: epoch.zip(owner).map(|(epoch, owner)| Ownership {
                    epoch: Epoch(epoch.cast_unsigned()),
                    owner: OwnerId(Uuid::from_bytes(owner)),
                }),
            })
        })?
        .collect()
}

pub(super) fn load(connection: &Scoped<'_>, wanted: &Wanted) -> rusqlite::Result<Documents> {
    let mut documents = Documents::default();
    for id in &wanted.messages {
        if let Some(message) = load_message(connection, *id)? {
            documents.messages.insert(*id, message);
        }
    }
    let mut find = connection.prepare_cached(LOAD_CONVERSATION)?;
    for id in &wanted.conversations {
        let found = find.query_row([id.0.as_bytes()], |row| {
            let hit = conversation_hit(row)?;
            Ok(ConversationDocument {
                conversation_id: hit.conversation_id,
                tenant: parsed(row, 4, Tenant::parse)?,
                kind: hit.kind,
                title: hit.title,
                created_at: hit.created_at,
                version: row.get(5)?,
            })
        });
        if let Some(conversation) = found.optional()? {
            documents.conversations.insert(*id, conversation);
        }
    }
    Ok(documents)
}

/// Who has deleted a message for themselves.
pub(super) fn hidden_for(
    connection: &Scoped<'_>,
    message_id: MessageId,
) -> rusqlite::Result<BTreeSet<UserId>> {
    connection
        .prepare_cached(LOAD_HIDDEN)?
        .query_map([message_id.0.as_bytes()], |row| {
            parsed(row, 0, UserId::parse)
        })?
        .collect()
}

fn load_message(
    connection: &Scoped<'_>,
    message_id: MessageId,
) -> rusqlite::Result<Option<MessageDocument>> {
    let key = message_id.0.as_bytes();
    let hidden_for = hidden_for(connection, message_id)?;
    connection
        .prepare_cached(LOAD_MESSAGE)?
        .query_row([key], |row| {
            Ok(MessageDocument {
                message_id,
                conversation_id: ConversationId(id(row, 0)?),
                tenant: parsed(row, 1, Tenant::parse)?,
                no: row.get::<_, i64>(2)?.cast_unsigned(),
                by: parsed(row, 3, UserId::parse)?,
                at: Timestamp(row.get(4)?),
                text: row.get(5)?,
                has_attachment: row.get(6)?,
                hidden_for,
                version: row.get(7)?,
            })
        })
        .optional()
}

/// The messages that match, whatever the page: what counts and what lists
/// share.
const MATCHING: &str = "
FROM search_words JOIN search_messages m ON m.number = search_words.rowid
WHERE search_words MATCH :words AND m.tenant = :tenant
AND m.conversation_id IN (SELECT unhex(value) FROM json_each(:conversations))
AND (:sender IS NULL OR m.sender = :sender)
AND (:from IS NULL OR m.at >= :from) AND (:to IS NULL OR m.at <= :to)
AND (:has_attachment IS NULL OR m.has_attachment = :has_attachment)
AND NOT EXISTS (SELECT 1 FROM search_hidden h
                WHERE h.message_id = m.message_id AND h.user_id = :user)";

pub(super) fn count_of_messages() -> String {
    format!("SELECT count(*) {MATCHING}")
}

pub(super) fn page_of_messages() -> String {
    format!(
        "SELECT m.message_id, m.conversation_id, m.no, m.sender, m.at, m.text {MATCHING}
         AND (:after_at IS NULL OR (m.at, m.message_id) < (:after_at, :after_id))
         ORDER BY m.at DESC, m.message_id DESC LIMIT :limit"
    )
}

pub(super) fn messages(
    connection: &Scoped<'_>,
    asker: &Asker,
    query: &Query,
    filters: &Filters,
    page: &Page<(Timestamp, MessageId)>,
) -> rusqlite::Result<Found<MessageHit>> {
    let Some(words) = fts5::expression(query) else {
        return Ok(Found::nothing());
    };
    let conversations = json_of(&asker.conversations);
    let sender = filters.by.as_ref().map(UserId::as_str);
    let tenant = asker.tenant.as_str();
    let user = asker.user_id.as_str();
    let from = filters.from.map(|at| at.0);
    let to = filters.to.map(|at| at.0);
    let matching: [(&str, &dyn ToSql); 8] = [
        (":words", &words),
        (":tenant", &tenant),
        (":conversations", &conversations),
        (":sender", &sender),
        (":from", &from),
        (":to", &to),
        (":has_attachment", &filters.has_attachment),
        (":user", &user),
    ];
    let total: i64 = connection
        .prepare_cached(&count_of_messages())?
        .query_row(&matching, |row| row.get(0))?;

    let after_at = page.after.map(|(at, _)| at.0);
    let after_id = page.after.map(|(_, id)| *id.0.as_bytes());
    let limit = as_integer(page.limit + 1);
    let mut paged = matching.to_vec();
    paged.push((":after_at", &after_at));
    paged.push((":after_id", &after_id));
    paged.push((":limit", &limit));
    let hits = connection
        .prepare_cached(&page_of_messages())?
        .query_map(paged.as_slice(), |row| {
            Ok(MessageHit {
                message_id: MessageId(id(row, 0)?),
                conversation_id: ConversationId(id(row, 1)?),
                no: row.get::<_, i64>(2)?.cast_unsigned(),
                by: parsed(row, 3, UserId::parse)?,
                at: Timestamp(row.get(4)?),
                text: row.get(5)?,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Found::page(hits, total.cast_unsigned(), page.limit))
}

/// The conversations that match by title or by member. `:words` and
/// `:prefix` may be null: such a query matches nothing that way.
const CONVERSATIONS: &str = "
FROM search_conversations c
WHERE c.tenant = :tenant
AND c.conversation_id IN (SELECT unhex(value) FROM json_each(:conversations))
AND ((:words IS NOT NULL AND c.number IN
      (SELECT rowid FROM search_titles WHERE search_titles MATCH :words))
  OR (:prefix IS NOT NULL AND EXISTS
      (SELECT 1 FROM search_members p WHERE p.conversation_id = c.conversation_id
       AND p.folded >= :prefix AND p.folded < :prefix_end AND p.is_present)))";

pub(super) fn count_of_conversations() -> String {
    format!("SELECT count(*) {CONVERSATIONS}")
}

pub(super) fn page_of_conversations() -> String {
    format!(
        "SELECT c.conversation_id, c.kind, c.title, c.created_at {CONVERSATIONS}
         AND (:after_at IS NULL OR (c.created_at, c.conversation_id) < (:after_at, :after_id))
         ORDER BY c.created_at DESC, c.conversation_id DESC LIMIT :limit"
    )
}

pub(super) fn conversations(
    connection: &Scoped<'_>,
    asker: &Asker,
    query: &Query,
    page: &Page<(Timestamp, ConversationId)>,
) -> rusqlite::Result<Found<ConversationHit>> {
    let words = fts5::expression(query);
    let prefix = query.id_prefix();
    if words.is_none() && prefix.is_none() {
        return Ok(Found::nothing());
    }
    let prefix_end = prefix.as_deref().map(end_of_prefix);
    let tenant = asker.tenant.as_str();
    let conversations = json_of(&asker.conversations);
    let matching: [(&str, &dyn ToSql); 5] = [
        (":tenant", &tenant),
        (":conversations", &conversations),
        (":words", &words),
        (":prefix", &prefix),
        (":prefix_end", &prefix_end),
    ];
    let total: i64 = connection
        .prepare_cached(&count_of_conversations())?
        .query_row(&matching, |row| row.get(0))?;

    let after_at = page.after.map(|(at, _)| at.0);
    let after_id = page.after.map(|(_, id)| *id.0.as_bytes());
    let limit = as_integer(page.limit + 1);
    let mut paged = matching.to_vec();
    paged.push((":after_at", &after_at));
    paged.push((":after_id", &after_id));
    paged.push((":limit", &limit));
    let hits = connection
        .prepare_cached(&page_of_conversations())?
        .query_map(paged.as_slice(), conversation_hit)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Found::page(hits, total.cast_unsigned(), page.limit))
}

pub(super) const COUNT_OF_USERS: &str = "
SELECT count(*) FROM search_users WHERE tenant = ?1 AND folded >= ?2 AND folded < ?3";

pub(super) const PAGE_OF_USERS: &str = "
SELECT user_id FROM search_users
WHERE tenant = ?1 AND folded >= ?2 AND folded < ?3 AND (folded, user_id) > (?4, ?5)
ORDER BY folded, user_id LIMIT ?6";

pub(super) fn users(
    connection: &Scoped<'_>,
    tenant: &Tenant,
    prefix: &str,
    page: &Page<UserId>,
) -> rusqlite::Result<Found<UserId>> {
    let end = end_of_prefix(prefix);
    let total: i64 = connection
        .prepare_cached(COUNT_OF_USERS)?
        .query_row(params![tenant.as_str(), prefix, end], |row| row.get(0))?;
    // What comes after nothing comes after the empty id.
    let after = page.after.as_ref().map_or("", UserId::as_str);
    let hits = connection
        .prepare_cached(PAGE_OF_USERS)?
        .query_map(
            params![
                tenant.as_str(),
                prefix,
                end,
                folded(after),
                after,
                as_integer(page.limit + 1)
            ],
            |row| parsed(row, 0, UserId::parse),
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Found::page(hits, total.cast_unsigned(), page.limit))
}

pub(super) fn conversation_hit(row: &Row<'_>) -> rusqlite::Result<ConversationHit> {
    Ok(ConversationHit {
        conversation_id: ConversationId(id(row, 0)?),
        kind: parsed(row, 1, |text| Kind::parse(text).ok_or("no kind"))?,
        title: row.get(2)?,
        created_at: Timestamp(row.get(3)?),
    })
}

/// What is greater than whatever begins with `prefix`: ids are ASCII.
fn end_of_prefix(prefix: &str) -> String {
    format!("{prefix}\u{7f}")
}

/// A JSON list of ids in hex, so that a query has one parameter however many
/// there are.
fn json_of(ids: &[ConversationId]) -> String {
    let ids: Vec<String> = ids
        .iter()
        .map(|id| format!("\"{}\"", id.0.simple()))
        .collect();
    format!("[{}]", ids.join(","))
}

fn as_integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get(column).map(Uuid::from_bytes)
}

pub(super) fn parsed<T, E: std::fmt::Debug>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    parse(&text).map_err(|error| {
        let cause = format!("column {column} cannot be read: {error:?}");
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, cause.into())
    })
}
