use async_trait::async_trait;

use super::SqliteHistory;
use crate::StoreError;
use crate::bulk::{BulkInsert, BulkInserted, BulkOptions, YARDSTICK};
use crate::generation::Generations;
use crate::history::HistoryWriter;
use crate::sqlite_file::bulk_insert;

const TABLES: &[&str] = &[
    "history_events",
    "history_messages",
    "history_edits",
    "history_hidden",
    "history_conversations",
    "history_members",
    "history_outcomes",
];

#[async_trait]
impl BulkInsert for SqliteHistory {
    async fn bulk_insert(&self, options: BulkOptions) -> Result<BulkInserted, StoreError> {
        let yardstick = self.of(YARDSTICK);
        // An earlier one may have been cut short.
        self.delete(YARDSTICK).await?;
        yardstick.prepare().await?;
        let scopes = (self.tables, yardstick.tables);
        let (database, batch) = (&self.database, options.batch);
        let inserted = bulk_insert(database, scopes, TABLES, batch, |_, _| Ok(())).await;
        self.delete(YARDSTICK).await?;
        inserted
    }
}
