use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidings_wire::{Stored, Topic};

use super::client::{ClosingConsumer, LoggedClient};
use super::config::{KafkaConfig, Pace};
use super::names::Names;
use super::outage::{Outage, log_error};
use super::record;
use crate::{Follower, LogError};

/// Fetches partitions, each from a given offset. In no group.
pub(super) struct Fetcher {
    consumer: ClosingConsumer<LoggedClient>,
    names: Arc<Names>,
    /// The next offset of each partition that is fetched.
    next: HashMap<(Topic, i32), i64>,
    outage: Outage,
}

impl Fetcher {
    /// Fetches nothing yet.
    pub(super) fn new(
        config: &KafkaConfig,
        names: Arc<Names>,
        pace: Pace,
    ) -> Result<Self, LogError> {
        let consumer: BaseConsumer<LoggedClient> = config
            .fetching(&names.group("fetcher"), pace)
            .create_with_context(LoggedClient)
            .map_err(|err| log_error("creating a consumer", &err))?;
        Ok(Self {
            consumer: consumer.into(),
            names,
            next: HashMap::new(),
            outage: Outage::default(),
        })
    }

    /// Fetches these too. One that is fetched already goes on where it is.
    pub(super) fn add(&mut self, starts: &[(Topic, i32, i64)]) -> Result<(), LogError> {
        let mut added = TopicPartitionList::with_capacity(starts.len());
        for &(topic, partition, from) in starts {
            let from = from.max(0);
            if let Entry::Vacant(vacant) = self.next.entry((topic, partition)) {
                vacant.insert(from);
                added
                    .add_partition_offset(self.names.of(topic), partition, Offset::Offset(from))
                    .map_err(|err| log_error("starting to fetch", &err))?;
            }
        }
        if added.count() == 0 {
            return Ok(());
        }
        self.consumer
            .incremental_assign(&added)
            .map_err(|err| log_error("starting to fetch", &err))
    }

    /// Fetches these no more; what was fetched of them is thrown away.
    pub(super) fn remove(
        &mut self,
        partitions: impl IntoIterator<Item = (Topic, i32)>,
    ) -> Result<(), LogError> {
        let mut removed = TopicPartitionList::new();
        for (topic, partition) in partitions {
            if self.next.remove(&(topic, partition)).is_some() {
                removed.add_partition(self.names.of(topic), partition);
            }
        }
        if removed.count() == 0 {
            return Ok(());
        }
        self.consumer
            .incremental_unassign(&removed)
            .map_err(|err| log_error("ending to fetch", &err))
    }

    /// Gives up to `max` records to `each`, waiting up to `timeout` for the
    /// first.
    pub(super) fn fetch(
        &mut self,
        max: usize,
        timeout: Duration,
        mut each: impl FnMut(Stored),
    ) -> Result<(), LogError> {
        let deadline = Instant::now() + timeout;
        let mut wait = timeout;
        let mut count = 0;
        while count < max {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    self.outage.over();
                    // After the first, only what is there already.
                    wait = Duration::ZERO;
                    if let Some(stored) = record::stored(&message, &self.names)
                        && advance(&mut self.next, &stored)?
                    {
                        count += 1;
                        each(stored);
                    }
                    continue;
                }
                Some(Err(err)) => self.outage.note(&err)?,
                None if wait.is_zero() => break,
                // A log line or the like ended the wait.
                None => {}
            }
            if count == 0 {
                wait = deadline.saturating_duration_since(Instant::now());
            }
        }
        Ok(())
    }
}

/// Moves past a record. Whether it is one that is wanted.
///
/// # Errors
/// [`LogError::Fatal`] where the partition went back: it lost records that were
/// read before, as after an unclean election, or was made anew. What was made
/// of them cannot be taken back, so nobody should go on as if nothing were.
fn advance(next: &mut HashMap<(Topic, i32), i64>, stored: &Stored) -> Result<bool, LogError> {
    let Some(next) = next.get_mut(&(stored.topic, stored.partition)) else {
        return Ok(false);
    };
    if stored.offset < *next {
        return Err(LogError::Fatal(format!(
            "{} partition {} has lost records: offset {} comes where {next} was next",
            stored.topic, stored.partition, stored.offset,
        )));
    }
    *next = stored.offset + 1;
    Ok(true)
}

impl Follower for Fetcher {
    fn poll(
        &mut self,
        max: usize,
        timeout: Duration,
        into: &mut Vec<Stored>,
    ) -> Result<(), LogError> {
        self.fetch(max, timeout, |stored| into.push(stored))
    }
}
