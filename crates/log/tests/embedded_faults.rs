//! The embedded log when its process is killed and when its disk is full.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use crossbeam_channel::{Receiver, bounded};
use tidings_domain::Timestamp;
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{AppendError, Appender, LogError, LogReader, read_range};
use tidings_sqlite::{Database, Priority};
use tidings_wire::{Headers, Record, Topic};

const PARTITIONS: i32 = 4;
const TOPIC: Topic = Topic::MessageSent;

/// Names the folder to append to, for the child process.
const CHILD_DIR: &str = "EMBEDDED_FAULTS_CHILD_DIR";

fn open(dir: &Path) -> EmbeddedLog {
    EmbeddedLog::open(Database::open(dir).expect("opens"), PARTITIONS).expect("opens the log")
}

fn record(n: i64, bytes: usize) -> Record {
    Record {
        key: None,
        value: Some(Bytes::from(vec![n as u8; bytes])),
        headers: Headers::default(),
        timestamp: Timestamp(n),
    }
}

fn append(log: &EmbeddedLog, partition: i32, record: Record) -> Receiver<Result<i64, AppendError>> {
    let (done, ended) = bounded(1);
    let done = Box::new(move |result| done.send(result).expect("the test waits"));
    log.append(TOPIC, partition, record, done);
    ended
}

/// Every offset from 0 to the end is there, and every acknowledged record at
/// the offset that its acknowledgement gave.
fn check(log: &EmbeddedLog, acknowledged: &BTreeMap<(i32, i64), i64>) {
    for partition in 0..PARTITIONS {
        let (low, high) = log.watermarks(TOPIC, partition).expect("watermarks");
        assert_eq!(low, 0);
        let mut next = 0;
        read_range::<LogError>(log, TOPIC, partition, 0, high, |stored| {
            assert_eq!(stored.offset, next, "offsets are contiguous");
            if let Some(n) = acknowledged.get(&(partition, stored.offset)) {
                assert_eq!(stored.record.timestamp, Timestamp(*n));
            }
            next += 1;
            Ok(())
        })
        .expect("reads");
        let last = acknowledged
            .range((partition, 0)..(partition + 1, 0))
            .next_back();
        assert!(
            last.is_none_or(|((_, offset), _)| *offset < high),
            "an acknowledged one is lost"
        );
    }
}

/// Not a test of its own: what the killed process does, told by the variable.
#[test]
fn child_appends_until_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let log = open(Path::new(&dir));
    for n in 0.. {
        let ends: Vec<_> = (0..64)
            .map(|i| (i % PARTITIONS, append(&log, i % PARTITIONS, record(n, 200))))
            .collect();
        let mut lines = String::new();
        for (partition, end) in ends {
            let offset = end.recv().expect("ends").expect("appends");
            lines += &format!("ack {partition} {offset} {n}\n");
        }
        std::io::stdout()
            .write_all(lines.as_bytes())
            .expect("the parent reads");
    }
}

#[test]
fn a_kill_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut acknowledged = BTreeMap::new();
    for acks in [1, 5_000, 20_000] {
        let mut child = Command::new(std::env::current_exe().expect("this test's program"))
            .args(["--exact", "child_appends_until_killed", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("is piped"));
        let (mut line, mut seen, mut killed) = (String::new(), 0, false);
        // After the kill, what the pipe still holds was acknowledged as well.
        while lines.read_line(&mut line).expect("reads") > 0 {
            if let Some(ack) = parse_ack(&line) {
                acknowledged.insert((ack.0, ack.1), ack.2);
                seen += 1;
            }
            line.clear();
            if seen >= acks && !killed {
                child.kill().expect("kills");
                killed = true;
            }
        }
        child.wait().expect("has ended");
        assert!(seen >= acks, "the child ended by itself");
        check(&open(dir.path()), &acknowledged);
    }
}

fn parse_ack(line: &str) -> Option<(i32, i64, i64)> {
    let mut parts = line.strip_suffix('\n')?.strip_prefix("ack ")?.split(' ');
    let mut next = || parts.next();
    Some((
        next()?.parse().ok()?,
        next()?.parse().ok()?,
        next()?.parse().ok()?,
    ))
}

/// A group that fails takes no offset, and the next one goes on.
#[test]
fn a_failed_group_leaves_no_gap() {
    let dir = tempfile::tempdir().expect("a folder");
    let database = Database::open(dir.path()).expect("opens");
    let log = EmbeddedLog::open(database.clone(), PARTITIONS).expect("opens the log");
    let mut follower = log.follow(&[(TOPIC, 0, 0)]).expect("follows");
    let mut acknowledged = BTreeMap::new();
    let mut failures = 0;
    for round in 0..20 {
        // No page more than there are: as a full disk, until the connection
        // is opened anew after the failure.
        let full =
            |c: &rusqlite::Connection| c.query_row("PRAGMA max_page_count = 1", [], |_| Ok(()));
        database
            .write(Priority::View, full)
            .expect("limits the file");
        for n in round * 20..(round + 1) * 20 {
            match append(&log, 0, record(n, 3_000)).recv().expect("ends") {
                Ok(offset) => drop(acknowledged.insert((0, offset), n)),
                Err(AppendError::Unavailable(_)) => failures += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(failures >= 10, "{failures}");
    // Whoever followed has seen exactly what was acknowledged.
    let mut seen = Vec::new();
    while seen.len() < acknowledged.len() {
        follower
            .poll(1_000, std::time::Duration::from_secs(1), &mut seen)
            .expect("polls");
    }
    let given: BTreeMap<_, _> = seen
        .iter()
        .map(|s| ((0, s.offset), s.record.timestamp.0))
        .collect();
    assert_eq!(given, acknowledged);
    drop((follower, log, database));
    check(&open(dir.path()), &acknowledged);
}

/// A small file system of its own, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this process may not mount one.
    fn mount(at: &Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        matches!(mounted, Ok(status) if status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "unmounts");
    }
}

#[test]
fn a_full_disk_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(_disk) = SmallDisk::mount(dir.path()) else {
        eprintln!("not allowed to mount a small disk: see a_failed_group_leaves_no_gap");
        return;
    };
    let ballast = dir.path().join("ballast");
    fs::write(&ballast, vec![0; 4 << 20]).expect("fits");
    let log = open(dir.path());
    let mut acknowledged = BTreeMap::new();
    let mut append_some = |count: i64| {
        let mut failures = 0;
        for n in 0..count {
            let partition = n as i32 % PARTITIONS;
            match append(&log, partition, record(n, 2_000))
                .recv()
                .expect("ends")
            {
                Ok(offset) => drop(acknowledged.insert((partition, offset), n)),
                Err(AppendError::Unavailable(_)) => failures += 1,
                Err(other) => panic!("{other}"),
            }
        }
        failures
    };
    // 4 MiB of records with their log do not fit into the 4 MiB left.
    assert!(append_some(2_000) > 0, "the disk was not full");
    assert!(append_some(50) > 0, "it is still full");
    fs::remove_file(&ballast).expect("makes room");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while append_some(10) > 0 {
        assert!(std::time::Instant::now() < deadline, "it does not recover");
    }
    check(&log, &acknowledged);
    drop(log);
    let log = open(dir.path());
    check(&log, &acknowledged);
    drop(log);
}
