use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::Receiver;
use rusqlite::Connection;
use tracing::{error, info, warn};

use crate::checkpoint::Checkpointer;
use crate::connection::Connector;
use crate::error::Cause;
use crate::queue::{Queue, Taken};
use crate::{Done, Error, GroupWriter, Job, Written};

/// The one thread that writes: takes what waits into a transaction, commits
/// it, and tells everybody.
///
/// What a failed commit left behind is never guessed: its connection is thrown
/// away, and before the next group a new one is opened and the group writer
/// reads its state from the file again.
pub(crate) struct Writer {
    connector: Connector,
    queue: Arc<Queue>,
    /// A group writer comes through here, one at most.
    attached: Receiver<Box<dyn GroupWriter>>,
    group_writer: Option<Box<dyn GroupWriter>>,
    /// None after a failed group, until the file can be opened again.
    connection: Option<Connection>,
    /// Does the group writer know what stands in the file?
    loaded: bool,
    checkpointer: Checkpointer,
    /// Did the last group fail? Said once, not for every group.
    failing: bool,
}

/// What became of the jobs of a group that is to be committed.
type Outcomes = Vec<Result<(), Error>>;

impl Writer {
    pub(crate) fn new(
        connector: Connector,
        connection: Connection,
        queue: Arc<Queue>,
        attached: Receiver<Box<dyn GroupWriter>>,
        checkpointer: Checkpointer,
    ) -> Self {
        Self {
            connector,
            queue,
            attached,
            group_writer: None,
            connection: Some(connection),
            loaded: false,
            checkpointer,
            failing: false,
        }
    }

    /// Runs until the queue is closed and everything in it is done.
    ///
    /// A panic of a job or of a `done` is theirs alone. One of the writer or of
    /// its group writer ends the process: what is held in memory may be wrong
    /// then, and whoever appends would wait for ever. Nothing acknowledged is
    /// lost by it.
    pub(crate) fn run(self) {
        if catch_unwind(AssertUnwindSafe(|| self.serve())).is_err() {
            error!("the database's writer thread has panicked: the process ends");
            std::process::abort();
        }
    }

    fn serve(mut self) {
        self.queue.served_by(std::thread::current().id());
        let mut more = false;
        while let Some(taken) = self.queue.take(more) {
            if let Ok(group_writer) = self.attached.try_recv() {
                self.group_writer = Some(group_writer);
            }
            more = self.group(taken);
        }
        let Some(connection) = self.connection else {
            return;
        };
        self.checkpointer.finish(&connection);
        if let Err((_, error)) = connection.close() {
            warn!(%error, "closing the database");
        }
    }

    /// One group: a transaction, and whom to tell. Says whether the group
    /// writer has more.
    fn group(&mut self, Taken { log, view }: Taken) -> bool {
        let (jobs, dones): (Vec<Job>, Vec<Done>) = log
            .into_iter()
            .chain(view)
            .map(|work| (work.job, work.done))
            .unzip();
        match self.ready().and_then(|()| self.transact(jobs)) {
            Ok((written, outcomes)) => {
                self.succeeded();
                if let Some(group_writer) = &mut self.group_writer
                    && written != Written::Nothing
                {
                    group_writer.committed();
                }
                for (done, outcome) in dones.into_iter().zip(outcomes) {
                    tell(done, outcome);
                }
                if let Some(connection) = &self.connection {
                    self.checkpointer.after_commit(connection);
                }
                written == Written::Some
            }
            Err(error) => {
                self.failed(&error, dones);
                // It may have had more than this group took.
                self.group_writer.is_some()
            }
        }
    }

    /// Has the file open, and the group writer's state read from it.
    fn ready(&mut self) -> Result<(), Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connector.writer()?,
        };
        let connection = self.connection.insert(connection);
        if let Some(group_writer) = &mut self.group_writer
            && !self.loaded
        {
            group_writer.load(connection)?;
            self.loaded = true;
        }
        Ok(())
    }

    fn transact(&mut self, jobs: Vec<Job>) -> Result<(Written, Outcomes), Error> {
        let connection = self.connection.as_ref().expect("opened by `ready`");
        run_cached(connection, "BEGIN IMMEDIATE")?;
        let written = match &mut self.group_writer {
            Some(group_writer) => group_writer.write(connection)?,
            None => Written::Nothing,
        };
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            outcomes.push(alone(connection, job)?);
        }
        run_cached(connection, "COMMIT")?;
        Ok((written, outcomes))
    }

    fn succeeded(&mut self) {
        if std::mem::take(&mut self.failing) {
            info!("the database can be written again");
        }
    }

    fn failed(&mut self, error: &Error, dones: Vec<Done>) {
        if !std::mem::replace(&mut self.failing, true) {
            let path = self.connector.path().display();
            warn!(%error, "cannot write to {path}; what waits fails until it can be written");
        }
        // Closing rolls back what was begun.
        self.connection = None;
        self.loaded = false;
        self.checkpointer.after_failure();
        if let Some(group_writer) = &mut self.group_writer {
            group_writer.failed(&error.share());
        }
        for done in dones {
            tell(done, Err(error.share()));
        }
    }
}

/// Says how a job ended. Whoever panics over it must not keep others from
/// being told.
fn tell(done: Done, outcome: Result<(), Error>) {
    if catch_unwind(AssertUnwindSafe(|| done(outcome))).is_err() {
        error!("whoever was told of a job's end has panicked");
    }
}

/// Runs a job in a savepoint, so that it fails alone.
///
/// # Errors
/// Where the group cannot go on: the disk is full or broken, or SQLite has
/// rolled the whole transaction back.
fn alone(connection: &Connection, job: Job) -> Result<Result<(), Error>, Error> {
    run_cached(connection, "SAVEPOINT job")?;
    // What a job that panics has changed in the file is rolled back below, and
    // it was given nothing else to change.
    let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| job(connection))) else {
        error!("a job of the database's writer thread has panicked");
        undo(connection)?;
        return Ok(Err(Error::Fatal("the job has panicked".to_owned())));
    };
    match outcome {
        Ok(()) => {
            run_cached(connection, "RELEASE job")?;
            Ok(Ok(()))
        }
        Err(error) if connection.is_autocommit() || Cause::of(&error) != Cause::Statement => {
            Err(error.into())
        }
        Err(error) => {
            undo(connection)?;
            Ok(Err(error.into()))
        }
    }
}

fn undo(connection: &Connection) -> rusqlite::Result<()> {
    run_cached(connection, "ROLLBACK TO job")?;
    run_cached(connection, "RELEASE job")
}

fn run_cached(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}
