//! Where the stores of the views are.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tidings_service::config::ServerUrl;
use tidings_sqlite::Database;
use tidings_views::cache::{CacheWriter, RedisCache};
use tidings_views::generation::serving;
use tidings_views::history::{HistoryWriter, MongoHistory, SqliteHistory};
use tidings_views::search::{OpenSearch, SearchWriter, SqliteSearch};

use crate::place::Opened;

/// How long one command may take in Redis.
pub(crate) const REDIS_TIMEOUT: Duration = Duration::from_secs(5);

/// The stores of a cluster's views. A data folder has its own.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// MongoDB, of the history view
    #[arg(long, env = "MONGODB_URI", hide_env_values = true, value_name = "URI")]
    pub(crate) mongodb_uri: Option<ServerUrl>,
    /// OpenSearch or Elasticsearch, of the search view
    #[arg(long, env = "SEARCH_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) search_url: Option<ServerUrl>,
    /// Redis, of the cache view
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) redis_url: Option<ServerUrl>,
}

/// Each store as it is read now: the generation that serves.
impl StoreArgs {
    /// The history view's store, if it is given.
    pub(crate) async fn history(&self, opened: &Opened) -> Result<Option<Arc<dyn HistoryWriter>>> {
        if let Some(database) = &opened.database {
            return Ok(Some(Arc::new(sqlite_history(database).await?)));
        }
        Ok(self.mongodb().await?.map(|store| Arc::new(store) as _))
    }

    /// The search view's store, if it is given.
    pub(crate) async fn search(
        &self,
        opened: &Opened,
        prefix: &str,
    ) -> Result<Option<Arc<dyn SearchWriter>>> {
        if let Some(database) = &opened.database {
            return Ok(Some(Arc::new(sqlite_search(database).await?)));
        }
        let store = self.opensearch(prefix).await?;
        Ok(store.map(|store| Arc::new(store) as _))
    }

    /// The cache view's store, if it is given. That of a data folder is in the
    /// memory of its process.
    pub(crate) async fn cache(
        &self,
        opened: &Opened,
        prefix: &str,
    ) -> Result<Option<Arc<dyn CacheWriter>>> {
        if opened.database.is_some() {
            return Ok(None);
        }
        let store = self.redis(prefix).await?;
        Ok(store.map(|store| Arc::new(store) as _))
    }

    /// MongoDB, if it is given.
    pub(crate) async fn mongodb(&self) -> Result<Option<MongoHistory>> {
        let Some(uri) = &self.mongodb_uri else {
            return Ok(None);
        };
        let store = MongoHistory::connect(uri.expose(), "tidings").await?;
        Ok(Some(serving(&store).await?))
    }

    /// OpenSearch, if it is given.
    pub(crate) async fn opensearch(&self, prefix: &str) -> Result<Option<OpenSearch>> {
        let Some(url) = &self.search_url else {
            return Ok(None);
        };
        let store = OpenSearch::new(url.expose(), prefix)?;
        Ok(Some(serving(&store).await?))
    }

    /// Redis, if it is given.
    pub(crate) async fn redis(&self, prefix: &str) -> Result<Option<RedisCache>> {
        let Some(url) = &self.redis_url else {
            return Ok(None);
        };
        let store = RedisCache::new(url.expose(), prefix, REDIS_TIMEOUT)?;
        Ok(Some(serving(&store).await?))
    }
}

/// The history view of a data folder, as it is read now.
pub(crate) async fn sqlite_history(database: &Database) -> Result<SqliteHistory> {
    Ok(serving(&SqliteHistory::new(database.clone())).await?)
}

/// The search view of a data folder, as it is read now.
pub(crate) async fn sqlite_search(database: &Database) -> Result<SqliteSearch> {
    Ok(serving(&SqliteSearch::new(database.clone())).await?)
}
