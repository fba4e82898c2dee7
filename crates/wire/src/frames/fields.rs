use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tidings_domain::{ConversationId, InputError, MessageId, UserId};

/// A JSON object whose values are looked at only when asked for, so that an
/// error can name its field and unknown fields cost nothing.
///
/// A value is skipped over without recursion, however deep it is.
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Reads an object; none where the text is anything else.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// An object inside the field `field`.
    pub(super) fn nested(field: &'static str, raw: &'a RawValue) -> Result<Self, InputError> {
        Self::parse(raw.get()).ok_or_else(|| InputError::invalid(field, "must be an object"))
    }

    /// The value of a field, unless it is absent or null. Of a repeated field
    /// the last value counts.
    pub(super) fn get(&self, field: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().rev().find(|(name, _)| name == field)?;
        (value.get() != "null").then_some(*value)
    }

    pub(super) fn required(&self, field: &'static str) -> Result<&'a RawValue, InputError> {
        self.get(field)
            .ok_or_else(|| InputError::invalid(field, "is missing"))
    }

    pub(super) fn text(&self, field: &'static str) -> Result<Option<Cow<'a, str>>, InputError> {
        self.get(field).map(|raw| text(field, raw)).transpose()
    }

    pub(super) fn required_text(&self, field: &'static str) -> Result<Cow<'a, str>, InputError> {
        text(field, self.required(field)?)
    }

    pub(super) fn flag(&self, field: &'static str) -> Result<bool, InputError> {
        match self.get(field).map(RawValue::get) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(InputError::invalid(field, "must be true or false")),
        }
    }

    /// A whole number that is not negative.
    pub(super) fn count(&self, field: &'static str) -> Result<Option<u64>, InputError> {
        let parse = |raw: &RawValue| {
            serde_json::from_str::<u64>(raw.get())
                .map_err(|_| InputError::invalid(field, "must be a whole number, 0 or more"))
        };
        self.get(field).map(parse).transpose()
    }

    /// A limit, put into `1..=most` where it is outside.
    pub(super) fn limit(
        &self,
        field: &'static str,
        default: usize,
        most: usize,
    ) -> Result<usize, InputError> {
        let Some(raw) = self.get(field) else {
            return Ok(default);
        };
        let number = serde_json::from_str::<f64>(raw.get())
            .map_err(|_| InputError::invalid(field, "must be a number"))?;
        // The cast saturates, and numbers this small are exact.
        Ok((number.clamp(1.0, most as f64)) as usize)
    }

    pub(super) fn conversation_id(&self) -> Result<ConversationId, InputError> {
        ConversationId::parse("conversation_id", &self.required_text("conversation_id")?)
    }

    pub(super) fn message_id(&self, field: &'static str) -> Result<MessageId, InputError> {
        MessageId::parse(field, &self.required_text(field)?)
    }

    pub(super) fn user_id(&self, field: &'static str) -> Result<UserId, InputError> {
        user_id(field, &self.required_text(field)?)
    }
}

/// A string.
pub(super) fn text<'a>(field: &'static str, raw: &'a RawValue) -> Result<Cow<'a, str>, InputError> {
    serde_json::from_str::<Text<'a>>(raw.get())
        .map(|text| text.0)
        .map_err(|_| InputError::invalid(field, "must be a string"))
}

/// A list, its items not looked at yet.
pub(super) fn list<'a>(
    field: &'static str,
    raw: &'a RawValue,
) -> Result<Vec<&'a RawValue>, InputError> {
    serde_json::from_str(raw.get()).map_err(|_| InputError::invalid(field, "must be a list"))
}

pub(super) fn user_id(field: &'static str, text: &str) -> Result<UserId, InputError> {
    UserId::parse(text).map_err(|error| InputError { field, ..error })
}

/// A string that is borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(8);
                while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    fields.push((name.0, value));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}
