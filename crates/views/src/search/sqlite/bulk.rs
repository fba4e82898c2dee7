use async_trait::async_trait;
use rusqlite::types::Value;

use super::SqliteSearch;
use crate::StoreError;
use crate::bulk::{BulkInsert, BulkInserted, BulkOptions, YARDSTICK};
use crate::generation::Generations;
use crate::search::SearchWriter;
use crate::sqlite_file::{Scoped, bulk_insert};
use tidings_query::words::indexed;

const TABLES: &[&str] = &[
    "search_messages",
    "search_hidden",
    "search_conversations",
    "search_members",
    "search_users",
];

#[async_trait]
impl BulkInsert for SqliteSearch {
    async fn bulk_insert(&self, options: BulkOptions) -> Result<BulkInserted, StoreError> {
        let yardstick = self.of(YARDSTICK);
        // An earlier one may have been cut short.
        self.delete(YARDSTICK).await?;
        yardstick.prepare().await?;
        let scopes = (self.tables, yardstick.tables);
        let inserted = bulk_insert(&self.database, scopes, TABLES, options.batch, words).await;
        self.delete(YARDSTICK).await?;
        inserted
    }
}

/// Puts the words of a message or a title into the table beside it.
fn words(
    connection: &Scoped<'_>,
    (table, values): &(&'static str, Vec<Value>),
) -> rusqlite::Result<()> {
    // By the places of their columns; see `schema`.
    let (words, text) = match *table {
        "search_messages" => ("search_words", values.get(7)),
        "search_conversations" => ("search_titles", values.get(4)),
        _ => return Ok(()),
    };
    let Some(Value::Text(text)) = text else {
        return Ok(());
    };
    connection
        .prepare_cached(&format!(
            "INSERT INTO {words} (rowid, words) VALUES (?1, ?2)"
        ))?
        .execute((&values[0], indexed(text)))
        .map(drop)
}
