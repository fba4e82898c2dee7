use async_trait::async_trait;
use mongodb::bson::{RawDocumentBuf, doc};

use super::error::classify;
use super::{MongoHistory, prepare};
use crate::audit::Audit;
use crate::bulk::{BulkInsert, BulkInserted, BulkOptions, YARDSTICK, timed};
use crate::generation::Generations;
use crate::history::StoreError;

#[async_trait]
impl BulkInsert for MongoHistory {
    async fn bulk_insert(&self, options: BulkOptions) -> Result<BulkInserted, StoreError> {
        let mut batches = Vec::new();
        let mut documents = 0;
        for kind in self.kinds() {
            let found = self.all(kind).await?;
            documents += found.len();
            let chunks = found.chunks(options.batch.max(1));
            batches.extend(chunks.map(|chunk| (*kind, chunk.to_vec())));
        }
        let yardstick = self.of(YARDSTICK);
        // An earlier one may have been cut short.
        prepare::delete(&yardstick).await?;
        prepare::prepare(&yardstick).await?;
        let inserted = timed(batches, options.parallel, |(kind, documents)| {
            let collection = yardstick.collection::<RawDocumentBuf>(kind);
            async move {
                let insert = collection.insert_many(documents).ordered(false);
                insert.await.map(drop).map_err(|error| classify(&error))
            }
        })
        .await;
        prepare::delete(&yardstick).await?;
        let took = inserted?;
        Ok(BulkInserted { documents, took })
    }
}

impl MongoHistory {
    async fn all(&self, kind: &str) -> Result<Vec<RawDocumentBuf>, StoreError> {
        let collection = self.collection::<RawDocumentBuf>(kind);
        let mut cursor = self
            .in_time(async { collection.find(doc! {}).await })
            .await?;
        let mut found = Vec::new();
        while self.in_time(cursor.advance()).await? {
            found.push(cursor.current().to_owned());
        }
        Ok(found)
    }
}
