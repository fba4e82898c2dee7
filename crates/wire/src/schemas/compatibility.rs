use std::collections::BTreeSet;

use apache_avro::Schema;
use apache_avro::schema::{EnumSchema, RecordSchema};
use serde::Serialize;

use super::Label;
use super::shape::{Base, Names, logical_type, type_name};

/// A rule that a change can break. Those of Avro are of "Schema Resolution" in
/// its specification, 1.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A field that only the reader has needs a default.
    MissingDefault,
    /// The types are the same, or the writer's can be promoted.
    TypeMismatch,
    /// Records, enums and fixed types are the same by their unqualified names.
    NameMismatch,
    /// Each branch of the writer's union can be read.
    MissingBranch,
    /// The reader's enum has the writer's symbols, or a default.
    MissingSymbol,
    /// Fixed types have the same size.
    FixedSize,
    /// Decimals have the same precision and scale.
    Decimal,
    /// A logical type does not become another. Ours: Avro reads it, as
    /// something that was not written.
    LogicalType,
    /// What was once written is read as it was then. Ours.
    Golden,
    /// A version that was written with does not change by a byte. Ours.
    Locked,
    /// The registry holds writers to the same promise. Ours.
    CompatibilityLevel,
}

impl Rule {
    /// The rule in words: Avro's own, or ours.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::MissingDefault => {
                "Avro: if the reader's record schema has a field with no default value, and \
                 writer's schema does not have a field with the same name, an error is signalled"
            }
            Self::TypeMismatch => {
                "Avro: it is an error if the two schemas do not match; an int is promotable to \
                 long, float or double, a long to float or double, a float to double, string and \
                 bytes to each other"
            }
            Self::NameMismatch => {
                "Avro: records, enums and fixed types match if they have the same unqualified name"
            }
            Self::MissingBranch => {
                "Avro: of the reader's union the first schema that matches the writer's is \
                 resolved against it; if none match, an error is signalled"
            }
            Self::MissingSymbol => {
                "Avro: if the writer's symbol is not present in the reader's enum and the reader \
                 has no default value, an error is signalled"
            }
            Self::FixedSize => "Avro: fixed types match if their sizes and names match",
            Self::Decimal => "Avro: decimals match if their scales and precisions match",
            Self::LogicalType => {
                "tidings: a logical type does not become another, since Avro lets it pass and \
                 readers take the value for something else"
            }
            Self::Golden => "tidings: what was once written is read as it was then",
            Self::Locked => {
                "tidings: a version that was ever written with does not change by a byte, and \
                 stays in lock.json"
            }
            Self::CompatibilityLevel => {
                "tidings: the registry checks new versions by FULL_TRANSITIVE"
            }
        }
    }
}

/// One of two versions of a schema.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Which version.
    pub label: Label,
    /// Its schema.
    pub schema: &'a Schema,
}

/// Why readers with one version cannot read what another has written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Break {
    /// The version that writes.
    pub writer: Label,
    /// The version that reads.
    pub reader: Label,
    /// Where: the names of fields with dots between them, `[]` an array's
    /// items, `{}` a map's values. Empty: the whole value.
    pub path: String,
    /// Which rule.
    pub rule: Rule,
    /// What and why, for a person.
    pub message: String,
}

/// All that keeps `reader` from reading what `writer` writes, by Avro's rules
/// of schema resolution. `topic` is for the messages.
///
/// Our own rather than apache-avro's, which stops at the first and does not
/// say where it is, and takes a name that is defined at another place in the
/// other schema for another type.
#[must_use]
pub fn breaks(topic: &str, writer: Side<'_>, reader: Side<'_>) -> Vec<Break> {
    let mut comparison = Comparison {
        topic,
        writer: writer.label,
        reader: reader.label,
        writers: Names::of(writer.schema),
        readers: Names::of(reader.schema),
        seen: BTreeSet::new(),
        breaks: Vec::new(),
    };
    comparison.compare("", writer.schema, reader.schema);
    comparison.breaks
}

struct Comparison<'a> {
    topic: &'a str,
    writer: Label,
    reader: Label,
    writers: Names<'a>,
    readers: Names<'a>,
    /// The pairs of records that were compared: types may refer to themselves,
    /// and what is wrong in one is told once.
    seen: BTreeSet<(String, String)>,
    breaks: Vec<Break>,
}

