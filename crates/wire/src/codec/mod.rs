//! Domain values to records and back.

mod avro;
mod commands;
mod decisions;
mod json;
pub(crate) mod lock;
mod parts;
#[cfg(feature = "registry")]
pub(crate) mod registry;
mod states;

use std::sync::Arc;

use bytes::Bytes;
use tidings_domain::{
    Command, CommandBody, ConversationId, Decision, Digest, Event, Outcome, Own, Ownership,
    Snapshot, Tenant, Timestamp,
};
use uuid::Uuid;

use self::avro::Avro;
#[cfg(feature = "registry")]
use self::avro::Source;
#[cfg(feature = "registry")]
pub(crate) use self::avro::read_as;
#[cfg(feature = "registry")]
pub(crate) use self::registry::COMPATIBILITY;
#[cfg(feature = "registry")]
use self::registry::Registry;
use crate::headers::HeaderWriter;
#[cfg(feature = "registry")]
use crate::schemas;
use crate::{DeliveredBody, Headers, Input, Record, StateEntry, Stored, Topic, TraceParent, names};

/// `ce_source` of commands.
const EDGE: &str = "tidings/edge";
/// `ce_source` of decisions, claims and snapshots.
const SEQUENCER: &str = "tidings/sequencer";

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
#[cfg(feature = "registry")]
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// The base of the Confluent API, such as `http://localhost:8081`.
    pub url: String,
    /// Put before each subject, as before each topic; usually empty.
    pub topic_prefix: String,
}

/// Why the registry could not be used.
#[cfg(feature = "registry")]
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
    avro: Arc<Avro>,
}

impl Codec {
    /// A codec on the ids of the committed lock file: the embedded mode's.
    #[must_use]
    pub fn locked() -> Self {
        Self {
            avro: Arc::new(Avro::locked()),
        }
    }

    /// A codec on a schema registry, once: looks up (or registers) the schema
    /// of every topic and checks that the compatibility is `FULL_TRANSITIVE`.
    ///
    /// Schemas met later are asked for on the runtime this is called on.
    ///
    /// # Errors
    /// [`RegistryError`]; the caller decides whether to wait and try again.
    #[cfg(feature = "registry")]
    pub async fn connect(config: &RegistryConfig) -> Result<Self, RegistryError> {
        let registry = Registry::new(config)?;
        let mut ids = [0; Topic::WITH_SCHEMA.len()];
        for (id, topic) in ids.iter_mut().zip(Topic::WITH_SCHEMA) {
            registry.check_compatibility(topic).await?;
            *id = registry.register(topic).await?;
        }
        Ok(Self {
            avro: Arc::new(Avro::new(ids, Source::Registry(registry))),
        })
    }

    /// Sets `FULL_TRANSITIVE` and registers every version of the schema of
    /// every topic, in order; tells for each subject the id of the newest. What
    /// is there already stays.
    ///
    /// # Errors
    /// [`RegistryError`].
    #[cfg(feature = "registry")]
    pub async fn register_all(
        config: &RegistryConfig,
    ) -> Result<Vec<(String, u32)>, RegistryError> {
        let registrations = schemas::register(config, false).await?;
        let newest = |it: schemas::Registration| {
            let id = it.versions.last().and_then(|newest| newest.id);
            id.map(|id| (it.subject, id))
        };
        Ok(registrations.into_iter().filter_map(newest).collect())
    }

    /// A command's record: key, value and headers.
    ///
    /// `ce_id` is the command's [key](Command::key), so that the same command
    /// sent again has the same.
    ///
    /// # Errors
    /// [`EncodeError`]; a bug, as every command can be written.
    pub fn encode_command(
        &self,
        command: &Command,
        trace: TraceParent,
    ) -> Result<Record, EncodeError> {
        let value = commands::encode(&self.avro, command)?;
        let mut headers = HeaderWriter::cloud_event(command_type(&command.body), EDGE);
        headers.uuid(names::CE_ID, command.key().0);
        headers.time(names::CE_TIME, command.at);
        headers.display(names::TRACEPARENT, trace);
        headers.text(names::TENANT, command.tenant.as_str());
        Ok(Record {
            key: Some(conversation_key(command.conversation_id)),
            value: Some(value),
            headers: headers.finish(),
            timestamp: command.at,
        })
    }

