use tidings_domain::Ownership;
use tidings_log::LogError;
use tidings_wire::{DecodeError, EncodeError};

/// Why a sequencer ended.
#[derive(Debug, thiserror::Error)]
pub enum SequencerError {
    /// The log cannot be used any more.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record could not be written as Avro: a bug.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Its thread could not be started.
    #[error("cannot start the sequencer's thread: {0}")]
    Thread(std::io::Error),
    /// Its thread panicked: a bug.
    #[error("the sequencer panicked")]
    Panicked,
}

/// Why an owned partition must be dropped at once.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// Another instance has claimed it.
    #[error("a newer claim has epoch {}", .0.epoch)]
    Superseded(Ownership),
    /// It is not known what the log holds.
    #[error("{0}")]
    Unsure(String),
    /// Nor can any other partition go on.
    #[error(transparent)]
    Fatal(#[from] SequencerError),
}

impl From<EncodeError> for Stop {
    fn from(error: EncodeError) -> Self {
        Self::Fatal(error.into())
    }
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Fatal(_) => Self::Fatal(error.into()),
            LogError::Unavailable(_) => Self::Unsure(error.to_string()),
        }
    }
}

/// Why a partition could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A valid decision that cannot be decoded.
    #[error("{topic} partition {partition} offset {offset}: {error}")]
    Decode {
        /// Where it stands.
        topic: tidings_wire::Topic,
        /// Where it stands.
        partition: i32,
        /// Where it stands.
        offset: i64,
        /// What is wrong.
        error: DecodeError,
    },
}

impl ReadError {
    pub(crate) fn decode(stored: &tidings_wire::Stored, error: DecodeError) -> Self {
        let (topic, partition, offset) = (stored.topic, stored.partition, stored.offset);
        Self::Decode {
            topic,
            partition,
            offset,
            error,
        }
    }
}
