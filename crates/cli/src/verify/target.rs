use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tidings_log::LogReader;
use tidings_log::embedded::EmbeddedLog;
use tidings_operate::verify::AuditedView;
use tidings_sqlite::Database;
use tidings_wire::Codec;

use super::ViewName;
use crate::place::{Place, PlaceArgs};
use crate::stores::{StoreArgs, sqlite_history, sqlite_search};

/// A view, and the log it is of.
pub(super) struct Target {
    pub(super) view: AuditedView,
    pub(super) log: Arc<dyn LogReader>,
    pub(super) codec: Codec,
}

/// Opens a view: a data folder for writing only where it is to be repaired.
pub(super) async fn open(
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
    let view = match name {
        ViewName::History => {
            let store = stores.mongodb().await?;
            let store = store.context(missing("history", "--mongodb-uri", "MONGODB_URI"))?;
            AuditedView::History(Arc::new(store))
        }
        ViewName::Search => {
            let store = stores.opensearch(prefix).await?;
            let store = store.context(missing("search", "--search-url", "SEARCH_URL"))?;
            AuditedView::Search(Arc::new(store))
        }
        ViewName::Cache => {
            let store = stores.redis(prefix).await?;
            let store = store.context(missing("cache", "--redis-url", "REDIS_URL"))?;
            AuditedView::Cache(Arc::new(store))
        }
    };
    let (log, codec) = place.open().await?;
    Ok(Target { view, log, codec })
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
    let view = match name {
        ViewName::Search => AuditedView::Search(Arc::new(sqlite_search(&database).await?)),
        _ => AuditedView::History(Arc::new(sqlite_history(&database).await?)),
    };
    Ok(Target {
        view,
        log: Arc::new(log),
        codec: Codec::locked(),
    })
}
