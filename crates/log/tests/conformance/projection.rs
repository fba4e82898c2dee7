use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tidings_log::{Delivery, Log, Mark};
use tidings_wire::Topic;

use super::{DEADLINE, append_numbered, numbers};

pub(crate) fn is_given_every_partition(log: &dyn Log, partition: i32) {
    let topic = Topic::MessageDelivered;
    let (_, start) = log.watermarks(topic, partition).expect("watermarks");
    append_numbered(log, topic, partition, 0..120);
    let mut projection = log.projection("history").expect("a projection");
    let deadline = Instant::now() + DEADLINE;
    let mut assigned = BTreeSet::new();
    while assigned.len() < log.partitions() as usize {
        assert!(Instant::now() < deadline, "only {assigned:?} were assigned");
        match projection
            .poll(100, Duration::from_millis(200))
            .expect("polls")
        {
            Delivery::Assigned(partitions) => assigned.extend(partitions),
            Delivery::Revoked(partitions) => panic!("revoked: {partitions:?}"),
            Delivery::Records(records) => assert_eq!(records, [], "before the start"),
        }
    }
    let (_, end) = log.watermarks(topic, partition).expect("watermarks");
    assert_eq!(end, start + 120);

    // From where it says, and nothing of what it did not start.
    projection
        .start(&[(partition, start + 20)])
        .expect("starts");
    let mut stored = Vec::new();
    while stored.len() < 100 {
        assert!(
            Instant::now() < deadline,
            "only {} of 100 came",
            stored.len()
        );
        match projection
            .poll(30, Duration::from_millis(200))
            .expect("polls")
        {
            Delivery::Records(records) => stored.extend(records),
            other => panic!("unasked for: {other:?}"),
        }
    }
    assert_eq!(numbers(&stored), (20..120).collect::<Vec<_>>());
    assert!(stored.iter().all(|s| s.partition == partition));
    projection
        .commit(&[(
            partition,
            Mark {
                offset: end,
                current: None,
            },
        )])
        .expect("commits");
}
