use std::ops::Deref;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;

/// A consumer that is gone as soon as it has closed. By itself it looks for
/// that every 100 ms (`BaseConsumer::drop`): who reads many partitions one by
/// one, or claims them, would wait that long for each.
pub(super) struct ClosingConsumer<C: ConsumerContext>(BaseConsumer<C>);

impl<C: ConsumerContext> From<BaseConsumer<C>> for ClosingConsumer<C> {
    fn from(consumer: BaseConsumer<C>) -> Self {
        Self(consumer)
    }
}

impl<C: ConsumerContext> Deref for ClosingConsumer<C> {
    type Target = BaseConsumer<C>;

    fn deref(&self) -> &BaseConsumer<C> {
        &self.0
    }
}

impl<C: ConsumerContext> Drop for ClosingConsumer<C> {
    fn drop(&mut self) {
        if self.close_queue().is_ok() {
            while !self.closed() {
                self.poll(Duration::from_millis(1));
            }
        }
    }
}

/// A client that does nothing of its own but log through `tracing`.
pub(super) struct LoggedClient;

impl ClientContext for LoggedClient {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_client_error(&error, reason);
    }
}

impl ConsumerContext for LoggedClient {}

/// A line of librdkafka's own. It calls an error what it then overcomes by
/// itself, such as a broker that is away: one level down.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{line}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "librdkafka", facility, "{line}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::debug!(target: "librdkafka", facility, "{line}");
        }
        RDKafkaLogLevel::Debug => tracing::trace!(target: "librdkafka", facility, "{line}"),
    }
}

/// An error of the client as a whole; whoever polls is told too, and acts.
pub(super) fn log_client_error(error: &KafkaError, reason: &str) {
    tracing::debug!(target: "librdkafka", %error, "{reason}");
}
