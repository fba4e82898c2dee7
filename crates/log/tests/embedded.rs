//! The log in SQLite: what every log must do, and what only this one can.

mod conformance;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conformance::{
    DEADLINE, PARTITIONS, append, append_numbered, collect, numbers, record, start_append,
};
use tidings_domain::{Epoch, OwnerId, Ownership};
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{Appender, Log, LogError, LogReader, Mark, SequencerEvent};
use tidings_sqlite::{Database, Error};
use tidings_wire::Topic;
use uuid::Uuid;

fn open(dir: &Path) -> EmbeddedLog {
    EmbeddedLog::open(Database::open(dir).expect("opens"), PARTITIONS).expect("opens the log")
}

#[test]
fn conforms() {
    let dir = tempfile::tempdir().expect("a folder");
    conformance::run(&|| Arc::new(open(dir.path())));
}

#[test]
fn another_partition_count_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    drop(open(dir.path()));
    let database = Database::open(dir.path()).expect("opens");
    let refused = EmbeddedLog::open(database, PARTITIONS + 1)
        .err()
        .expect("is refused");
    assert!(
        refused.to_string().contains("made with 12 partitions"),
        "{refused}"
    );
    assert_eq!(open(dir.path()).partitions(), PARTITIONS);
}

#[test]
fn a_database_has_one_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let database = Database::open(dir.path()).expect("opens");
    let first = EmbeddedLog::open(database.clone(), PARTITIONS).expect("opens the log");
    let second = EmbeddedLog::open(database, PARTITIONS);
    assert!(matches!(second.err(), Some(LogError::Fatal(_))));
    append(&first, Topic::MessageSent, 0, record(0));
}

#[test]
fn a_second_writer_is_refused_and_a_reader_is_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    let refused = Database::open(dir.path()).expect_err("is in use");
    let pid = std::process::id().to_string();
    assert!(
        matches!(&refused, Error::Fatal(why) if why.contains(&pid)),
        "{refused}"
    );

    let topic = Topic::MessageDelivered;
    append_numbered(&log, topic, 3, 0..10);
    let reader = EmbeddedLog::open_read_only(Database::open_read_only(dir.path()).expect("opens"))
        .expect("opens the log");
    assert_eq!(reader.partitions(), PARTITIONS);
    assert_eq!(reader.watermarks(topic, 3), Ok((0, 10)));
    assert_eq!(reader.offset_at(topic, 3, 1_700_000_000_004), Ok(4));
    let mut follower = reader.follow(&[(topic, 3, 4)]).expect("follows");
    assert_eq!(
        numbers(&collect(&mut *follower, 6)),
        (4..10).collect::<Vec<_>>()
    );
    append_numbered(&log, topic, 3, 10..20);
    assert_eq!(
        numbers(&collect(&mut *follower, 10)),
        (10..20).collect::<Vec<_>>()
    );
}

/// A closed log can be read while nobody writes.
#[test]
fn a_reader_needs_no_writer() {
    let dir = tempfile::tempdir().expect("a folder");
    append_numbered(&open(dir.path()), Topic::MessageSent, 0, 0..10);
    let reader = EmbeddedLog::open_read_only(Database::open_read_only(dir.path()).expect("opens"))
        .expect("opens the log");
    assert_eq!(reader.watermarks(Topic::MessageSent, 0), Ok((0, 10)));
}

#[test]
fn partitions_that_are_not_there_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    for partition in [-1, PARTITIONS] {
        let end = start_append(&log, Topic::MessageSent, partition, record(0));
        assert!(end.recv_timeout(DEADLINE).expect("ends").is_err());
        assert!(log.watermarks(Topic::MessageSent, partition).is_err());
        assert!(log.follow(&[(Topic::MessageSent, partition, 0)]).is_err());
    }
}

