//! Avro datums in Confluent's framing, by cached readers and writers.
//!
//! Values of our own schemas go straight between bytes and serde structs.
//! What was written with another schema is read as a generic value, resolved
//! to ours, and then made a struct: apache-avro cannot do both at once.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, LazyLock};

use apache_avro::error::Details;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema, from_value};
use bytes::Bytes;
use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "registry")]
use super::json;
#[cfg(feature = "registry")]
use super::registry::Registry;
use super::{DecodeError, EncodeError, lock};
use crate::Topic;

/// The first byte of every framed value.
const MAGIC: u8 = 0;
/// The magic byte and the schema id.
const FRAME_BYTES: usize = 5;
/// No text, byte field or list of a record may claim to be longer: a hostile
/// length must not make us allocate. Far above the largest record a log takes.
const MAX_ALLOCATION_BYTES: usize = 16 * 1024 * 1024;

const TOPICS: usize = Topic::WITH_SCHEMA.len();

/// Our own schemas, in the order of [`Topic::WITH_SCHEMA`].
static SCHEMAS: LazyLock<[Schema; TOPICS]> = LazyLock::new(|| {
    apache_avro::util::max_allocation_bytes(MAX_ALLOCATION_BYTES);
    Topic::WITH_SCHEMA.map(|topic| {
        let text = lock::schema(topic).expect("schemas/lock.json names a file for each topic");
        Schema::parse_str(text).expect("the schemas compiled in are checked by a test")
    })
});

/// How to read and write them.
static OURS: LazyLock<[Ours; TOPICS]> =
    LazyLock::new(|| std::array::from_fn(|i| Ours::new(Topic::WITH_SCHEMA[i], &SCHEMAS[i])));

/// One of our own schemas.
struct Ours {
    topic: Topic,
    schema: &'static Schema,
    /// What decides how a datum is laid out: two schemas of one canonical form
    /// can read each other's datums without resolution.
    canonical: String,
    reader: GenericDatumReader<'static>,
    writer: GenericDatumWriter<'static>,
}

impl Ours {
    fn new(topic: Topic, schema: &'static Schema) -> Self {
        const WHY: &str = "the schemas compiled in are complete in themselves";
        Self {
            topic,
            schema,
            canonical: schema.canonical_form(),
            reader: GenericDatumReader::builder(schema).build().expect(WHY),
            writer: GenericDatumWriter::builder(schema).build().expect(WHY),
        }
    }

    fn read<T: DeserializeOwned>(&self, datum: &[u8]) -> Result<T, DecodeError> {
        Datum::read(datum, |datum| self.reader.read_deser(datum))
    }
}

/// A schema that is not ours: an older or newer version.
struct Theirs {
    canonical: String,
    /// Reads what was written as it was written.
    plain: GenericDatumReader<'static>,
    /// Reads it as the schema of this topic, if it is a version of that.
    resolving: Option<(Topic, GenericDatumReader<'static>)>,
}

impl Theirs {
    fn parse(id: u32, text: &str) -> Result<Self, DecodeError> {
        let unusable = |_| DecodeError::Malformed(format!("schema id {id} is not usable Avro"));
        // Readers borrow their schema, so it must live as long as they do.
        // Leaked once per schema id, and kept in the codec from then on, so no
        // more than there are schemas in the registry.
        let schema: &'static Schema =
            Box::leak(Box::new(Schema::parse_str(text).map_err(unusable)?));
        let ours = OURS.iter().find(|ours| ours.schema.name() == schema.name());
        let resolving = match ours {
            Some(ours) => {
                let builder = GenericDatumReader::builder(schema).reader_schema(ours.schema);
                Some((ours.topic, builder.build().map_err(unusable)?))
            }
            None => None,
        };
        Ok(Self {
            canonical: schema.canonical_form(),
            plain: GenericDatumReader::builder(schema)
                .build()
                .map_err(unusable)?,
            resolving,
        })
    }
}

/// Where schema ids come from.
pub(super) enum Source {
    /// The lock file.
    Lock,
    /// A schema registry.
    #[cfg(feature = "registry")]
    Registry(Registry),
}

/// Reads and writes framed values.
pub(super) struct Avro {
    /// The ids of our own schemas, in the order of [`Topic::WITH_SCHEMA`].
    ids: [u32; TOPICS],
    source: Source,
    /// Only what was found: that an id is unknown may change.
    theirs: RwLock<HashMap<u32, Arc<Theirs>>>,
}

impl Avro {
    pub(super) fn new(ids: [u32; TOPICS], source: Source) -> Self {
        LazyLock::force(&OURS);
        Self {
            ids,
            source,
            theirs: RwLock::default(),
        }
    }

