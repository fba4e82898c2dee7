use async_trait::async_trait;
use mongodb::Collection;
use mongodb::bson::doc;
use serde::{Deserialize, Serialize};

use super::error::{classify, is_duplicate_key};
use super::{MongoHistory, OPERATION_TIMEOUT, prepare};
use crate::generation::{Generation, Generations, Register};
use crate::history::{Position, StoreError};

/// The collection that says which generations there are.
const COLLECTION: &str = "generations";
const ID: &str = "history";

#[derive(Serialize, Deserialize)]
struct RegisterRecord {
    #[serde(rename = "_id")]
    id: String,
    revision: i64,
    /// The register as JSON: nobody asks for a part of it.
    register: String,
}

impl RegisterRecord {
    fn of(register: &Register) -> Result<Self, StoreError> {
        let text = serde_json::to_string(register)
            .map_err(|error| StoreError::Fatal(error.to_string()))?;
        Ok(Self {
            id: ID.to_owned(),
            revision: register.revision.cast_signed(),
            register: text,
        })
    }
}

fn records(history: &MongoHistory) -> Collection<RegisterRecord> {
    history.database.collection(COLLECTION)
}

#[async_trait]
impl Generations for MongoHistory {
    fn of(&self, generation: Generation) -> Self {
        Self {
            generation,
            ..self.clone()
        }
    }

    async fn reached(&self) -> Result<Vec<Position>, StoreError> {
        self.all_positions().await
    }

    async fn register(&self) -> Result<Register, StoreError> {
        let found = self
            .in_time(async {
                let records = records(self);
                let find = records.find_one(doc! { "_id": ID });
                find.max_time(OPERATION_TIMEOUT).await
            })
            .await?;
        let Some(record) = found else {
            return Ok(Register::default());
        };
        serde_json::from_str(&record.register).map_err(|error| {
            StoreError::Fatal(format!(
                "the register of generations is unreadable: {error}"
            ))
        })
    }

    async fn replace(&self, register: &Register) -> Result<bool, StoreError> {
        let record = RegisterRecord::of(register)?;
        if record.revision == 1 {
            let inserted = self
                .in_time(async { Ok(records(self).insert_one(record).await) })
                .await?;
            return match inserted {
                Ok(_) => Ok(true),
                Err(error) if is_duplicate_key(&error) => Ok(false),
                Err(error) => Err(classify(&error)),
            };
        }
        let before = doc! { "_id": ID, "revision": record.revision - 1 };
        let after = doc! { "$set": {
            "revision": record.revision,
            "register": record.register,
        } };
        let updated = self
            .in_time(async { records(self).update_one(before, after).await })
            .await?;
        Ok(updated.matched_count == 1)
    }

    /// Makes the collections, so that none of several who fill them does: one
    /// that finds no stamp drops what is there, and others may have written it.
    async fn filling(&self, generation: Generation, is_begun: bool) -> Result<(), StoreError> {
        match is_begun {
            true => prepare::prepare(&self.of(generation)).await,
            false => Ok(()),
        }
    }

    async fn delete(&self, generation: Generation) -> Result<(), StoreError> {
        prepare::delete(&self.of(generation)).await
    }
}
