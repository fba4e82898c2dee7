use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use tidings_log::{AppendError, Log};
use tidings_wire::{Codec, Record, Stored, Topic};

use crate::outage::{Outage, Waits};
use crate::pause::{Halt, Pause};

/// How long an append is waited for before looking whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Puts records that cannot be applied where an operator finds them.
pub(crate) struct DeadLetters {
    log: Arc<dyn Log>,
    topic: Topic,
    consumer: &'static str,
    outage: Outage,
}

impl DeadLetters {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        topic: Topic,
        consumer: &'static str,
        waits: Waits,
    ) -> Self {
        Self {
            log,
            topic,
            consumer,
            outage: Outage::of(format!("appending to {topic}"), waits),
        }
    }

    /// Appends a record to the dead letters and waits until it is durable,
    /// however long that takes.
    pub(crate) fn bury(&mut self, stored: &Stored, cause: &str, pause: &Pause) -> Result<(), Halt> {
        tracing::error!(
            partition = stored.partition,
            offset = stored.offset,
            cause,
            "a record cannot be applied and goes to {}",
            self.topic
        );
        let mut record = Codec::dead_letter(stored, self.consumer, cause, 1);
        loop {
            let error = match self.append(stored.partition, record.clone(), pause)? {
                Ok(()) => break,
                Err(error) => error,
            };
            if error == AppendError::TooLarge && record.value.is_some() {
                // It stays where the headers say: the source is kept for ever.
                record.value = None;
                continue;
            }
            let wait = self.outage.failed("unavailable", &error);
            pause.wait(wait)?;
        }
        self.outage.worked();
        Ok(())
    }

    fn append(
        &self,
        partition: i32,
        record: Record,
        pause: &Pause,
    ) -> Result<Result<(), AppendError>, Halt> {
        let (done, durable) = channel();
        let done = move |result: Result<i64, AppendError>| {
            // Nobody listens any more when the projection has been stopped.
            drop(done.send(result));
        };
        self.log
            .append(self.topic, partition, record, Box::new(done));
        loop {
            match durable.recv_timeout(LOOK) {
                Ok(result) => return Ok(result.map(drop)),
                Err(RecvTimeoutError::Timeout) if pause.is_over() => return Err(Halt::Stopped),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let gone = "the log dropped the append without an answer";
                    return Ok(Err(AppendError::Unavailable(gone.to_owned())));
                }
            }
        }
    }
}
