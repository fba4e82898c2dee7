use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, gauge};
use metrics::{describe_histogram, histogram};
use parking_lot::Mutex;
use tidings_domain::{Code, ConversationId, MessageId, Timestamp, UserId};
use tidings_views::StoreError;
use tidings_views::search::{
    Asker, ConversationHit, Filters, Found, MessageHit, Page, Query, SearchReader,
};
use tokio::time::Instant;

use crate::answer::Refusal;
use crate::breaker::Breaker;
use crate::config::ViewWaits;

/// The search view, kept at arm's length: every question has a time limit, and
/// while it keeps failing it is not asked at all.
pub(super) struct Store {
    reader: Option<Arc<dyn SearchReader>>,
    timeout: Duration,
    breaker: Mutex<Breaker>,
    seconds: Histogram,
    failures: Counter,
    open: Gauge,
}

impl Store {
    pub(super) fn new(reader: Option<Arc<dyn SearchReader>>, timeout: Duration) -> Self {
        describe_histogram!(
            "tidings_edge_search_seconds",
            "How long the search view took to answer."
        );
        describe_counter!(
            "tidings_edge_search_failures_total",
            "Questions the search view failed."
        );
        describe_gauge!(
            "tidings_edge_search_breaker_open",
            "1 while the search view is not asked because it failed."
        );
        Self {
            reader,
            timeout,
            breaker: Mutex::new(Breaker::new(ViewWaits::default().rest)),
            seconds: histogram!("tidings_edge_search_seconds"),
            failures: counter!("tidings_edge_search_failures_total"),
            open: gauge!("tidings_edge_search_breaker_open"),
        }
    }

    pub(super) async fn messages(
        &self,
        asker: &Asker,
        query: &Query,
        filters: &Filters,
        page: Page<(Timestamp, MessageId)>,
    ) -> Result<Found<MessageHit>, Refusal> {
        let reader = self.reader()?;
        self.ask(reader.messages(asker, query, filters, page)).await
    }

    pub(super) async fn conversations(
        &self,
        asker: &Asker,
        query: &Query,
        page: Page<(Timestamp, ConversationId)>,
    ) -> Result<Found<ConversationHit>, Refusal> {
        let reader = self.reader()?;
        self.ask(reader.conversations(asker, query, page)).await
    }

    pub(super) async fn users(
        &self,
        asker: &Asker,
        query: &Query,
        page: Page<UserId>,
    ) -> Result<Found<UserId>, Refusal> {
        let reader = self.reader()?;
        self.ask(reader.users(asker, query, page)).await
    }

    fn reader(&self) -> Result<&dyn SearchReader, Refusal> {
        let reader = self.reader.as_deref();
        reader.ok_or_else(|| Code::Unavailable.into())
    }

    async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Refusal> {
        if !self.breaker.lock().may_ask(Instant::now()) {
            return Err(Code::Unavailable.into());
        }
        let asked = Instant::now();
        let error = match tokio::time::timeout(self.timeout, question).await {
            Ok(Ok(answer)) => {
                self.breaker.lock().succeeded();
                self.open.set(0.0);
                self.seconds.record(asked.elapsed());
                return Ok(answer);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} ms", self.timeout.as_millis()),
        };
        self.failures.increment(1);
        if self.breaker.lock().failed(Instant::now()) {
            self.open.set(1.0);
            tracing::warn!(%error, "the search view keeps failing and is left alone for a while");
        } else {
            tracing::debug!(%error, "the search view failed");
        }
        Err(Code::Unavailable.into())
    }
}
