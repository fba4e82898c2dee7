//! Puts records back at the offsets that they had: what a restore writes with.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidings_wire::{Record, Topic};

use super::ASK_TIMEOUT;
use super::client::{log_client_error, log_line};
use super::config::KafkaConfig;
use super::names::Names;
use super::outage::log_error;
use super::record;
use crate::LogError;

/// How long a full queue is waited for at a time.
const WAIT: Duration = Duration::from_millis(100);
/// How often what was acknowledged is looked at, in records.
const LOOK_EVERY: u32 = 256;

/// Writes records to partitions that nobody else writes to, and sees that each
/// gets the offset it is to have.
pub struct Refill {
    producer: BaseProducer<Placements>,
    admin: AdminClient<DefaultClientContext>,
    names: Arc<Names>,
    since_look: u32,
}

impl Refill {
    pub(super) fn new(config: &KafkaConfig, names: Arc<Names>) -> Result<Self, LogError> {
        let producer = config
            .refilling()
            .create_with_context(Placements::default())
            .map_err(|err| log_error("creating a producer", &err))?;
        let admin = config
            .other_client("tidings-admin")
            .create()
            .map_err(|err| log_error("creating a client", &err))?;
        Ok(Self {
            producer,
            admin,
            names,
            since_look: 0,
        })
    }

    /// Writes a record that is to get this offset. Waits while the client's
    /// queue is full.
    ///
    /// # Errors
    /// [`LogError`] where this record, or one before, was not written or got
    /// another offset. Nothing more is written then.
    pub fn put(
        &mut self,
        topic: Topic,
        partition: i32,
        record: &Record,
        offset: i64,
    ) -> Result<(), LogError> {
        let name = self.names.of(topic);
        self.since_look += 1;
        if self.since_look >= LOOK_EVERY {
            self.since_look = 0;
            self.producer.poll(Duration::ZERO);
            self.check()?;
        }
        let mut place = Box::new(Place {
            topic,
            partition,
            offset,
        });
        loop {
            match record::send(&self.producer, name, partition, record, place) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), unsent)) => {
                    place = unsent;
                    self.producer.poll(WAIT);
                    self.check()?;
                }
                Err((err, _)) => return Err(self.give_up(log_error("writing a record", &err))),
            }
        }
    }

    /// Waits until all that was given is written.
    ///
    /// # Errors
    /// [`LogError`] as of [`put`](Self::put).
    pub fn finish(&mut self) -> Result<(), LogError> {
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(WAIT);
            self.check()?;
        }
        self.check()
    }

    /// Deletes what stands below an offset in a partition.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn delete_below(&self, ends: &[(Topic, i32, i64)]) -> Result<(), LogError> {
        if ends.is_empty() {
            return Ok(());
        }
        let what = "deleting records";
        let mut list = TopicPartitionList::with_capacity(ends.len());
        for (topic, partition, end) in ends {
            list.add_partition_offset(self.names.of(*topic), *partition, Offset::Offset(*end))
                .map_err(|err| log_error(what, &err))?;
        }
        let options = AdminOptions::new()
            .request_timeout(Some(ASK_TIMEOUT))
            .operation_timeout(Some(ASK_TIMEOUT));
        let deleted = self.admin.delete_records(&list, &options).await;
        let deleted = deleted.map_err(|err| log_error(what, &err))?;
        for element in deleted.elements() {
            element.error().map_err(|err| log_error(what, &err))?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), LogError> {
        let failure = self.producer.context().failure.lock().take();
        match failure {
            Some(error) => Err(self.give_up(error)),
            None => Ok(()),
        }
    }

    /// Behind a record that failed, all others would get a wrong offset.
    fn give_up(&self, error: LogError) -> LogError {
        self.producer
            .purge(PurgeConfig::default().queue().inflight());
        error
    }
}

impl Drop for Refill {
    fn drop(&mut self) {
        self.producer
            .purge(PurgeConfig::default().queue().inflight());
    }
}

/// Where a record is to be.
struct Place {
    topic: Topic,
    partition: i32,
    offset: i64,
}

/// Keeps the first failure.
#[derive(Default)]
struct Placements {
    failure: Mutex<Option<LogError>>,
}

impl ClientContext for Placements {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_client_error(&error, reason);
    }
}

impl ProducerContext for Placements {
    type DeliveryOpaque = Box<Place>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Box<Place>) {
        let Place {
            topic,
            partition,
            offset,
        } = *place;
        let error = match result {
            Ok(message) if message.offset() == offset => return,
            Ok(message) => LogError::Fatal(format!(
                "a record of {topic} partition {partition} got offset {}, not {offset}: somebody \
                 else writes there",
                message.offset()
            )),
            Err((err, _)) => log_error("writing a record", err),
        };
        self.failure.lock().get_or_insert(error);
    }
}
