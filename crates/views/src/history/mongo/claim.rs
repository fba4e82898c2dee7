use std::time::{Duration, SystemTime};

use mongodb::bson::{DateTime, Document, doc};
use uuid::Uuid;

use super::MongoHistory;
use super::error::is_duplicate_key;
use super::prepare::{VERSION, stamp_id};
use crate::history::StoreError;

/// The right to make the collections of a generation, kept in its stamp. One
/// whose process died ends by itself.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    history: &'a MongoHistory,
    by: String,
}

impl<'a> Claim<'a> {
    /// How long a step may take: more than any one operation.
    const LEASE: Duration = Duration::from_secs(30);

    /// Takes it, where the collections are not made and nobody makes them.
    pub(super) async fn take(history: &'a MongoHistory) -> Result<Self, StoreError> {
        let by = Uuid::new_v4().to_string();
        let claim = Self { history, by };
        let (stamps, id) = (history.stamps(), stamp_id(history));
        let mine = doc! { "_id": &id, "claim": claim.document() };
        let inserted = history.in_time(async {
            match stamps.insert_one(mine).await {
                Ok(_) => Ok(true),
                Err(error) if is_duplicate_key(&error) => Ok(false),
                Err(error) => Err(error),
            }
        });
        if inserted.await? {
            return Ok(claim);
        }
        let is_free = doc! {
            "_id": &id,
            "version": { "$ne": VERSION },
            "$or": [
                { "claim": { "$exists": false } },
                { "claim.until": { "$lt": DateTime::now() } },
            ],
        };
        let taken = claim.set(is_free, doc! { "$set": { "claim": claim.document() } });
        match taken.await? {
            true => Ok(claim),
            false => Err(StoreError::Transient(
                "another process is making the collections of the history view".to_owned(),
            )),
        }
    }

    /// Has it for the next step too.
    pub(super) async fn renew(&self) -> Result<(), StoreError> {
        let renewed = doc! { "$set": { "claim": self.document() } };
        self.held(self.set(self.mine(), renewed).await?)
    }

    /// Ends it with the collections made.
    pub(super) async fn stamp(self) -> Result<(), StoreError> {
        let made = doc! { "$set": { "version": VERSION }, "$unset": { "claim": "" } };
        self.held(self.set(self.mine(), made).await?)
    }

    /// Lets another begin at once. If that cannot be said, the lease ends.
    pub(super) async fn release(self) {
        let released = self.set(self.mine(), doc! { "$unset": { "claim": "" } });
        if let Err(error) = released.await {
            tracing::debug!(%error, "could not release the claim");
        }
    }

    fn mine(&self) -> Document {
        doc! { "_id": stamp_id(self.history), "claim.by": &self.by }
    }

    fn document(&self) -> Document {
        let until = SystemTime::now() + Self::LEASE;
        doc! { "by": &self.by, "until": DateTime::from_system_time(until) }
    }

    async fn set(&self, before: Document, after: Document) -> Result<bool, StoreError> {
        let stamps = self.history.stamps();
        let updated = self
            .history
            .in_time(async { stamps.update_one(before, after).await });
        Ok(updated.await?.matched_count == 1)
    }

    fn held(&self, is_held: bool) -> Result<(), StoreError> {
        is_held.then_some(()).ok_or_else(|| {
            StoreError::Transient(
                "making the collections of the history view took too long, and another \
                 process began it anew"
                    .to_owned(),
            )
        })
    }
}
