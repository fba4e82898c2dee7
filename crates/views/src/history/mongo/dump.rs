use async_trait::async_trait;
use mongodb::bson::doc;
use mongodb::options::FindOptions;
use tidings_domain::{Model, OutcomeRow};

use super::record::OutcomeRecord;
use super::{MongoHistory, read};
use crate::conformance::{Dump, Dumped, model};
use crate::history::StoreError;
use crate::history::document::Unreadable;

async fn all<R: read::Stored>(history: &MongoHistory) -> Result<Vec<R>, StoreError> {
    read::find(history, doc! {}, FindOptions::default()).await
}

/// The outcomes of commands that made no event; the others are the events'.
async fn outcomes(history: &MongoHistory) -> Result<Vec<OutcomeRow>, StoreError> {
    let options = FindOptions::default();
    let mut records = read::find_records::<OutcomeRow>(history, doc! {}, options).await?;
    records.retain(|record| !record.is_of_event());
    records.sort_by_key(OutcomeRecord::rank);
    let rows = records.into_iter().map(TryInto::try_into);
    Ok(rows.collect::<Result<_, Unreadable>>()?)
}

#[async_trait]
impl Dump for MongoHistory {
    async fn dump(&self) -> Result<Model, StoreError> {
        Ok(model(Dumped {
            events: all(self).await?,
            outcomes: outcomes(self).await?,
            messages: all(self).await?,
            edits: all(self).await?,
            hidden: all(self).await?,
            conversations: all(self).await?,
            members: all(self).await?,
        }))
    }
}
