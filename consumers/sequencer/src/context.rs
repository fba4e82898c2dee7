use std::sync::Arc;

use tidings_log::{LogReader, SequencerLog};
use tidings_wire::{Codec, Record, Topic};

use crate::metrics::Metrics;
use crate::{Clock, SequencerOptions};

/// What all partitions share.
pub(crate) struct Context {
    pub(crate) log: Box<dyn SequencerLog>,
    pub(crate) reader: Arc<dyn LogReader>,
    pub(crate) codec: Codec,
    pub(crate) clock: Clock,
    pub(crate) options: SequencerOptions,
    pub(crate) metrics: Metrics,
    pub(crate) next_token: u64,
    /// An operator has paused it, or it is not known yet: no command is taken.
    pub(crate) paused: bool,
}

impl Context {
    /// Appends a record; the result comes back under the token returned.
    pub(crate) fn produce(&mut self, topic: Topic, partition: i32, record: Record) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        self.log.produce(topic, partition, record, token);
        token
    }
}
