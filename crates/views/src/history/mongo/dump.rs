use async_trait::async_trait;
use mongodb::bson::doc;
use mongodb::options::FindOptions;
use tidings_domain::{ConversationRow, EventRow, MemberRow, MessageRow, Model, OutcomeRow};

use super::{MongoHistory, read};
use crate::conformance::{Dump, model};
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
    let rows = records.into_iter().map(TryInto::try_into);
    Ok(rows.collect::<Result<_, Unreadable>>()?)
}

#[async_trait]
impl Dump for MongoHistory {
    async fn dump(&self) -> Result<Model, StoreError> {
        let events: Vec<EventRow> = all(self).await?;
        let outcomes = outcomes(self).await?;
        let messages: Vec<MessageRow> = all(self).await?;
        let conversations: Vec<ConversationRow> = all(self).await?;
        let members: Vec<MemberRow> = all(self).await?;
        Ok(model(events, outcomes, messages, conversations, members))
    }
}