impl<'a> Comparison<'a> {
    fn compare(&mut self, path: &str, writer: &'a Schema, reader: &'a Schema) {
        let (writer, reader) = (self.writers.follow(writer), self.readers.follow(reader));
        match (writer, reader) {
            (Schema::Union(union), _) => {
                for branch in union.variants() {
                    self.compare_branch(path, branch, reader);
                }
            }
            (_, Schema::Union(_)) => self.compare_branch(path, writer, reader),
            (Schema::Record(writer), Schema::Record(reader)) => {
                self.compare_records(path, writer, reader);
            }
            (Schema::Enum(writer), Schema::Enum(reader)) => {
                self.compare_enums(path, writer, reader);
            }
            (Schema::Array(writer), Schema::Array(reader)) => {
                self.compare(&format!("{path}[]"), &writer.items, &reader.items);
            }
            (Schema::Map(writer), Schema::Map(reader)) => {
                self.compare(&format!("{path}{{}}"), &writer.types, &reader.types);
            }
            _ => self.compare_plain(path, writer, reader),
        }
    }

    /// A branch of the writer's union, or all of a writer that has none,
    /// against whatever the reader has.
    fn compare_branch(&mut self, path: &str, writer: &'a Schema, reader: &'a Schema) {
        let writer = self.writers.follow(writer);
        let candidates = match reader {
            Schema::Union(union) => union.variants(),
            one => std::slice::from_ref(one),
        };
        let exact = |reader: &&'a Schema| {
            let reader = self.readers.follow(reader);
            Base::of(writer) == Base::of(reader) && has_same_name(writer, reader)
        };
        let promoted = |reader: &&'a Schema| {
            let reader = self.readers.follow(reader);
            Base::of(writer).promotes_to(Base::of(reader)) && has_same_name(writer, reader)
        };
        let matching = candidates
            .iter()
            .find(exact)
            .or_else(|| candidates.iter().find(promoted));
        match matching {
            Some(matching) => self.compare(path, writer, matching),
            None => {
                let (may, has) = (type_name(writer), type_name(reader));
                let of = format!("{} of {}", self.field(path), self.writer_name());
                let known = format!(
                    "{of} may be {may}, which {} does not know (it has {has})",
                    self.reader
                );
                self.add(path, Rule::MissingBranch, &known);
            }
        }
    }

    fn compare_records(&mut self, path: &str, writer: &'a RecordSchema, reader: &'a RecordSchema) {
        let names = (writer.name.fullname(None), reader.name.fullname(None));
        if !self.seen.insert(names) {
            return;
        }
        if !self.compare_names(path, writer.name.name(), reader.name.name()) {
            return;
        }
        for field in &reader.fields {
            let path = match path {
                "" => field.name.clone(),
                path => format!("{path}.{}", field.name),
            };
            // By the name, and only then by the reader's other names for it.
            let mut names = std::iter::once(&field.name).chain(&field.aliases);
            let written = names.find_map(|name| writer.fields.iter().find(|it| it.name == *name));
            match written {
                Some(written) => self.compare(&path, &written.schema, &field.schema),
                None if field.default.is_none() => {
                    let name = self.field(&path);
                    let what = if self.reader.is_before(self.writer) {
                        format!(
                            "{name} of {} was removed without a default",
                            self.writer_name()
                        )
                    } else {
                        format!(
                            "{name} was added in {} without a default",
                            self.reader_name()
                        )
                    };
                    self.add(&path, Rule::MissingDefault, &what);
                }
                None => {}
            }
        }
    }

    fn compare_enums(&mut self, path: &str, writer: &EnumSchema, reader: &EnumSchema) {
        if !self.compare_names(path, writer.name.name(), reader.name.name()) {
            return;
        }
        let unknown = writer.symbols.iter();
        let unknown: Vec<&str> = unknown
            .filter(|symbol| !reader.symbols.contains(symbol))
            .map(String::as_str)
            .collect();
        if reader.default.is_none() && !unknown.is_empty() {
            let what = format!(
                "{} of {} may be {}, which the enum in {} does not have, nor a default",
                self.field(path),
                self.writer_name(),
                unknown.join(" or "),
                self.reader
            );
            self.add(path, Rule::MissingSymbol, &what);
        }
    }

    fn compare_names(&mut self, path: &str, writer: &str, reader: &str) -> bool {
        if writer == reader {
            return true;
        }
        let what = format!(
            "{} is the type {writer} in {} and {reader} in {}",
            self.field(path),
            self.writer_name(),
            self.reader
        );
        self.add(path, Rule::NameMismatch, &what);
        false
    }

    fn compare_plain(&mut self, path: &str, writer: &Schema, reader: &Schema) {
        let (from, to) = (Base::of(writer), Base::of(reader));
        let rule = if !from.promotes_to(to) {
            Rule::TypeMismatch
        } else if !has_same_name(writer, reader) {
            Rule::NameMismatch
        } else if from != to && matches!(from, Base::Fixed(_)) {
            Rule::FixedSize
        } else {
            match (writer, reader) {
                (Schema::Decimal(writer), Schema::Decimal(reader))
                    if writer.precision != reader.precision || writer.scale != reader.scale =>
                {
                    Rule::Decimal
                }
                _ => match (logical_type(writer), logical_type(reader)) {
                    (Some(from), Some(to)) if from != to => Rule::LogicalType,
                    _ => return,
                },
            }
        };
        let what = format!(
            "{} is {} in {} and {} in {}",
            self.field(path),
            type_name(writer),
            self.writer_name(),
            type_name(reader),
            self.reader
        );
        self.add(path, rule, &what);
    }

    fn field(&self, path: &str) -> String {
        match path {
            "" => "the value".to_owned(),
            path => format!("field `{path}`"),
        }
    }

    fn writer_name(&self) -> String {
        format!("{} {}", self.topic, self.writer)
    }

    fn reader_name(&self) -> String {
        format!("{} {}", self.topic, self.reader)
    }

    fn add(&mut self, path: &str, rule: Rule, what: &str) {
        let (writer, reader) = (self.writer, self.reader);
        let who = if reader.is_before(writer) {
            format!("readers with {reader} cannot read it")
        } else {
            format!("readers with {reader} cannot read what {writer} has written")
        };
        let who = match rule {
            Rule::LogicalType => format!("readers with {reader} take it for something else"),
            _ => who,
        };
        self.breaks.push(Break {
            writer,
            reader,
            path: path.to_owned(),
            rule,
            message: format!("{what}: {who}"),
        });
    }
}

