use serde::Serialize;
use serde_json::{Map, Value};

/// How far two texts of schemas are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sameness {
    /// Byte by byte.
    Text,
    /// The same JSON: only layout and the order of attributes differ, which
    /// registries change as they like.
    Content,
    /// The same to writers and readers: fields in their order, types, defaults,
    /// aliases and logical types. What is said in `doc`, or how a name is
    /// spelled, differs.
    Meaning,
}

/// Whether two texts are the same schema; none: they are not.
#[must_use]
pub fn sameness(one: &str, other: &str) -> Option<Sameness> {
    if one == other {
        return Some(Sameness::Text);
    }
    let one: Value = serde_json::from_str(one).ok()?;
    let other: Value = serde_json::from_str(other).ok()?;
    if one == other {
        return Some(Sameness::Content);
    }
    (normal(&one, "") == normal(&other, "")).then_some(Sameness::Meaning)
}

/// What of a type's attributes counts, beside names and inner types.
const COUNTS: [&str; 7] = [
    "default",
    "logicalType",
    "precision",
    "scale",
    "size",
    "symbols",
    "aliases",
];

const PRIMITIVES: [&str; 8] = [
    "null", "boolean", "int", "long", "float", "double", "bytes", "string",
];

/// A schema without what does not count, its names in full. Avro's parsing
/// canonical form, which leaves out defaults, aliases and logical types too,
/// would take schemas for the same that readers do not read alike.
fn normal(schema: &Value, namespace: &str) -> Value {
    match schema {
        Value::String(name) => Value::String(full_name(name, namespace)),
        Value::Array(branches) => branches.iter().map(|it| normal(it, namespace)).collect(),
        Value::Object(object) => normal_object(object, namespace),
        other => other.clone(),
    }
}

fn normal_object(object: &Map<String, Value>, namespace: &str) -> Value {
    let mut normalized = Map::new();
    let mut namespace = object
        .get("namespace")
        .and_then(Value::as_str)
        .unwrap_or(namespace)
        .to_owned();
    if let Some(Value::String(name)) = object.get("name") {
        let name = full_name(name, &namespace);
        if let Some((of_name, _)) = name.rsplit_once('.') {
            of_name.clone_into(&mut namespace);
        }
        normalized.insert("name".to_owned(), name.into());
    }
    for name in ["type", "items", "values"] {
        if let Some(inner) = object.get(name) {
            // `record` and the like are no names, and have no inner type.
            let inner = match inner.as_str() {
                Some("record" | "enum" | "fixed" | "array" | "map" | "error") => inner.clone(),
                _ => normal(inner, &namespace),
            };
            normalized.insert(name.to_owned(), inner);
        }
    }
    if let Some(Value::Array(fields)) = object.get("fields") {
        let fields = fields.iter().map(|field| normal_field(field, &namespace));
        normalized.insert("fields".to_owned(), fields.collect());
    }
    copy(object, &mut normalized);
    match normalized.remove("type") {
        // `{"type": "string"}` is `"string"`.
        Some(inner) if normalized.is_empty() => inner,
        Some(inner) => {
            normalized.insert("type".to_owned(), inner);
            Value::Object(normalized)
        }
        None => Value::Object(normalized),
    }
}

/// A field's name is its own, in no namespace.
fn normal_field(field: &Value, namespace: &str) -> Value {
    let Value::Object(field) = field else {
        return field.clone();
    };
    let mut normalized = Map::new();
    if let Some(name) = field.get("name") {
        normalized.insert("name".to_owned(), name.clone());
    }
    if let Some(kind) = field.get("type") {
        normalized.insert("type".to_owned(), normal(kind, namespace));
    }
    copy(field, &mut normalized);
    Value::Object(normalized)
}

fn copy(from: &Map<String, Value>, into: &mut Map<String, Value>) {
    for name in COUNTS {
        let value = from.get(name);
        let says_nothing = |value: &&Value| name == "aliases" && **value == Value::Array(vec![]);
        if let Some(value) = value.filter(|value| !says_nothing(value)) {
            into.insert(name.to_owned(), value.clone());
        }
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if namespace.is_empty() || name.contains('.') || PRIMITIVES.contains(&name) {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Sameness, sameness};

    const SCHEMA: &str = r#"{"type": "record", "name": "A", "namespace": "t", "doc": "d",
        "fields": [{"name": "x", "type": ["null", "string"], "default": null, "doc": "x"}]}"#;

    #[test]
    fn layout_order_of_attributes_and_docs_make_no_other_schema() {
        assert_eq!(sameness(SCHEMA, SCHEMA), Some(Sameness::Text));
        let sorted = r#"{"doc":"d","fields":[{"default":null,"doc":"x","name":"x","type":["null","string"]}],"name":"A","namespace":"t","type":"record"}"#;
        assert_eq!(sameness(SCHEMA, sorted), Some(Sameness::Content));
        let undocumented = r#"{"type": "record", "name": "t.A",
            "fields": [{"name": "x", "type": ["null", {"type": "string"}], "default": null}]}"#;
        assert_eq!(sameness(SCHEMA, undocumented), Some(Sameness::Meaning));
    }

    #[test]
    fn what_readers_see_makes_another_schema() {
        for (from, to) in [
            (r#""default": null,"#, ""),
            (r#"["null", "string"]"#, r#"["null", "bytes"]"#),
            (r#"["null", "string"]"#, r#"["string", "null"]"#),
            (r#""namespace": "t""#, r#""namespace": "u""#),
            (r#""name": "x""#, r#""name": "x", "aliases": ["y"]"#),
            (
                r#""string""#,
                r#"{"type": "string", "logicalType": "uuid"}"#,
            ),
        ] {
            let other = SCHEMA.replacen(from, to, 1);
            assert_ne!(other, SCHEMA, "{from}");
            assert_eq!(sameness(SCHEMA, &other), None, "{from}");
        }
        assert_eq!(sameness(SCHEMA, "no JSON"), None);
    }
}
