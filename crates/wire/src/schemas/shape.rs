//! What kind of thing a schema is, apart from what its logical type makes of
//! it, and where the names in it lead.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, UuidSchema};

/// The type that decides how a datum is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array,
    Map,
    Union,
    Record,
    Enum,
    Fixed(usize),
}

impl Base {
    pub(super) fn of(schema: &Schema) -> Self {
        match schema {
            Schema::Null => Self::Null,
            Schema::Boolean => Self::Boolean,
            Schema::Int | Schema::Date | Schema::TimeMillis => Self::Int,
            Schema::Long
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Self::Long,
            Schema::Float => Self::Float,
            Schema::Double => Self::Double,
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Self::Bytes,
            Schema::String | Schema::Uuid(UuidSchema::String) => Self::String,
            Schema::Array(_) => Self::Array,
            Schema::Map(_) => Self::Map,
            Schema::Union(_) => Self::Union,
            // A reference is followed before anybody asks.
            Schema::Record(_) | Schema::Ref { .. } => Self::Record,
            Schema::Enum(_) => Self::Enum,
            Schema::Fixed(fixed)
            | Schema::Duration(fixed)
            | Schema::Uuid(UuidSchema::Fixed(fixed)) => Self::Fixed(fixed.size),
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Self::Bytes,
                InnerDecimalSchema::Fixed(fixed) => Self::Fixed(fixed.size),
            },
        }
    }

    /// As Avro writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::Array => "array",
            Self::Map => "map",
            Self::Union => "union",
            Self::Record => "record",
            Self::Enum => "enum",
            Self::Fixed(_) => "fixed",
        }
    }

    /// Whether what is written as this can be read as `reader`, both being
    /// without parts: the same, or promoted.
    pub(super) fn promotes_to(self, reader: Self) -> bool {
        match (self, reader) {
            (Self::Int, Self::Long | Self::Float | Self::Double)
            | (Self::Long, Self::Float | Self::Double)
            | (Self::Float, Self::Double)
            | (Self::String, Self::Bytes)
            | (Self::Bytes, Self::String) => true,
            // Of different sizes they are the same kind all the same.
            (Self::Fixed(_), Self::Fixed(_)) => true,
            _ => self == reader,
        }
    }
}

/// The logical type, as Avro writes it, of a schema that has one.
pub(super) fn logical_type(schema: &Schema) -> Option<&'static str> {
    Some(match schema {
        Schema::Date => "date",
        Schema::TimeMillis => "time-millis",
        Schema::TimeMicros => "time-micros",
        Schema::TimestampMillis => "timestamp-millis",
        Schema::TimestampMicros => "timestamp-micros",
        Schema::TimestampNanos => "timestamp-nanos",
        Schema::LocalTimestampMillis => "local-timestamp-millis",
        Schema::LocalTimestampMicros => "local-timestamp-micros",
        Schema::LocalTimestampNanos => "local-timestamp-nanos",
        Schema::Decimal(_) => "decimal",
        Schema::BigDecimal => "big-decimal",
        Schema::Uuid(_) => "uuid",
        Schema::Duration(_) => "duration",
        _ => return None,
    })
}

/// The type in words, such as `null | long (timestamp-millis)` or
/// `array of Member`.
pub(super) fn type_name(schema: &Schema) -> String {
    let name = match schema {
        Schema::Union(union) => {
            let branches: Vec<String> = union.variants().iter().map(type_name).collect();
            return branches.join(" | ");
        }
        Schema::Array(array) => return format!("array of {}", type_name(&array.items)),
        Schema::Map(map) => return format!("map of {}", type_name(&map.types)),
        Schema::Ref { name } => return name.name().to_owned(),
        Schema::Record(record) => return record.name.name().to_owned(),
        Schema::Enum(of) => return format!("enum {}", of.name.name()),
        Schema::Fixed(of) => return format!("fixed {} of {} bytes", of.name.name(), of.size),
        other => Base::of(other).name(),
    };
    match schema {
        Schema::Decimal(of) => format!("{name} (decimal {}, {})", of.precision, of.scale),
        other => match logical_type(other) {
            Some(logical) => format!("{name} ({logical})"),
            None => name.to_owned(),
        },
    }
}

/// The named types of a schema, by their full names.
pub(super) struct Names<'a>(BTreeMap<String, &'a Schema>);

impl<'a> Names<'a> {
    pub(super) fn of(schema: &'a Schema) -> Self {
        let mut names = Self(BTreeMap::new());
        names.add(schema);
        names
    }

    fn add(&mut self, schema: &'a Schema) {
        match schema {
            Schema::Union(union) => union.variants().iter().for_each(|it| self.add(it)),
            Schema::Array(array) => self.add(&array.items),
            Schema::Map(map) => self.add(&map.types),
            Schema::Record(record) => {
                self.0.insert(record.name.fullname(None), schema);
                record.fields.iter().for_each(|it| self.add(&it.schema));
            }
            Schema::Enum(of) => {
                self.0.insert(of.name.fullname(None), schema);
            }
            Schema::Fixed(of) => {
                self.0.insert(of.name.fullname(None), schema);
            }
            _ => {}
        }
    }

    /// What a reference leads to; anything else as it is.
    pub(super) fn follow(&self, schema: &'a Schema) -> &'a Schema {
        match schema {
            Schema::Ref { name } => self.0.get(&name.fullname(None)).copied().unwrap_or(schema),
            other => other,
        }
    }
}