    /// By the lock file.
    pub(super) fn locked() -> Self {
        let ids = Topic::WITH_SCHEMA
            .map(|topic| lock::id(topic).expect("schemas/lock.json has an id for each topic"));
        Self::new(ids, Source::Lock)
    }

    /// A framed value of a topic's own schema.
    pub(super) fn write<T: Serialize>(&self, topic: Topic, row: &T) -> Result<Bytes, EncodeError> {
        const USUAL_BYTES: usize = 512;
        let error = |message: String| EncodeError { topic, message };
        let at = position(topic).ok_or_else(|| error("it has no schema".to_owned()))?;
        let mut value = Vec::with_capacity(USUAL_BYTES);
        value.push(MAGIC);
        value.extend_from_slice(&self.ids[at].to_be_bytes());
        OURS[at]
            .writer
            .write_ser(&mut value, row)
            .map_err(|e| error(cause(e.details()).to_owned()))?;
        Ok(value.into())
    }

    /// Reads a framed value of a topic, whichever version of its schema it was
    /// written with.
    pub(super) fn read<T: DeserializeOwned>(
        &self,
        topic: Topic,
        value: &[u8],
    ) -> Result<T, DecodeError> {
        let foreign = |id| DecodeError::Malformed(format!("schema id {id} is not of {topic}"));
        let (id, datum) = unframe(value)?;
        let at = position(topic).ok_or_else(|| foreign(id))?;
        if id == self.ids[at] {
            return OURS[at].read(datum);
        }
        if self.ids.contains(&id) {
            return Err(foreign(id));
        }
        let theirs = self.theirs(id)?;
        match &theirs.resolving {
            Some((of, _)) if *of == topic && theirs.canonical == OURS[at].canonical => {
                OURS[at].read(datum)
            }
            Some((of, reader)) if *of == topic => {
                let value = Datum::read(datum, |datum| reader.read_value(datum))?;
                from_value(&value).map_err(|error| unreadable(&error))
            }
            _ => Err(foreign(id)),
        }
    }

    /// Reads a framed value as it was written.
    pub(super) fn read_generic(&self, value: &[u8]) -> Result<Value, DecodeError> {
        let (id, datum) = unframe(value)?;
        match self.ids.iter().position(|ours| *ours == id) {
            Some(at) => Datum::read(datum, |datum| OURS[at].reader.read_value(datum)),
            None => {
                let theirs = self.theirs(id)?;
                Datum::read(datum, |datum| theirs.plain.read_value(datum))
            }
        }
    }

