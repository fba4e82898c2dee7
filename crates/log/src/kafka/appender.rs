use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Mutex, RwLock};
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
use crate::{AppendDone, AppendError, LogError};

/// How long the thread waits for completions at a time; what is refused at once
/// waits as long for its answer. The last millisecond of each wait is spent
/// spinning ([`BaseProducer::poll`] rounds what is left down), so not shorter.
const IDLE: Duration = Duration::from_millis(100);

/// A producer and the thread on which its completions are called.
pub(super) struct ThreadedAppender {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    names: Arc<Names>,
    /// Written to only by the thread, when the producer had a fatal error.
    producer: RwLock<BaseProducer<Completions>>,
    /// Records the producer did not take. Their completions too are called on
    /// the thread, never by the caller, who may hold a lock that they need.
    refused: Sender<(AppendDone, AppendError)>,
    closing: AtomicBool,
}

impl ThreadedAppender {
    pub(super) fn start(config: &KafkaConfig, names: Arc<Names>) -> Result<Self, LogError> {
        let producer =
            new_producer(config).map_err(|err| log_error("creating a producer", &err))?;
        let (refused, refusals) = crossbeam_channel::unbounded();
        let shared = Arc::new(Shared {
            names,
            producer: RwLock::new(producer),
            refused,
            closing: AtomicBool::new(false),
        });
        let thread = {
            let (shared, config) = (Arc::clone(&shared), config.clone());
            thread::Builder::new()
                .name("kafka-appender".into())
                .spawn(move || shared.run(&config, &refusals))
                .map_err(|err| LogError::Fatal(format!("starting a thread: {err}")))?
        };
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    pub(super) fn append(&self, topic: Topic, partition: i32, record: &Record, done: AppendDone) {
        let opaque = Box::new(Completion(Mutex::new(done)));
        let topic = self.shared.names.of(topic);
        let sent = record::send(
            &self.shared.producer.read(),
            topic,
            partition,
            record,
            opaque,
        );
        if let Err((err, completion)) = sent {
            let refusal = (completion.0.into_inner(), append_error(&err));
            if let Err(unsent) = self.shared.refused.send(refusal) {
                // The thread is gone, so nobody holds anything any more.
                let (done, err) = unsent.into_inner();
                done(Err(err));
            }
        }
    }
}

impl Drop for ThreadedAppender {
    /// Fails what is not acknowledged yet, and waits until the thread is gone:
    /// some 100 ms, also when no broker answers.
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that completes appends has panicked");
        }
    }
}

impl Shared {
    fn run(&self, config: &KafkaConfig, refusals: &Receiver<(AppendDone, AppendError)>) {
        loop {
            // Before the poll: what was sent until then is answered below.
            let closing = self.closing.load(Ordering::Relaxed);
            self.producer.read().poll(IDLE);
            for (done, err) in refusals.try_iter() {
                done(Err(err));
            }
            if closing {
                return fail_all(&self.producer.read());
            }
            let fatal = self.producer.read().client().fatal_error();
            if let Some((code, reason)) = fatal {
                self.rebuild(config, code, &reason);
            }
        }
    }

    /// A producer with a fatal error takes nothing any more: goes on with a new
    /// one. What the old one held has failed, and its senders are told so; the
    /// clients send it again, and the same `temp_id` makes it the same message.
    fn rebuild(&self, config: &KafkaConfig, code: Code, reason: &str) {
        tracing::error!(%code, reason, "the producer had a fatal error; making a new one");
        match new_producer(config) {
            Ok(new) => {
                let old = std::mem::replace(&mut *self.producer.write(), new);
                fail_all(&old);
            }
            Err(err) => tracing::error!(%err, "cannot make a new producer; will try again"),
        }
    }
}

fn new_producer(config: &KafkaConfig) -> Result<BaseProducer<Completions>, KafkaError> {
    config.appending().create_with_context(Completions)
}

fn fail_all<C: ProducerContext>(producer: &BaseProducer<C>) {
    producer.purge(PurgeConfig::default().queue().inflight());
    if let Err(err) = producer.flush(Duration::from_secs(5)) {
        tracing::error!(%err, "records that failed were not completed");
    }
}

/// What the producer keeps with a record. The lock is never waited for: it
/// only makes a callback that may be sent to one thread known to all.
struct Completion(Mutex<AppendDone>);

struct Completions;

impl ClientContext for Completions {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_client_error(&error, reason);
    }
}

impl ProducerContext for Completions {
    type DeliveryOpaque = Box<Completion>;

    fn delivery(&self, result: &DeliveryResult<'_>, completion: Box<Completion>) {
        let done = completion.0.into_inner();
        match result {
            Ok(message) => done(Ok(message.offset())),
            Err((err, _)) => done(Err(append_error(err))),
        }
    }
}

fn append_error(err: &KafkaError) -> AppendError {
    match err.rdkafka_error_code() {
        Some(Code::QueueFull) => AppendError::Saturated,
        Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize) => {
            AppendError::TooLarge
        }
        Some(code) => AppendError::Unavailable(code.to_string()),
        None => AppendError::Unavailable(err.to_string()),
    }
}
