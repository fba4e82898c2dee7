use std::borrow::Cow;

use serde_json::Value;

use super::set::SchemaSetError;
use super::{Label, Version};
use crate::{Topic, codec};

/// Name, framed value and what it says, of each golden file.
type Built = &'static [(&'static str, &'static [u8], &'static str)];

static BUILT_IN: Built = include!(concat!(env!("OUT_DIR"), "/golden.rs"));

/// A value as it was once written, and what it says.
#[derive(Clone, Debug)]
pub struct Golden {
    /// Its file's name without an extension: `<topic>.v<version>.<n>`.
    pub name: String,
    /// The topic.
    pub topic: Topic,
    /// The version it was written with.
    pub version: u32,
    /// Magic byte, schema id, datum.
    value: Cow<'static, [u8]>,
    /// What it says.
    says: Value,
}

impl Golden {
    pub(super) fn built_in() -> Result<Vec<Self>, SchemaSetError> {
        BUILT_IN
            .iter()
            .map(|(name, value, says)| Self::new(name, Cow::Borrowed(*value), says))
            .collect()
    }

    pub(super) fn new(
        name: &str,
        value: Cow<'static, [u8]>,
        says: &str,
    ) -> Result<Self, SchemaSetError> {
        let unusable = |message: String| SchemaSetError {
            file: format!("golden/{name}"),
            message,
        };
        let parts = name.rsplit_once('.').and_then(|(rest, _)| {
            let (topic, version) = rest.rsplit_once(".v")?;
            Some((Topic::parse(topic)?, version.parse().ok()?))
        });
        let (topic, version) = parts
            .ok_or_else(|| unusable("its name is not <topic>.v<version>.<n>.bin".to_owned()))?;
        let says = serde_json::from_str(says)
            .map_err(|error| unusable(format!("what it says is no JSON: {error}")))?;
        Ok(Self {
            name: name.to_owned(),
            topic,
            version,
            value,
            says,
        })
    }

    /// Reads it with a version, as it was written with another.
    ///
    /// # Errors
    /// Why it cannot be read, or what it says now that it did not.
    pub(super) fn read(&self, writer: &Version, reader: &Version) -> Result<(), String> {
        let (id, value) = codec::read_as(writer.schema(), reader.schema(), &self.value)
            .map_err(|error| format!("cannot be read with {}: {error}", reader.label))?;
        if writer.id.is_some_and(|known| known != id) {
            return Err(format!(
                "names the schema id {id}, which is not that of {}",
                writer.label
            ));
        }
        let is_own = writer.label == reader.label;
        match changed("", &self.says, &value, is_own) {
            None => Ok(()),
            Some(path) => Err(format!(
                "says something else in `{path}` when it is read with {}",
                reader.label
            )),
        }
    }

    /// The label of the version it was written with.
    pub(super) fn label(&self) -> Label {
        Label::Version(self.version)
    }
}

/// The first place at which two values that have the same fields differ. With
/// `all`, they must have all fields in common.
fn changed(path: &str, was: &Value, is: &Value, all: bool) -> Option<String> {
    let inner = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            let missing = was.keys().find(|name| !is.contains_key(*name));
            let added = is.keys().find(|name| !was.contains_key(*name));
            if let (true, Some(name)) = (all, missing.or(added)) {
                return Some(inner(name));
            }
            was.iter().find_map(|(name, was)| {
                let is = is.get(name)?;
                changed(&inner(name), was, is, all)
            })
        }
        (Value::Array(was), Value::Array(is)) if was.len() == is.len() => {
            let items = was.iter().zip(is).enumerate();
            items
                .into_iter()
                .find_map(|(at, (was, is))| changed(&format!("{path}[{at}]"), was, is, all))
        }
        // A number may have been promoted.
        (Value::Number(was), Value::Number(is)) => {
            (was != is && was.as_f64() != is.as_f64()).then(|| path.to_owned())
        }
        _ => (was != is).then(|| path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::changed;

    #[test]
    fn only_what_both_have_is_compared_unless_all_must_be_there() {
        let was = json!({"a": {"b": [1, {"c": "x"}]}, "gone": 1});
        let is = json!({"a": {"b": [1.0, {"c": "x", "new": null}]}});
        assert_eq!(changed("", &was, &is, false), None);
        assert_eq!(changed("", &was, &is, true), Some("gone".to_owned()));
        let other = json!({"a": {"b": [1, {"c": "y"}]}});
        let place = Some("a.b[1].c".to_owned());
        assert_eq!(changed("", &was, &other, false), place);
        let shorter = json!({"a": {"b": [1]}});
        assert_eq!(changed("", &was, &shorter, false), Some("a.b".to_owned()));
    }
}
