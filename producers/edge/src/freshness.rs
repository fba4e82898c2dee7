use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bulletin::Bulletin;
use crate::view::{Unavailable, View};

/// The pause between two looks at the view's positions, while it moves.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest, while it stands still.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Waits until the history view reflects enough of the log. All who wait share
/// one poller.
pub(crate) struct Freshness {
    view: Arc<View>,
    known: Bulletin<Known>,
    waiting: AtomicUsize,
    wanted: Notify,
    timeout: Duration,
}

/// The view's positions when they were asked for last.
#[derive(Debug)]
struct Known {
    /// When the question was put: they are at least this far since then.
    asked: Option<Instant>,
    /// None: the view did not answer.
    offsets: Option<Vec<i64>>,
}

/// How old a knowledge of the view's positions may be. They only go back when
/// a view is rebuilt from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// A second: for what can be asked again.
    Recent,
    /// Asked for from now on: for answers that somebody acts upon.
    Now,
}

impl Freshness {
    pub(crate) fn new(view: Arc<View>, timeout: Duration) -> Self {
        let known = Bulletin::new(Known {
            asked: None,
            offsets: None,
        });
        let (waiting, wanted) = (AtomicUsize::new(0), Notify::new());
        Self {
            view,
            known,
            waiting,
            wanted,
            timeout,
        }
    }

    /// Waits until the view has applied everything below the given offsets:
    /// partition and offset.
    pub(crate) async fn reached(&self, wanted: &[(i32, i64)], age: Age) -> Result<(), Unavailable> {
        let now = Instant::now();
        let oldest = match age {
            Age::Recent => now.checked_sub(Duration::from_secs(1)).unwrap_or(now),
            Age::Now => now,
        };
        if wanted.iter().all(|(_, offset)| *offset == 0) {
            return Ok(());
        }
        let covers = |known: &Known| {
            known.asked.is_some_and(|asked| asked >= oldest)
                && known.offsets.as_ref().is_some_and(|offsets| {
                    wanted.iter().all(|(partition, offset)| {
                        offsets.get(*partition as usize).copied().unwrap_or(0) >= *offset
                    })
                })
        };
        if self.known.look(covers) {
            return Ok(());
        }
        let _waiting = self.wait_for_poller();
        let failed = |known: &Known| known.asked >= Some(now) && known.offsets.is_none();
        let answer = self.known.wait_for(|known| {
            let covered = covers(known).then_some(Ok(()));
            covered.or_else(|| failed(known).then_some(Err(Unavailable)))
        });
        let answer = tokio::time::timeout(self.timeout, answer).await;
        answer.unwrap_or(Err(Unavailable))
    }

    /// Looks at the view's positions as long as somebody waits for them.
    pub(crate) async fn poll(&self, partitions: usize, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        loop {
            if self.waiting.load(Ordering::Acquire) == 0 {
                pause = FIRST_PAUSE;
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = self.wanted.notified() => {}
                }
                continue;
            }
            let asked = Some(Instant::now());
            let offsets = self
                .view
                .ask(|reader| reader.positions())
                .await
                .ok()
                .map(|positions| {
                    let mut offsets = vec![0; partitions];
                    for position in positions {
                        if let Some(offset) = offsets.get_mut(position.partition as usize) {
                            *offset = position.offset;
                        }
                    }
                    offsets
                });
            let moves = offsets.is_some() && self.known.look(|known| known.offsets != offsets);
            self.known.post(|known| *known = Known { asked, offsets });
            pause = match moves {
                true => FIRST_PAUSE,
                false => (pause * 3 / 2).min(LONGEST_PAUSE),
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn wait_for_poller(&self) -> WaitingGuard<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.wanted.notify_one();
        WaitingGuard(&self.waiting)
    }
}

struct WaitingGuard<'a>(&'a AtomicUsize);

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
