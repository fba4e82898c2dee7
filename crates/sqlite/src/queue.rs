use std::collections::VecDeque;
use std::thread::ThreadId;

use parking_lot::{Condvar, Mutex};

use crate::{Done, Error, Job, Priority};

/// How many single log jobs may wait.
const MAX_LOG_JOBS: usize = 4_096;

/// How many view jobs may wait before their submitters do.
const MAX_VIEW_JOBS: usize = 16;

/// A job and whom to tell.
pub(crate) struct Work {
    pub(crate) job: Job,
    pub(crate) done: Done,
}

/// What the writer thread takes for one group.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) log: VecDeque<Work>,
    pub(crate) view: Option<Work>,
}

/// What waits for the writer thread.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// Something waits, or the queue was closed.
    filled: Condvar,
    /// A view job was taken.
    taken: Condvar,
}

#[derive(Default)]
struct Waiting {
    log: VecDeque<Work>,
    view: VecDeque<Work>,
    /// The group writer has something, or the last handle is gone.
    woken: bool,
    closed: bool,
    writer: Option<ThreadId>,
}

impl Queue {
    /// Names the thread that takes from the queue, which must never wait for
    /// itself.
    pub(crate) fn served_by(&self, thread: ThreadId) {
        self.waiting.lock().writer = Some(thread);
    }

    /// Puts a job in. A view's submitter waits for room; a log's job that
    /// finds none has failed.
    pub(crate) fn push(&self, priority: Priority, work: Work) {
        let mut waiting = self.waiting.lock();
        match priority {
            Priority::Log if waiting.log.len() >= MAX_LOG_JOBS => {
                drop(waiting);
                (work.done)(Err(Error::Unavailable(
                    "too many jobs wait already".to_owned(),
                )));
                return;
            }
            Priority::Log => waiting.log.push_back(work),
            Priority::View => {
                let by_writer = waiting.writer == Some(std::thread::current().id());
                while !by_writer && waiting.view.len() >= MAX_VIEW_JOBS {
                    self.taken.wait(&mut waiting);
                }
                waiting.view.push_back(work);
            }
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// Tells the writer thread that its group writer has something.
    pub(crate) fn wake(&self) {
        self.waiting.lock().woken = true;
        self.filled.notify_one();
    }

    /// Says that nothing more will come.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.filled.notify_one();
    }

    /// Takes the jobs of the next group, waiting for something to do unless
    /// `more` is known to wait elsewhere. None: all is done and closed.
    pub(crate) fn take(&self, more: bool) -> Option<Taken> {
        let mut waiting = self.waiting.lock();
        while !more && !waiting.woken && waiting.log.is_empty() && waiting.view.is_empty() {
            if waiting.closed {
                return None;
            }
            self.filled.wait(&mut waiting);
        }
        waiting.woken = false;
        let log = std::mem::take(&mut waiting.log);
        let view = waiting.view.pop_front();
        drop(waiting);
        if view.is_some() {
            self.taken.notify_one();
        }
        Some(Taken { log, view })
    }
}
