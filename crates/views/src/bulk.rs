//! What a store takes when nothing else is done: the yardstick for how fast a
//! view is built.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::task::JoinSet;

use crate::StoreError;
use crate::generation::Generation;

/// The generation that [`BulkInsert`] fills and deletes. No register names it.
pub const YARDSTICK: Generation = Generation(u32::MAX);

/// How documents are inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkOptions {
    /// Documents in one request, or rows in one transaction.
    pub batch: usize,
    /// Requests at once. SQLite has one writer.
    pub parallel: usize,
}

/// What was inserted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BulkInserted {
    /// Documents, or rows.
    pub documents: usize,
    /// From the first request to the last answer.
    pub took: Duration,
}

/// A store that can be asked how fast it takes the documents it has.
#[async_trait]
pub trait BulkInsert: Send + Sync {
    /// Reads all documents of this handle's generation but its positions,
    /// inserts them under other names with the same indexes, in the store's
    /// own bulk way, and deletes them again. Only the inserting is timed. Holds
    /// all of them in memory.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn bulk_insert(&self, options: BulkOptions) -> Result<BulkInserted, StoreError>;
}

/// Sends batches, some at once, and measures how long that takes.
pub(crate) async fn timed<B, F>(
    batches: Vec<B>,
    parallel: usize,
    send: impl Fn(B) -> F,
) -> Result<Duration, StoreError>
where
    F: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let panicked = |error: tokio::task::JoinError| StoreError::Fatal(error.to_string());
    let started = Instant::now();
    let mut sent = JoinSet::new();
    for batch in batches {
        if sent.len() >= parallel.max(1)
            && let Some(done) = sent.join_next().await
        {
            done.map_err(panicked)??;
        }
        sent.spawn(send(batch));
    }
    while let Some(done) = sent.join_next().await {
        done.map_err(panicked)??;
    }
    Ok(started.elapsed())
}
