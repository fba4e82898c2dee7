//! Generic Avro values as plain JSON, for people and tools.

use apache_avro::types::Value;
use serde_json::{Map, Value as Json, json};
use tidings_domain::Timestamp;

use crate::format_time;

/// The value as JSON: unions are flattened, times are RFC 3339, bytes are hex.
pub(super) fn to_json(value: Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => value.into(),
        Value::Int(value) | Value::Date(value) | Value::TimeMillis(value) => value.into(),
        Value::Long(value)
        | Value::TimeMicros(value)
        | Value::LocalTimestampMillis(value)
        | Value::LocalTimestampMicros(value)
        | Value::LocalTimestampNanos(value) => value.into(),
        Value::Float(value) => json!(value),
        Value::Double(value) => json!(value),
        Value::String(value) | Value::Enum(_, value) => value.into(),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => hex(&bytes).into(),
        Value::Union(_, value) => to_json(*value),
        Value::Array(values) => values.into_iter().map(to_json).collect(),
        Value::Map(entries) => entries
            .into_iter()
            .map(|(k, v)| (k, to_json(v)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Record(fields) => fields
            .into_iter()
            .map(|(k, v)| (k, to_json(v)))
            .collect::<Map<_, _>>()
            .into(),
        Value::TimestampMillis(ms) => format_time(Timestamp(ms)).into(),
        Value::TimestampMicros(us) => format_time(Timestamp(us.div_euclid(1_000))).into(),
        Value::TimestampNanos(ns) => format_time(Timestamp(ns.div_euclid(1_000_000))).into(),
        Value::Uuid(id) => id.to_string().into(),
        Value::Decimal(value) => {
            Vec::<u8>::try_from(&value).map_or(Json::Null, |bytes| hex(&bytes).into())
        }
        Value::BigDecimal(value) => value.to_string().into(),
        Value::Duration(value) => json!({
            "months": u32::from(value.months()),
            "days": u32::from(value.days()),
            "millis": u32::from(value.millis()),
        }),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}
