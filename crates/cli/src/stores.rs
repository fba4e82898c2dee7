//! Where the stores of the views are.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tidings_service::config::ServerUrl;
use tidings_sqlite::Database;
use tidings_views::cache::{CacheWriter, RedisCache};
use tidings_views::generation::{Generations, State, serving};
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
    /// The history view's store in each of its generations, the one that is
    /// read first; none: it is not given.
    pub(crate) async fn history(&self, opened: &Opened) -> Result<Vec<Arc<dyn HistoryWriter>>> {
        if let Some(database) = &opened.database {
            let stores = filled(sqlite_history(database).await?).await?;
            return Ok(stores.into_iter().map(|it| Arc::new(it) as _).collect());
        }
        let Some(store) = self.mongodb().await? else {
            return Ok(Vec::new());
        };
        let stores = filled(store).await?.into_iter();
        Ok(stores.map(|it| Arc::new(it) as _).collect())
    }

    /// The search view's store, likewise.
    pub(crate) async fn search(
        &self,
        opened: &Opened,
        prefix: &str,
    ) -> Result<Vec<Arc<dyn SearchWriter>>> {
        if let Some(database) = &opened.database {
            let stores = filled(sqlite_search(database).await?).await?;
            return Ok(stores.into_iter().map(|it| Arc::new(it) as _).collect());
        }
        let Some(store) = self.opensearch(prefix).await? else {
            return Ok(Vec::new());
        };
        let stores = filled(store).await?.into_iter();
        Ok(stores.map(|it| Arc::new(it) as _).collect())
    }

    /// The cache view's store, likewise. That of a data folder is in the
    /// memory of its process.
    pub(crate) async fn cache(
        &self,
        opened: &Opened,
        prefix: &str,
    ) -> Result<Vec<Arc<dyn CacheWriter>>> {
        if opened.database.is_some() {
            return Ok(Vec::new());
        }
        let Some(store) = self.redis(prefix).await? else {
            return Ok(Vec::new());
        };
        let stores = filled(store).await?.into_iter();
        Ok(stores.map(|it| Arc::new(it) as _).collect())
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

/// A store in its generations: the one that is read, then those that are built
/// or kept and have something in them.
async fn filled<S: Generations>(store: S) -> Result<Vec<S>> {
    let register = store.register().await?;
    let serving = register.serving();
    let mut stores = vec![store.of(serving)];
    for (generation, standing) in register.generations() {
        if generation == serving || standing.state == State::Dropping {
            continue;
        }
        let other = store.of(generation);
        if !other.reached().await?.is_empty() {
            stores.push(other);
        }
    }
    Ok(stores)
}

/// The history view of a data folder, as it is read now.
pub(crate) async fn sqlite_history(database: &Database) -> Result<SqliteHistory> {
    Ok(serving(&SqliteHistory::new(database.clone())).await?)
}

/// The search view of a data folder, as it is read now.
pub(crate) async fn sqlite_search(database: &Database) -> Result<SqliteSearch> {
    Ok(serving(&SqliteSearch::new(database.clone())).await?)
}
