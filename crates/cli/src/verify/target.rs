use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tidings_log::LogReader;
use tidings_log::embedded::EmbeddedLog;
use tidings_operate::verify::AuditedView;
use tidings_sqlite::Database;
use tidings_views::generation::Generations;
use tidings_wire::Codec;

use super::ViewName;
use crate::place::{Place, PlaceArgs};
use crate::stores::{StoreArgs, sqlite_history, sqlite_search};

/// A view, and the log it is of.
pub(crate) struct Target {
    pub(crate) view: AuditedView,
    pub(crate) log: Arc<dyn LogReader>,
    pub(crate) codec: Codec,
    /// Says which generation is read.
    pub(crate) generations: Arc<dyn Generations>,
}

/// Opens a view: a data folder for writing only where it is to be repaired.
pub(crate) async fn open(
    name: ViewName,
    is_repair: bool,
    place: &PlaceArgs,
    stores: &StoreArgs,
) -> Result<Target> {
    if let Place::Folder(data) = place.place() {
        return in_folder(name, is_repair, &data).await;
    }
    let prefix = &place.registry.topic_prefix;
    // What is missing is said before anything is waited for.
    let (view, generations): (_, Arc<dyn Generations>) = match name {
        ViewName::History => {
            let store = stores.mongodb().await?;
            let store = store.context(missing("history", "--mongodb-uri", "MONGODB_URI"))?;
            let store = Arc::new(store);
            (AuditedView::History(store.clone()), store)
        }
        ViewName::Search => {
            let store = stores.opensearch(prefix).await?;
            let store = store.context(missing("search", "--search-url", "SEARCH_URL"))?;
            let store = Arc::new(store);
            (AuditedView::Search(store.clone()), store)
        }
        ViewName::Cache => {
            let store = stores.redis(prefix).await?;
            let store = store.context(missing("cache", "--redis-url", "REDIS_URL"))?;
            let store = Arc::new(store);
            (AuditedView::Cache(store.clone()), store)
        }
    };
    let (log, codec) = place.open().await?;
    Ok(Target {
        view,
        log,
        codec,
        generations,
    })
}

fn missing(view: &str, flag: &str, variable: &str) -> String {
    format!("where is the store of the {view} view? Set {variable} or give {flag}")
}

async fn in_folder(name: ViewName, is_repair: bool, data: &Path) -> Result<Target> {
    if name == ViewName::Cache {
        bail!(
            "the cache of a data folder is in the memory of `tidings dev`, which makes it anew \
             whenever it starts: there is nothing to verify"
        );
    }
    if !data.join("tidings.sqlite").exists() {
        bail!(
            "no log in {}: give --data the folder of `tidings dev`, or --brokers",
            data.display()
        );
    }
    let database = if is_repair {
        Database::open(data)
            .context("a data folder can be repaired while no `tidings dev` runs on it")?
    } else {
        Database::open_read_only(data)?
    };
    let log = EmbeddedLog::open_read_only(database.clone())
        .with_context(|| format!("cannot read the log in {}", data.display()))?;
    let (view, generations): (_, Arc<dyn Generations>) = match name {
        ViewName::Search => {
            let store = Arc::new(sqlite_search(&database).await?);
            (AuditedView::Search(store.clone()), store)
        }
        _ => {
            let store = Arc::new(sqlite_history(&database).await?);
            (AuditedView::History(store.clone()), store)
        }
    };
    Ok(Target {
        view,
        log: Arc::new(log),
        codec: Codec::locked(),
        generations,
    })
}
