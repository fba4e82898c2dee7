use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_wire::{Record, Topic};

use super::config::{KafkaConfig, Pace};
use super::fetcher::Fetcher;
use super::mark;
use super::membership::{GroupEvent, Membership};
use super::names::Names;
use super::ordered::{Ended, OrderedProducer};
use crate::{LogError, Mark, SequencerEvent, SequencerLog};

/// How often to look for what the group says while no commands come.
const GROUP_INTERVAL: Duration = Duration::from_millis(20);
/// How often to look for acknowledgements while no commands come.
const ACK_INTERVAL: Duration = Duration::from_millis(2);

/// A sequencer's side of Kafka.
pub(super) struct KafkaSequencer {
    // First, so that it is dropped first: others get the partitions sooner.
    membership: Membership,
    fetcher: Fetcher,
    producer: OrderedProducer,
    names: Arc<Names>,
    max_poll_interval: Duration,
    assigned: BTreeSet<i32>,
    hand_over: Option<HandOver>,
}

/// Partitions that are to be given up, and are not stopped yet.
struct HandOver {
    left: BTreeSet<i32>,
    /// When the group stops waiting. The client does not tell: while it waits
    /// for the answer to a revocation it takes no notice of having been thrown
    /// out (`rd_kafka_cgrp_revoke_all_rejoin_maybe`).
    deadline: Instant,
}

impl KafkaSequencer {
    pub(super) fn join(config: &KafkaConfig, names: Arc<Names>) -> Result<Self, LogError> {
        // With message.delivered, of which it gets the same partitions: the
        // broker lets a group's offsets expire, and the marks are among them,
        // unless the group is subscribed to their topic.
        let topics = Topic::COMMANDS.into_iter().chain([Topic::MessageDelivered]);
        let topics: Vec<&str> = topics.map(|topic| names.of(topic)).collect();
        let membership = Membership::join(config, &names.group("sequencer"), &topics)?;
        Ok(Self {
            membership,
            fetcher: Fetcher::new(config, Arc::clone(&names), Pace::Urgent)?,
            producer: OrderedProducer::new(config, Arc::clone(&names))?,
            names,
            max_poll_interval: config.max_poll_interval(),
            assigned: BTreeSet::new(),
            hand_over: None,
        })
    }

    fn serve_group(&mut self, into: &mut Vec<SequencerEvent>) -> Result<(), LogError> {
        while let Some(event) = self.membership.poll()? {
            match event {
                GroupEvent::Assigned(partitions) => {
                    self.membership.accept()?;
                    self.assigned = partitions.iter().copied().collect();
                    if !partitions.is_empty() {
                        into.push(SequencerEvent::Assigned(partitions));
                    }
                }
                GroupEvent::Revoked { partitions, lost } => {
                    self.fetcher.remove(commands_of(&partitions))?;
                    self.assigned.clear();
                    if lost || partitions.is_empty() {
                        self.lose(&partitions);
                        self.membership.release()?;
                    } else {
                        let left = partitions.iter().copied().collect();
                        let deadline = Instant::now() + self.max_poll_interval;
                        self.hand_over = Some(HandOver { left, deadline });
                    }
                    if !partitions.is_empty() {
                        into.push(match lost {
                            true => SequencerEvent::Lost(partitions),
                            false => SequencerEvent::Revoked(partitions),
                        });
                    }
                }
            }
        }
        if let Some(late) = self.hand_over.take_if(|it| it.deadline <= Instant::now()) {
            let partitions: Vec<i32> = late.left.into_iter().collect();
            tracing::warn!(?partitions, "partitions were not handed over in time");
            self.lose(&partitions);
            self.membership.release()?;
            into.push(SequencerEvent::Lost(partitions));
        }
        Ok(())
    }

    fn lose(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.producer.reopen(*partition);
        }
    }

    fn serve_producer(&mut self, into: &mut Vec<SequencerEvent>) -> Result<(), LogError> {
        self.producer.serve(
            |Ended {
                 token,
                 partition,
                 result,
             }| {
                into.push(SequencerEvent::Produced {
                    token,
                    partition,
                    result,
                });
            },
        )
    }
}

impl SequencerLog for KafkaSequencer {
    fn poll(
        &mut self,
        max: usize,
        timeout: Duration,
        into: &mut Vec<SequencerEvent>,
    ) -> Result<(), LogError> {
        let deadline = Instant::now() + timeout;
        let before = into.len();
        loop {
            self.serve_group(into)?;
            self.serve_producer(into)?;
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = match into.len() > before {
                true => Duration::ZERO,
                false if self.producer.is_busy() => left.min(ACK_INTERVAL),
                false => left.min(GROUP_INTERVAL),
            };
            if self.producer.is_full() {
                // No more work for a producer that cannot keep up.
                self.producer.wait(wait);
            } else {
                let command = |stored| into.push(SequencerEvent::Command(stored));
                self.fetcher.fetch(max, wait, command)?;
            }
            if into.len() > before || left.is_zero() {
                return Ok(());
            }
        }
    }

    fn start(&mut self, partition: i32, next: &[(Topic, i64)]) -> Result<(), LogError> {
        self.fetcher.remove(commands_of(&[partition]))?;
        if !self.assigned.contains(&partition) {
            // Taken away meanwhile; the event that says so is on its way.
            return Ok(());
        }
        let from = |topic: Topic| {
            next.iter()
                .find(|(given, _)| *given == topic)
                .map_or(0, |(_, offset)| *offset)
        };
        let starts = Topic::COMMANDS.map(|topic| (topic, partition, from(topic)));
        self.fetcher.add(&starts)
    }

    fn stop(&mut self, partition: i32) -> Result<(), LogError> {
        self.fetcher.remove(commands_of(&[partition]))?;
        self.producer.reopen(partition);
        let Some(hand_over) = &mut self.hand_over else {
            return Ok(());
        };
        hand_over.left.remove(&partition);
        if hand_over.left.is_empty() {
            self.hand_over = None;
            self.membership.release()?;
        }
        Ok(())
    }

    fn produce(&mut self, topic: Topic, partition: i32, record: Record, token: u64) {
        self.producer.produce(topic, partition, record, token);
    }

    fn commit(
        &mut self,
        partition: i32,
        next: &[(Topic, i64)],
        mark: Mark,
    ) -> Result<(), LogError> {
        let names = &self.names;
        let commands = next
            .iter()
            .map(|(topic, offset)| (names.of(*topic), partition, *offset, String::new()));
        let delivered = names.of(Topic::MessageDelivered);
        let mark = (delivered, partition, mark.offset, mark::metadata(mark));
        self.membership.commit(commands.chain([mark]))
    }
}

fn commands_of(partitions: &[i32]) -> impl Iterator<Item = (Topic, i32)> {
    partitions
        .iter()
        .flat_map(|partition| Topic::COMMANDS.map(|topic| (topic, *partition)))
}