    fn theirs(&self, id: u32) -> Result<Arc<Theirs>, DecodeError> {
        if let Some(known) = self.theirs.read().get(&id) {
            return Ok(Arc::clone(known));
        }
        let theirs = match &self.source {
            Source::Lock => {
                let text = lock::schema_of_id(id).ok_or(DecodeError::UnknownSchema(id))?;
                Theirs::parse(id, text)?
            }
            #[cfg(feature = "registry")]
            Source::Registry(registry) => Theirs::parse(id, &registry.schema(id)?)?,
        };
        // Of two threads that asked at once, the first one's is kept.
        Ok(Arc::clone(
            self.theirs
                .write()
                .entry(id)
                .or_insert_with(|| Arc::new(theirs)),
        ))
    }
}

/// Reads a framed value that was written with one schema as another has it: its
/// schema id, and what it says.
#[cfg(feature = "registry")]
pub(crate) fn read_as(
    writer: &Schema,
    reader: &Schema,
    value: &[u8],
) -> Result<(u32, serde_json::Value), DecodeError> {
    LazyLock::force(&SCHEMAS);
    let (id, datum) = unframe(value)?;
    let unusable = |error: apache_avro::Error| unreadable(&error);
    let reader = GenericDatumReader::builder(writer)
        .reader_schema(reader)
        .build()
        .map_err(unusable)?;
    let value = Datum::read(datum, |datum| reader.read_value(datum))?;
    Ok((id, json::to_json(value)))
}

fn position(topic: Topic) -> Option<usize> {
    Topic::WITH_SCHEMA
        .iter()
        .position(|with_schema| *with_schema == topic)
}

fn unframe(value: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    match value.split_first_chunk::<FRAME_BYTES>() {
        Some((&[MAGIC, a, b, c, d], datum)) => Ok((u32::from_be_bytes([a, b, c, d]), datum)),
        Some(_) => Err(DecodeError::Malformed("the first byte is not 0".to_owned())),
        None => Err(DecodeError::Malformed(
            "shorter than a magic byte and an id".to_owned(),
        )),
    }
}

/// The bytes of a datum, and whether more were asked for than there are:
/// apache-avro makes a null of a text at which the input ends.
struct Datum<'a> {
    rest: &'a [u8],
    ended: bool,
}

impl<'a> Datum<'a> {
    /// Reads one value, which must be all there is.
    fn read<T>(
        bytes: &'a [u8],
        read: impl FnOnce(&mut Self) -> apache_avro::AvroResult<T>,
    ) -> Result<T, DecodeError> {
        let mut datum = Self {
            rest: bytes,
            ended: false,
        };
        let value = read(&mut datum);
        if datum.ended {
            return Err(DecodeError::Malformed(
                "the value ends too early".to_owned(),
            ));
        }
        let value = value.map_err(|error| unreadable(&error))?;
        if !datum.rest.is_empty() {
            return Err(DecodeError::Malformed("bytes follow the value".to_owned()));
        }
        Ok(value)
    }
}

impl Read for Datum<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.rest.read(into)?;
        self.ended |= count < into.len();
        Ok(count)
    }

    #[inline]
    fn read_exact(&mut self, into: &mut [u8]) -> io::Result<()> {
        let read = self.rest.read_exact(into);
        self.ended |= read.is_err();
        read
    }
}

fn unreadable(error: &apache_avro::Error) -> DecodeError {
    DecodeError::Malformed(cause(error.details()).to_owned())
}