/// The end of an append may drop the last handle, on the writer thread itself.
#[test]
fn the_last_handle_may_go_with_an_append() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    let (held, (sender, receiver)) = (log.clone(), crossbeam_channel::bounded(1));
    let done = Box::new(move |result| {
        drop(held);
        sender.send(result).expect("the test waits");
    });
    log.append(Topic::MessageSent, 0, record(0), done);
    drop(log);
    assert_eq!(receiver.recv_timeout(DEADLINE).expect("ends"), Ok(0));
}

/// Who panics over the end of an append keeps nobody else from being told.
#[test]
fn a_panic_over_an_append_is_its_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    let panics = Box::new(|_| panic!("on purpose"));
    log.append(Topic::MessageSent, 0, record(0), panics);
    assert_eq!(append(&log, Topic::MessageSent, 0, record(1)), 1);
}

/// Closing the log ends what waits, durably.
#[test]
fn closing_finishes_what_waits() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    let ends: Vec<_> = (0..5_000)
        .map(|n| start_append(&log, Topic::MessageSent, 0, record(n)))
        .collect();
    drop(log);
    for (n, end) in (0..).zip(ends) {
        assert_eq!(end.try_recv().expect("has ended"), Ok(n));
    }
    assert_eq!(
        open(dir.path()).watermarks(Topic::MessageSent, 0),
        Ok((0, 5_000))
    );
}

/// None of a producer's records follows one that failed, until it has given up
/// the partition.
#[test]
fn a_sequencer_appends_nothing_after_a_failure() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    let topic = Topic::MessageDelivered;
    let mut sequencer = log.sequencer().expect("a sequencer");
    let mut large = record(1);
    large.value = Some(vec![0; 2 << 20].into());

    sequencer.start(0, &[]).expect("starts");
    sequencer.produce(topic, 0, record(0), 0);
    sequencer.produce(topic, 0, large, 1);
    sequencer.produce(topic, 0, record(2), 2);
    sequencer.produce(topic, 1, record(3), 3);
    assert_eq!(
        ends(&mut *sequencer, 4),
        [(0, true), (1, false), (2, false), (3, true)]
    );
    sequencer.produce(topic, 0, record(4), 4);
    assert_eq!(ends(&mut *sequencer, 1), [(4, false)]);
    sequencer.stop(0).expect("stops");
    sequencer.produce(topic, 0, record(5), 5);
    assert_eq!(ends(&mut *sequencer, 1), [(5, true)]);
}

/// The tokens of `count` produces and whether each succeeded, by token.
fn ends(sequencer: &mut dyn tidings_log::SequencerLog, count: usize) -> Vec<(u64, bool)> {
    let mut ends = Vec::new();
    let mut events = Vec::new();
    while ends.len() < count {
        sequencer
            .poll(10, Duration::from_secs(1), &mut events)
            .expect("polls");
        for event in events.drain(..) {
            if let SequencerEvent::Produced { token, result, .. } = event {
                ends.push((token, result.is_ok()));
            }
        }
    }
    ends.sort_unstable();
    ends
}

/// What a paused old owner still says of its past is older than what the new
/// one has said.
#[test]
fn a_mark_does_not_go_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(dir.path());
    let mut sequencer = log.sequencer().expect("a sequencer");
    let mark = |offset, epoch| Mark {
        offset,
        current: Some(Ownership {
            epoch: Epoch(epoch),
            owner: OwnerId(Uuid::from_u128(epoch.into())),
        }),
    };
    for (partition, mark) in [(0, mark(9, 2)), (0, mark(4, 1)), (1, mark(1, 1))] {
        sequencer.commit(partition, &[], mark).expect("is taken");
    }
    // Marks are written in their order, so the last of them tells of all.
    let deadline = Instant::now() + DEADLINE;
    while log.mark(1).expect("reads").is_none() {
        assert!(Instant::now() < deadline, "the mark does not appear");
        std::thread::yield_now();
    }
    assert_eq!(log.mark(0).expect("reads"), Some(mark(9, 2)));
}
