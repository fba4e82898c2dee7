use std::collections::VecDeque;

use metrics::Gauge;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tungstenite::Utf8Bytes;

use crate::close::CloseReason;

/// The frames that wait for one socket: bounded, and nothing on the heap while
/// it is empty. Anybody puts frames in; only the socket's own task takes them.
pub(crate) struct Outbox {
    state: Mutex<State>,
    changed: Notify,
    max_frames: usize,
    max_bytes: usize,
    /// The frames that wait in all outboxes.
    waiting: Gauge,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Utf8Bytes>,
    bytes: usize,
    closing: Option<CloseReason>,
    draining: bool,
}

/// What became of a frame put into an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Queued,
    /// It did not fit: the socket is slow, and will be closed.
    Overflowed,
    /// The socket is being closed already.
    Closed,
}

/// What the socket's task finds in its outbox.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) frames: VecDeque<Utf8Bytes>,
    pub(crate) closing: Option<CloseReason>,
    pub(crate) draining: bool,
}

impl Outbox {
    pub(crate) fn new(max_frames: usize, max_bytes: usize, waiting: Gauge) -> Self {
        let (state, changed) = (Mutex::default(), Notify::new());
        Self {
            state,
            changed,
            max_frames,
            max_bytes,
            waiting,
        }
    }

    pub(crate) fn put(&self, frame: Utf8Bytes) -> Put {
        let mut state = self.state.lock();
        if state.closing.is_some() {
            return Put::Closed;
        }
        let put = if state.frames.len() < self.max_frames
            && state.bytes + frame.len() <= self.max_bytes
        {
            state.bytes += frame.len();
            state.frames.push_back(frame);
            self.waiting.increment(1.0);
            Put::Queued
        } else {
            state.closing = Some(CloseReason::SlowReader);
            self.forget(&mut state);
            Put::Overflowed
        };
        drop(state);
        self.changed.notify_one();
        put
    }

    /// Has the socket finish what is in flight, and then close.
    pub(crate) fn drain(&self) {
        self.state.lock().draining = true;
        self.changed.notify_one();
    }

    pub(crate) fn take(&self) -> Taken {
        let mut state = self.state.lock();
        state.bytes = 0;
        self.waiting.decrement(state.frames.len() as f64);
        Taken {
            frames: std::mem::take(&mut state.frames),
            closing: state.closing,
            draining: state.draining,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().frames.is_empty()
    }

    /// Has [`changed`](Self::changed) say so once more: for whoever may have
    /// taken its last word in [`closing`](Self::closing).
    pub(crate) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// Waits until there may be something new to [`take`](Self::take).
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until the socket is to be closed.
    pub(crate) async fn closing(&self) -> CloseReason {
        loop {
            if let Some(reason) = self.state.lock().closing {
                return reason;
            }
            self.changed.notified().await;
        }
    }

    fn forget(&self, state: &mut State) {
        self.waiting.decrement(state.frames.len() as f64);
        state.frames = VecDeque::new();
        state.bytes = 0;
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.waiting
            .decrement(self.state.get_mut().frames.len() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(max_frames: usize, max_bytes: usize) -> Outbox {
        Outbox::new(max_frames, max_bytes, Gauge::noop())
    }

    #[test]
    fn frames_come_out_in_order_and_once() {
        let outbox = outbox(8, 100);
        for text in ["a", "b"] {
            assert_eq!(outbox.put(text.into()), Put::Queued);
        }
        assert_eq!(outbox.take().frames, ["a", "b"].map(Utf8Bytes::from));
        assert!(outbox.take().frames.is_empty());
    }

    #[test]
    fn too_many_frames_or_bytes_close_a_slow_reader() {
        for (outbox, fitting) in [(outbox(2, 100), 2), (outbox(8, 3), 3)] {
            for _ in 0..fitting {
                assert_eq!(outbox.put("x".into()), Put::Queued);
            }
            assert_eq!(outbox.put("x".into()), Put::Overflowed);
            assert_eq!(outbox.put("x".into()), Put::Closed);
            let taken = outbox.take();
            assert!(taken.frames.is_empty());
            assert_eq!(taken.closing, Some(CloseReason::SlowReader));
        }
    }
}
