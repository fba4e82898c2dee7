use std::fmt::Display;
use std::sync::atomic::{AtomicU8, Ordering};

/// Which of an edge's two ways to Redis do not work. Says once that it is
/// alone, and once that it is not any more.
#[derive(Default)]
pub(super) struct Outage {
    failing: AtomicU8,
}

#[derive(Clone, Copy)]
pub(super) enum Way {
    Commands = 1,
    Listening = 2,
}

impl Outage {
    pub(super) fn failed(&self, way: Way, error: &dyn Display) {
        let before = self.failing.fetch_or(way as u8, Ordering::AcqRel);
        if before == 0 {
            metrics::gauge!("tidings_signals_shared").set(0.0);
            tracing::warn!(%error, "Redis is unavailable: typing and presence stay within this edge");
        } else {
            tracing::debug!(%error, "Redis is unavailable");
        }
    }

    pub(super) fn worked(&self, way: Way) {
        let before = self.failing.fetch_and(!(way as u8), Ordering::AcqRel);
        if before == way as u8 {
            tracing::info!("typing and presence are shared between edges again");
        }
        if before & !(way as u8) == 0 {
            metrics::gauge!("tidings_signals_shared").set(1.0);
        }
    }

    /// Whether commands worked when last tried.
    pub(super) fn is_up(&self) -> bool {
        self.failing.load(Ordering::Acquire) & Way::Commands as u8 == 0
    }
}
