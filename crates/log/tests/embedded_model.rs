//! The embedded log against a model of it, a `Vec` for each partition.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::bounded;
use proptest::prelude::*;
use tidings_domain::Timestamp;
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{Appender, Follower, LogReader};
use tidings_sqlite::Database;
use tidings_wire::{Headers, Record, Stored, Topic, names};

const PARTITIONS: i32 = 2;
const TOPICS: [Topic; 2] = [Topic::MessageSent, Topic::MessageDelivered];
const ALL: [(Topic, i32); 4] = [
    (TOPICS[0], 0),
    (TOPICS[0], 1),
    (TOPICS[1], 0),
    (TOPICS[1], 1),
];

#[derive(Clone, Debug)]
enum Step {
    /// Appends these together, and waits for all.
    Append(Vec<(usize, Record)>),
    /// A follower of everything polls for up to so many.
    Poll(usize),
    /// The follower starts anew, so far before each end.
    Follow(i64),
    /// The log is closed and opened; with it the follower, where it stood.
    Reopen,
}

fn any_bytes() -> impl Strategy<Value = Option<Bytes>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from))
}

fn any_record() -> impl Strategy<Value = Record> {
    (any_bytes(), any_bytes(), any_bytes(), any::<i32>()).prop_map(|(key, value, header, at)| {
        let mut headers = Headers::default();
        if let Some(header) = header {
            headers.push(names::CE_ID, header);
        }
        Record {
            key,
            value,
            headers,
            timestamp: Timestamp(i64::from(at)),
        }
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let appends = prop::collection::vec((0..ALL.len(), any_record()), 1..12);
    prop_oneof![
        4 => appends.prop_map(Step::Append),
        4 => (1_usize..20).prop_map(Step::Poll),
        1 => (0_i64..10).prop_map(Step::Follow),
        1 => Just(Step::Reopen),
    ]
}

/// The log, the model of it, and a follower with the offsets it should give.
struct Pair<'a> {
    dir: &'a Path,
    log: Option<EmbeddedLog>,
    model: [Vec<Record>; 4],
    follower: Option<Box<dyn Follower>>,
    next: [i64; 4],
}

impl Pair<'_> {
    fn open(&mut self) {
        self.follower = None;
        self.log = None;
        let database = Database::open(self.dir).expect("opens");
        self.log = Some(EmbeddedLog::open(database, PARTITIONS).expect("opens the log"));
        self.follow();
    }

    fn log(&self) -> &EmbeddedLog {
        self.log.as_ref().expect("is open")
    }

    fn follow(&mut self) {
        let starts: Vec<_> = ALL
            .iter()
            .zip(self.next)
            .map(|(&(topic, p), from)| (topic, p, from))
            .collect();
        self.follower = Some(self.log().follow(&starts).expect("follows"));
    }

    fn append(&mut self, records: Vec<(usize, Record)>) {
        let mut ends = Vec::new();
        for (at, record) in records {
            let (done, ended) = bounded(1);
            let (topic, partition) = ALL[at];
            let done = Box::new(move |result| done.send(result).expect("the test waits"));
            self.log().append(topic, partition, record.clone(), done);
            ends.push((self.model[at].len() as i64, ended));
            self.model[at].push(record);
        }
        for (expected, ended) in ends {
            assert_eq!(ended.recv().expect("ends"), Ok(expected));
        }
    }

    fn poll(&mut self, max: usize) {
        let mut stored = Vec::new();
        let follower = self.follower.as_mut().expect("follows");
        follower
            .poll(max, Duration::ZERO, &mut stored)
            .expect("polls");
        let left: i64 = self
            .model
            .iter()
            .zip(self.next)
            .map(|(m, n)| m.len() as i64 - n)
            .sum();
        assert_eq!(stored.len() as i64, left.min(max as i64));
        let places: HashMap<_, _> = ALL
            .iter()
            .enumerate()
            .map(|(at, place)| (*place, at))
            .collect();
        for Stored {
            topic,
            partition,
            offset,
            record,
        } in stored
        {
            let at = places[&(topic, partition)];
            assert_eq!(offset, self.next[at]);
            assert_eq!(record, self.model[at][offset as usize]);
            self.next[at] += 1;
        }
    }

    fn check_watermarks(&self) {
        for (&(topic, partition), model) in ALL.iter().zip(&self.model) {
            let watermarks = self.log().watermarks(topic, partition);
            assert_eq!(watermarks, Ok((0, model.len() as i64)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn agrees_with_the_model(steps in prop::collection::vec(any_step(), 1..40)) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut pair = Pair {
            dir: dir.path(),
            log: None,
            model: [const { Vec::new() }; 4],
            follower: None,
            next: [0; 4],
        };
        pair.open();
        for step in steps {
            match step {
                Step::Append(records) => pair.append(records),
                Step::Poll(max) => pair.poll(max),
                Step::Follow(back) => {
                    for (next, model) in pair.next.iter_mut().zip(&pair.model) {
                        *next = (model.len() as i64 - back).max(0);
                    }
                    pair.follow();
                }
                Step::Reopen => pair.open(),
            }
            pair.check_watermarks();
        }
    }
}
