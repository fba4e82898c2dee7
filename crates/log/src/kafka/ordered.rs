//! The sequencer's producer: of one partition's records, none is appended
//! after one that failed.
//!
//! Idempotence alone does not promise that. When librdkafka gives up a record
//! after `message.timeout.ms` it takes a new producer epoch and goes on with
//! the records behind it, and `enable.gapless.guarantee` (which turns any other
//! failure into a fatal error of the whole producer) does not cover time-outs.
//! So records here never time out in the client. Instead, when a partition has
//! had no acknowledgement for the produce timeout, or anything at all failed,
//! this producer is purged, everything it held fails, and a new one, with a new
//! producer id, takes its place. Failures are rare and recovery is from the log,
//! so failing more than was needed costs little and is easy to see through.
//!
//! A purged record may still be on its way to the broker and be appended later,
//! even behind records of the new producer. It then stands behind a newer claim
//! and is void by the reader's rule: whoever is told of a failure claims again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use tidings_wire::{Record, Topic};

use super::client::{log_client_error, log_line};
use super::config::KafkaConfig;
use super::names::Names;
use super::outage::log_error;
use super::record;
use crate::LogError;

/// How a produce ended.
pub(super) struct Ended {
    pub(super) token: u64,
    pub(super) partition: i32,
    pub(super) result: Result<i64, LogError>,
}

/// A producer whose owner polls it.
pub(super) struct OrderedProducer {
    config: KafkaConfig,
    names: Arc<Names>,
    producer: BaseProducer<Results>,
    /// What did not fit into the producer's queue, in order.
    waiting: VecDeque<Waiting>,
    in_flight: HashMap<i32, InFlight>,
    /// Partitions with a failure that their owner has not answered yet.
    failed: HashSet<i32>,
    ended: Vec<Ended>,
}

struct Waiting {
    topic: Topic,
    partition: i32,
    record: Record,
    token: u64,
}

/// A partition's records that are on their way.
struct InFlight {
    count: usize,
    /// Since when nothing of it was acknowledged.
    since: Instant,
}

impl OrderedProducer {
    pub(super) fn new(config: &KafkaConfig, names: Arc<Names>) -> Result<Self, LogError> {
        Ok(Self {
            config: config.clone(),
            names,
            producer: new_producer(config)?,
            waiting: VecDeque::new(),
            in_flight: HashMap::new(),
            failed: HashSet::new(),
            ended: Vec::new(),
        })
    }

    /// Sends a record. How it ends, [`serve`](Self::serve) tells.
    pub(super) fn produce(&mut self, topic: Topic, partition: i32, record: Record, token: u64) {
        if self.failed.contains(&partition) {
            let result = Err(LogError::Unavailable("a record before it failed".into()));
            self.ended.push(Ended {
                token,
                partition,
                result,
            });
            return;
        }
        let waiting = Waiting {
            topic,
            partition,
            record,
            token,
        };
        if self.waiting.is_empty() {
            if let Some(waiting) = self.send(waiting) {
                self.waiting.push_back(waiting);
            }
        } else {
            self.waiting.push_back(waiting);
        }
    }

    /// Takes records of a partition again after one failed.
    pub(super) fn reopen(&mut self, partition: i32) {
        self.failed.remove(&partition);
    }

