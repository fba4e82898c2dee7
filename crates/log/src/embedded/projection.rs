use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_wire::Topic;

use super::EmbeddedLog;
use super::follower::Cursors;
use super::signal::{Signal, Topics};
use super::store::{note, write_progress};
use crate::{Delivery, LogError, Mark, ProjectionSource};

/// A projection's side: every partition is its own from the first poll on.
pub(super) struct EmbeddedProjection {
    log: EmbeddedLog,
    consumer: String,
    cursors: Cursors,
    assigned: bool,
}

impl EmbeddedProjection {
    pub(super) fn new(log: EmbeddedLog, consumer: &str) -> Self {
        let signal = Arc::new(Signal::default());
        let shared = log.shared();
        shared
            .listeners
            .add(Topics::of([Topic::MessageDelivered]), &signal);
        let cursors = Cursors::of_tail(log.store().clone(), Arc::clone(shared), signal);
        Self {
            log,
            consumer: consumer.to_owned(),
            cursors,
            assigned: false,
        }
    }
}

impl ProjectionSource for EmbeddedProjection {
    fn poll(&mut self, max: usize, timeout: Duration) -> Result<Delivery, LogError> {
        if !self.assigned {
            self.assigned = true;
            let partitions = self.log.store().layout.partitions();
            return Ok(Delivery::Assigned((0..partitions).collect()));
        }
        let deadline = Instant::now() + timeout;
        let mut records = Vec::new();
        loop {
            self.cursors.take(max, &mut records)?;
            if !records.is_empty() || !self.cursors.wait(deadline) {
                return Ok(Delivery::Records(records));
            }
        }
    }

    fn start(&mut self, positions: &[(i32, i64)]) -> Result<(), LogError> {
        for &(partition, from) in positions {
            self.cursors
                .start(Topic::MessageDelivered, partition, from)?;
        }
        Ok(())
    }

    fn commit(&mut self, marks: &[(i32, Mark)]) -> Result<(), LogError> {
        let consumer = self.consumer.clone();
        let marks = marks.to_vec();
        note(&self.log.store().database, move |connection| {
            let topic = Topic::MessageDelivered.name();
            for (partition, mark) in marks {
                write_progress(connection, &consumer, topic, partition, mark.offset)?;
            }
            Ok(())
        });
        Ok(())
    }
}
