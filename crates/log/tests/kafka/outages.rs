use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidings_domain::Timestamp;
use tidings_log::SequencerEvent;
use tidings_wire::{Record, Stored, Topic};

use super::broker::Broker;
use super::{DEADLINE, Place, assigned, poll_until};
use crate::conformance::{collect, start_append};

/// A record numbered `n`, of now. After a crash a broker forgets the producers
/// whose last record is dated more than a day ago (`producer.id.expiration.ms`
/// goes by the records' timestamps), and then takes a retried batch twice.
fn record(n: i64) -> Record {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let timestamp = Timestamp(now.as_millis() as i64);
    Record {
        timestamp,
        ..crate::conformance::record(n)
    }
}

fn numbers(stored: &[Stored]) -> Vec<i64> {
    let number = |stored: &Stored| {
        let key = stored.record.key.as_deref().map(String::from_utf8_lossy)?;
        key.strip_prefix("key-")?.parse().ok()
    };
    stored
        .iter()
        .map(|stored| number(stored).expect("a number"))
        .collect()
}

/// The broker is killed and started again while records are appended and
/// followed: those acknowledged are there once, in order, and the follower
/// sees each once.
#[test]
fn a_restart_of_the_broker_loses_and_doubles_nothing() {
    const COUNT: i64 = 3_000;
    let mut broker = Broker::start();
    let place = Place::on(&broker.address(), 2);
    let log = place.open();
    let topic = Topic::MessageDelivered;
    let mut follower = log.follow(&[(topic, 0, 0)]).expect("follows");
    let reading = std::thread::spawn(move || collect(&mut *follower, COUNT as usize));

    let appending = {
        let log = Arc::clone(&log);
        std::thread::spawn(move || {
            let ends: Vec<_> = (0..COUNT)
                .map(|n| {
                    // Spread over the time in which the broker is away.
                    std::thread::sleep(Duration::from_millis(2));
                    start_append(&*log, topic, 0, record(n))
                })
                .collect();
            ends.into_iter()
                .map(|end| end.recv_timeout(DEADLINE).expect("ends"))
                .collect::<Vec<_>>()
        })
    };
    tidings_testkit::eventually(DEADLINE, || {
        log.watermarks(topic, 0).is_ok_and(|(_, high)| high > 500)
    });
    broker.kill();
    broker.start_again();

    let offsets = appending.join().expect("no panic");
    for (n, result) in (0..).zip(&offsets) {
        assert_eq!(*result, Ok(n), "record {n}");
    }
    let stored = reading.join().expect("no panic");
    assert_eq!(numbers(&stored), (0..COUNT).collect::<Vec<_>>());
    assert!(
        (0..)
            .zip(&stored)
            .all(|(offset, stored)| stored.offset == offset)
    );
}

/// A sequencer lives through a restart of the broker that is shorter than its
/// session, with all it produced.
#[test]
fn a_sequencer_outlives_a_restart_of_the_broker() {
    const COUNT: u64 = 200;
    let mut broker = Broker::start();
    let mut place = Place::on(&broker.address(), 1);
    place.config.session_timeout_ms = 45_000;
    let log = place.open();
    let mut sequencer = log.sequencer().expect("joins");
    assert_eq!(assigned(&mut *sequencer), [0]);
    sequencer.start(0, &[]).expect("starts");
    broker.kill();
    for n in 0..COUNT {
        sequencer.produce(Topic::MessageDelivered, 0, record(n as i64), n);
    }
    broker.start_again();
    let sent = start_append(&*log, Topic::MessageSent, 0, record(7));
    let mut produced = Vec::new();
    let mut commands = Vec::new();
    poll_until(&mut [&mut *sequencer], "what was produced", |_, event| {
        match event {
            SequencerEvent::Produced { token, result, .. } => produced.push((token, result)),
            SequencerEvent::Command(stored) => commands.push(stored),
            // The coordinator may have forgotten it; not what this is about.
            _ => {}
        }
        produced.len() == COUNT as usize && !commands.is_empty()
    });
    let expected: Vec<_> = (0..COUNT).map(|n| (n, Ok(n as i64))).collect();
    assert_eq!(produced, expected);
    assert_eq!(numbers(&commands), [7]);
    assert_eq!(sent.recv_timeout(DEADLINE).expect("ends"), Ok(0));
}

