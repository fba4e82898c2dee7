use std::sync::Arc;

use tidings_domain::{Code, TempId, Tenant, UserId};
use tidings_wire::frames::ServerFrame;
use tungstenite::Utf8Bytes;
use uuid::Uuid;

use crate::answer::{Answer, Delivered, Pending, Refusal};
use crate::limits::Limiter;
use crate::metrics::Metrics;
use crate::outbox::{Outbox, Put};
use crate::peer::Peer;

/// What everybody but its own task sees of a socket that said hello.
pub(crate) struct Socket {
    pub(crate) peer: Arc<Peer>,
    pub(crate) outbox: Outbox,
    pub(crate) limiter: Option<Arc<Limiter>>,
}

impl Socket {
    pub(crate) fn new(
        session_id: Uuid,
        who: (Tenant, UserId),
        outbox: Outbox,
        limiter: Option<Arc<Limiter>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let peer = Arc::new(Peer::new(session_id, who, metrics));
        Self {
            peer,
            outbox,
            limiter,
        }
    }

    /// Sends a frame, or finds that the socket is too slow.
    pub(crate) fn send(&self, frame: impl Into<Utf8Bytes>) {
        if self.outbox.put(frame.into()) == Put::Overflowed {
            self.peer.metrics.slow_readers.increment(1);
            tracing::info!(session_id = %self.peer.id, "closing a slow reader");
        }
    }

    /// Says that a command is durable.
    pub(crate) fn pending(&self, temp_id: &TempId, pending: Pending) {
        let frame = ServerFrame::Pending {
            temp_id,
            conversation_id: pending.conversation_id,
            message_id: pending.message_id,
            at: pending.at,
        };
        self.send(frame.to_json());
    }

    /// Gives a command's last answer.
    pub(crate) fn answer(&self, temp_id: &TempId, answer: &Answer) {
        let frame = match answer {
            Ok(delivered) => delivered_frame(temp_id, delivered),
            Err(refusal) => ServerFrame::Rejected {
                temp_id,
                code: refusal.code,
                message: &refusal.message,
                retry: refusal.code.retry(),
                retry_after_ms: refusal.retry_after_ms,
            },
        };
        self.send(frame.to_json());
    }

    /// Refuses a question, or what is neither that nor a command.
    pub(crate) fn error(&self, id: Option<&str>, code: Code, message: &str) {
        self.send(ServerFrame::error(id, code, message).to_json());
    }

    /// Refuses a question.
    pub(crate) fn refuse(&self, id: &str, refusal: &Refusal) {
        let frame = ServerFrame::Error {
            id: Some(id),
            code: refusal.code.as_str(),
            message: &refusal.message,
            retry: refusal.code.retry(),
            retry_after_ms: refusal.retry_after_ms,
        };
        self.send(frame.to_json());
    }
}

fn delivered_frame<'a>(temp_id: &'a TempId, delivered: &Delivered) -> ServerFrame<'a> {
    ServerFrame::Delivered {
        temp_id,
        conversation_id: delivered.conversation_id,
        message_id: delivered.message_id,
        seq: delivered.seq,
        no: delivered.no,
        at: delivered.at,
        duplicate: delivered.duplicate,
    }
}