    /// The command in a record of one of the command topics.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_command(&self, topic: Topic, record: &Record) -> Result<Command, DecodeError> {
        let command = commands::decode(&self.avro, topic, value_of(record)?)?;
        // The key decides the partition, and so who decides the command.
        if key_conversation(record) != Some(command.conversation_id) {
            return Err(DecodeError::Malformed(
                "the key is not the conversation's id".to_owned(),
            ));
        }
        Ok(command)
    }

    /// A decision's record. `command` is the record decided, whose trace and
    /// tenant it carries on.
    ///
    /// # Errors
    /// [`EncodeError`]; a bug, as every decision can be written.
    pub fn encode_decision(
        &self,
        decision: &Decision,
        command: &Stored,
        by: Ownership,
        digest: Digest,
    ) -> Result<Record, EncodeError> {
        Ok(Record {
            key: Some(conversation_key(decision.conversation_id)),
            value: Some(decisions::encode(&self.avro, decision)?),
            headers: decided_headers(decision_type(decision), decision.at, command, by, digest),
            timestamp: decision.at,
        })
    }

    /// The marker of a command that went to the dead letters.
    ///
    /// # Errors
    /// [`EncodeError`]; a bug.
    pub fn encode_dead(
        &self,
        command: &Stored,
        at: Timestamp,
        by: Ownership,
        digest: Digest,
    ) -> Result<Record, EncodeError> {
        let tenant = command.record.headers.text(names::TENANT);
        let tenant = tenant.filter(|text| Tenant::parse(text).is_ok());
        let conversation_id = key_conversation(&command.record);
        Ok(Record {
            key: command.record.key.clone(),
            value: Some(decisions::encode_dead(
                &self.avro,
                tenant,
                conversation_id,
                at,
            )?),
            headers: decided_headers("tidings.command.dead", at, command, by, digest),
            timestamp: at,
        })
    }

    /// The body of a valid record of `message.delivered` that is no claim.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_delivered(&self, record: &Record) -> Result<DeliveredBody, DecodeError> {
        decisions::decode(&self.avro, value_of(record)?)
    }

    /// A claim of a partition of `message.delivered`.
    #[must_use]
    pub fn claim(by: Ownership, at: Timestamp) -> Record {
        let mut headers = HeaderWriter::cloud_event("tidings.claim", SEQUENCER);
        // A claim's owner is fresh, so it names the claim.
        headers.uuid(names::CE_ID, by.owner.0);
        headers.time(names::CE_TIME, at);
        headers.display(names::CE_EPOCH, by.epoch);
        headers.uuid(names::CE_OWNER, by.owner.0);
        Record {
            key: None,
            value: None,
            headers: headers.finish(),
            timestamp: at,
        }
    }

    /// A record of `conversation.state`, for partition `partition`.
    ///
    /// # Errors
    /// [`EncodeError`]; a bug.
    pub fn encode_state(&self, partition: i32, entry: &StateEntry) -> Result<Record, EncodeError> {
        let key = entry.key();
        let (kind, as_of) = match entry {
            StateEntry::Checkpoint { upto, .. } => ("tidings.state.checkpoint", *upto),
            StateEntry::Piece {
                snapshot: Snapshot::Head { .. },
                as_of,
                ..
            } => ("tidings.state.head", *as_of),
            StateEntry::Piece {
                snapshot: Snapshot::Member { .. },
                as_of,
                ..
            } => ("tidings.state.member", *as_of),
            StateEntry::Piece {
                snapshot: Snapshot::Window(_),
                as_of,
                ..
            } => ("tidings.state.window", *as_of),
        };
        let value = states::encode(&self.avro, entry)?;
        Ok(state_record(partition, key, value, kind, as_of))
    }

    /// A record of `conversation.state` that deletes what stands under a key,
    /// such as a window chunk whose commands are all forgotten; see
    /// [`StateEntry::key`].
    #[must_use]
    pub fn state_tombstone(partition: i32, key: Bytes) -> Record {
        state_record(partition, key, None, "tidings.state.deleted", -1)
    }

    /// What a record of `conversation.state` says; none: a deletion of its key.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_state(&self, record: &Record) -> Result<Option<StateEntry>, DecodeError> {
        record
            .value
            .as_deref()
            .map(|value| states::decode(&self.avro, value))
            .transpose()
    }

    /// The value of any record with a schema, as JSON; `null` for none. With
    /// the writer's schema, so that nothing it wrote is left out.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn to_json(&self, record: &Record) -> Result<serde_json::Value, DecodeError> {
        match record.value.as_deref() {
            Some(value) => self.avro.read_generic(value).map(json::to_json),
            None => Ok(serde_json::Value::Null),
        }
    }

    /// The record that a consumer writes to its dead-letter topic: the bytes
    /// and headers as they came, and where they stood and what was wrong.
    ///
    /// `error` must not hold message text: headers are shown and logged.
    #[must_use]
    pub fn dead_letter(from: &Stored, consumer: &str, error: &str, attempts: u32) -> Record {
        let mut headers = HeaderWriter::from(from.record.headers.clone());
        headers.constant(names::DEAD_TOPIC, from.topic.name());
        headers.display(names::DEAD_PARTITION, from.partition);
        headers.display(names::DEAD_OFFSET, from.offset);
        headers.text(names::DEAD_ERROR, error);
        headers.text(names::DEAD_CONSUMER, consumer);
        headers.display(names::DEAD_ATTEMPTS, attempts);
        Record {
            key: from.record.key.clone(),
            value: from.record.value.clone(),
            headers: headers.finish(),
            // Its own time, or a late letter would be deleted before its days
            // in the topic are over.
            timestamp: now(),
        }
    }
}

