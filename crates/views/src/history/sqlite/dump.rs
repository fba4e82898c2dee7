use async_trait::async_trait;
use rusqlite::Row;
use tidings_domain::Model;

use super::audit::{hidden_row, outcome_row};
use super::{SqliteHistory, row};
use crate::conformance::{Dump, Dumped, model};
use crate::history::StoreError;
use crate::sqlite_file::Scoped;

#[async_trait]
impl Dump for SqliteHistory {
    async fn dump(&self) -> Result<Model, StoreError> {
        self.read(dump).await
    }
}

fn all<T>(
    connection: &Scoped<'_>,
    select: &str,
    map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(select)?.query_map([], map)?.collect()
}

fn dump(connection: &Scoped<'_>) -> rusqlite::Result<Model> {
    let events = all(
        connection,
        "SELECT conversation_id, seq, tenant, at, sender, temp_id, event, withheld \
         FROM history_events",
        row::event_row,
    )?;
    let messages = all(
        connection,
        "SELECT message_id, conversation_id, tenant, no, seq, rev, sender, at, content, reply_to, \
         thread, forwarded_from, edited_at, deleted, reactions, replies FROM history_messages",
        row::message_row,
    )?;
    let edits = all(
        connection,
        "SELECT message_id, seq, conversation_id, tenant, at, content FROM history_edits",
        row::edit_row,
    )?;
    let hidden = all(
        connection,
        "SELECT tenant, user_id, message_id, conversation_id FROM history_hidden",
        hidden_row,
    )?;
    let conversations = all(
        connection,
        "SELECT conversation_id, tenant, kind, title, closed, created_at, last_at, last_seq, \
         last_no, last_message_id FROM history_conversations",
        row::conversation_row,
    )?;
    let members = all(
        connection,
        "SELECT conversation_id, user_id, tenant, role, read_no, rev, archived, muted, \
         muted_until, settings_rev FROM history_members",
        |it| row::member_row(it, 0),
    )?;
    let outcomes = all(
        connection,
        "SELECT conversation_id, sender, temp_id, tenant, at, seq, no, code, message_id \
         FROM history_outcomes",
        outcome_row,
    )?;
    Ok(model(Dumped {
        events,
        outcomes,
        messages,
        edits,
        hidden,
        conversations,
        members,
    }))
}