/// Whether two types are not told apart by their names.
fn has_same_name(one: &Schema, other: &Schema) -> bool {
    let name = |schema: &Schema| match schema {
        Schema::Record(of) => Some(of.name.name().to_owned()),
        Schema::Enum(of) => Some(of.name.name().to_owned()),
        Schema::Fixed(of) => Some(of.name.name().to_owned()),
        _ => None,
    };
    match (name(one), name(other)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
    use serde_json::{Value, json};

    use super::*;

    fn record(fields: &Value) -> Value {
        json!({"type": "record", "name": "R", "namespace": "t", "fields": fields})
    }

    fn field(kind: &Value) -> Value {
        record(&json!([{"name": "a", "type": kind}]))
    }

    fn parse(schema: &Value) -> Schema {
        Schema::parse_str(&schema.to_string()).unwrap()
    }

    fn found(writer: (&Value, u32), reader: (&Value, u32)) -> Vec<Break> {
        let (written, read) = (parse(writer.0), parse(reader.0));
        let side = |version, schema| Side {
            label: Label::Version(version),
            schema,
        };
        breaks("t", side(writer.1, &written), side(reader.1, &read))
    }

    /// What breaks from the old to the new and back; apache-avro agrees.
    fn both(old: &Value, new: &Value) -> [Vec<(String, Rule)>; 2] {
        let of = |found: Vec<Break>| -> Vec<(String, Rule)> {
            found.into_iter().map(|it| (it.path, it.rule)).collect()
        };
        let (new_reads, old_reads) = (found((old, 1), (new, 2)), found((new, 2), (old, 1)));
        for (found, writer, reader) in [(&new_reads, old, new), (&old_reads, new, old)] {
            let ours = found.iter().all(|it| it.rule == Rule::LogicalType);
            let theirs = SchemaCompatibility::can_read(&parse(writer), &parse(reader));
            assert_eq!(ours, theirs == Ok(Compatibility::Full), "{found:?}");
        }
        [of(new_reads), of(old_reads)]
    }

    fn at(path: &str, rule: Rule) -> Vec<(String, Rule)> {
        vec![(path.to_owned(), rule)]
    }

    #[test]
    fn a_field_comes_and_goes_with_a_default_only() {
        let none = record(&json!([]));
        let bare = record(&json!([{"name": "a", "type": "string"}]));
        let default = record(&json!([{"name": "a", "type": "string", "default": ""}]));
        assert_eq!(both(&none, &default), [vec![], vec![]]);
        assert_eq!(both(&none, &bare), [at("a", Rule::MissingDefault), vec![]]);
        assert_eq!(both(&bare, &none), [vec![], at("a", Rule::MissingDefault)]);

        let removed = &found((&none, 2), (&bare, 1))[0];
        assert_eq!(
            removed.message,
            "field `a` of t v2 was removed without a default: readers with v1 cannot read it"
        );
        let added = &found((&none, 1), (&bare, 2))[0];
        assert_eq!(
            added.message,
            "field `a` was added in t v2 without a default: readers with v2 cannot read what v1 \
             has written"
        );
    }

    #[test]
    fn another_name_counts_only_where_the_reader_has_it() {
        let old = record(&json!([{"name": "a", "type": "string"}]));
        let new = record(&json!([{"name": "b", "type": "string", "aliases": ["a"]}]));
        assert_eq!(both(&old, &new), [vec![], at("a", Rule::MissingDefault)]);
    }

    #[test]
    fn types_are_promoted_and_no_more() {
        let of = |kind: &str| field(&json!(kind));
        for (from, to) in [("int", "long"), ("long", "double"), ("float", "double")] {
            let back = at("a", Rule::TypeMismatch);
            assert_eq!(both(&of(from), &of(to)), [vec![], back], "{from} {to}");
        }
        assert_eq!(both(&of("string"), &of("bytes")), [vec![], vec![]]);
        let mismatch = || at("a", Rule::TypeMismatch);
        assert_eq!(both(&of("string"), &of("long")), [mismatch(), mismatch()]);
        let array = field(&json!({"type": "array", "items": "string"}));
        assert_eq!(both(&of("string"), &array), [mismatch(), mismatch()]);
        let longs = field(&json!({"type": "array", "items": "long"}));
        let inside = || at("a[]", Rule::TypeMismatch);
        assert_eq!(both(&array, &longs), [inside(), inside()]);
        let map = |of: &str| field(&json!({"type": "map", "values": of}));
        let inside = || at("a{}", Rule::TypeMismatch);
        assert_eq!(both(&map("string"), &map("int")), [inside(), inside()]);
    }

    #[test]
    fn a_union_grows_for_readers_only() {
        let plain = field(&json!("string"));
        let nullable = field(&json!(["null", "string"]));
        let more = field(&json!(["null", "string", "long"]));
        let branch = || at("a", Rule::MissingBranch);
        assert_eq!(both(&plain, &nullable), [vec![], branch()]);
        assert_eq!(both(&nullable, &more), [vec![], branch()]);
        let long = field(&json!("long"));
        assert_eq!(
            both(&nullable, &long),
            [[branch(), branch()].concat(), branch(),]
        );
    }

    #[test]
    fn what_is_in_a_branch_is_found_there() {
        let inner =
            |fields: Value| json!(["null", {"type": "record", "name": "Inner", "fields": fields}]);
        let old = field(&inner(json!([{"name": "x", "type": "long"}])));
        let new = field(&inner(json!([])));
        // apache-avro says "partial" of it, since null can be read.
        assert_eq!(both(&old, &new), [vec![], at("a.x", Rule::MissingDefault)]);
    }

    #[test]
    fn enums_grow_only_with_a_default() {
        let of = |symbols: Value| json!({"type": "enum", "name": "E", "symbols": symbols});
        let small = field(&of(json!(["A"])));
        let large = field(&of(json!(["A", "B"])));
        assert_eq!(both(&small, &large), [vec![], at("a", Rule::MissingSymbol)]);
        let mut kind = of(json!(["A"]));
        kind["default"] = json!("A");
        assert_eq!(both(&field(&kind), &large), [vec![], vec![]]);
    }

    #[test]
    fn names_sizes_and_decimals_stay() {
        let fixed =
            |name: &str, size: u32| field(&json!({"type": "fixed", "name": name, "size": size}));
        let size = || at("a", Rule::FixedSize);
        assert_eq!(both(&fixed("F", 4), &fixed("F", 8)), [size(), size()]);
        let name = || at("a", Rule::NameMismatch);
        assert_eq!(both(&fixed("F", 4), &fixed("G", 4)), [name(), name()]);
        let inner = |name: &str| field(&json!({"type": "record", "name": name, "fields": []}));
        assert_eq!(both(&inner("A"), &inner("B")), [name(), name()]);
        let renamed = json!({"type": "record", "name": "Other", "fields": []});
        let whole = || at("", Rule::NameMismatch);
        assert_eq!(both(&record(&json!([])), &renamed), [whole(), whole()]);
        let decimal = |scale: u32| {
            field(&json!({
                "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": scale,
            }))
        };
        let scale = || at("a", Rule::Decimal);
        assert_eq!(both(&decimal(1), &decimal(2)), [scale(), scale()]);
    }

    #[test]
    fn a_logical_type_may_come_and_go_but_not_become_another() {
        let of = |logical: &str| field(&json!({"type": "long", "logicalType": logical}));
        let plain = field(&json!("long"));
        let (millis, micros) = (of("timestamp-millis"), of("timestamp-micros"));
        assert_eq!(both(&plain, &millis), [vec![], vec![]]);
        let other = || at("a", Rule::LogicalType);
        assert_eq!(both(&millis, &micros), [other(), other()]);
    }

    #[test]
    fn a_type_may_be_defined_elsewhere_and_refer_to_itself() {
        let node = json!({
            "type": "record", "name": "Node",
            "fields": [{"name": "next", "type": ["null", "Node"], "default": null}],
        });
        let old = record(&json!([{"name": "b", "type": node}]));
        let new = record(&json!([
            {"name": "a", "type": ["null", node], "default": null},
            {"name": "b", "type": "Node"},
        ]));
        assert_eq!(found((&old, 1), (&new, 2)), []);
        assert_eq!(found((&new, 2), (&old, 1)), []);
    }
}
