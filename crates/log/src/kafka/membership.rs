use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::client::{ClosingConsumer, log_client_error, log_line};
use super::config::KafkaConfig;
use super::outage::{Outage, log_error};
use crate::LogError;

/// A member of a consumer group that fetches nothing.
pub(super) struct Membership {
    consumer: ClosingConsumer<GroupContext>,
    max_poll_interval: Duration,
    polled: Instant,
    outage: Outage,
}

/// What the group says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum GroupEvent {
    /// These partitions are the member's; all there are. Answer with
    /// [`Membership::accept`].
    Assigned(Vec<i32>),
    /// These partitions, all it had, are not its own any more. Answer with
    /// [`Membership::release`]: until then the group waits, and gives nobody
    /// anything, unless the partitions are lost and others have them already.
    Revoked { partitions: Vec<i32>, lost: bool },
}

impl Membership {
    pub(super) fn join(
        config: &KafkaConfig,
        group: &str,
        topics: &[&str],
    ) -> Result<Self, LogError> {
        let consumer: BaseConsumer<GroupContext> = config
            .member(group)
            .create_with_context(GroupContext::default())
            .map_err(|err| log_error("creating a group member", &err))?;
        consumer
            .subscribe(topics)
            .map_err(|err| log_error("joining a group", &err))?;
        Ok(Self {
            consumer: consumer.into(),
            max_poll_interval: config.max_poll_interval(),
            polled: Instant::now(),
            outage: Outage::default(),
        })
    }

    /// What has happened, if anything. Never waits; a member that does not ask
    /// within its poll interval is taken for dead.
    pub(super) fn poll(&mut self) -> Result<Option<GroupEvent>, LogError> {
        // A revocation that waited so long is one that the group no longer
        // waits for, which the client does not notice meanwhile.
        let too_late = self.polled.elapsed() > self.max_poll_interval;
        self.polled = Instant::now();
        loop {
            let served = self.context().served.load(Ordering::Relaxed);
            let polled = self.consumer.poll(Duration::ZERO);
            let event = self.context().events.lock().pop_front();
            if let Some(mut event) = event {
                self.outage.over();
                if let GroupEvent::Revoked { lost, .. } = &mut event {
                    *lost |= too_late;
                }
                return Ok(Some(event));
            }
            match polled {
                Some(Err(err)) => self.outage.note(&err)?,
                // Nothing is ever fetched here.
                Some(Ok(_)) => {}
                // A log line or the like was served: there may be more behind it.
                None if self.context().served.load(Ordering::Relaxed) != served => {}
                None => return Ok(None),
            }
        }
    }

    /// Answers an assignment: with none, for nothing is to be fetched here.
    /// The group goes by what it assigned, not by this.
    pub(super) fn accept(&self) -> Result<(), LogError> {
        self.consumer
            .assign(&TopicPartitionList::new())
            .map_err(|err| log_error("taking an assignment", &err))
    }

    /// Answers a revocation: the member has handed over what it had.
    pub(super) fn release(&self) -> Result<(), LogError> {
        self.consumer
            .unassign()
            .map_err(|err| log_error("giving up an assignment", &err))
    }

    /// Commits offsets with metadata. Does not wait; what fails is logged, as
    /// these offsets are for others to look at.
    pub(super) fn commit<'a>(
        &self,
        offsets: impl IntoIterator<Item = (&'a str, i32, i64, String)>,
    ) -> Result<(), LogError> {
        let mut list = TopicPartitionList::new();
        for (topic, partition, offset, metadata) in offsets {
            let mut added = list.add_partition(topic, partition);
            added
                .set_offset(Offset::Offset(offset))
                .map_err(|err| log_error("committing offsets", &err))?;
            added.set_metadata(metadata);
        }
        if let Err(err) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::warn!(%err, "offsets were not committed");
        }
        Ok(())
    }

    fn context(&self) -> &GroupContext {
        self.consumer.client().context()
    }
}

impl Drop for Membership {
    /// Leaves the group, so that the others need not wait for the session to
    /// end. The consumer waits for its last commits and polls until it has
    /// left. Meanwhile nobody would answer a revocation, and it
    /// would wait for ever: so from here on they answer themselves.
    fn drop(&mut self) {
        self.context().leaving.store(true, Ordering::Relaxed);
        if let Err(err) = self.release() {
            tracing::debug!(%err, "while leaving a group");
        }
    }
}

#[derive(Default)]
struct GroupContext {
    events: Mutex<VecDeque<GroupEvent>>,
    /// How many callbacks there were.
    served: AtomicU64,
    leaving: AtomicBool,
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.served.fetch_add(1, Ordering::Relaxed);
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_client_error(&error, reason);
    }
}

impl ConsumerContext for GroupContext {
    /// Called within a poll. Only notes what happened.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        if self.leaving.load(Ordering::Relaxed) {
            if let Err(err) = consumer.unassign() {
                tracing::debug!(%err, "while leaving a group");
            }
            return;
        }
        let partitions: BTreeSet<i32> = list
            .elements()
            .iter()
            .map(|element| element.partition())
            .collect();
        let partitions = partitions.into_iter().collect();
        self.events.lock().push_back(match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                GroupEvent::Assigned(partitions)
            }
            _ => GroupEvent::Revoked {
                partitions,
                lost: consumer.assignment_lost(),
            },
        });
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.served.fetch_add(1, Ordering::Relaxed);
        if let Err(err) = result {
            tracing::warn!(%err, "offsets were not committed");
        }
    }
}
