use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::{Mutex, MutexGuard};
use tidings_edge::Line;
use tungstenite::{Error, Message};

use crate::log::SimulatedLog;

/// How many frames the network takes that the client does not read.
const ROOM: usize = 8;

/// A connection between a device and an edge. This is the device's end; what
/// happens in between is the plan's.
#[derive(Clone)]
pub(crate) struct DeviceEnd(Arc<Mutex<State>>);

/// The edge's end.
pub(crate) struct EdgeEnd {
    state: Arc<Mutex<State>>,
    log: SimulatedLog,
}

#[derive(Default)]
struct State {
    /// By the device, on its way.
    sent: VecDeque<String>,
    /// At the edge, not read.
    arrived: VecDeque<String>,
    /// By the edge, on its way, and at which moment.
    written: VecDeque<(u64, Message)>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    fate: Fate,
    /// The edge has let go of it.
    is_left: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Whole,
    /// Nothing passes, and the edge has not seen it.
    Silent,
    /// The edge sees that it is cut.
    Cut,
}

/// Both ends of a new connection.
pub(crate) fn connection(log: &SimulatedLog) -> (DeviceEnd, EdgeEnd) {
    let state = Arc::default();
    let end = EdgeEnd {
        state: Arc::clone(&state),
        log: log.clone(),
    };
    (DeviceEnd(state), end)
}

impl DeviceEnd {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    pub(crate) fn send(&self, text: String) {
        self.state().sent.push_back(text);
    }

    /// The next frame arrives at the edge; whether there was one. None does
    /// while the edge does not read, as it waits for the device to.
    pub(crate) fn arrive(&self) -> bool {
        let mut state = self.state();
        if !state.arrived.is_empty() || state.written.len() >= ROOM {
            return false;
        }
        let Some(text) = state.sent.pop_front() else {
            return false;
        };
        state.arrived.push_back(text);
        state.wake();
        true
    }

    /// The next frame arrives at the device, and when it was written.
    pub(crate) fn take(&self) -> Option<(u64, Message)> {
        let mut state = self.state();
        let taken = state.written.pop_front();
        state.wake();
        taken
    }

    /// What is on its way is lost. `noticed`: the edge sees it at once.
    pub(crate) fn cut(&self, noticed: bool) {
        let mut state = self.state();
        state.sent.clear();
        state.written.clear();
        state.fate = if noticed { Fate::Cut } else { Fate::Silent };
        state.wake();
    }

    /// The edge has let go of it, and nothing is on its way.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.state();
        state.is_left && state.written.is_empty()
    }
}

impl State {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()] {
            waker.inspect(Waker::wake_by_ref);
        }
    }
}

impl Line for EdgeEnd {
    // Frames are of any size here.
    fn set_max_bytes(&mut self, _: usize) {}

    async fn recv(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            if let Some(text) = state.arrived.pop_front() {
                return Poll::Ready(Some(Ok(Message::Text(text.into()))));
            }
            if state.fate == Fate::Cut {
                return Poll::Ready(None);
            }
            state.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    async fn feed(&mut self, message: Message) -> Result<(), Error> {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            match state.fate {
                Fate::Cut => Poll::Ready(Err(Error::ConnectionClosed)),
                Fate::Silent => Poll::Ready(Ok(())),
                Fate::Whole if state.written.len() < ROOM => {
                    let moment = self.log.moment();
                    state.written.push_back((moment, message.clone()));
                    Poll::Ready(Ok(()))
                }
                Fate::Whole => {
                    state.writer = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl Drop for EdgeEnd {
    fn drop(&mut self) {
        self.state.lock().is_left = true;
    }
}
