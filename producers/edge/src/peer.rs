use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tidings_domain::{Code, TempId, Tenant, UserId};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::answer::{Answer, Pending, Refusal};
use crate::lanes::Lanes;
use crate::metrics::Metrics;
use crate::socket::Socket;

/// Whose commands and questions these are: of one socket, or of all callers of
/// a user without one.
pub(crate) struct Peer {
    pub(crate) id: Uuid,
    pub(crate) tenant: Tenant,
    pub(crate) user: UserId,
    pub(crate) lanes: Lanes,
    pub(crate) metrics: Arc<Metrics>,
    questions: AtomicUsize,
}

impl Peer {
    pub(crate) fn new(id: Uuid, (tenant, user): (Tenant, UserId), metrics: Arc<Metrics>) -> Self {
        let (lanes, questions) = (Lanes::default(), AtomicUsize::new(0));
        Self {
            id,
            tenant,
            user,
            lanes,
            metrics,
            questions,
        }
    }

    /// Room to work on one more question.
    ///
    /// # Errors
    /// `busy`, if there are `most` already.
    pub(crate) fn start_question(self: &Arc<Self>, most: usize) -> Result<OpenQuestion, Refusal> {
        let more = |open| (open < most).then_some(open + 1);
        self.questions
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .map_err(|_| Code::Busy)?;
        Ok(OpenQuestion(Arc::clone(self)))
    }
}

/// A question being worked on.
pub(crate) struct OpenQuestion(Arc<Peer>);

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        self.0.questions.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Where the answers to one command go.
pub(crate) enum Reply {
    /// To its socket, as frames.
    Socket(Arc<Socket>),
    /// To whoever called for it.
    Call(Box<Call>),
}

/// A command of a caller without a socket.
pub(crate) struct Call {
    peer: Arc<Peer>,
    pending: Mutex<Option<oneshot::Sender<Pending>>>,
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
}

impl Call {
    pub(crate) fn new(
        peer: Arc<Peer>,
        pending: oneshot::Sender<Pending>,
        answer: oneshot::Sender<Answer>,
    ) -> Self {
        Self {
            peer,
            pending: Mutex::new(Some(pending)),
            answer: Mutex::new(Some(answer)),
        }
    }
}

impl Reply {
    /// Whose command it is.
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        match self {
            Self::Socket(socket) => &socket.peer,
            Self::Call(call) => &call.peer,
        }
    }

    /// The socket it came from.
    pub(crate) fn socket(&self) -> Option<&Arc<Socket>> {
        match self {
            Self::Socket(socket) => Some(socket),
            Self::Call(_) => None,
        }
    }

    /// Says that the command is durable.
    pub(crate) fn pending(&self, temp_id: &TempId, pending: Pending) {
        match self {
            Self::Socket(socket) => socket.pending(temp_id, pending),
            Self::Call(call) => {
                // Whoever called need not wait for it.
                call.pending.lock().take().map(|to| to.send(pending));
            }
        }
    }

    /// Gives the command's last answer.
    pub(crate) fn answer(&self, temp_id: &TempId, answer: Answer) {
        if let Err(refusal) = &answer {
            self.peer().metrics.rejected(refusal.code);
        }
        match self {
            Self::Socket(socket) => socket.answer(temp_id, &answer),
            Self::Call(call) => {
                // Nobody waits for a `pending` that cannot come any more.
                drop(call.pending.lock().take());
                call.answer.lock().take().map(|to| to.send(answer));
            }
        }
    }
}
