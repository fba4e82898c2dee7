use rusqlite::OptionalExtension;
use tidings_query::fts5;

use crate::sqlite_file::Scoped;

/// The tables, beside those of the log.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS search_messages (
    number INTEGER PRIMARY KEY,
    message_id BLOB NOT NULL UNIQUE,
    conversation_id BLOB NOT NULL,
    tenant TEXT NOT NULL,
    no INTEGER NOT NULL,
    sender TEXT NOT NULL,
    at INTEGER NOT NULL,
    text TEXT,
    has_attachment INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS search_hidden (
    message_id BLOB NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (message_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS search_conversations (
    number INTEGER PRIMARY KEY,
    conversation_id BLOB NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    title TEXT,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT;

-- 'folded' is the id without upper and lower case.
CREATE TABLE IF NOT EXISTS search_members (
    conversation_id BLOB NOT NULL,
    folded TEXT NOT NULL,
    user_id TEXT NOT NULL,
    is_present INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, folded, user_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS search_users (
    tenant TEXT NOT NULL,
    folded TEXT NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (tenant, folded, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS search_positions (
    partition INTEGER NOT NULL PRIMARY KEY,
    offset INTEGER NOT NULL,
    epoch INTEGER,
    owner BLOB
) STRICT;
";

/// The tables of words. They hold no text of their own: a row's words are taken
/// out by giving them again, as the text stands in the table beside.
const WORD_TABLES: [&str; 2] = ["search_words", "search_titles"];

/// What is left of a generation that is deleted, one after the other: a long
/// statement would hold up what waits to be appended.
pub(super) const DELETE: [&str; 8] = [
    "DROP TABLE IF EXISTS search_positions",
    "DROP TABLE IF EXISTS search_messages",
    "DROP TABLE IF EXISTS search_words",
    "DROP TABLE IF EXISTS search_hidden",
    "DROP TABLE IF EXISTS search_conversations",
    "DROP TABLE IF EXISTS search_titles",
    "DROP TABLE IF EXISTS search_members",
    "DROP TABLE IF EXISTS search_users",
];

/// Makes the tables, where they are not there.
pub(super) fn prepare(connection: &Scoped<'_>) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    for table in WORD_TABLES {
        let arguments = fts5::TABLE;
        connection.execute_batch(&format!(
            "CREATE VIRTUAL TABLE IF NOT EXISTS {table} USING fts5({arguments});"
        ))?;
    }
    // Words that are taken out are overwritten at once and not only when
    // segments are merged: a purge means it.
    for table in WORD_TABLES {
        let is_set = connection
            .query_row(
                &format!("SELECT v FROM {table}_config WHERE k = 'secure-delete'"),
                [],
                |row| row.get::<_, i64>(0),
            )
            .optional()?;
        if is_set != Some(1) {
            let set = format!("INSERT INTO {table}({table}, rank) VALUES ('secure-delete', 1)");
            connection.execute(&set, [])?;
        }
    }
    Ok(())
}
