//! What operators have noted, in `operator.notes`: JSON, of each key the newest.
//!
//! | key | says |
//! |---|---|
//! | `paused/<consumer>` | that it is paused, and why; deleted: it goes on |
//! | `letter/<topic>/<partition>/<offset>` | that a dead letter is done |
//! | `reset/<consumer>` | how to undo its last reset |
//! | `lock/<what>` | that somebody is at it |

use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use tidings_domain::Timestamp;
use tidings_wire::{Headers, Record, Topic, format_time, names};
use uuid::Uuid;

use crate::{AppendError, Appender, LogError};

/// How long an append is waited for. Longer than the log itself tries.
const APPEND_TIMEOUT: Duration = Duration::from_secs(60);

/// A note's record; none as its value deletes the key.
///
/// # Errors
/// [`LogError::Fatal`] where it cannot be written as JSON.
pub fn note(key: String, value: Option<&impl Serialize>) -> Result<Record, LogError> {
    let json = value.map(serde_json::to_vec).transpose();
    let value = json.map_err(|error| LogError::Fatal(format!("a note: {error}")))?;
    let timestamp = now();
    let mut headers = Headers::with_capacity(5);
    headers.push(names::CE_SPECVERSION, "1.0".as_bytes());
    headers.push(names::CE_TYPE, "tidings.operator.note".as_bytes());
    headers.push(names::CE_SOURCE, "tidings/operator".as_bytes());
    headers.push(names::CE_ID, Uuid::new_v4().to_string());
    headers.push(names::CE_TIME, format_time(timestamp));
    Ok(Record {
        key: Some(key.into()),
        value: value.map(Bytes::from),
        headers,
        timestamp,
    })
}

/// Appends a record and waits until it is durable; gives its offset.
///
/// # Errors
/// [`AppendError`].
pub fn append_and_wait(
    log: &dyn Appender,
    topic: Topic,
    partition: i32,
    record: Record,
) -> Result<i64, AppendError> {
    let (done, durable) = channel();
    let done = move |result| {
        // Nobody listens any more after the time is over.
        drop(done.send(result));
    };
    log.append(topic, partition, record, Box::new(done));
    durable
        .recv_timeout(APPEND_TIMEOUT)
        .unwrap_or_else(|_| Err(AppendError::Unavailable("no answer in time".to_owned())))
}

/// The time, as records are dated.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
