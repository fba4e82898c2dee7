//! The register of generations of the views in one file.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension};

use crate::generation::Register;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS view_generations (
    view TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    register TEXT NOT NULL
) STRICT";

pub(crate) fn read(connection: &Connection, view: &str) -> rusqlite::Result<Register> {
    // Nobody makes the table before there is something to write.
    let is_there = connection
        .prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'view_generations'")?
        .exists([])?;
    if !is_there {
        return Ok(Register::default());
    }
    let text: Option<String> = connection
        .prepare_cached("SELECT register FROM view_generations WHERE view = ?1")?
        .query_row([view], |row| row.get(0))
        .optional()?;
    let Some(text) = text else {
        return Ok(Register::default());
    };
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))
}

/// Writes a register in the place of the one before it; false where another
/// one is there.
pub(crate) fn replace(
    connection: &Connection,
    view: &str,
    register: &Register,
) -> rusqlite::Result<bool> {
    connection.execute_batch(TABLE)?;
    if read(connection, view)?.revision + 1 != register.revision {
        return Ok(false);
    }
    let text = serde_json::to_string(register)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection
        .execute(
            "INSERT INTO view_generations (view, revision, register) VALUES (?1, ?2, ?3)
             ON CONFLICT (view) DO UPDATE SET
             revision = excluded.revision, register = excluded.register",
            rusqlite::params![view, register.revision.cast_signed(), text],
        )
        .map(|_| true)
}
