use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use rusqlite::Connection;
use tidings_sqlite::Priority;
use tracing::{debug, warn};

use super::store::Store;
use super::{compaction, log_error, retention};
use crate::LogError;

/// How often it is looked at what may be deleted.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How many looks there are between two rounds of [`retention`]: an hour.
const LOOKS_A_RETENTION: u64 = 60;

/// The thread that deletes what need not be kept, a little at a time.
pub(super) struct Maintenance {
    /// Never sent to; the thread ends when it is dropped.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What one round of work goes through.
pub(super) struct Round<'a> {
    pub(super) store: &'a Store,
    /// Milliseconds since the Unix epoch.
    pub(super) now_ms: i64,
    pub(super) stop: &'a Receiver<()>,
}

/// Why a round ended early.
#[derive(Debug)]
pub(super) enum Ended {
    /// The log is being closed.
    Stopped,
    Failed(LogError),
}

impl From<LogError> for Ended {
    fn from(error: LogError) -> Self {
        Self::Failed(error)
    }
}

impl Maintenance {
    pub(super) fn spawn(store: Store) -> Result<Self, LogError> {
        let (stop, stopped) = bounded(0);
        let thread = std::thread::Builder::new()
            .name("log-maintenance".to_owned())
            .spawn(move || run(&store, &stopped))
            .map_err(|e| LogError::Fatal(format!("cannot start a thread: {e}")))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the log's maintenance thread has panicked");
        }
    }
}

fn run(store: &Store, stop: &Receiver<()>) {
    let mut looks = 0_u64;
    while stop.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        let round = Round {
            store,
            now_ms: now_ms(),
            stop,
        };
        let mut ended = compaction::run(&round);
        if ended.is_ok() && looks.is_multiple_of(LOOKS_A_RETENTION) {
            ended = retention::run(&round);
        }
        match ended {
            Ok(deleted) if deleted > 0 => debug!(deleted, "deleted what need not be kept"),
            Ok(_) | Err(Ended::Stopped) => {}
            // The next round begins where this one ended.
            Err(Ended::Failed(error)) => warn!(%error, "could not delete old records"),
        }
        looks += 1;
    }
}

impl Round<'_> {
    /// Runs a small job in the writer thread's next group, and waits for it.
    pub(super) fn write(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<(), Ended> {
        let (done, ended) = bounded(1);
        let done = Box::new(move |result| {
            // Who closes the log does not wait for the end.
            done.send(result).ok();
        });
        self.store
            .database
            .submit(Priority::View, Box::new(job), done);
        select! {
            recv(ended) -> result => match result {
                Ok(result) => result.map_err(|error| Ended::Failed(log_error(error))),
                Err(_) => Err(Ended::Stopped),
            },
            recv(self.stop) -> _ => Err(Ended::Stopped),
        }
    }
}

fn now_ms() -> i64 {
    // A clock before 1970 deletes nothing.
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use crossbeam_channel::bounded;
    use tidings_domain::Timestamp;
    use tidings_sqlite::Database;
    use tidings_wire::{Headers, Record, Topic};

    use super::super::{EmbeddedLog, compaction, retention};
    use super::*;
    use crate::{Appender, LogError, LogReader, read_range};

    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
    const NOW_MS: i64 = 1_000 * DAY_MS;

    fn append(log: &EmbeddedLog, topic: Topic, key: &str, value: Option<&str>, timestamp_ms: i64) {
        let (done, ended) = bounded(1);
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let record = Record {
            key: Some(bytes(key)),
            value: value.map(bytes),
            headers: Headers::default(),
            timestamp: Timestamp(timestamp_ms),
        };
        log.append(
            topic,
            0,
            record,
            Box::new(move |r| done.send(r).expect("waits")),
        );
        ended.recv().expect("ends").expect("appends");
    }

    fn offsets(log: &EmbeddedLog, topic: Topic) -> Vec<i64> {
        let (low, high) = log.watermarks(topic, 0).expect("watermarks");
        let mut offsets = Vec::new();
        read_range::<LogError>(log, topic, 0, low, high, |stored| {
            offsets.push(stored.offset);
            Ok(())
        })
        .expect("reads");
        offsets
    }

    /// Opens anew, so that nothing is read from memory.
    fn opened(dir: &std::path::Path) -> EmbeddedLog {
        EmbeddedLog::open(Database::open(dir).expect("opens"), 1).expect("opens the log")
    }

    fn in_round<T>(log: &EmbeddedLog, f: impl FnOnce(&Round<'_>) -> T) -> T {
        let (_keep, stop) = bounded(0);
        f(&Round {
            store: log.store(),
            now_ms: NOW_MS,
            stop: &stop,
        })
    }

    #[test]
    fn compaction_keeps_the_last_of_each_key() {
        let topic = Topic::ConversationState;
        let dir = tempfile::tempdir().expect("a folder");
        let log = opened(dir.path());
        let recent = NOW_MS - 1;
        let old = NOW_MS - 2 * DAY_MS;
        append(&log, topic, "a", Some("1"), old); // 0: superseded by 2
        append(&log, topic, "b", Some("1"), old); // 1: superseded by 3
        append(&log, topic, "a", Some("2"), old); // 2
        append(&log, topic, "b", None, old); // 3: deleted, and told for long enough
        append(&log, topic, "c", Some("1"), recent); // 4: superseded by 5
        append(&log, topic, "c", None, recent); // 5: deleted just now
        append(&log, topic, "d", Some("1"), recent); // 6
        assert_eq!(
            in_round(&log, |r| compaction::compact(r, 0, 100)).expect("skips"),
            0
        );
        assert_eq!(
            in_round(&log, |r| compaction::compact(r, 0, 1)).expect("compacts"),
            4
        );
        drop(log);

        let log = opened(dir.path());
        assert_eq!(offsets(&log, topic), [2, 5, 6]);
        assert_eq!(log.watermarks(topic, 0), Ok((2, 7)));
        append(&log, topic, "a", None, old); // 7: the last record stays, whatever it is
        append(&log, topic, "a", None, old); // 8
        append(&log, topic, "d", Some("2"), recent); // 9
        append(&log, topic, "d", None, old); // 10
        in_round(&log, |r| compaction::compact(r, 0, 1)).expect("compacts");
        drop(log);

        let log = opened(dir.path());
        assert_eq!(offsets(&log, topic), [5, 10]);
        append(&log, topic, "e", None, recent);
        assert_eq!(log.watermarks(topic, 0), Ok((5, 12)));
    }

    #[test]
    fn retention_deletes_from_the_front_and_leaves_the_last() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = opened(dir.path());
        for days in [9, 8, 8, 6, 1] {
            append(
                &log,
                Topic::MessageSent,
                "k",
                Some("v"),
                NOW_MS - days * DAY_MS,
            );
            append(
                &log,
                Topic::MessageDelivered,
                "k",
                Some("v"),
                NOW_MS - days * DAY_MS,
            );
        }
        for days in [90, 80] {
            append(
                &log,
                Topic::DeadHistory,
                "k",
                Some("v"),
                NOW_MS - days * DAY_MS,
            );
        }
        assert_eq!(in_round(&log, retention::run).expect("deletes"), 3 + 1);
        drop(log);

        let log = opened(dir.path());
        assert_eq!(offsets(&log, Topic::MessageSent), [3, 4]);
        assert_eq!(offsets(&log, Topic::MessageDelivered), [0, 1, 2, 3, 4]);
        assert_eq!(offsets(&log, Topic::DeadHistory), [1]);
        assert_eq!(log.watermarks(Topic::DeadHistory, 0), Ok((1, 2)));
    }
}
