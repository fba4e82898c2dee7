use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_wire::Topic;

use super::config::{KafkaConfig, Pace};
use super::fetcher::Fetcher;
use super::mark;
use super::membership::{GroupEvent, Membership};
use super::names::Names;
use crate::{Delivery, LogError, Mark, ProjectionSource};

/// How often to look for what the group says while no records come.
const GROUP_INTERVAL: Duration = Duration::from_millis(50);

/// A projection's side of Kafka.
pub(super) struct KafkaProjection {
    membership: Membership,
    fetcher: Fetcher,
    names: Arc<Names>,
    assigned: BTreeSet<i32>,
    /// Partitions were revoked and the caller was told: when it polls again it
    /// has given them up.
    to_release: bool,
}

impl KafkaProjection {
    pub(super) fn join(
        config: &KafkaConfig,
        names: Arc<Names>,
        consumer: &str,
    ) -> Result<Self, LogError> {
        let topic = names.of(Topic::MessageDelivered);
        let membership = Membership::join(config, &names.group(consumer), &[topic])?;
        let fetcher = Fetcher::new(config, Arc::clone(&names), Pace::Relaxed)?;
        Ok(Self {
            membership,
            fetcher,
            names,
            assigned: BTreeSet::new(),
            to_release: false,
        })
    }

    /// What the group says that the caller is to know.
    fn serve_group(&mut self) -> Result<Option<Delivery>, LogError> {
        while let Some(event) = self.membership.poll()? {
            match event {
                GroupEvent::Assigned(partitions) => {
                    self.membership.accept()?;
                    self.assigned = partitions.iter().copied().collect();
                    if !partitions.is_empty() {
                        return Ok(Some(Delivery::Assigned(partitions)));
                    }
                }
                GroupEvent::Revoked { partitions, .. } if partitions.is_empty() => {
                    self.membership.release()?;
                }
                GroupEvent::Revoked { partitions, .. } => {
                    let delivered = |partition: &i32| (Topic::MessageDelivered, *partition);
                    self.fetcher.remove(partitions.iter().map(delivered))?;
                    self.assigned.clear();
                    self.to_release = true;
                    return Ok(Some(Delivery::Revoked(partitions)));
                }
            }
        }
        Ok(None)
    }
}

impl ProjectionSource for KafkaProjection {
    fn poll(&mut self, max: usize, timeout: Duration) -> Result<Delivery, LogError> {
        if std::mem::take(&mut self.to_release) {
            self.membership.release()?;
        }
        let deadline = Instant::now() + timeout;
        let mut records = Vec::new();
        loop {
            if let Some(delivery) = self.serve_group()? {
                return Ok(delivery);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = left.min(GROUP_INTERVAL);
            if max == 0 {
                // What was fetched stays where it is, and the fetching stops by
                // itself when that is enough.
                std::thread::sleep(wait);
            } else {
                self.fetcher
                    .fetch(max, wait, |stored| records.push(stored))?;
            }
            if !records.is_empty() || left.is_zero() {
                return Ok(Delivery::Records(records));
            }
        }
    }

    fn start(&mut self, positions: &[(i32, i64)]) -> Result<(), LogError> {
        let delivered = Topic::MessageDelivered;
        self.fetcher.remove(
            positions
                .iter()
                .map(|(partition, _)| (delivered, *partition)),
        )?;
        let starts: Vec<_> = positions
            .iter()
            .filter(|(partition, _)| self.assigned.contains(partition))
            .map(|(partition, from)| (delivered, *partition, *from))
            .collect();
        self.fetcher.add(&starts)
    }

    fn commit(&mut self, marks: &[(i32, Mark)]) -> Result<(), LogError> {
        let delivered = self.names.of(Topic::MessageDelivered);
        self.membership.commit(
            marks.iter().map(|(partition, mark)| {
                (delivered, *partition, mark.offset, mark::metadata(*mark))
            }),
        )
    }
}
