use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::LogError;

/// What an error means to whoever uses the log.
pub(super) fn log_error(doing: &str, err: &KafkaError) -> LogError {
    let text = format!("{doing}: {err}");
    if is_permanent(err) {
        LogError::Fatal(text)
    } else {
        LogError::Unavailable(text)
    }
}

/// Whether waiting will not help: somebody has to change something first.
fn is_permanent(err: &KafkaError) -> bool {
    match err {
        KafkaError::ClientConfig(..)
        | KafkaError::ClientCreation(_)
        | KafkaError::MessageConsumptionFatal(_)
        | KafkaError::Nul(_)
        | KafkaError::Subscription(_) => true,
        other => other.rdkafka_error_code().is_some_and(|code| {
            matches!(
                code,
                Code::Authentication
                    | Code::ClusterAuthorizationFailed
                    | Code::Fatal
                    | Code::Fenced
                    | Code::FencedInstanceId
                    | Code::GroupAuthorizationFailed
                    | Code::InconsistentGroupProtocol
                    | Code::InvalidArgument
                    | Code::InvalidGroupId
                    | Code::InvalidSessionTimeout
                    | Code::InvalidTopic
                    | Code::LogTruncation
                    | Code::SaslAuthenticationFailed
                    | Code::TopicAuthorizationFailed
                    | Code::UnsupportedVersion
            )
        }),
    }
}

/// The errors of a consumer that pass by themselves: each is logged when it is
/// another than the last, and its end when records come again.
#[derive(Default)]
pub(super) struct Outage {
    last: Option<Code>,
}

impl Outage {
    /// Takes in an error of a poll.
    ///
    /// # Errors
    /// [`LogError::Fatal`] where waiting will not help.
    pub(super) fn note(&mut self, err: &KafkaError) -> Result<(), LogError> {
        if is_permanent(err) {
            return Err(log_error("reading", err));
        }
        let code = err.rdkafka_error_code();
        if code.is_some() && code != self.last {
            tracing::warn!(%err, "Kafka cannot be read at the moment; waiting");
            self.last = code;
        }
        Ok(())
    }

    /// Takes in that records come.
    pub(super) fn over(&mut self) {
        if self.last.take().is_some() {
            tracing::info!("Kafka can be read again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Outage, log_error};
    use crate::LogError;
    use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

    #[test]
    fn what_passes_by_itself_is_waited_out() {
        let mut outage = Outage::default();
        for code in [
            Code::AllBrokersDown,
            Code::BrokerTransportFailure,
            Code::NotCoordinator,
        ] {
            assert_eq!(outage.note(&KafkaError::MessageConsumption(code)), Ok(()));
        }
        let denied = KafkaError::MessageConsumption(Code::TopicAuthorizationFailed);
        assert!(matches!(outage.note(&denied), Err(LogError::Fatal(_))));
        let timeout = KafkaError::MetadataFetch(Code::OperationTimedOut);
        assert!(matches!(
            log_error("asking", &timeout),
            LogError::Unavailable(_)
        ));
    }
}
