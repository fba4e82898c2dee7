use std::time::{Duration, Instant};

use tidings_domain::{Epoch, OwnerId, Ownership};
use tidings_log::{Log, Mark, SequencerEvent, SequencerLog};
use tidings_wire::{Stored, Topic};
use uuid::Uuid;

use super::{DEADLINE, append_numbered, collect, numbers, record};

/// Polls until `until` says that it has seen enough.
fn poll_until(
    sequencer: &mut dyn SequencerLog,
    what: &str,
    mut until: impl FnMut(SequencerEvent) -> bool,
) {
    let deadline = Instant::now() + DEADLINE;
    let mut events = Vec::new();
    loop {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sequencer
            .poll(100, Duration::from_millis(200), &mut events)
            .expect("polls");
        let mut enough = false;
        for event in events.drain(..) {
            enough |= until(event);
        }
        if enough {
            return;
        }
    }
}

pub(crate) fn takes_commands_and_produces(log: &dyn Log, partition: i32) {
    let starts: Vec<(Topic, i64)> = Topic::COMMANDS
        .into_iter()
        .map(|topic| {
            (
                topic,
                log.watermarks(topic, partition).expect("watermarks").1,
            )
        })
        .collect();
    let mut sequencer = log.sequencer().expect("a sequencer");
    let mut assigned = Vec::new();
    poll_until(&mut *sequencer, "every partition", |event| {
        match event {
            SequencerEvent::Assigned(partitions) => assigned.extend(partitions),
            other => panic!("before any start: {other:?}"),
        }
        assigned.len() == log.partitions() as usize
    });
    assigned.sort_unstable();
    assert_eq!(assigned, (0..log.partitions()).collect::<Vec<_>>());

    // It produces before it takes commands: its claim.
    let topic = Topic::MessageDelivered;
    let (_, end) = log.watermarks(topic, partition).expect("watermarks");
    produce_in_order(&mut *sequencer, topic, partition, end, 0..1);

    // Each command topic in order from where it was to begin.
    for (topic, _) in &starts {
        append_numbered(log, *topic, partition, 0..50);
    }
    let next: Vec<(Topic, i64)> = starts.iter().map(|(topic, at)| (*topic, at + 10)).collect();
    sequencer.start(partition, &next).expect("starts");
    let commands = take_commands(&mut *sequencer, 6 * 40);
    for (topic, _) in &starts {
        let own: Vec<Stored> = commands
            .iter()
            .filter(|c| c.topic == *topic)
            .cloned()
            .collect();
        assert_eq!(numbers(&own), (10..50).collect::<Vec<_>>(), "{topic}");
    }

    produce_in_order(&mut *sequencer, topic, partition, end + 1, 1..300);
    let mut follower = log.follow(&[(topic, partition, end)]).expect("follows");
    assert_eq!(
        numbers(&collect(&mut *follower, 300)),
        (0..300).collect::<Vec<_>>()
    );

    leaves_marks(log, &mut *sequencer, partition, &next);

    // Stopped: nothing more of it, until it is started anew, from anywhere.
    sequencer.stop(partition).expect("stops");
    append_numbered(log, Topic::MessageSent, partition, 50..60);
    let mut events = Vec::new();
    sequencer
        .poll(100, Duration::from_millis(300), &mut events)
        .expect("polls");
    assert_eq!(events, []);
    let at_end = |topic| {
        (
            topic,
            log.watermarks(topic, partition).expect("watermarks").1,
        )
    };
    let mut next: Vec<(Topic, i64)> = Topic::COMMANDS.map(at_end).to_vec();
    for (topic, offset) in &mut next {
        if *topic == Topic::MessageSent {
            *offset -= 15;
        }
    }
    sequencer.start(partition, &next).expect("starts again");
    let again = take_commands(&mut *sequencer, 15);
    assert_eq!(numbers(&again), (45..60).collect::<Vec<_>>());
    sequencer.stop(partition).expect("stops");
}

fn take_commands(sequencer: &mut dyn SequencerLog, count: usize) -> Vec<Stored> {
    let mut commands = Vec::new();
    poll_until(sequencer, "commands", |event| {
        match event {
            SequencerEvent::Command(stored) => commands.push(stored),
            other => panic!("among commands: {other:?}"),
        }
        commands.len() >= count
    });
    assert_eq!(commands.len(), count);
    commands
}

fn produce_in_order(
    sequencer: &mut dyn SequencerLog,
    topic: Topic,
    partition: i32,
    first: i64,
    numbers: std::ops::Range<i64>,
) {
    for n in numbers.clone() {
        sequencer.produce(topic, partition, record(n), n as u64);
    }
    let expected: Vec<_> = (first..)
        .zip(numbers)
        .map(|(offset, n)| (n as u64, offset))
        .collect();
    let mut produced = Vec::new();
    poll_until(sequencer, "what was produced", |event| {
        match event {
            SequencerEvent::Produced {
                token,
                partition: at,
                result,
            } => {
                assert_eq!(at, partition);
                produced.push((token, result.expect("produces")));
            }
            other => panic!("among what was produced: {other:?}"),
        }
        produced.len() == expected.len()
    });
    assert_eq!(produced, expected);
}

fn leaves_marks(
    log: &dyn Log,
    sequencer: &mut dyn SequencerLog,
    partition: i32,
    next: &[(Topic, i64)],
) {
    assert_eq!(log.mark(partition).expect("reads the mark"), None);
    for n in [100, 200] {
        let owner = OwnerId(Uuid::from_u128(u128::MAX - n));
        let current = Some(Ownership {
            epoch: Epoch(n as u64),
            owner,
        });
        let mark = Mark {
            offset: n as i64,
            current,
        };
        sequencer
            .commit(partition, next, mark)
            .expect("leaves a mark");
        let deadline = Instant::now() + DEADLINE;
        // A commit may be on its way for a while.
        while log.mark(partition).expect("reads the mark") != Some(mark) {
            assert!(Instant::now() < deadline, "the mark does not appear");
            let mut events = Vec::new();
            sequencer
                .poll(1, Duration::from_millis(50), &mut events)
                .expect("polls");
            assert_eq!(events, []);
        }
    }
}
