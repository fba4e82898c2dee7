use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidings_sqlite::Database;
use tidings_wire::{Record, Stored, Topic};

use super::EmbeddedLog;
use super::follower::Cursors;
use super::layout::Layout;
use super::queue::{Fence, Limit, Place};
use super::signal::{Signal, Topics};
use super::store::{note, write_mark, write_progress};
use crate::{AppendDone, AppendError, LogError, Mark, SequencerEvent, SequencerLog};

/// The name under which a sequencer's progress is noted.
const CONSUMER: &str = "sequencer";

/// The sequencer's side: every partition is its own from the first poll on.
pub(super) struct EmbeddedSequencer {
    log: EmbeddedLog,
    cursors: Cursors,
    signal: Arc<Signal>,
    assigned: bool,
    producers: HashMap<i32, Producer>,
    ended: Arc<Mutex<Vec<SequencerEvent>>>,
    /// Reused for what the cursors give.
    commands: Vec<Stored>,
}

/// What it produces into one partition.
#[derive(Debug, Default)]
struct Producer {
    fence: Arc<Fence>,
    /// Records given so far.
    given: u64,
    /// Records whose end was not told yet.
    open: usize,
    /// Commands of the partition are delivered.
    started: bool,
}

impl Producer {
    /// Takes records again after a failure.
    fn renew(&mut self) {
        if self.fence.is_closed() {
            self.fence = Arc::default();
        }
    }
}

impl EmbeddedSequencer {
    pub(super) fn new(log: EmbeddedLog) -> Self {
        let signal = Arc::new(Signal::default());
        let shared = log.shared();
        shared.listeners.add(Topics::of(Topic::COMMANDS), &signal);
        let cursors =
            Cursors::of_tail(log.store().clone(), Arc::clone(shared), Arc::clone(&signal));
        Self {
            log,
            cursors,
            signal,
            assigned: false,
            producers: HashMap::new(),
            ended: Arc::default(),
            commands: Vec::new(),
        }
    }

    fn layout(&self) -> Layout {
        self.log.store().layout
    }

    fn database(&self) -> &Database {
        &self.log.store().database
    }

    /// Tells what is there, without waiting.
    fn take(&mut self, max: usize, into: &mut Vec<SequencerEvent>) -> Result<(), LogError> {
        if !self.assigned {
            self.assigned = true;
            into.push(SequencerEvent::Assigned(
                (0..self.layout().partitions()).collect(),
            ));
        }
        // Before the ends are taken: an end that comes later raises it again.
        self.cursors.take(max, &mut self.commands)?;
        let ended = std::mem::take(&mut *self.ended.lock());
        for event in &ended {
            if let SequencerEvent::Produced { partition, .. } = event
                && let Some(producer) = self.producers.get_mut(partition)
            {
                producer.open -= 1;
                // A claim that failed is tried again without a start or stop.
                if producer.open == 0 && !producer.started {
                    producer.renew();
                }
            }
        }
        into.extend(ended);
        into.extend(self.commands.drain(..).map(SequencerEvent::Command));
        Ok(())
    }
}

impl SequencerLog for EmbeddedSequencer {
    fn poll(
        &mut self,
        max: usize,
        timeout: Duration,
        into: &mut Vec<SequencerEvent>,
    ) -> Result<(), LogError> {
        let deadline = Instant::now() + timeout;
        let given = into.len();
        loop {
            self.take(max, into)?;
            if into.len() > given || !self.cursors.wait(deadline) {
                return Ok(());
            }
        }
    }

    fn start(&mut self, partition: i32, next: &[(Topic, i64)]) -> Result<(), LogError> {
        for topic in Topic::COMMANDS {
            let from = next
                .iter()
                .find(|(t, _)| *t == topic)
                .map_or(0, |(_, offset)| *offset);
            self.cursors.start(topic, partition, from)?;
        }
        let producer = self.producers.entry(partition).or_default();
        producer.started = true;
        Ok(())
    }

    fn stop(&mut self, partition: i32) -> Result<(), LogError> {
        for topic in Topic::COMMANDS {
            self.cursors.stop(topic, partition);
        }
        let producer = self.producers.entry(partition).or_default();
        producer.started = false;
        producer.renew();
        Ok(())
    }

    fn produce(&mut self, topic: Topic, partition: i32, record: Record, token: u64) {
        let producer = self.producers.entry(partition).or_default();
        producer.open += 1;
        let (ended, signal) = (Arc::clone(&self.ended), Arc::clone(&self.signal));
        let done: AppendDone = Box::new(move |result| {
            let result = result.map_err(|error| match error {
                AppendError::TooLarge => LogError::Fatal(error.to_string()),
                AppendError::Saturated | AppendError::Unavailable(_) => {
                    LogError::Unavailable(error.to_string())
                }
            });
            ended.lock().push(SequencerEvent::Produced {
                token,
                partition,
                result,
            });
            signal.raise();
        });
        let place = Place {
            fence: Arc::clone(&producer.fence),
            ordinal: producer.given,
        };
        producer.given += 1;
        self.log.push(
            topic,
            partition,
            record,
            done,
            Some(place),
            Limit::SEQUENCER,
        );
    }

    fn commit(
        &mut self,
        partition: i32,
        next: &[(Topic, i64)],
        mark: Mark,
    ) -> Result<(), LogError> {
        let next = next.to_vec();
        note(self.database(), move |connection| {
            write_mark(connection, partition, mark)?;
            for (topic, next) in next {
                write_progress(connection, CONSUMER, topic.name(), partition, next)?;
            }
            Ok(())
        });
        Ok(())
    }
}
