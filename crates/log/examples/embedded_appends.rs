//! How fast the embedded log appends, beside plain batched inserts into SQLite
//! with one commit (one fsync) a batch on the same disk in the same run.
//!
//! `cargo run --release -p tidings-log --example embedded_appends [FOLDER]`

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, bounded};
use tidings_domain::Timestamp;
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{AppendError, Appender, LogReader};
use tidings_sqlite::Database;
use tidings_wire::{Headers, Record, Topic, names};

const PARTITIONS: i32 = 12;
const RUN: Duration = Duration::from_secs(5);
const VALUE_BYTES: usize = 300;
/// Appends of one thread that may be under way at once.
const IN_FLIGHT: usize = 2_000;
/// Appends a second, where they come at a steady pace.
const PACES: [u32; 2] = [2_000, 10_000];

fn main() {
    let place = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "target".to_owned());
    // What is to be compared runs one after the other: disks have moods.
    in_folder(&place, |dir| raw(dir, 1));
    in_folder(&place, |dir| appends(dir, 1, 1));
    in_folder(&place, |dir| raw(dir, 1_000));
    in_folder(&place, |dir| appends(dir, 1, IN_FLIGHT));
    in_folder(&place, |dir| appends(dir, 4, IN_FLIGHT));
    for pace in PACES {
        in_folder(&place, |dir| paced(dir, pace));
    }
    in_folder(&place, follows);
}

fn in_folder(place: &str, run: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir_in(place).expect("a folder for the measurement");
    run(dir.path());
}

fn record() -> Record {
    let mut headers = Headers::with_capacity(4);
    headers.push(names::CE_TYPE, "tidings.command.send".as_bytes());
    headers.push(names::TENANT, "acme".as_bytes());
    Record {
        key: Some(Bytes::from_static(b"8a1f6b5c-22d4-5e0f-9b3e-746964696e67")),
        value: Some(Bytes::from(vec![b'v'; VALUE_BYTES])),
        headers,
        timestamp: Timestamp(1_700_000_000_000),
    }
}

/// Plain inserts of the same bytes into one table, one commit a batch.
fn raw(dir: &Path, batch: usize) {
    let connection = rusqlite::Connection::open(dir.join("raw.sqlite")).expect("opens");
    connection
        .execute_batch(
            "PRAGMA journal_mode = wal; PRAGMA synchronous = full;
             CREATE TABLE records (offset INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL,
                 key BLOB, value BLOB, headers BLOB NOT NULL);",
        )
        .expect("makes the table");
    let mut insert = connection
        .prepare("INSERT INTO records VALUES (NULL, ?1, ?2, ?3, ?4)")
        .expect("prepares");
    let record = record();
    let (start, mut commits, mut count) = (Instant::now(), Vec::new(), 0);
    while start.elapsed() < RUN {
        let begin = Instant::now();
        connection.execute_batch("BEGIN IMMEDIATE").expect("begins");
        for _ in 0..batch {
            insert
                .execute((
                    record.timestamp.0,
                    record.key.as_deref(),
                    record.value.as_deref(),
                    [b'h'; 40],
                ))
                .expect("inserts");
        }
        connection.execute_batch("COMMIT").expect("commits");
        commits.push(begin.elapsed());
        count += batch;
    }
    report(
        &format!("raw SQLite, {batch} a commit"),
        count,
        start.elapsed(),
        &mut commits,
    );
}

/// Appends from `threads`, each with up to `in_flight` under way.
fn appends(dir: &Path, threads: usize, in_flight: usize) {
    let database = Database::open(dir).expect("opens");
    let log = Arc::new(EmbeddedLog::open(database, PARTITIONS).expect("opens the log"));
    let start = Instant::now();
    let all: Vec<Vec<Duration>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                let log = Arc::clone(&log);
                scope.spawn(move || append_for_a_while(&log, in_flight))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let took = start.elapsed();
    let mut latencies = all.concat();
    let name = format!("log, {threads} threads, {in_flight} under way each");
    report(&name, latencies.len(), took, &mut latencies);
}

