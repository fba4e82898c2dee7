use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tidings_log::{Delivery, ProjectionSource, SequencerEvent, SequencerLog};
use tidings_wire::{Stored, Topic};

use super::{DEADLINE, Place, assigned, poll_until};
use crate::conformance::{append_numbered, numbers};

/// Polls for a while, in which nothing may happen.
fn nothing_happens(sequencers: &mut [&mut dyn SequencerLog], duration: Duration) {
    let until = Instant::now() + duration;
    let mut events = Vec::new();
    while Instant::now() < until {
        for sequencer in sequencers.iter_mut() {
            sequencer
                .poll(100, Duration::from_millis(20), &mut events)
                .expect("polls");
        }
        assert_eq!(events, []);
    }
}

fn commands(sequencer: &mut dyn SequencerLog, count: usize) -> Vec<Stored> {
    let mut commands = Vec::new();
    poll_until(&mut [sequencer], "commands", |_, event| {
        match event {
            SequencerEvent::Command(stored) => commands.push(stored),
            other => panic!("among commands: {other:?}"),
        }
        commands.len() >= count
    });
    commands
}

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
    let next = commands(&mut *first, 10).last().expect("ten").offset + 1;

    let mut second = log.sequencer().expect("joins");
    let mut revoked = Vec::new();
    poll_until(
        &mut [&mut *first, &mut *second],
        "a revocation",
        |which, event| {
            match (which, event) {
                (0, SequencerEvent::Revoked(partitions)) => revoked = partitions,
                (_, other) => panic!("{which}: {other:?}"),
            }
            true
        },
    );
    assert_eq!(revoked, all);
    // Until the first has stopped them all, nobody is given anything.
    append_numbered(&*log, Topic::MessageSent, 3, 10..20);
    for partition in [0, 1, 2] {
        first.stop(partition).expect("stops");
    }
    nothing_happens(&mut [&mut *first, &mut *second], Duration::from_secs(1));
    first.stop(3).expect("stops");

    let mut given = [BTreeSet::new(), BTreeSet::new()];
    poll_until(
        &mut [&mut *first, &mut *second],
        "new assignments",
        |which, event| {
            match event {
                SequencerEvent::Assigned(partitions) => given[which].extend(partitions),
                other => panic!("{which}: {other:?}"),
            }
            given.iter().map(BTreeSet::len).sum::<usize>() == 4
        },
    );
    assert_eq!(given.each_ref().map(BTreeSet::len), [2, 2]);

    // Whoever has it now goes on where the first had come to.
    let owner = if given[0].contains(&3) {
        &mut first
    } else {
        &mut second
    };
    owner
        .start(3, &[(Topic::MessageSent, next)])
        .expect("starts");
    assert_eq!(
        numbers(&commands(&mut **owner, 10)),
        (10..20).collect::<Vec<_>>()
    );

    drop(first);
    let mut taken = BTreeSet::new();
    while taken.len() < 4 {
        let mut to_stop = Vec::new();
        poll_until(
            &mut [&mut *second],
            "the partitions of the first",
            |_, event| {
                match event {
                    SequencerEvent::Revoked(partitions) => to_stop = partitions,
                    SequencerEvent::Assigned(partitions) => taken.extend(partitions),
                    other => panic!("{other:?}"),
                }
                true
            },
        );
        for partition in to_stop {
            second.stop(partition).expect("stops");
        }
    }
}

