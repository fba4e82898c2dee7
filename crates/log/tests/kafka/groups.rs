use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tidings_log::{Delivery, Log, LogReader, SequencerEvent};
use tidings_wire::Topic;

use super::{DEADLINE, Place, assigned, poll_until};
use crate::conformance::{append_numbered, numbers};

/// A second sequencer joins and waits until the first has handed over; when the
/// first leaves, the second gets everything.
#[test]
fn partitions_are_handed_over_between_sequencers() {
    let place = Place::fresh(4);
    let log = place.open();
    let all: Vec<i32> = (0..4).collect();
    let mut first = log.sequencer().expect("joins");
    assert_eq!(assigned(&mut *first), all);
    for partition in &all {
        first.start(*partition, &[]).expect("starts");
    }
    append_numbered(&*log, Topic::MessageSent, 3, 0..10);
    let mut commands = Vec::new();
    poll_until(&mut [&mut *first], "commands", |_, event| {
        if let SequencerEvent::Command(stored) = event {
            commands.push(stored);
        }
        commands.len() == 10
    });

    let mut second = log.sequencer().expect("joins");
    let mut revoked = Vec::new();
    poll_until(&mut [&mut *first, &mut *second], "a revocation", |which, event| {
        match (which, event) {
            (0, SequencerEvent::Revoked(partitions)) => revoked = partitions,
            (_, other) => panic!("{which}: {other:?}"),
        }
        true
    });
    assert_eq!(revoked, all);
    // Until the first has stopped them all, the second is given nothing.
    append_numbered(&*log, Topic::MessageSent, 3, 10..20);
    for partition in [0, 1, 2] {
        first.stop(partition).expect("stops");
    }
    let until = Instant::now() + Duration::from_secs(1);
    poll_until(&mut [&mut *first, &mut *second], "time", |which, event| {
        panic!("{which}: {event:?}")
    })
    .then_if(Instant::now() < until);
    first.stop(3).expect("stops");

    let mut given = [BTreeSet::new(), BTreeSet::new()];
    poll_until(&mut [&mut *first, &mut *second], "new assignments", |which, event| {
        match event {
            SequencerEvent::Assigned(partitions) => given[which].extend(partitions),
            other => panic!("{which}: {other:?}"),
        }
        given.iter().map(BTreeSet::len).sum::<usize>() == 4
    });
    assert_eq!(given.each_ref().map(BTreeSet::len), [2, 2]);

    // The second goes on where the first had come to.
    assert!(given[1].contains(&3), "range gives the last to the last: {given:?}");
    second.start(3, &[(Topic::MessageSent, commands.last().expect("ten").offset + 1)]).expect("");
    let mut rest = Vec::new();
    poll_until(&mut [&mut *first, &mut *second], "the rest", |_, event| {
        if let SequencerEvent::Command(stored) = event {
            rest.push(stored);
        }
        rest.len() == 10
    });
    assert_eq!(numbers(&rest), (10..20).collect::<Vec<_>>());

    drop(first);
    let mut taken = BTreeSet::new();
    let mut to_stop = Vec::new();
    while taken.len() < 4 {
        poll_until(&mut [&mut *second], "the partitions of the first", |_, event| {
            match event {
                SequencerEvent::Revoked(partitions) => to_stop = partitions,
                SequencerEvent::Assigned(partitions) => taken.extend(partitions),
                other => panic!("{other:?}"),
            }
            true
        });
        for partition in to_stop.drain(..) {
            second.stop(partition).expect("stops");
        }
    }
}
