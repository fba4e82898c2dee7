//! The view that is meant, in its store.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{Log, LogReader};
use tidings_operate::rebuild::{Check, View, ViewName};
use tidings_operate::verify::{AuditedView, Options, Scope, verify};
use tidings_service::config::ServerUrl;
use tidings_sqlite::Database;
use tidings_views::cache::RedisCache;
use tidings_views::generation::Generations;
use tidings_views::history::{MongoHistory, SqliteHistory};
use tidings_views::search::{OpenSearch, SqliteSearch};
use tidings_wire::Codec;
use tokio::runtime::Handle;

use crate::dev::PARTITIONS;
use crate::place::{Place, PlaceArgs};
use crate::stores::{REDIS_TIMEOUT, StoreArgs};

/// Opens a view and its log, to write.
pub(super) async fn open(name: ViewName, place: &PlaceArgs, stores: &StoreArgs) -> Result<View> {
    let brokers = match place.place() {
        Place::Folder(data) => return in_folder(name, &data),
        Place::Kafka(brokers) => brokers,
    };
    let prefix = &place.registry.topic_prefix;
    Ok(match name {
        ViewName::History => {
            let uri = address(&stores.mongodb_uri, name, "--mongodb-uri", "MONGODB_URI")?;
            let store = MongoHistory::connect(uri, "tidings-rebuild").await?;
            let (log, codec) = in_kafka(&brokers, place).await?;
            let check = compared(&store, &log, &codec, |it| {
                AuditedView::History(Arc::new(it))
            });
            View::history(store, log, codec).checked(check)
        }
        ViewName::Search => {
            let url = address(&stores.search_url, name, "--search-url", "SEARCH_URL")?;
            let store = OpenSearch::new(url, prefix)?;
            let (log, codec) = in_kafka(&brokers, place).await?;
            let check = compared(&store, &log, &codec, |it| AuditedView::Search(Arc::new(it)));
            View::search(store, log, codec).checked(check)
        }
        ViewName::Cache => {
            let url = address(&stores.redis_url, name, "--redis-url", "REDIS_URL")?;
            let store = RedisCache::new(url, prefix, REDIS_TIMEOUT)?;
            let (log, codec) = in_kafka(&brokers, place).await?;
            View::cache(store, log, codec)
        }
    })
}

/// Compares a generation with the log, document by document.
fn compared<S>(store: &S, log: &Arc<dyn Log>, codec: &Codec, audited: fn(S) -> AuditedView) -> Check
where
    S: Generations + Clone + 'static,
{
    let (store, log, codec) = (store.clone(), Arc::clone(log), codec.clone());
    Box::new(move |generation| {
        let view = audited(store.of(generation));
        let (log, codec): (Arc<dyn LogReader>, _) = (Arc::clone(&log) as _, codec.clone());
        Box::pin(async move {
            // On a thread of its own: it reads the log, which blocks.
            let compared = tokio::task::spawn_blocking(move || {
                let (scope, options) = (Scope::default(), Options::default());
                Handle::current().block_on(verify(log, codec, &view, &scope, &options))
            });
            let report = compared.await??;
            let wrong = report.wrong();
            let found = || format!("{wrong} of its documents are not what the log says");
            Ok((!report.is_clean()).then(found))
        })
    })
}

/// The address of a view's store. It may hold a password.
fn address<'a>(
    url: &'a Option<ServerUrl>,
    view: ViewName,
    flag: &str,
    variable: &str,
) -> Result<&'a str> {
    let url = url.as_ref().map(ServerUrl::expose);
    url.with_context(|| {
        format!("where is the store of the {view} view? Set {variable} or give {flag}")
    })
}

async fn in_kafka(brokers: &str, place: &PlaceArgs) -> Result<(Arc<dyn Log>, Codec)> {
    let registry = place.registry.config().context(
        "records in Kafka are read with the schema registry: set SCHEMA_REGISTRY_URL or give \
         --registry-url",
    )?;
    let codec = Codec::connect(&registry).await?;
    Ok((Arc::new(place.connect(brokers).await?), codec))
}

fn in_folder(name: ViewName, data: &Path) -> Result<View> {
    if name == ViewName::Cache {
        bail!(
            "the cache of a data folder is in the memory of `tidings dev`, which makes it anew \
             whenever it starts: there is nothing to rebuild"
        );
    }
    if !data.join("tidings.sqlite").exists() {
        bail!(
            "no log in {}: give --data the folder of `tidings dev`, or --brokers",
            data.display()
        );
    }
    let database = Database::open(data)
        .context("a view in a data folder is rebuilt while no `tidings dev` runs on it")?;
    let log = EmbeddedLog::open(database.clone(), PARTITIONS)?;
    let (log, codec): (Arc<dyn Log>, _) = (Arc::new(log), Codec::locked());
    let view = match name {
        ViewName::Search => {
            let store = SqliteSearch::new(database);
            let check = compared(&store, &log, &codec, |it| AuditedView::Search(Arc::new(it)));
            View::search(store, log, codec).checked(check)
        }
        _ => {
            let store = SqliteHistory::new(database);
            let check = compared(&store, &log, &codec, |it| {
                AuditedView::History(Arc::new(it))
            });
            View::history(store, log, codec).checked(check)
        }
    };
    Ok(view.alone())
}
