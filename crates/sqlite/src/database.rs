use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};

use crate::checkpoint::Checkpointer;
use crate::connection::{Access, Connector};
use crate::error::Cause;
use crate::queue::{Queue, Work};
use crate::writer::Writer;
use crate::{Done, Error, GroupWriter, Job, Priority, lock};

/// How many read connections are kept. Each costs up to some megabytes, and
/// one more that is made for a single read is slower than waiting for another
/// to be done: whoever has many reads should do no more than so many at once.
pub const READERS: usize = 8;

/// The data folder's SQLite file. Cheap to clone.
///
/// Dropping the last handle finishes what waits, moves all of it to the file
/// and ends the threads.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    connector: Connector,
    idle_readers: Mutex<Vec<Connection>>,
    /// None where the file is only read.
    writing: Option<Writing>,
}

/// What a process that writes has besides.
struct Writing {
    queue: Arc<Queue>,
    attach: Sender<Box<dyn GroupWriter>>,
    has_group_writer: AtomicBool,
    thread: Option<JoinHandle<()>>,
    /// Last, so that it is given up last.
    _lock: File,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("path", &self.inner.connector.path())
            .finish()
    }
}

impl Database {
    /// Opens (and makes, where it is not there) `DIR/tidings.sqlite` for this
    /// process alone.
    ///
    /// # Errors
    /// [`Error`]; another process that has it open for writing is named.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_for_writing(dir, Access::Durable)
    }

    /// Opens a file that nobody needs after a crash: what is committed is not
    /// waited for until it is on the disk.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open_scratch(dir: &Path) -> Result<Self, Error> {
        Self::open_for_writing(dir, Access::Scratch)
    }

    fn open_for_writing(dir: &Path, access: Access) -> Result<Self, Error> {
        std::fs::create_dir_all(dir)
            .map_err(|e| Error::Fatal(format!("cannot make the folder {}: {e}", dir.display())))?;
        let lock = lock::take(dir)?;
        let connector = Connector::new(dir, access);
        let connection = connector.writer()?;
        // Says at once, and by name, what is wrong with a file that is not ours.
        connection
            .query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(()))
            .optional()
            .map_err(|e| {
                Error::Fatal(format!("cannot read {}: {e}", connector.path().display()))
            })?;
        let checkpointer = Checkpointer::spawn(&connector)?;
        let queue = Arc::new(Queue::default());
        let (attach, attached) = bounded(1);
        let writer = Writer::new(
            connector.clone(),
            connection,
            Arc::clone(&queue),
            attached,
            checkpointer,
        );
        let thread = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|e| Error::Fatal(format!("cannot start the writer thread: {e}")))?;
        let writing = Writing {
            queue,
            attach,
            has_group_writer: AtomicBool::new(false),
            thread: Some(thread),
            _lock: lock,
        };
        Ok(Self::with(connector, Some(writing)))
    }

    /// Opens an existing file for reading only, beside a process that writes.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open_read_only(dir: &Path) -> Result<Self, Error> {
        let database = Self::with(Connector::new(dir, Access::ReadOnly), None);
        let path = database.inner.connector.path().display().to_string();
        if !database.inner.connector.path().exists() {
            return Err(Error::Fatal(format!(
                "there is no {path}; is this the data folder?"
            )));
        }
        database
            .read(|c| {
                c.query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(()))
                    .optional()
            })
            .map_err(|e| Error::Fatal(format!("cannot read {path}: {e}")))?;
        Ok(database)
    }

    fn with(connector: Connector, writing: Option<Writing>) -> Self {
        let inner = Inner {
            connector,
            idle_readers: Mutex::default(),
            writing,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The data folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        let path = self.inner.connector.path();
        path.parent().unwrap_or(path)
    }

    /// Whether a process has the folder open for writing, be it this one.
    ///
    /// # Errors
    /// [`Error`].
    pub fn is_written(&self) -> Result<bool, Error> {
        if self.inner.writing.is_some() {
            return Ok(true);
        }
        lock::is_taken(self.folder())
    }

    /// Gives the writer thread a group writer. It is asked for its part of
    /// every group from the next one on; see [`wake`](Self::wake).
    ///
    /// # Errors
    /// [`Error::Fatal`] where there is one already, or the file is read only.
    pub fn attach(&self, group_writer: Box<dyn GroupWriter>) -> Result<(), Error> {
        let Some(writing) = &self.inner.writing else {
            return Err(Error::Fatal(
                "the database is open for reading only".to_owned(),
            ));
        };
        if writing.has_group_writer.swap(true, Ordering::AcqRel) {
            return Err(Error::Fatal(
                "the database has a group writer already".to_owned(),
            ));
        }
        writing
            .attach
            .send(group_writer)
            .map_err(|_| Error::Fatal("the writer thread has ended".to_owned()))?;
        writing.queue.wake();
        Ok(())
    }

    /// Tells the writer thread that the group writer has something to write.
    pub fn wake(&self) {
        if let Some(writing) = &self.inner.writing {
            writing.queue.wake();
        }
    }

    /// Runs a job in the writer thread's next group and calls `done` when the
    /// group is durable. A job that fails is rolled back alone. `done` runs on
    /// the writer thread and must be quick.
    ///
    /// A view's job waits here for room in the queue; a log's job that finds
    /// none fails at once with [`Error::Unavailable`].
    pub fn submit(&self, priority: Priority, job: Job, done: Done) {
        match &self.inner.writing {
            Some(writing) => writing.queue.push(priority, Work { job, done }),
            None => done(Err(Error::Fatal(
                "the database is open for reading only".to_owned(),
            ))),
        }
    }

    /// Runs a job as [`submit`](Self::submit) does and waits for its end. Not
    /// for the writer thread itself.
    ///
    /// # Errors
    /// [`Error`], of the job or of its group.
    pub fn write(
        &self,
        priority: Priority,
        job: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        let (done, ended) = bounded(1);
        self.submit(
            priority,
            Box::new(job),
            Box::new(move |result| {
                // The receiver waits below for exactly this.
                done.send(result).ok();
            }),
        );
        ended
            .recv()
            .map_err(|_| Error::Fatal("the writer thread has ended".to_owned()))?
    }

    /// Writes one snapshot of the whole file into a new one, without what was
    /// deleted from it, also while this or another process writes. Not synced.
    ///
    /// # Errors
    /// [`Error`]; `target` must not be there.
    pub fn copy_into(&self, target: &Path) -> Result<(), Error> {
        let connection = self.inner.connector.copier()?;
        connection
            .execute("VACUUM INTO ?1", [target.to_string_lossy()])
            .map(drop)
            .map_err(Error::from)
    }

    /// How large such a snapshot is at most, in bytes.
    ///
    /// # Errors
    /// [`Error`].
    pub fn size(&self) -> Result<u64, Error> {
        let size = |connection: &Connection| {
            let pragma = |name| connection.query_row(name, [], |row| row.get::<_, i64>(0));
            Ok((pragma("PRAGMA page_count")? * pragma("PRAGMA page_size")?) as u64)
        };
        self.read(size)
    }

    /// Reads on one of the read connections.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let idle = self.inner.idle_readers.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.inner.connector.reader()?,
        };
        let result = f(&connection);
        // One that met a broken disk is not used again.
        let sound = result
            .as_ref()
            .err()
            .is_none_or(|e| Cause::of(e) == Cause::Statement);
        if sound {
            let mut idle = self.inner.idle_readers.lock();
            if idle.len() < READERS {
                idle.push(connection);
            }
        }
        result.map_err(Error::from)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Before the writer's, so that its last checkpoint finds nobody.
        self.idle_readers.get_mut().clear();
        let Some(writing) = &mut self.writing else {
            return;
        };
        writing.queue.close();
        let Some(thread) = writing.thread.take() else {
            return;
        };
        // A `done` may hold the last handle: the writer ends by itself then.
        let on_itself = thread.thread().id() == std::thread::current().id();
        if !on_itself && thread.join().is_err() {
            tracing::error!("the database's writer thread has panicked");
        }
    }
}
