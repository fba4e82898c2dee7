use rusqlite::{OptionalExtension, params};
use tidings_domain::{Tenant, UserId};

use crate::Position;
use crate::search::{ConversationDocument, Documents, MemberDocument, MessageDocument};
use crate::sqlite_file::Scoped;
use tidings_query::words::{folded, indexed};

pub(super) const STORED_MESSAGE: &str =
    "SELECT number, version, text FROM search_messages WHERE message_id = ?1";

const UPSERT_MESSAGE: &str = "
INSERT INTO search_messages
(message_id, conversation_id, tenant, no, sender, at, text, has_attachment, version)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (message_id) DO UPDATE SET
text = excluded.text, has_attachment = excluded.has_attachment, version = excluded.version
RETURNING number";

pub(super) const CLEAR_HIDDEN: &str = "DELETE FROM search_hidden WHERE message_id = ?1";

pub(super) const STORED_CONVERSATION: &str =
    "SELECT number, version, title FROM search_conversations WHERE conversation_id = ?1";

/// A document of any sort.
pub(super) enum Document {
    Message(MessageDocument),
    Conversation(ConversationDocument),
    Member(MemberDocument),
    User(Tenant, UserId),
}

/// Documents that are written in one transaction.
pub(super) struct Part(Vec<Document>);

/// The documents, at most so many in a part.
pub(super) fn parts(documents: &Documents, at_once: usize) -> Vec<Part> {
    let messages = documents.messages.values().cloned().map(Document::Message);
    let conversations = documents.conversations.values().cloned();
    let members = documents.members.values().cloned();
    let users = documents.users.iter().cloned();
    let mut all = messages
        .chain(conversations.map(Document::Conversation))
        .chain(members.map(Document::Member))
        .chain(users.map(|(tenant, user)| Document::User(tenant, user)));
    let part = || {
        let part: Vec<_> = all.by_ref().take(at_once).collect();
        (!part.is_empty()).then_some(Part(part))
    };
    std::iter::from_fn(part).collect()
}

impl Part {
    pub(super) fn write(&self, connection: &Scoped<'_>, has_words: bool) -> rusqlite::Result<()> {
        self.0.iter().try_for_each(|document| match document {
            Document::Message(message) => write_message(connection, message, has_words),
            Document::Conversation(conversation) => {
                write_conversation(connection, conversation, has_words)
            }
            Document::Member(member) => write_member(connection, member),
            Document::User(tenant, user) => write_user(connection, tenant, user),
        })
    }
}

/// A row that is replaced: its number, version and text.
type Stored = (i64, i64, Option<String>);

fn write_message(
    connection: &Scoped<'_>,
    message: &MessageDocument,
    has_words: bool,
) -> rusqlite::Result<()> {
    let id = message.message_id.0.as_bytes();
    let stored: Option<Stored> = connection
        .prepare_cached(STORED_MESSAGE)?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    if matches!(stored, Some((_, version, _)) if version >= message.version) {
        return Ok(());
    }
    let old = stored.and_then(|(number, _, text)| Some((number, text?)));
    if has_words && let Some((number, text)) = old {
        connection
            .prepare_cached(
                "INSERT INTO search_words (search_words, rowid, words) VALUES ('delete', ?1, ?2)",
            )?
            .execute(params![number, indexed(&text)])?;
    }
    let number: i64 = connection.prepare_cached(UPSERT_MESSAGE)?.query_row(
        params![
            id,
            message.conversation_id.0.as_bytes(),
            message.tenant.as_str(),
            message.no.cast_signed(),
            message.by.as_str(),
            message.at.0,
            message.text,
            message.has_attachment,
            message.version,
        ],
        |row| row.get(0),
    )?;
    if has_words && let Some(text) = &message.text {
        connection
            .prepare_cached("INSERT INTO search_words (rowid, words) VALUES (?1, ?2)")?
            .execute(params![number, indexed(text)])?;
    }
    connection.prepare_cached(CLEAR_HIDDEN)?.execute([id])?;
    let mut hide = connection
        .prepare_cached("INSERT INTO search_hidden (message_id, user_id) VALUES (?1, ?2)")?;
    for user in &message.hidden_for {
        hide.execute(params![id, user.as_str()])?;
    }
    Ok(())
}

fn write_conversation(
    connection: &Scoped<'_>,
    conversation: &ConversationDocument,
    has_words: bool,
) -> rusqlite::Result<()> {
    let id = conversation.conversation_id.0.as_bytes();
    let stored: Option<Stored> = connection
        .prepare_cached(STORED_CONVERSATION)?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    if matches!(stored, Some((_, version, _)) if version >= conversation.version) {
        return Ok(());
    }
    let old = stored.and_then(|(number, _, title)| Some((number, title?)));
    if has_words && let Some((number, title)) = old {
        connection
            .prepare_cached(
                "INSERT INTO search_titles (search_titles, rowid, words)
                 VALUES ('delete', ?1, ?2)",
            )?
            .execute(params![number, indexed(&title)])?;
    }
    let number: i64 = connection
        .prepare_cached(
            "INSERT INTO search_conversations
             (conversation_id, tenant, kind, title, created_at, version)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (conversation_id) DO UPDATE SET
             title = excluded.title, version = excluded.version
             RETURNING number",
        )?
        .query_row(
            params![
                id,
                conversation.tenant.as_str(),
                conversation.kind.as_str(),
                conversation.title,
                conversation.created_at.0,
                conversation.version,
            ],
            |row| row.get(0),
        )?;
    if has_words && let Some(title) = &conversation.title {
        connection
            .prepare_cached("INSERT INTO search_titles (rowid, words) VALUES (?1, ?2)")?
            .execute(params![number, indexed(title)])?;
    }
    Ok(())
}

fn write_member(connection: &Scoped<'_>, member: &MemberDocument) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO search_members (conversation_id, folded, user_id, is_present, version)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (conversation_id, folded, user_id) DO UPDATE SET
             is_present = excluded.is_present, version = excluded.version
             WHERE excluded.version > version",
        )?
        .execute(params![
            member.conversation_id.0.as_bytes(),
            folded(member.user_id.as_str()),
            member.user_id.as_str(),
            member.is_present,
            member.version,
        ])?;
    Ok(())
}

fn write_user(connection: &Scoped<'_>, tenant: &Tenant, user: &UserId) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO search_users (tenant, folded, user_id) VALUES (?1, ?2, ?3)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            tenant.as_str(),
            folded(user.as_str()),
            user.as_str()
        ])?;
    Ok(())
}

pub(super) fn positions(connection: &Scoped<'_>, positions: &[Position]) -> rusqlite::Result<()> {
    let mut write = connection.prepare_cached(
        "INSERT INTO search_positions (partition, offset, epoch, owner) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (partition) DO UPDATE SET
         offset = excluded.offset, epoch = excluded.epoch, owner = excluded.owner
         WHERE excluded.offset >= offset",
    )?;
    for position in positions {
        write.execute(params![
            position.partition,
            position.offset,
            position
                .current
                .map(|current| current.epoch.0.cast_signed()),
            position.current.map(|current| *current.owner.0.as_bytes()),
        ])?;
    }
    Ok(())
}
