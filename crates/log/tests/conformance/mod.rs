//! What every log must do, whatever it keeps its records in.
//!
//! Entry point: [`run`], with a closure that opens a log on one and the same,
//! at first empty, place each time it is called (a folder; a topic prefix of a
//! broker). It needs [`PARTITIONS`] partitions or more. Each check has
//! partitions to itself, so all of them can run on one set of topics.

mod append;
mod follow;
mod projection;
mod sequencer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, bounded};
use tidings_domain::Timestamp;
use tidings_log::{AppendError, Follower, Log};
use tidings_wire::{Headers, Record, Stored, Topic, names};

/// How many partitions the checks use.
pub(crate) const PARTITIONS: i32 = 12;

/// How long anything may take before the check has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Opens a log on the place under test.
pub(crate) type Open<'a> = &'a dyn Fn() -> Arc<dyn Log>;

/// Runs every check.
pub(crate) fn run(open: Open<'_>) {
    let log = open();
    assert!(
        log.partitions() >= PARTITIONS,
        "the suite needs {PARTITIONS} partitions"
    );
    append::offsets_are_contiguous_and_in_order(&*log, 0);
    append::records_come_back_as_they_were(&*log, 1);
    append::too_large_is_refused_and_nothing_else(&*log, 2);
    append::threads_share_a_partition(&log, 3);
    follow::from_any_offset(&*log, 4);
    follow::waits_for_what_comes(&log, 5);
    follow::many_partitions_at_once(&*log, [6, 7]);
    follow::ranges_and_watermarks(&*log, 8);
    follow::offsets_by_time(&*log, 9);
    sequencer::takes_commands_and_produces(&*log, 10);
    projection::is_given_every_partition(&*log, 11);
    drop(log);
    append::outlives_the_process(open, 0);
}

/// A record numbered `n`.
pub(crate) fn record(n: i64) -> Record {
    let mut headers = Headers::default();
    headers.push(names::TENANT, "acme".as_bytes());
    headers.push(names::CE_ID, n.to_string().into_bytes());
    Record {
        key: Some(Bytes::from(format!("key-{n}"))),
        value: Some(Bytes::from(format!("value {n}"))),
        headers,
        timestamp: Timestamp(1_700_000_000_000 + n),
    }
}

/// Starts an append and gives where its end will come.
pub(crate) fn start_append(
    log: &dyn Log,
    topic: Topic,
    partition: i32,
    record: Record,
) -> Receiver<Result<i64, AppendError>> {
    let (sender, receiver) = bounded(1);
    let done = Box::new(move |result| sender.send(result).expect("the check waits for it"));
    log.append(topic, partition, record, done);
    receiver
}

/// Appends and waits.
pub(crate) fn append(log: &dyn Log, topic: Topic, partition: i32, record: Record) -> i64 {
    start_append(log, topic, partition, record)
        .recv_timeout(DEADLINE)
        .expect("an append ends")
        .expect("an append succeeds")
}

/// Appends `record(n)` for each `n` and waits for all.
pub(crate) fn append_numbered(
    log: &dyn Log,
    topic: Topic,
    partition: i32,
    numbers: std::ops::Range<i64>,
) {
    let waiting: Vec<_> = numbers
        .map(|n| start_append(log, topic, partition, record(n)))
        .collect();
    for end in waiting {
        end.recv_timeout(DEADLINE)
            .expect("an append ends")
            .expect("an append succeeds");
    }
}

/// Polls until there are `count` records.
pub(crate) fn collect(follower: &mut dyn Follower, count: usize) -> Vec<Stored> {
    let deadline = Instant::now() + DEADLINE;
    let mut stored = Vec::new();
    while stored.len() < count {
        assert!(
            Instant::now() < deadline,
            "only {} of {count} records came",
            stored.len()
        );
        follower
            .poll(
                count - stored.len(),
                Duration::from_millis(200),
                &mut stored,
            )
            .expect("polls");
    }
    stored
}

/// The numbers that `record` was given.
pub(crate) fn numbers(stored: &[Stored]) -> Vec<i64> {
    stored
        .iter()
        .map(|s| s.record.timestamp.0 - 1_700_000_000_000)
        .collect()
}
