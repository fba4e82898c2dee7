use std::collections::HashMap;

use serde_json::{Map, Value};

/// What was heard, with names in place of what differs from run to run.
#[derive(Default)]
pub(super) struct Transcript {
    lines: Vec<String>,
    names: HashMap<String, String>,
}

impl Transcript {
    /// Begins a step.
    pub(super) fn step(&mut self, what: &str) {
        self.lines.push(format!("# {what}"));
    }

    /// Adds a frame.
    pub(super) fn heard(&mut self, by: &str, frame: &Value) {
        let frame = self.named(frame);
        self.lines.push(format!("{by}: {frame}"));
    }

    /// Gives an id its name, unless it has one.
    pub(super) fn name(&mut self, id: &Value, name: &str) {
        if let Some(id) = id.as_str() {
            self.names
                .entry(id.to_owned())
                .or_insert_with(|| name.to_owned());
        }
    }

    pub(super) fn text(self) -> String {
        let mut text = self.lines.join("\n");
        text.push('\n');
        text
    }

    /// The same value with ids and times by name.
    pub(super) fn named(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self
                .name_of(text)
                .map_or_else(|| value.clone(), Value::from),
            Value::Array(items) => items.iter().map(|item| self.named(item)).collect(),
            Value::Object(fields) => {
                let named = |(key, value): (&String, &Value)| {
                    let value = match (key.as_str(), value) {
                        // It holds a time and an id.
                        ("next_cursor", Value::String(_)) => Value::from("<cursor>"),
                        _ => self.named(value),
                    };
                    (key.clone(), value)
                };
                Value::Object(fields.iter().map(named).collect::<Map<_, _>>())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn name_of(&self, text: &str) -> Option<String> {
        if let Some(name) = self.names.get(text) {
            return Some(format!("<{name}>"));
        }
        is_time(text).then(|| "<time>".to_owned())
    }
}

/// Whether a text is a time as frames have it: `2004-11-15T12:18:00.000Z`.
fn is_time(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00.000Z";
    text.len() == FORM.len()
        && text.bytes().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == *form,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_and_times_have_names() {
        let mut transcript = Transcript::default();
        transcript.name(&json!("x-1"), "message 1");
        transcript.name(&json!("x-1"), "another");
        let frame = json!({
            "at": "2004-11-15T12:18:00.000Z", "ids": ["x-1", "x-2"], "next_cursor": "5.x",
        });
        let named = json!({
            "at": "<time>", "ids": ["<message 1>", "x-2"], "next_cursor": "<cursor>",
        });
        assert_eq!(transcript.named(&frame), named);
        assert!(!is_time("2004-11-15T12:18:00Z"));
    }
}
