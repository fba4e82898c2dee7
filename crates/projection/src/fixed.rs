use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidings_log::{Delivery, Follower, Log, LogError, Mark, ProjectionSource};
use tidings_wire::Topic;

/// Given partitions, in no group: they are there at once and nobody takes them
/// away.
pub(crate) struct FixedSource {
    log: Arc<dyn Log>,
    partitions: Vec<i32>,
    told: bool,
    /// None before the first start.
    follower: Option<Box<dyn Follower>>,
    /// Of each partition that was started, the next offset.
    next: BTreeMap<i32, i64>,
}

impl FixedSource {
    pub(crate) fn new(log: Arc<dyn Log>, partitions: Vec<i32>) -> Self {
        Self {
            log,
            partitions,
            told: false,
            follower: None,
            next: BTreeMap::new(),
        }
    }
}

impl ProjectionSource for FixedSource {
    fn poll(&mut self, max: usize, timeout: Duration) -> Result<Delivery, LogError> {
        if !self.told {
            self.told = true;
            return Ok(Delivery::Assigned(self.partitions.clone()));
        }
        let mut records = Vec::new();
        match &mut self.follower {
            Some(follower) if max > 0 => follower.poll(max, timeout, &mut records)?,
            _ => std::thread::sleep(timeout),
        }
        for stored in &records {
            self.next.insert(stored.partition, stored.offset + 1);
        }
        Ok(Delivery::Records(records))
    }

    fn start(&mut self, positions: &[(i32, i64)]) -> Result<(), LogError> {
        self.next.extend(positions.iter().copied());
        let starts: Vec<_> = self
            .next
            .iter()
            .map(|(partition, from)| (Topic::MessageDelivered, *partition, *from))
            .collect();
        self.follower = Some(self.log.follow(&starts)?);
        Ok(())
    }

    /// Nobody looks: where it stands is kept with its store.
    fn commit(&mut self, _marks: &[(i32, Mark)]) -> Result<(), LogError> {
        Ok(())
    }
}
