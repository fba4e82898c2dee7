use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_domain::Code;
use tidings_service::lifecycle::Backoff;
use tidings_views::history::{HistoryReader, StoreError};
use tokio::time::Instant;

use crate::breaker::Breaker;
use crate::config::ViewWaits;
use crate::metrics::Metrics;

/// The history view, kept at arm's length: every question has a time limit and
/// a second try, and while it keeps failing it is not asked at all.
pub(crate) struct View {
    reader: Arc<dyn HistoryReader>,
    timeout: Duration,
    second_try: Duration,
    breaker: Mutex<Breaker>,
    metrics: Arc<Metrics>,
}

/// The view cannot answer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history view is unavailable")]
pub(crate) struct Unavailable;

impl From<Unavailable> for Code {
    fn from(Unavailable: Unavailable) -> Self {
        Self::Unavailable
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

impl View {
    pub(crate) fn new(
        reader: Arc<dyn HistoryReader>,
        timeout: Duration,
        waits: ViewWaits,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            reader,
            timeout,
            second_try: waits.second_try,
            breaker: Mutex::new(Breaker::new(waits.rest)),
            metrics,
        }
    }

    /// Asks a question, which may be asked twice.
    pub(crate) async fn ask<'a, T>(
        &'a self,
        question: impl Fn(&'a dyn HistoryReader) -> Answer<'a, T>,
    ) -> Result<T, Unavailable> {
        if !self.breaker.lock().may_ask(Instant::now()) {
            return Err(Unavailable);
        }
        let mut wait = Backoff::new(self.second_try, self.second_try);
        let asked = async {
            match question(&*self.reader).await {
                Err(StoreError::Transient(_) | StoreError::Saturated(_)) => {
                    tokio::time::sleep(wait.next_wait()).await;
                    question(&*self.reader).await
                }
                answer => answer,
            }
        };
        let error = match tokio::time::timeout(self.timeout, asked).await {
            Ok(Ok(answer)) => {
                self.breaker.lock().succeeded();
                self.metrics.view_open.set(0.0);
                return Ok(answer);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} ms", self.timeout.as_millis()),
        };
        self.metrics.view_failures.increment(1);
        if self.breaker.lock().failed(Instant::now()) {
            self.metrics.view_open.set(1.0);
            tracing::warn!(%error, "the history view keeps failing and is left alone for a while");
        } else {
            tracing::debug!(%error, "the history view failed");
        }
        Err(Unavailable)
    }
}
