//! The search view in OpenSearch (2.x) or Elasticsearch (7.10 and later).

mod audit;
mod bulk;
mod client;
mod document;
mod generations;
mod index;
mod read;
#[cfg(test)]
mod tests;
mod write;

use async_trait::async_trait;
use tidings_domain::{ConversationId, MessageId, Timestamp, UserId};

use super::{
    Asker, ConversationHit, Documents, Filters, Found, MessageHit, Page, Query, SearchReader,
    SearchWriter, Wanted,
};
use crate::{Position, StoreError};

use client::Client;
use index::Names;

/// The search view in OpenSearch or Elasticsearch, one generation of it. Cheap
/// to clone.
#[derive(Clone, Debug)]
pub struct OpenSearch {
    client: Client,
    names: Names,
}

impl OpenSearch {
    /// The view at this address, which may hold a user's name and password.
    /// `prefix` goes before the names of its indexes. Nobody is asked yet.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] where the address cannot be read, or the prefix
    /// cannot be part of an index's name.
    pub fn new(url: &str, prefix: &str) -> Result<Self, StoreError> {
        Ok(Self {
            client: Client::new(url)?,
            names: Names::new(prefix)?,
        })
    }

    /// Makes what was written so far visible to searches, which otherwise
    /// takes up to a second.
    ///
    /// # Errors
    /// [`StoreError`].
    #[cfg(any(test, feature = "testing"))]
    pub async fn refresh(&self) -> Result<(), StoreError> {
        index::refresh_all(&self.client, &self.names).await
    }

    #[cfg(test)]
    async fn lose_messages(&self) -> Result<(), StoreError> {
        index::lose_messages(&self.client, &self.names).await
    }

    #[cfg(test)]
    async fn put_a_stranger(&self) -> Result<(), StoreError> {
        write::put_a_stranger(&self.client, &self.names).await
    }
}

#[async_trait]
impl SearchWriter for OpenSearch {
    async fn prepare(&self) -> Result<(), StoreError> {
        index::prepare(&self.client, &self.names).await
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        read::positions(&self.client, &self.names).await
    }

    async fn load(&self, wanted: &Wanted) -> Result<Documents, StoreError> {
        read::load(&self.client, &self.names, wanted).await
    }

    async fn write(&self, documents: &Documents, positions: &[Position]) -> Result<(), StoreError> {
        write::write(&self.client, &self.names, documents, positions).await
    }
}

#[async_trait]
impl SearchReader for OpenSearch {
    async fn messages(
        &self,
        asker: &Asker,
        query: &Query,
        filters: &Filters,
        page: Page<(Timestamp, MessageId)>,
    ) -> Result<Found<MessageHit>, StoreError> {
        read::messages(&self.client, &self.names, asker, query, filters, &page).await
    }

    async fn conversations(
        &self,
        asker: &Asker,
        query: &Query,
        page: Page<(Timestamp, ConversationId)>,
    ) -> Result<Found<ConversationHit>, StoreError> {
        read::conversations(&self.client, &self.names, asker, query, &page).await
    }

    async fn users(
        &self,
        asker: &Asker,
        query: &Query,
        page: Page<UserId>,
    ) -> Result<Found<UserId>, StoreError> {
        let Some(prefix) = query.id_prefix() else {
            return Ok(Found::nothing());
        };
        read::users(&self.client, &self.names, asker, &prefix, &page).await
    }
}
