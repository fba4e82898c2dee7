//! The serde structs of what several records have in common. A struct is named
//! in serde as its record is in the schema: Avro's serializer compares them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use tidings_domain::{
    Attachment, Content, ConversationId, ForwardedFrom, InputError, MessageId, UserId,
};
use uuid::Uuid;

use super::DecodeError;

/// A text, borrowed when written and owned when read.
pub(super) type Text<'a> = Cow<'a, str>;

/// Borrows a text for writing.
pub(super) fn text<'a>(text: &'a str) -> Text<'a> {
    Cow::Borrowed(text)
}

/// What stands in a record is not what the domain takes.
pub(super) fn malformed(what: impl fmt::Display) -> DecodeError {
    DecodeError::Malformed(what.to_string())
}

impl From<InputError> for DecodeError {
    fn from(error: InputError) -> Self {
        malformed(error)
    }
}

/// Reads a text that stands for a value of a closed set.
pub(super) fn parse<T>(
    field: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, DecodeError> {
    parse(text).ok_or_else(|| malformed(format_args!("{field}: not a value this version knows")))
}

/// A field that this record cannot do without.
pub(super) fn required<T>(field: &str, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or_else(|| malformed(format_args!("{field}: missing")))
}

/// A count, which Avro can only write as a signed number.
pub(super) fn count(field: &str, value: i64) -> Result<u64, DecodeError> {
    u64::try_from(value).map_err(|_| malformed(format_args!("{field}: negative")))
}

/// Writes a count. Counts are positions in a log and cannot come near 2⁶³.
pub(super) fn long(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A UUID, hyphenated and in lower case, written without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(pub(super) Uuid);

impl Id {
    pub(super) fn conversation(self) -> ConversationId {
        ConversationId(self.0)
    }

    pub(super) fn message(self) -> MessageId {
        MessageId(self.0)
    }
}

impl From<ConversationId> for Id {
    fn from(id: ConversationId) -> Self {
        Self(id.0)
    }
}

impl From<MessageId> for Id {
    fn from(id: MessageId) -> Self {
        Self(id.0)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;

        impl Visitor<'_> for IdVisitor {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a UUID")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
                Uuid::try_parse(text)
                    .map(Id)
                    .map_err(|_| E::custom("not a UUID"))
            }
        }

        deserializer.deserialize_string(IdVisitor)
    }
}

/// Bytes, which serde would else write as an array of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob(pub(super) Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlobVisitor;

        impl Visitor<'_> for BlobVisitor {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes))
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
        }

        deserializer
            .deserialize_byte_buf(BlobVisitor)
            .map_err(D::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Content")]
pub(super) struct ContentRow<'a> {
    text: Text<'a>,
    attachments: Vec<AttachmentRow<'a>>,
    meta: Option<Text<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Attachment")]
struct AttachmentRow<'a> {
    id: Text<'a>,
    name: Text<'a>,
    mime: Text<'a>,
    size: i64,
}

impl<'a> From<&'a Content> for ContentRow<'a> {
    fn from(content: &'a Content) -> Self {
        let attachment = |it: &'a Attachment| AttachmentRow {
            id: text(&it.id),
            name: text(&it.name),
            mime: text(&it.mime),
            size: it.size,
        };
        Self {
            text: text(&content.text),
            attachments: content.attachments.iter().map(attachment).collect(),
            meta: content.meta.as_deref().map(text),
        }
    }
}

impl ContentRow<'_> {
    pub(super) fn into_content(self) -> Content {
        let attachment = |it: AttachmentRow<'_>| Attachment {
            id: it.id.into_owned(),
            name: it.name.into_owned(),
            mime: it.mime.into_owned(),
            size: it.size,
        };
        Content {
            text: self.text.into_owned(),
            attachments: self.attachments.into_iter().map(attachment).collect(),
            meta: self.meta.map(Cow::into_owned),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "ForwardedFrom")]
pub(super) struct ForwardedFromRow<'a> {
    conversation_id: Id,
    message_id: Id,
    by: Text<'a>,
}

impl<'a> From<&'a ForwardedFrom> for ForwardedFromRow<'a> {
    fn from(from: &'a ForwardedFrom) -> Self {
        Self {
            conversation_id: from.conversation_id.into(),
            message_id: from.message_id.into(),
            by: text(from.by.as_str()),
        }
    }
}

impl ForwardedFromRow<'_> {
    pub(super) fn into_forwarded_from(self) -> Result<ForwardedFrom, DecodeError> {
        Ok(ForwardedFrom {
            conversation_id: self.conversation_id.conversation(),
            message_id: self.message_id.message(),
            by: UserId::parse(&self.by)?,
        })
    }
}
