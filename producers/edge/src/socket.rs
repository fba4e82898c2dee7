use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ws::Utf8Bytes;
use tidings_domain::{Code, TempId, Tenant, UserId};
use tidings_wire::frames::ServerFrame;
use uuid::Uuid;

use crate::lanes::Lanes;
use crate::limits::Limiter;
use crate::metrics::Metrics;
use crate::outbox::{Outbox, Put};

/// What everybody but its own task sees of a socket that said hello.
pub(crate) struct Socket {
    pub(crate) session_id: Uuid,
    pub(crate) tenant: Tenant,
    pub(crate) user: UserId,
    pub(crate) outbox: Outbox,
    pub(crate) lanes: Lanes,
    pub(crate) limiter: Option<Arc<Limiter>>,
    questions: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl Socket {
    pub(crate) fn new(
        session_id: Uuid,
        (tenant, user): (Tenant, UserId),
        outbox: Outbox,
        limiter: Option<Arc<Limiter>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (lanes, questions) = (Lanes::default(), AtomicUsize::new(0));
        Self {
            session_id,
            tenant,
            user,
            outbox,
            lanes,
            limiter,
            questions,
            metrics,
        }
    }

    /// Sends a frame, or finds that the socket is too slow.
    pub(crate) fn send(&self, frame: impl Into<Utf8Bytes>) {
        if self.outbox.put(frame.into()) == Put::Overflowed {
            self.metrics.slow_readers.increment(1);
            tracing::info!(session_id = %self.session_id, "closing a slow reader");
        }
    }

    pub(crate) fn reject(&self, temp_id: &TempId, code: Code, message: &str) {
        self.metrics.rejected(code);
        self.send(ServerFrame::rejected(temp_id, code, message).to_json());
    }

    pub(crate) fn error(&self, id: Option<&str>, code: Code, message: &str) {
        self.send(ServerFrame::error(id, code, message).to_json());
    }

    /// Room to work on one more question; none if there are `most` already.
    pub(crate) fn start_question(self: &Arc<Self>, most: usize) -> Option<OpenQuestion> {
        let more = |open| (open < most).then_some(open + 1);
        self.questions
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .ok()?;
        Some(OpenQuestion(Arc::clone(self)))
    }
}

/// A question being worked on.
pub(crate) struct OpenQuestion(pub(crate) Arc<Socket>);

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        self.0.questions.fetch_sub(1, Ordering::AcqRel);
    }
}