fn append_for_a_while(log: &EmbeddedLog, in_flight: usize) -> Vec<Duration> {
    let (free, slots) = bounded(in_flight);
    let (end, ends) = crossbeam_channel::unbounded();
    (0..in_flight).for_each(|_| free.send(()).expect("room"));
    let record = record();
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < RUN {
        slots.recv().expect("a slot");
        let (free, end, begin) = (free.clone(), end.clone(), Instant::now());
        let done = Box::new(move |result: Result<i64, AppendError>| {
            result.expect("appends");
            end.send(begin.elapsed()).expect("counted");
            free.send(()).expect("room");
        });
        log.append(Topic::MessageSent, count % PARTITIONS, record.clone(), done);
        count += 1;
    }
    (0..count).map(|_| ends.recv().expect("ends")).collect()
}

/// Appends `pace` records a second, however long each takes.
fn paced(dir: &Path, pace: u32) {
    let database = Database::open(dir).expect("opens");
    let log = EmbeddedLog::open(database, PARTITIONS).expect("opens the log");
    let (end, ends) = crossbeam_channel::unbounded();
    let (start, record) = (Instant::now(), record());
    let count = pace * RUN.as_secs() as u32;
    for n in 0..count {
        let due = start + n * (Duration::from_secs(1) / pace);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let end = end.clone();
        let done = Box::new(move |result: Result<i64, AppendError>| {
            result.expect("appends");
            end.send(due.elapsed()).expect("counted");
        });
        log.append(
            Topic::MessageSent,
            n as i32 % PARTITIONS,
            record.clone(),
            done,
        );
    }
    let mut latencies: Vec<_> = (0..count).map(|_| ends.recv().expect("ends")).collect();
    report(
        &format!("log, {pace} a second"),
        latencies.len(),
        start.elapsed(),
        &mut latencies,
    );
}

/// From append to a follower that waits, and how fast one that is behind reads.
fn follows(dir: &Path) {
    const RECORDS: usize = 300_000;
    let open = || EmbeddedLog::open(Database::open(dir).expect("opens"), PARTITIONS);
    let log = open().expect("opens the log");
    let (done, ended) = crossbeam_channel::unbounded();
    let starts: Vec<_> = (0..PARTITIONS)
        .map(|p| (Topic::MessageSent, p, 0))
        .collect();
    for n in 0..RECORDS {
        if n >= 20_000 {
            wait(&ended);
        }
        let done = done.clone();
        let done = Box::new(move |result| done.send(result).expect("counted"));
        log.append(Topic::MessageSent, n as i32 % PARTITIONS, record(), done);
    }
    (0..20_000).for_each(|_| wait(&ended));
    drop(log);
    let begin = Instant::now();
    let log = open().expect("opens the log");
    println!(
        "opened a log of {RECORDS} in {:.1} ms",
        begin.elapsed().as_secs_f64() * 1e3
    );
    let mut follower = log.follow(&starts).expect("follows");
    let (begin, mut stored, mut count) = (Instant::now(), Vec::new(), 0);
    while count < RECORDS {
        follower
            .poll(4_096, Duration::from_secs(1), &mut stored)
            .expect("polls");
        count += stored.len();
        stored.clear();
    }
    println!(
        "read {count} behind: {:.0}/s",
        count as f64 / begin.elapsed().as_secs_f64()
    );
    let mut latencies = Vec::new();
    for _ in 0..1_000 {
        let begin = Instant::now();
        let done = Box::new(|result: Result<i64, AppendError>| assert!(result.is_ok()));
        log.append(Topic::MessageSent, 0, record(), done);
        follower
            .poll(10, Duration::from_secs(10), &mut stored)
            .expect("polls");
        latencies.push(begin.elapsed());
        stored.clear();
    }
    report(
        "append to a waiting follower",
        1_000,
        latencies.iter().sum(),
        &mut latencies,
    );
}

fn wait(ended: &Receiver<Result<i64, AppendError>>) {
    let offset = ended.recv().expect("ends").expect("appends");
    assert!(offset >= 0);
}

fn report(name: &str, count: usize, took: Duration, latencies: &mut [Duration]) {
    latencies.sort_unstable();
    let ms = |q: f64| {
        let at = ((latencies.len() - 1) as f64 * q) as usize;
        latencies[at].as_secs_f64() * 1e3
    };
    println!(
        "{name}: {:.0} records/s; ms p50 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2}",
        count as f64 / took.as_secs_f64(),
        ms(0.5),
        ms(0.99),
        ms(0.999),
        ms(1.0),
    );
}
