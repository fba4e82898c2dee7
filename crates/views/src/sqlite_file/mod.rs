//! Jobs on the data folder's SQLite file, as the views run them.

mod bulk;
mod register;
mod tables;

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode};
use tidings_sqlite::{Database, Error, Priority, READERS};
use tokio::sync::{Semaphore, oneshot};

pub(crate) use bulk::bulk_insert;
pub(crate) use register::read as read_register;
pub(crate) use tables::{Scoped, Tables};

use crate::StoreError;
use crate::generation::Register;

/// Room for the reads of the process: each takes a thread, and a connection
/// with its cache, neither of which gives back soon what it took.
static READING: Semaphore = Semaphore::const_new(READERS);

/// Writes the register of a view in the place of the one before it; false
/// where another one is there.
pub(crate) async fn replace_register(
    database: &Database,
    view: &'static str,
    register: &Register,
) -> Result<bool, StoreError> {
    let register = register.clone();
    run(database, move |connection| {
        register::replace(connection, view, &register)
    })
    .await
}

/// Runs a job on the writer thread and waits until it is durable; gives what it
/// gave.
pub(crate) async fn run<T: Send + 'static>(
    database: &Database,
    job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let given = Arc::new(Mutex::new(None));
    let gives = Arc::clone(&given);
    let job = move |connection: &Connection| {
        *gives.lock() = Some(job(connection)?);
        Ok(())
    };
    let (done, durable) = oneshot::channel();
    let done = move |result: Result<(), Error>| {
        // Nobody listens any more when the projection has been stopped.
        drop(done.send(result));
    };
    database.submit(Priority::View, Box::new(job), Box::new(done));
    let stopped = || StoreError::Fatal("the writer thread has stopped".to_owned());
    durable.await.map_err(|_| stopped())?.map_err(classify)?;
    let given = given.lock().take();
    given.ok_or_else(stopped)
}

/// Reads off the runtime's threads: a read may wait for the disk.
pub(crate) async fn read<T: Send + 'static>(
    database: &Database,
    query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let database = database.clone();
    // Never closed.
    let room = READING.acquire().await;
    let reading = move || {
        // Given back when it has been read, also where nobody waits any more.
        let _room = room;
        database.read(query)
    };
    tokio::task::spawn_blocking(reading)
        .await
        .map_err(|error| StoreError::Fatal(format!("a read has panicked: {error}")))?
        .map_err(classify)
}

/// What an error means for whoever wanted to write or read.
fn classify(error: Error) -> StoreError {
    let error = match error {
        Error::Unavailable(message) => return StoreError::Transient(message),
        Error::Fatal(message) => return StoreError::Fatal(message),
        Error::Sql(error) => error,
    };
    let message = error.to_string();
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted
            | ErrorCode::SchemaChanged,
        ) => StoreError::Transient(message),
        // A value that does not fit its column, and rusqlite's own errors: a
        // value that cannot be bound or read.
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
        | None => StoreError::Data(message),
        Some(_) => StoreError::Fatal(message),
    }
}