/// A record's key for a conversation: its id, hyphenated and in lower case.
fn conversation_key(id: ConversationId) -> Bytes {
    Bytes::copy_from_slice(
        id.0.hyphenated()
            .encode_lower(&mut Uuid::encode_buffer())
            .as_bytes(),
    )
}

fn key_conversation(record: &Record) -> Option<ConversationId> {
    let key = std::str::from_utf8(record.key.as_deref()?).ok()?;
    let id = Uuid::try_parse(key).ok()?;
    // Another spelling of the same id would be in another partition.
    let spelled = id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == key;
    spelled.then_some(ConversationId(id))
}

fn value_of(record: &Record) -> Result<&[u8], DecodeError> {
    let missing = || DecodeError::Malformed("the record has no value".to_owned());
    record.value.as_deref().ok_or_else(missing)
}

/// The headers of whatever is made of a command.
fn decided_headers(
    kind: &'static str,
    at: Timestamp,
    command: &Stored,
    by: Ownership,
    digest: Digest,
) -> Headers {
    let input = Input {
        topic: command.topic,
        offset: command.offset,
    };
    let mut headers = HeaderWriter::cloud_event(kind, SEQUENCER);
    headers.uuid(names::CE_ID, input.event_id(command.partition));
    headers.time(names::CE_TIME, at);
    for name in [names::TRACEPARENT, names::TENANT] {
        if let Some(value) = command.record.headers.get(name) {
            headers.bytes(name, value.clone());
        }
    }
    headers.display(names::CE_EPOCH, by.epoch);
    headers.uuid(names::CE_OWNER, by.owner.0);
    headers.display(names::CE_INPUT, input);
    headers.display(names::CE_DIGEST, digest);
    headers.finish()
}

fn state_record(
    partition: i32,
    key: Bytes,
    value: Option<Bytes>,
    kind: &'static str,
    as_of: i64,
) -> Record {
    let timestamp = now();
    let mut name = format!("{}/{partition}/{as_of}/", Topic::ConversationState).into_bytes();
    name.extend_from_slice(&key);
    let mut headers = HeaderWriter::cloud_event(kind, SEQUENCER);
    headers.uuid(
        names::CE_ID,
        Uuid::new_v5(&tidings_domain::NAMESPACE, &name),
    );
    headers.time(names::CE_TIME, timestamp);
    Record {
        key: Some(key),
        value,
        headers: headers.finish(),
        timestamp,
    }
}

fn command_type(body: &CommandBody) -> &'static str {
    match body {
        CommandBody::Create { .. } => "tidings.command.create",
        CommandBody::Send { .. } => "tidings.command.send",
        CommandBody::Edit { .. } => "tidings.command.edit",
        CommandBody::Delete { .. } => "tidings.command.delete",
        CommandBody::React { .. } => "tidings.command.react",
        CommandBody::Read { .. } => "tidings.command.read",
        CommandBody::Update(_) => "tidings.command.update",
    }
}

fn decision_type(decision: &Decision) -> &'static str {
    match &decision.outcome {
        Outcome::Accepted { event, .. } => match event {
            Event::MessageSent { .. } => "tidings.message.sent",
            Event::MessageEdited { .. } => "tidings.message.edited",
            Event::MessageDeleted { .. } => "tidings.message.deleted",
            Event::MessageReacted { .. } => "tidings.message.reacted",
            Event::ConversationUpdated(_) => "tidings.conversation.updated",
        },
        Outcome::Noted(own) => match own {
            Own::Read { .. } => "tidings.message.read",
            Own::Hide(_) => "tidings.message.deleted",
            Own::Archive | Own::Unarchive | Own::Mute { .. } | Own::Unmute => {
                "tidings.conversation.updated"
            }
        },
        Outcome::Rejected(_) => "tidings.command.rejected",
        Outcome::Duplicate(_) => "tidings.command.duplicate",
    }
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}
