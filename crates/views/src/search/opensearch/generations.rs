use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::{Body, Client};
use super::{OpenSearch, index, read};
use crate::generation::{Generation, Generations, Register};
use crate::{Position, StoreError};

const ID: &str = "search";

/// The register as text, so that its shape is no mapping's concern.
#[derive(Serialize, Deserialize)]
struct Source {
    register: String,
}

#[derive(Deserialize)]
struct Found {
    #[serde(rename = "_source")]
    source: Source,
}

/// Makes the index of the register, where it is not there: it must not get a
/// mapping that nobody has chosen.
async fn prepare(client: &Client, index: &str) -> Result<(), StoreError> {
    let definition = json!({
        "settings": {"index": {"number_of_shards": 1, "auto_expand_replicas": "0-1"}},
        "mappings": {
            "dynamic": "strict",
            "properties": {
                "register": {"type": "keyword", "index": false, "doc_values": false},
            },
        },
    });
    let made = client
        .ask::<Value>(Method::PUT, index, Body::Json(&definition))
        .await?;
    match made {
        Ok(_) => Ok(()),
        Err(failure) if failure.kind == "resource_already_exists_exception" => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

#[async_trait]
impl Generations for OpenSearch {
    fn of(&self, generation: Generation) -> Self {
        Self {
            client: self.client.clone(),
            names: self.names.of(generation),
        }
    }

    async fn reached(&self) -> Result<Vec<Position>, StoreError> {
        read::positions(&self.client, &self.names).await
    }

    async fn register(&self) -> Result<Register, StoreError> {
        // By its id: also what no search would find yet.
        let path = format!("{}/_doc/{ID}", self.names.generations());
        let found = self
            .client
            .ask::<Found>(Method::GET, &path, Body::None)
            .await?;
        let found = match found {
            Ok(found) => found,
            Err(failure) if failure.status == StatusCode::NOT_FOUND => {
                return Ok(Register::default());
            }
            Err(failure) => return Err(failure.into()),
        };
        serde_json::from_str(&found.source.register).map_err(|error| {
            StoreError::Fatal(format!(
                "the register of generations is unreadable: {error}"
            ))
        })
    }

    /// Its revision is the document's version, which must be higher than the
    /// stored one: of two that follow on the same, the second is refused.
    async fn replace(&self, register: &Register) -> Result<bool, StoreError> {
        let index = self.names.generations();
        prepare(&self.client, &index).await?;
        let text = serde_json::to_string(register)
            .map_err(|error| StoreError::Fatal(error.to_string()))?;
        let source = json!(Source { register: text });
        let revision = register.revision;
        let path = format!("{index}/_doc/{ID}?version={revision}&version_type=external");
        let put = self
            .client
            .ask::<Value>(Method::PUT, &path, Body::Json(&source))
            .await?;
        match put {
            Ok(_) => Ok(true),
            Err(failure) if failure.status == StatusCode::CONFLICT => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn filling(&self, generation: Generation, is_begun: bool) -> Result<(), StoreError> {
        let names = self.names.of(generation);
        if is_begun {
            index::prepare(&self.client, &names).await?;
        }
        index::hold_refreshes(&self.client, &names, is_begun).await
    }

    async fn delete(&self, generation: Generation) -> Result<(), StoreError> {
        index::delete_all(&self.client, &self.names.of(generation)).await
    }
}