/// What was wrong, without apache-avro's own text: that may hold the value.
fn cause(details: &Details) -> &'static str {
    match details {
        Details::MemoryAllocation { .. } => "a length is beyond what a record may hold",
        Details::ConvertToUtf8(_) | Details::ConvertToUtf8Error(_) => "a text is not UTF-8",
        Details::IntegerOverflow | Details::ZagI32(..) | Details::ConvertI64ToUsize(..) => {
            "a number is out of range"
        }
        Details::GetUnionVariant { .. } | Details::ConvertI32ToUsize(..) => {
            "a union has no such branch"
        }
        Details::DeserializeValue(_) => "a field does not hold what it should",
        _ => "the value does not fit its schema",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde::{Deserialize, Serialize};
    use serde_json::json;
    use tidings_domain::{Command, CommandBody, ConversationId, TempId, Tenant, Timestamp, UserId};
    use uuid::Uuid;

    use super::{Avro, Theirs, lock};
    use crate::Topic;
    use crate::codec::{DecodeError, commands, json};

    /// A read command as another version of its schema has it: without `at`'s
    /// logical type, with a field more, its fields in another order.
    const OTHER_VERSION: &str = r#"{
        "type": "record", "name": "ReadCommand", "namespace": "tidings",
        "fields": [
            {"name": "device", "type": ["null", "string"], "default": null},
            {"name": "up_to", "type": "long"},
            {"name": "tenant", "type": "string"},
            {"name": "conversation_id", "type": "string"},
            {"name": "sender", "type": "string"},
            {"name": "temp_id", "type": "string"},
            {"name": "at", "type": "long"}
        ]
    }"#;
    const OTHER_ID: u32 = 1_000;

    #[derive(Serialize)]
    struct ReadCommand {
        device: Option<&'static str>,
        up_to: i64,
        tenant: &'static str,
        conversation_id: &'static str,
        sender: &'static str,
        temp_id: &'static str,
        at: i64,
    }

    fn other_value() -> Vec<u8> {
        let schema = apache_avro::Schema::parse_str(OTHER_VERSION).unwrap();
        let writer = super::GenericDatumWriter::builder(&schema).build().unwrap();
        let mut value = vec![0];
        value.extend(OTHER_ID.to_be_bytes());
        let row = ReadCommand {
            device: Some("phone"),
            up_to: 9,
            tenant: "acme",
            conversation_id: "5d1f6b5c-22d4-5e0f-9b3e-000000000001",
            sender: "alice",
            temp_id: "k1",
            at: 1_700_000_000_000,
        };
        writer.write_ser(&mut value, &row).unwrap();
        value
    }

    fn knowing(id: u32, text: &str) -> Avro {
        let avro = Avro::locked();
        avro.theirs
            .write()
            .insert(id, Arc::new(Theirs::parse(id, text).unwrap()));
        avro
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Row {
        up_to: i64,
        tenant: String,
        temp_id: String,
        at: i64,
    }

    #[test]
    fn another_version_is_resolved_to_ours() {
        let avro = knowing(OTHER_ID, OTHER_VERSION);
        let row: Row = avro.read(Topic::MessageRead, &other_value()).unwrap();
        let (tenant, temp_id) = ("acme".to_owned(), "k1".to_owned());
        assert_eq!(
            row,
            Row {
                up_to: 9,
                tenant,
                temp_id,
                at: 1_700_000_000_000
            }
        );
        let json = json::to_json(avro.read_generic(&other_value()).unwrap());
        assert_eq!(
            json["device"],
            json!("phone"),
            "what only the writer knew is shown"
        );
    }

    #[test]
    fn another_version_cut_short_is_an_error() {
        let avro = knowing(OTHER_ID, OTHER_VERSION);
        let value = other_value();
        for end in 0..value.len() {
            assert!(
                avro.read::<Row>(Topic::MessageRead, &value[..end]).is_err(),
                "{end}"
            );
            assert!(avro.read_generic(&value[..end]).is_err(), "{end}");
        }
        let longer = [value.as_slice(), &[0]].concat();
        assert!(avro.read::<Row>(Topic::MessageRead, &longer).is_err());
    }

    #[test]
    fn another_topics_schema_is_refused() {
        let avro = knowing(OTHER_ID, OTHER_VERSION);
        let error = avro
            .read::<Row>(Topic::MessageSent, &other_value())
            .unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
    }

    #[test]
    fn a_second_id_of_our_own_schema_is_read_directly() {
        let avro = knowing(OTHER_ID, lock::schema(Topic::MessageRead).unwrap());
        let command = Command {
            tenant: Tenant::parse("acme").unwrap(),
            conversation_id: ConversationId(Uuid::from_u128(1)),
            sender: UserId::parse("alice").unwrap(),
            temp_id: TempId::parse("k1").unwrap(),
            at: Timestamp(1_700_000_000_000),
            body: CommandBody::Read { up_to: 9 },
        };
        let mut value = commands::encode(&Avro::locked(), &command)
            .unwrap()
            .to_vec();
        value[1..5].copy_from_slice(&OTHER_ID.to_be_bytes());
        assert_eq!(
            commands::decode(&avro, Topic::MessageRead, &value).unwrap(),
            command
        );
    }
}
