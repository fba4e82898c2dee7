use std::time::{Duration, Instant};

use tidings_views::bulk::{BulkInserted, BulkOptions};
use tidings_views::generation::Generation;
use tokio_util::sync::CancellationToken;

use super::build::{Builds, RebuildOptions};
use super::holder::this_process;
use super::{Progress, RebuildError, View};

/// The generation that is filled, looked at and deleted. No register names it.
const MEASURED: Generation = Generation(u32::MAX - 1);

/// How fast a view is built, beside what its store takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Records of the log that were applied.
    pub records: i64,
    /// How long that took.
    pub took: Duration,
    /// The same documents, inserted by the store's own bulk way.
    pub raw: BulkInserted,
}

/// Fills a generation that nobody reads, as a rebuild does, then inserts what
/// came of it once more without reading or folding anything; deletes both.
///
/// # Errors
/// [`RebuildError`]; what is left is deleted by the next one.
pub async fn measure(
    view: &View,
    options: &RebuildOptions,
    raw: BulkOptions,
    stop: &CancellationToken,
    watch: &(dyn Fn(&Progress) + Sync),
) -> Result<Measured, RebuildError> {
    if !view.has_documents() {
        return Err(RebuildError::NoDocuments(view.name));
    }
    view.store.delete(MEASURED).await?;
    let builder = this_process();
    let build = Builds {
        view,
        options,
        builder: &builder,
        generation: MEASURED,
        stop,
        watch,
    };
    let measured = async {
        // So that no empty index is made in that time: none is in the other's.
        view.store.filling(MEASURED, true).await?;
        let started = Instant::now();
        build.fill().await?;
        let took = started.elapsed();
        let records = build.applied().await?;
        let raw = view.bulk_insert(MEASURED, raw).await?;
        Ok::<_, RebuildError>(Measured { records, took, raw })
    }
    .await;
    let deleted = view.store.delete(MEASURED).await;
    let measured = measured?;
    deleted?;
    Ok(measured)
}
