use std::collections::BTreeSet;

use apache_avro::Schema;
use serde::Serialize;
use serde_json::Value;

use super::shape::{Names, type_name};
use super::{Break, Label, Sameness, Version, breaks, sameness};
use crate::Topic;

/// What is different between two versions of a schema.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// From which version.
    pub from: Label,
    /// To which.
    pub to: Label,
    /// How far they are the same all the same.
    pub same: Option<Sameness>,
    /// Whether readers with `to` can read what `from` has written.
    pub backward: bool,
    /// Whether readers with `from` can read what `to` writes.
    pub forward: bool,
    /// Each field and named type that is not the same, in the order of the
    /// schemas: what was removed first.
    pub changes: Vec<FieldChange>,
    /// Why one cannot read the other.
    pub breaking: Vec<Break>,
}

/// A field, or a named type, that is not the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    /// A field's path, as in [`Break::path`]; a named type's name.
    pub path: String,
    /// Whether it is a field or a named type.
    pub kind: Kind,
    /// As it was; none: it is new.
    pub from: Option<Facts>,
    /// As it is; none: it is gone.
    pub to: Option<Facts>,
}

/// A part of a schema that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A record's field.
    Field,
    /// A record, an enum or a fixed type.
    Type,
}

/// What a schema says of a field or a named type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Facts {
    /// Its type; of an enum with its symbols.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its default; none: it has none. A default of null is `Some(null)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Its doc.
    pub doc: Option<String>,
    /// Its other names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// What is different between two versions of a topic's schema.
#[must_use]
pub fn difference(topic: Topic, from: &Version, to: &Version) -> Difference {
    let backward = breaks(topic.name(), from.side(), to.side());
    let forward = breaks(topic.name(), to.side(), from.side());
    let (was, is) = (Parts::of(from.schema()), Parts::of(to.schema()));
    let find = |parts: &Parts, part: &Part| {
        let mut parts = parts.0.iter();
        parts
            .find(|it| it.path == part.path && it.kind == part.kind)
            .map(|it| it.facts.clone())
    };
    let change = |part: &Part, from, to| FieldChange {
        path: part.path.clone(),
        kind: part.kind,
        from,
        to,
    };
    let gone = was.0.iter().filter(|part| find(&is, part).is_none());
    let mut changes: Vec<FieldChange> = gone
        .map(|part| change(part, Some(part.facts.clone()), None))
        .collect();
    for part in &is.0 {
        let before = find(&was, part);
        if before.as_ref() != Some(&part.facts) {
            changes.push(change(part, before, Some(part.facts.clone())));
        }
    }
    Difference {
        from: from.label,
        to: to.label,
        same: sameness(&from.text, &to.text),
        backward: backward.is_empty(),
        forward: forward.is_empty(),
        changes,
        breaking: [backward, forward].concat(),
    }
}

struct Part {
    path: String,
    kind: Kind,
    facts: Facts,
}

/// The fields and named types of a schema, as they come.
struct Parts(Vec<Part>);

impl Parts {
    fn of(schema: &Schema) -> Self {
        let mut parts = Self(Vec::new());
        parts.add("", schema, &Names::of(schema), &mut BTreeSet::new());
        parts
    }

    /// Each record's fields stand at every place it is used, but not within
    /// itself; the type itself once.
    fn add<'a>(
        &mut self,
        path: &str,
        schema: &'a Schema,
        names: &Names<'a>,
        within: &mut BTreeSet<String>,
    ) {
        match names.follow(schema) {
            Schema::Union(union) => {
                for branch in union.variants() {
                    self.add(path, branch, names, within);
                }
            }
            Schema::Array(array) => self.add(&format!("{path}[]"), &array.items, names, within),
            Schema::Map(map) => self.add(&format!("{path}{{}}"), &map.types, names, within),
            Schema::Record(record) => {
                let name = record.name.fullname(None);
                self.add_type(&name, "record".to_owned(), record.doc.clone());
                if !within.insert(name.clone()) {
                    return;
                }
                for field in &record.fields {
                    let path = match path {
                        "" => field.name.clone(),
                        path => format!("{path}.{}", field.name),
                    };
                    self.0.push(Part {
                        path: path.clone(),
                        kind: Kind::Field,
                        facts: Facts {
                            type_name: type_name(&field.schema),
                            default: field.default.clone(),
                            doc: field.doc.clone(),
                            aliases: field.aliases.clone(),
                        },
                    });
                    self.add(&path, &field.schema, names, within);
                }
                within.remove(&name);
            }
            Schema::Enum(of) => {
                let kind = format!("enum of {}", of.symbols.join(", "));
                self.add_type(&of.name.fullname(None), kind, of.doc.clone());
            }
            Schema::Fixed(of) => {
                let kind = format!("fixed of {} bytes", of.size);
                self.add_type(&of.name.fullname(None), kind, of.doc.clone());
            }
            _ => {}
        }
    }

    fn add_type(&mut self, name: &str, kind: String, doc: Option<String>) {
        let is_there = |part: &Part| part.kind == Kind::Type && part.path == name;
        if !self.0.iter().any(is_there) {
            self.0.push(Part {
                path: name.to_owned(),
                kind: Kind::Type,
                facts: Facts {
                    type_name: kind,
                    default: None,
                    doc,
                    aliases: Vec::new(),
                },
            });
        }
    }
}