    /// Whether more is waiting than the client takes: give it no more work.
    pub(super) fn is_full(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether anything is not acknowledged yet.
    pub(super) fn is_busy(&self) -> bool {
        !self.in_flight.is_empty() || !self.waiting.is_empty() || !self.ended.is_empty()
    }

    /// Lets the client work for so long.
    pub(super) fn wait(&self, timeout: Duration) {
        self.producer.poll(timeout);
    }

    /// Tells what has ended. Never waits.
    ///
    /// # Errors
    /// [`LogError::Fatal`] where no producer can be made.
    pub(super) fn serve(&mut self, mut each: impl FnMut(Ended)) -> Result<(), LogError> {
        let failures = self.collect();
        let patience = Duration::from_millis(self.config.produce_timeout_ms.into());
        let is_stuck = self
            .in_flight
            .values()
            .any(|partition| partition.since.elapsed() > patience);
        if failures || is_stuck || self.producer.client().fatal_error().is_some() {
            tracing::error!(
                is_stuck,
                "records could not be appended: failing all that are on their way"
            );
            self.rebuild()?;
        }
        while let Some(waiting) = self.waiting.pop_front() {
            if let Some(waiting) = self.send(waiting) {
                self.waiting.push_front(waiting);
                break;
            }
        }
        self.ended.drain(..).for_each(&mut each);
        Ok(())
    }

    /// Gives a record to the client; it comes back when the queue is full.
    fn send(&mut self, waiting: Waiting) -> Option<Waiting> {
        let Waiting {
            topic,
            partition,
            ref record,
            token,
        } = waiting;
        // The token travels as a pointer does: both have 64 bits here.
        let opaque = token as usize;
        match record::send(
            &self.producer,
            self.names.of(topic),
            partition,
            record,
            opaque,
        ) {
            Ok(()) => {
                let since = Instant::now();
                let entry = self.in_flight.entry(partition);
                entry.or_insert(InFlight { count: 0, since }).count += 1;
            }
            Err((KafkaError::MessageProduction(Code::QueueFull), _)) => return Some(waiting),
            Err((err, _)) => self.fail(token, partition, &err),
        }
        None
    }

    fn fail(&mut self, token: u64, partition: i32, err: &KafkaError) {
        self.failed.insert(partition);
        let result = Err(produce_error(err));
        self.ended.push(Ended {
            token,
            partition,
            result,
        });
    }

    /// Takes in the client's results. Whether any is a failure.
    fn collect(&mut self) -> bool {
        let mut any_failed = false;
        let results = Arc::clone(self.producer.client().context());
        loop {
            // One event a call; an event holds the results of a whole batch.
            self.producer.poll(Duration::ZERO);
            let batch = std::mem::take(&mut *results.0.lock());
            if batch.is_empty() {
                return any_failed;
            }
            for Delivered {
                token,
                partition,
                result,
            } in batch
            {
                if let Some(in_flight) = self.in_flight.get_mut(&partition) {
                    in_flight.count -= 1;
                    in_flight.since = Instant::now();
                    if in_flight.count == 0 {
                        self.in_flight.remove(&partition);
                    }
                }
                match result {
                    Ok(offset) => self.ended.push(Ended {
                        token,
                        partition,
                        result: Ok(offset),
                    }),
                    Err(err) => {
                        any_failed = true;
                        self.fail(token, partition, &err);
                    }
                }
            }
        }
    }

    /// Fails everything, and goes on with a new producer.
    fn rebuild(&mut self) -> Result<(), LogError> {
        self.producer
            .purge(PurgeConfig::default().queue().inflight());
        // What is purged has ended; this only brings the results here.
        if let Err(err) = self.producer.flush(Duration::from_secs(5)) {
            return Err(log_error("failing what is on its way", &err));
        }
        self.collect();
        let purged = KafkaError::MessageProduction(Code::PurgeQueue);
        for waiting in std::mem::take(&mut self.waiting) {
            self.fail(waiting.token, waiting.partition, &purged);
        }
        let old = std::mem::replace(&mut self.producer, new_producer(&self.config)?);
        // Ending its connections may take a moment, and other partitions wait.
        let ending = thread::Builder::new().name("kafka-producer-end".into());
        if let Err(err) = ending.spawn(move || drop(old)) {
            tracing::warn!(%err, "no thread to end a producer on");
        }
        Ok(())
    }
}

fn new_producer(config: &KafkaConfig) -> Result<BaseProducer<Results>, LogError> {
    config
        .ordered()
        .create_with_context(Results::default())
        .map_err(|err| log_error("creating a producer", &err))
}

fn produce_error(err: &KafkaError) -> LogError {
    match err.rdkafka_error_code() {
        Some(code @ (Code::MessageSizeTooLarge | Code::MessageBatchTooLarge)) => {
            LogError::Fatal(code.to_string())
        }
        Some(code) => LogError::Unavailable(code.to_string()),
        None => LogError::Unavailable(err.to_string()),
    }
}

/// Results as the client tells them. Only the thread that polls the producer
/// ever takes the lock.
#[derive(Default)]
struct Results(Mutex<Vec<Delivered>>);

struct Delivered {
    token: u64,
    partition: i32,
    result: Result<i64, KafkaError>,
}

impl ClientContext for Results {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_client_error(&error, reason);
    }
}

impl ProducerContext for Results {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, token: usize) {
        let (partition, result) = match result {
            Ok(message) => (message.partition(), Ok(message.offset())),
            Err((err, message)) => (message.partition(), Err(err.clone())),
        };
        let token = token as u64;
        self.0.lock().push(Delivered {
            token,
            partition,
            result,
        });
    }
}
