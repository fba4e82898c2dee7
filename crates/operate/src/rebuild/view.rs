use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tidings_log::{Log, LogError, PauseGate};
use tidings_projection::Projection;
use tidings_views::Position;
use tidings_views::bulk::{BulkInsert, BulkInserted, BulkOptions};
use tidings_views::cache::CacheWriter;
use tidings_views::generation::{Generation, Generations};
use tidings_views::history::HistoryWriter;
use tidings_views::search::SearchWriter;
use tidings_wire::{Codec, Topic};

use super::RebuildError;

/// Which view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ViewName {
    /// Events, messages, conversations, members, outcomes.
    History,
    /// What is found by words.
    Search,
    /// What is read most.
    Cache,
}

impl ViewName {
    /// As operators write it; the name of its consumer too.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::History => "history",
            Self::Search => "search",
            Self::Cache => "cache",
        }
    }
}

impl std::fmt::Display for ViewName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Looks at a generation that was built, and says what is wrong with it; none:
/// nothing.
pub type Check = Box<
    dyn Fn(Generation) -> Pin<Box<dyn Future<Output = anyhow::Result<Option<String>>> + Send>>
        + Send
        + Sync,
>;

/// The store of a generation, for what measures it.
type BulkOf = Box<dyn Fn(Generation) -> Arc<dyn BulkInsert> + Send + Sync>;

/// A view in its store, and the log that it is made of.
pub struct View {
    pub(super) name: ViewName,
    pub(super) log: Arc<dyn Log>,
    /// The store, in its first generation.
    pub(super) store: Arc<dyn Generations>,
    of: Box<dyn Fn(Generation) -> Arc<dyn Generations> + Send + Sync>,
    projection: Box<dyn Fn(Generation) -> Projection + Send + Sync>,
    /// None: the view has no documents of its own, but copies.
    bulk: Option<BulkOf>,
    pub(super) check: Option<Check>,
    /// Whether other processes read and keep the view.
    pub(super) is_shared: bool,
}

impl View {
    /// The history view.
    pub fn history<S>(store: S, log: Arc<dyn Log>, codec: Codec) -> Self
    where
        S: HistoryWriter + BulkInsert + Generations + Clone + 'static,
    {
        let (source, bulk) = (Arc::clone(&log), store.clone());
        let view = Self::new(ViewName::History, store, log, move |store| {
            tidings_history::projection(Arc::clone(&source), codec.clone(), Arc::new(store))
        });
        view.with_bulk(bulk)
    }

    /// The search view.
    pub fn search<S>(store: S, log: Arc<dyn Log>, codec: Codec) -> Self
    where
        S: SearchWriter + BulkInsert + Generations + Clone + 'static,
    {
        let (source, bulk) = (Arc::clone(&log), store.clone());
        let view = Self::new(ViewName::Search, store, log, move |store| {
            tidings_search::projection(Arc::clone(&source), codec.clone(), Arc::new(store))
        });
        view.with_bulk(bulk)
    }

    /// The cache view.
    pub fn cache<S>(store: S, log: Arc<dyn Log>, codec: Codec) -> Self
    where
        S: CacheWriter + Generations + Clone + 'static,
    {
        let source = Arc::clone(&log);
        Self::new(ViewName::Cache, store, log, move |store| {
            tidings_cache::projection(Arc::clone(&source), codec.clone(), Arc::new(store))
        })
    }

    fn new<S>(
        name: ViewName,
        store: S,
        log: Arc<dyn Log>,
        projection: impl Fn(S) -> Projection + Send + Sync + 'static,
    ) -> Self
    where
        S: Generations + Clone + 'static,
    {
        let (of, projected) = (store.clone(), store.clone());
        Self {
            name,
            log,
            store: Arc::new(store),
            of: Box::new(move |generation| Arc::new(of.of(generation))),
            projection: Box::new(move |generation| projection(projected.of(generation))),
            bulk: None,
            check: None,
            is_shared: true,
        }
    }

