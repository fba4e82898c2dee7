use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rusqlite::Connection;
use tracing::{debug, warn};

use crate::connection::Connector;

/// Pages of 4 KiB that stand only in the write-ahead log before the checkpoint
/// thread moves them to the file: 8 MiB.
const MOVE_AT: i64 = (8 << 20) / PAGE_BYTES;

/// Pages in the write-ahead log before the writer helps it to start again from
/// its beginning: 64 MiB. Under a steady load the checkpoint thread alone never
/// catches up with the end.
const RESTART_AT: i64 = (64 << 20) / PAGE_BYTES;

/// The writer itself moves no more than this (2 MiB), so that no commit waits
/// long for it...
const WRITER_MOVES_AT_MOST: i64 = (2 << 20) / PAGE_BYTES;

/// ...unless the log has grown to four times its size all the same.
const RESTART_ANYWAY_AT: i64 = 4 * RESTART_AT;

/// SQLite's default page size, which these files have.
const PAGE_BYTES: i64 = 4_096;

/// How long the thread leaves a disk alone that refused a checkpoint.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Moves committed pages from the write-ahead log to the file, on a thread of
/// its own, so that commits go on meanwhile.
pub(crate) struct Checkpointer {
    nudge: Sender<()>,
    thread: JoinHandle<()>,
    /// The length at which the writer tries again to help.
    next_help_at: i64,
}

/// The write-ahead log, in pages.
#[derive(Clone, Copy, Debug)]
struct Wal {
    /// Some other connection was in the way of a checkpoint.
    busy: bool,
    /// How many it holds since it started from its beginning.
    pages: i64,
    /// How many of these stand in the file as well.
    moved: i64,
}

impl Checkpointer {
    pub(crate) fn spawn(connector: &Connector) -> rusqlite::Result<Self> {
        let connection = connector.checkpointer()?;
        let (nudge, nudged) = bounded(1);
        let thread = std::thread::Builder::new()
            .name("sqlite-checkpoint".to_owned())
            .spawn(move || run(&connection, &nudged))
            .expect("the system can start a thread");
        Ok(Self {
            nudge,
            thread,
            next_help_at: RESTART_AT,
        })
    }

    /// Looks how long the log has become; called by the writer between groups.
    pub(crate) fn after_commit(&mut self, connection: &Connection) {
        // NOOP only looks, takes no lock and reads no file.
        let Ok(wal) = checkpoint(connection, "NOOP") else {
            return;
        };
        let waiting = wal.pages - wal.moved;
        if waiting >= MOVE_AT {
            self.nudge();
        }
        if wal.pages < RESTART_AT {
            self.next_help_at = RESTART_AT;
        } else if wal.pages >= self.next_help_at
            && (waiting <= WRITER_MOVES_AT_MOST || wal.pages >= RESTART_ANYWAY_AT)
        {
            self.help(connection);
        }
    }

    /// When all is moved and no reader needs the log, the next commit begins
    /// it anew. Only the writer can bring that about under load, since nothing
    /// is added meanwhile. PASSIVE, since that waits for nobody.
    fn help(&mut self, connection: &Connection) {
        match checkpoint(connection, "PASSIVE") {
            Ok(wal) => {
                debug!(?wal, "the writer has moved the end of the write-ahead log");
                self.next_help_at = if wal.busy {
                    wal.pages
                } else {
                    wal.pages + MOVE_AT
                };
            }
            Err(error) => {
                warn!(%error, "checkpoint by the writer");
                self.next_help_at += MOVE_AT;
            }
        }
    }

    /// A full disk may take commits again once the log can start anew.
    pub(crate) fn after_failure(&self) {
        self.nudge();
    }

    fn nudge(&self) {
        match self.nudge.try_send(()) {
            // It has been told already, or it died and was logged as a panic.
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }

    /// Ends the thread and empties the log into the file.
    pub(crate) fn finish(self, connection: &Connection) {
        drop(self.nudge);
        if self.thread.join().is_err() {
            warn!("the checkpoint thread has panicked");
        }
        // What stays in the log is no loss: it is read at the next start.
        if let Err(error) = checkpoint(connection, "TRUNCATE") {
            warn!(%error, "last checkpoint");
        }
    }
}

fn run(connection: &Connection, nudged: &Receiver<()>) {
    let stop = || -> bool {
        // Closed while pausing: there is nobody left to checkpoint for.
        matches!(
            nudged.recv_timeout(PAUSE_AFTER_FAILURE),
            Err(crossbeam_channel::RecvTimeoutError::Disconnected)
        )
    };
    while nudged.recv().is_ok() {
        match checkpoint(connection, "PASSIVE") {
            Ok(wal) => debug!(?wal, "checkpoint"),
            Err(error) => {
                warn!(%error, "checkpoint");
                if stop() {
                    return;
                }
            }
        }
    }
}

fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<Wal> {
    connection
        .prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
        .query_row([], |row| {
            Ok(Wal {
                busy: row.get(0)?,
                pages: row.get(1)?,
                moved: row.get(2)?,
            })
        })
}