/// One that does not poll for too long finds its partitions lost, and joins
/// again.
#[test]
fn a_sequencer_that_hangs_loses_its_partitions() {
    let mut place = Place::fresh(2);
    place.config.max_poll_interval_ms = 6_000;
    let log = place.open();
    let mut hanging = log.sequencer().expect("joins");
    assert_eq!(assigned(&mut *hanging), [0, 1]);
    hanging.start(0, &[]).expect("starts");

    let mut other = log.sequencer().expect("joins");
    assert_eq!(assigned(&mut *other), [0, 1], "the first never answered");
    let mut lost = Vec::new();
    poll_until(&mut [&mut *hanging], "a loss", |_, event| match event {
        SequencerEvent::Lost(partitions) => {
            lost = partitions;
            true
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(lost, [0, 1]);
    // Both live on, with a partition each.
    let mut given = [0, 0];
    let mut to_stop = Vec::new();
    while given != [1, 1] {
        poll_until(
            &mut [&mut *hanging, &mut *other],
            "a partition each",
            |which, event| {
                match event {
                    SequencerEvent::Revoked(partitions) => to_stop.push((which, partitions)),
                    SequencerEvent::Assigned(partitions) => given[which] = partitions.len(),
                    other => panic!("{which}: {other:?}"),
                }
                true
            },
        );
        for (which, partitions) in to_stop.drain(..) {
            let one = if which == 0 { &mut hanging } else { &mut other };
            for partition in partitions {
                one.stop(partition).expect("stops");
            }
        }
    }
}

/// One that polls but does not stop what is revoked is told that it is lost,
/// and the group goes on.
#[test]
fn what_is_not_handed_over_in_time_is_lost() {
    let mut place = Place::fresh(2);
    place.config.max_poll_interval_ms = 6_000;
    let log = place.open();
    let mut stubborn = log.sequencer().expect("joins");
    assert_eq!(assigned(&mut *stubborn), [0, 1]);
    let mut other = log.sequencer().expect("joins");
    let mut seen = Vec::new();
    poll_until(
        &mut [&mut *stubborn, &mut *other],
        "a loss",
        |which, event| {
            if which == 0 {
                seen.push(event);
            }
            seen.len() == 2
        },
    );
    let expected = [
        SequencerEvent::Revoked(vec![0, 1]),
        SequencerEvent::Lost(vec![0, 1]),
    ];
    assert_eq!(seen, expected);
}

/// Dropped in the middle of a hand-over that nobody will answer any more.
#[test]
fn dropping_a_sequencer_does_not_hang() {
    let place = Place::fresh(2);
    let log = place.open();
    let mut first = log.sequencer().expect("joins");
    assigned(&mut *first);
    let mut second = log.sequencer().expect("joins");
    poll_until(&mut [&mut *first, &mut *second], "a revocation", |_, _| {
        true
    });
    let start = Instant::now();
    drop(first);
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "took {:?}",
        start.elapsed()
    );
    // It has left the group, and not merely gone silent.
    let start = Instant::now();
    assert_eq!(assigned(&mut *second), [0, 1]);
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "took {:?}",
        start.elapsed()
    );
}

fn next_event(source: &mut dyn ProjectionSource) -> Delivery {
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "nothing came");
        match source.poll(100, Duration::from_millis(200)).expect("polls") {
            Delivery::Records(records) if records.is_empty() => {}
            other => return other,
        }
    }
}

/// Two of a projection share the partitions; each is told what it has.
#[test]
fn projections_of_one_name_share_the_partitions() {
    let place = Place::fresh(2);
    let log = place.open();
    append_numbered(&*log, Topic::MessageDelivered, 1, 0..5);
    let mut first = log.projection("history").expect("joins");
    assert_eq!(next_event(&mut *first), Delivery::Assigned(vec![0, 1]));
    first.start(&[(0, 0), (1, 2)]).expect("starts");
    let Delivery::Records(records) = next_event(&mut *first) else {
        panic!("no records")
    };
    assert_eq!(numbers(&records), [2, 3, 4]);

    let place = &place;
    let (told, tells) = crossbeam_channel::bounded(10);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut second = place.open().projection("history").expect("joins");
            let Delivery::Assigned(partitions) = next_event(&mut *second) else {
                panic!()
            };
            told.send(partitions).expect("somebody listens");
        });
        assert_eq!(next_event(&mut *first), Delivery::Revoked(vec![0, 1]));
        let Delivery::Assigned(left) = next_event(&mut *first) else {
            panic!("no partition")
        };
        let other = tells.recv_timeout(DEADLINE).expect("is told");
        assert_eq!((left.len(), other.len()), (1, 1));
        assert_ne!(left, other);
    });
    // The other has left.
    assert!(matches!(next_event(&mut *first), Delivery::Revoked(_)));
    assert_eq!(next_event(&mut *first), Delivery::Assigned(vec![0, 1]));
}
