use std::sync::Arc;

use tidings_domain::{Command, Decision, Ownership, Timestamp};

use crate::{DeliveredBody, Input, Record, StateEntry, Stored, Topic, TraceParent};

/// Why a record could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not what they should be. Trying again will not help.
    #[error("{0}")]
    Malformed(String),
    /// The registry does not know the schema id. Trying again will not help.
    #[error("schema id {0} is not known to the registry")]
    UnknownSchema(u32),
    /// The registry could not be asked. Trying again may help.
    #[error("schema registry: {0}")]
    Registry(String),
}

impl DecodeError {
    /// Whether the same bytes may be readable later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Registry(_))
    }
}

/// Why a value could not be written as Avro.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot encode for {topic}: {message}")]
pub struct EncodeError {
    /// For which topic.
    pub topic: Topic,
    /// What was wrong.
    pub message: String,
}

/// Where the schema registry is, and how to use it.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// The base of the Confluent API, such as `http://localhost:8081`.
    pub url: String,
    /// Put before each subject, as before each topic; usually empty.
    pub topic_prefix: String,
}

/// Why the registry could not be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistryError {
    /// It did not answer. Trying again may help.
    #[error("schema registry at {url}: {message}")]
    Unavailable {
        /// Its address.
        url: String,
        /// What happened.
        message: String,
    },
    /// It refused a schema, or its settings are not ours.
    #[error("schema registry, subject {subject}: {message}")]
    Refused {
        /// Which subject.
        subject: String,
        /// Why.
        message: String,
    },
}

/// Domain values to records and back. Cheap to clone; encoders and decoders
/// are cached per schema.
///
/// Decoding may ask the registry for a schema it has not seen, and blocks the
/// calling thread meanwhile: decode on a thread of your own, never in a task.
#[derive(Clone)]
pub struct Codec {
    inner: Arc<()>,
}

impl Codec {
    /// A codec on the ids of the committed lock file: the embedded mode's.
    #[must_use]
    pub fn locked() -> Self {
        todo!()
    }

    /// A codec on a schema registry, once: looks up (or registers) the schema
    /// of every topic and checks that the compatibility is `FULL_TRANSITIVE`.
    ///
    /// # Errors
    /// [`RegistryError`]; the caller decides whether to wait and try again.
    pub async fn connect(_config: &RegistryConfig) -> Result<Self, RegistryError> {
        todo!()
    }

    /// Sets `FULL_TRANSITIVE` and registers the schema of every topic; tells
    /// for each subject its id and version. What is there already stays.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn register_all(_config: &RegistryConfig) -> Result<Vec<(String, u32)>, RegistryError> {
        todo!()
    }

    /// A command's record: key, value and headers.
    ///
    /// # Errors
    /// [`EncodeError`]; a bug, as every command can be written.
    pub fn encode_command(&self, _command: &Command, _trace: TraceParent) -> Result<Record, EncodeError> {
        todo!()
    }

    /// The command in a record of one of the command topics.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_command(&self, _topic: Topic, _record: &Record) -> Result<Command, DecodeError> {
        todo!()
    }

    /// A decision's record. `command` is the record decided, whose trace and
    /// tenant it carries on.
    ///
    /// # Errors
    /// [`EncodeError`]; a bug, as every decision can be written.
    pub fn encode_decision(
        &self,
        _decision: &Decision,
        _command: &Stored,
        _by: Ownership,
        _digest: tidings_domain::Digest,
    ) -> Result<Record, EncodeError> {
        todo!()
    }

    /// The marker of a command that went to the dead letters.
    ///
    /// # Errors
    /// [`EncodeError`]; a bug.
    pub fn encode_dead(
        &self,
        _command: &Stored,
        _at: Timestamp,
        _by: Ownership,
        _digest: tidings_domain::Digest,
    ) -> Result<Record, EncodeError> {
        todo!()
    }

    /// The body of a valid record of `message.delivered` that is no claim.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_delivered(&self, _record: &Record) -> Result<DeliveredBody, DecodeError> {
        todo!()
    }

    /// A claim of a partition of `message.delivered`.
    #[must_use]
    pub fn claim(_by: Ownership, _at: Timestamp) -> Record {
        todo!()
    }

    /// A record of `conversation.state`, for partition `partition`.
    ///
    /// # Errors
    /// [`EncodeError`]; a bug.
    pub fn encode_state(&self, _partition: i32, _entry: &StateEntry) -> Result<Record, EncodeError> {
        todo!()
    }

    /// What a record of `conversation.state` says; none: a deletion.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_state(&self, _record: &Record) -> Result<Option<StateEntry>, DecodeError> {
        todo!()
    }

    /// The value of any record with a schema, as JSON; `null` for none. With
    /// the writer's schema, so that nothing it wrote is left out.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn to_json(&self, _record: &Record) -> Result<serde_json::Value, DecodeError> {
        todo!()
    }

    /// The record that a consumer writes to its dead-letter topic: the bytes
    /// and headers as they came, and where they stood and what was wrong.
    #[must_use]
    pub fn dead_letter(_from: &Stored, _consumer: &str, _error: &str, _attempts: u32) -> Record {
        todo!()
    }
}
