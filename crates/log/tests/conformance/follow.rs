use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_domain::Timestamp;
use tidings_log::{Log, LogError, read_range};
use tidings_wire::Topic;

use super::{append, append_numbered, collect, numbers, record};

pub(crate) fn from_any_offset(log: &dyn Log, partition: i32) {
    let topic = Topic::MessageDelivered;
    let start = append(log, topic, partition, record(0));
    append_numbered(log, topic, partition, 1..300);
    for from in [0, 1, 77, 299] {
        let mut follower = log
            .follow(&[(topic, partition, start + from)])
            .expect("follows");
        let stored = collect(&mut *follower, (300 - from) as usize);
        assert_eq!(numbers(&stored), (from..300).collect::<Vec<_>>());
    }
    // Before the first there is: from the first.
    let mut follower = log.follow(&[(topic, partition, -5)]).expect("follows");
    let (low, _) = log.watermarks(topic, partition).expect("watermarks");
    assert_eq!(collect(&mut *follower, 1)[0].offset, low);
    // At the end: nothing for now, which is no error; then what comes.
    let mut follower = log
        .follow(&[(topic, partition, start + 300)])
        .expect("follows");
    let mut stored = Vec::new();
    follower
        .poll(10, Duration::from_millis(50), &mut stored)
        .expect("polls");
    assert_eq!(stored, []);
    append(log, topic, partition, record(300));
    assert_eq!(numbers(&collect(&mut *follower, 1)), [300]);
}

/// A follower that waits is given a record soon after it is durable.
pub(crate) fn waits_for_what_comes(log: &Arc<dyn Log>, partition: i32) {
    let topic = Topic::MessageDelivered;
    let (_, end) = log.watermarks(topic, partition).expect("watermarks");
    let mut follower = log.follow(&[(topic, partition, end)]).expect("follows");
    let (waiting, waits) = crossbeam_channel::bounded(1);
    let thread = std::thread::spawn(move || {
        let mut stored = Vec::new();
        waiting.send(()).expect("the check listens");
        while stored.is_empty() {
            follower
                .poll(10, Duration::from_secs(30), &mut stored)
                .expect("polls");
        }
        (numbers(&stored), Instant::now())
    });
    waits.recv().expect("the thread runs");
    append(&**log, topic, partition, record(1));
    let durable = Instant::now();
    let (given, at) = thread.join().expect("no panic");
    assert_eq!(given, [1]);
    // Far below the poll's timeout: it was woken.
    assert!(at.saturating_duration_since(durable) < Duration::from_secs(10));
}

pub(crate) fn many_partitions_at_once(log: &dyn Log, partitions: [i32; 2]) {
    let mut starts = Vec::new();
    for topic in [Topic::MessageSent, Topic::MessageDelivered] {
        for partition in partitions {
            let (_, end) = log.watermarks(topic, partition).expect("watermarks");
            starts.push((topic, partition, end));
            append_numbered(log, topic, partition, 0..200);
        }
    }
    let mut follower = log.follow(&starts).expect("follows");
    let stored = collect(&mut *follower, 800);
    for (topic, partition, start) in starts {
        let own: Vec<_> = stored
            .iter()
            .filter(|s| (s.topic, s.partition) == (topic, partition))
            .cloned()
            .collect();
        assert_eq!(numbers(&own), (0..200).collect::<Vec<_>>());
        assert!((start..).zip(&own).all(|(offset, s)| s.offset == offset));
    }
}

pub(crate) fn ranges_and_watermarks(log: &dyn Log, partition: i32) {
    let topic = Topic::ConversationState;
    let (_, start) = log.watermarks(topic, partition).expect("watermarks");
    append_numbered(log, topic, partition, 0..250);
    let (low, high) = log.watermarks(topic, partition).expect("watermarks");
    assert!(low <= start);
    assert_eq!(high, start + 250);
    for (from, to) in [
        (0, 250),
        (10, 20),
        (249, 250),
        (30, 30),
        (40, 10),
        (200, 9_999),
    ] {
        let mut given = Vec::new();
        read_range::<LogError>(log, topic, partition, start + from, start + to, |stored| {
            given.push(stored.offset - start);
            Ok(())
        })
        .expect("reads");
        assert_eq!(
            given,
            (from..to.min(250)).collect::<Vec<_>>(),
            "{from}..{to}"
        );
    }
}

pub(crate) fn offsets_by_time(log: &dyn Log, partition: i32) {
    let topic = Topic::MessageSent;
    let (_, start) = log.watermarks(topic, partition).expect("watermarks");
    let base = 1_700_000_000_000;
    for (n, ms) in [0, 1_000, 1_000, 5_000].into_iter().enumerate() {
        let mut record = record(n as i64);
        record.timestamp = Timestamp(base + ms);
        append(log, topic, partition, record);
    }
    for (ms, expected) in [
        (-1, 0),
        (0, 0),
        (1, 1),
        (1_000, 1),
        (1_001, 3),
        (5_000, 3),
        (5_001, 4),
    ] {
        let offset = log.offset_at(topic, partition, base + ms).expect("finds");
        assert_eq!(offset, start + expected, "at {ms} ms");
    }
}
