use std::sync::Arc;

use bytes::Bytes;
use tidings_domain::Timestamp;
use tidings_log::{AppendError, Log};
use tidings_wire::{Headers, Record, Topic, names};

use super::{DEADLINE, Open, append, append_numbered, collect, numbers, record, start_append};

pub(crate) fn offsets_are_contiguous_and_in_order(log: &dyn Log, partition: i32) {
    let topic = Topic::MessageSent;
    let (_, start) = log.watermarks(topic, partition).expect("watermarks");
    let waiting: Vec<_> = (0..1_000)
        .map(|n| start_append(log, topic, partition, record(n)))
        .collect();
    for (n, end) in (start..).zip(waiting) {
        assert_eq!(end.recv_timeout(DEADLINE).expect("ends"), Ok(n));
    }
    let mut follower = log.follow(&[(topic, partition, start)]).expect("follows");
    let stored = collect(&mut *follower, 1_000);
    assert_eq!(numbers(&stored), (0..1_000).collect::<Vec<_>>());
    assert!((start..).zip(&stored).all(|(offset, s)| s.offset == offset));
}

pub(crate) fn records_come_back_as_they_were(log: &dyn Log, partition: i32) {
    let topic = Topic::MessageDelivered;
    let mut headers = Headers::default();
    headers.push(names::CE_TYPE, "tidings.claim".as_bytes());
    headers.push_read("x-other", Bytes::from_static(b"\x00\xff"));
    headers.push_read("x-other", Bytes::new());
    let records = [
        Record {
            key: None,
            value: None,
            headers,
            timestamp: Timestamp(1),
        },
        Record {
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from(vec![7; 300_000])),
            headers: Headers::default(),
            timestamp: Timestamp(1_700_000_000_123),
        },
        record(5),
    ];
    let (_, start) = log.watermarks(topic, partition).expect("watermarks");
    for record in &records {
        append(log, topic, partition, record.clone());
    }
    let mut follower = log.follow(&[(topic, partition, start)]).expect("follows");
    let stored = collect(&mut *follower, records.len());
    for (stored, record) in stored.iter().zip(&records) {
        assert_eq!((stored.topic, stored.partition), (topic, partition));
        assert_eq!(&stored.record, record);
    }
}

pub(crate) fn too_large_is_refused_and_nothing_else(log: &dyn Log, partition: i32) {
    let topic = Topic::MessageSent;
    let mut large = record(0);
    large.value = Some(Bytes::from(vec![0; 1_048_588]));
    let refused = start_append(log, topic, partition, large);
    let taken = start_append(log, topic, partition, record(1));
    assert_eq!(
        refused.recv_timeout(DEADLINE).expect("ends"),
        Err(AppendError::TooLarge)
    );
    assert!(taken.recv_timeout(DEADLINE).expect("ends").is_ok());
}

/// Each thread's records keep their order, and no two get one offset.
pub(crate) fn threads_share_a_partition(log: &Arc<dyn Log>, partition: i32) {
    const EACH: i64 = 500;
    let topic = Topic::ConversationUpdated;
    let (_, start) = log.watermarks(topic, partition).expect("watermarks");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let log = Arc::clone(log);
            scope.spawn(move || {
                append_numbered(&*log, topic, partition, thread * EACH..(thread + 1) * EACH);
            });
        }
    });
    let mut follower = log.follow(&[(topic, partition, start)]).expect("follows");
    let stored = collect(&mut *follower, 4 * EACH as usize);
    assert!((start..).zip(&stored).all(|(offset, s)| s.offset == offset));
    let numbers = numbers(&stored);
    for thread in 0..4 {
        let own: Vec<i64> = numbers
            .iter()
            .copied()
            .filter(|n| n / EACH == thread)
            .collect();
        assert_eq!(
            own,
            (thread * EACH..(thread + 1) * EACH).collect::<Vec<_>>()
        );
    }
}

/// What was acknowledged is there after the log was opened anew, and offsets
/// go on where they were.
pub(crate) fn outlives_the_process(open: Open<'_>, partition: i32) {
    let topic = Topic::MessageSent;
    let log = open();
    let start = append(&*log, topic, partition, record(0));
    append_numbered(&*log, topic, partition, 1..100);
    drop(log);
    let log = open();
    let mut follower = log.follow(&[(topic, partition, start)]).expect("follows");
    assert_eq!(
        numbers(&collect(&mut *follower, 100)),
        (0..100).collect::<Vec<_>>()
    );
    assert_eq!(append(&*log, topic, partition, record(100)), start + 100);
}