/// While the broker does not answer a produce fails in the end, and all of its
/// partition behind it, also what is given only then; other partitions and
/// what comes after a stop are taken.
#[test]
fn none_is_appended_after_one_that_failed() {
    let broker = Broker::start();
    let mut place = Place::on(&broker.address(), 2);
    place.config.produce_timeout_ms = 2_000;
    place.config.session_timeout_ms = 45_000;
    let log = place.open();
    let mut sequencer = log.sequencer().expect("joins");
    assert_eq!(assigned(&mut *sequencer), [0, 1]);
    let topic = Topic::MessageDelivered;

    broker.freeze();
    for token in 0..100 {
        sequencer.produce(topic, 0, record(token as i64), token);
    }
    let start = Instant::now();
    let mut failed = Vec::new();
    poll_until(&mut [&mut *sequencer], "failures", |_, event| {
        if let SequencerEvent::Produced { token, result, .. } = event {
            assert!(result.is_err(), "the broker is frozen");
            failed.push(token);
        }
        failed.len() == 100
    });
    failed.sort_unstable();
    assert_eq!(failed, (0..100).collect::<Vec<_>>());
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "took {:?}",
        start.elapsed()
    );

    // Not yet stopped: refused at once. Another partition: taken.
    sequencer.produce(topic, 0, record(1_000), 1_000);
    sequencer.produce(topic, 1, record(1_001), 1_001);
    broker.thaw();
    let mut results = Vec::new();
    poll_until(&mut [&mut *sequencer], "both", |_, event| {
        if let SequencerEvent::Produced { token, result, .. } = event {
            results.push((token, result.is_ok()));
        }
        results.len() == 2
    });
    results.sort_unstable();
    assert_eq!(results, [(1_000, false), (1_001, true)]);

    // Stopped: taken again, as a claim would be.
    sequencer.stop(0).expect("stops");
    sequencer.produce(topic, 0, record(2_000), 2_000);
    let mut claim = None;
    poll_until(&mut [&mut *sequencer], "the claim", |_, event| {
        if let SequencerEvent::Produced {
            token: 2_000,
            result,
            ..
        } = event
        {
            claim = Some(result.expect("is taken"));
        }
        claim.is_some()
    });
    // Of those that failed, some may be there all the same; then in order.
    let claim = claim.expect("is there");
    let mut follower = log.follow(&[(topic, 0, 0)]).expect("follows");
    let there = numbers(&collect(&mut *follower, claim as usize + 1));
    let (last, before) = there.split_last().expect("the claim");
    assert_eq!(*last, 2_000);
    assert_eq!(before, (0..before.len() as i64).collect::<Vec<_>>());
}

/// Everything is dropped while the broker does not answer.
#[test]
fn dropping_does_not_wait_for_a_broker() {
    let mut broker = Broker::start();
    let place = Place::on(&broker.address(), 2);
    let log = place.open();
    let mut sequencer = log.sequencer().expect("joins");
    assigned(&mut *sequencer);
    let mut follower = log
        .follow(&[(Topic::MessageDelivered, 0, 0)])
        .expect("follows");
    follower
        .poll(1, Duration::from_millis(100), &mut Vec::new())
        .expect("polls");
    broker.kill();
    let waiting = start_append(&*log, Topic::MessageSent, 0, record(0));
    let start = Instant::now();
    drop(follower);
    let follower_took = start.elapsed();
    drop(sequencer);
    let sequencer_took = start.elapsed() - follower_took;
    drop(log);
    let took = [
        follower_took,
        sequencer_took,
        start.elapsed() - follower_took - sequencer_took,
    ];
    assert!(
        took.iter().all(|took| *took < Duration::from_secs(5)),
        "{took:?}"
    );
    assert!(waiting.recv_timeout(DEADLINE).expect("ends").is_err());
}