    fn with_bulk<S: BulkInsert + Generations + 'static>(mut self, store: S) -> Self {
        self.bulk = Some(Box::new(move |generation| Arc::new(store.of(generation))));
        self
    }

    /// Has each generation looked at before it is switched to.
    #[must_use]
    pub fn checked(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Says that no other process reads or keeps the view: its data folder is
    /// this process's.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.is_shared = false;
        self
    }

    /// Which view it is.
    #[must_use]
    pub fn name(&self) -> ViewName {
        self.name
    }

    pub(super) fn projection(&self, generation: Generation) -> Projection {
        (self.projection)(generation).generation(generation)
    }

    /// Whether the view has documents of its own.
    pub(super) fn has_documents(&self) -> bool {
        self.bulk.is_some()
    }

    /// Inserts the documents of a generation once more, in the store's own way.
    pub(super) async fn bulk_insert(
        &self,
        generation: Generation,
        options: BulkOptions,
    ) -> Result<BulkInserted, RebuildError> {
        let Some(bulk) = &self.bulk else {
            return Err(RebuildError::NoDocuments(self.name));
        };
        Ok(bulk(generation).bulk_insert(options).await?)
    }

    pub(super) async fn reached(
        &self,
        generation: Generation,
    ) -> Result<Vec<Position>, RebuildError> {
        Ok((self.of)(generation).reached().await?)
    }

    /// Where the log ends, by partition.
    pub(super) async fn ends(&self) -> Result<Vec<i64>, RebuildError> {
        let log = Arc::clone(&self.log);
        let ask = move || -> Result<Vec<i64>, LogError> {
            (0..log.partitions())
                .map(|partition| Ok(log.watermarks(Topic::MessageDelivered, partition)?.1))
                .collect()
        };
        asked(tokio::task::spawn_blocking(ask).await)
    }

    /// An error where an operator has paused the view.
    pub(super) async fn refuse_paused(&self) -> Result<(), RebuildError> {
        let log = Arc::clone(&self.log);
        let consumer = self.name.as_str();
        let ask = move || Ok(PauseGate::open(&*log, consumer)?.paused().cloned());
        match asked(tokio::task::spawn_blocking(ask).await)? {
            None => Ok(()),
            Some(pause) => Err(RebuildError::Paused {
                view: self.name,
                reason: pause.reason,
            }),
        }
    }

    /// Has the log forget who kept a generation.
    pub(super) async fn forget_consumer(&self, generation: Generation) -> Result<(), RebuildError> {
        let log = Arc::clone(&self.log);
        let consumer = generation.consumer(self.name.as_str());
        let forget = move || log.forget_consumer(&consumer);
        asked(tokio::task::spawn_blocking(forget).await)
    }

    /// How many processes keep a generation in step.
    pub(super) async fn members(&self, generation: Generation) -> Result<usize, RebuildError> {
        let log = Arc::clone(&self.log);
        let consumer = generation.consumer(self.name.as_str());
        let ask = move || Ok(log.consumer(&consumer)?.members);
        asked(tokio::task::spawn_blocking(ask).await)
    }
}

fn asked<T>(
    answer: Result<Result<T, LogError>, tokio::task::JoinError>,
) -> Result<T, RebuildError> {
    let panicked = |error: tokio::task::JoinError| LogError::Fatal(error.to_string());
    Ok(answer.map_err(panicked)??)
}

/// Where a partition stands among these.
pub(super) fn offset_of(partition: i32, reached: &[Position]) -> i64 {
    let found = reached.iter().find(|at| at.partition == partition);
    found.map_or(0, |at| at.offset)
}

/// Whether each partition has reached its end.
pub(super) fn has_reached(reached: &[Position], ends: &[i64]) -> bool {
    (0..)
        .zip(ends)
        .all(|(partition, end)| offset_of(partition, reached) >= *end)
}
