use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use tidings_domain::ConversationId;
use tidings_views::audit::StoredDocument;

/// A document that is not as the log says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The document's kind.
    pub kind: &'static str,
    /// Its key.
    pub key: String,
    /// Its conversation, where it has one.
    #[serde(serialize_with = "id_text")]
    pub conversation_id: Option<ConversationId>,
    /// What is wrong with it.
    pub what: What,
    /// The fields that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldDifference>,
}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It is not there.
    Missing,
    /// It should not be there.
    Extra,
    /// It is otherwise.
    Different,
}

impl What {
    /// As it is told.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Different => "different",
        }
    }
}

/// A field that differs. Texts are told by their length and hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldDifference {
    /// Which, with a dot before each part of a part.
    pub name: String,
    /// What the view has; none: nothing.
    pub view: Option<String>,
    /// What the log says; none: nothing.
    pub log: Option<String>,
}

#[expect(clippy::ref_option, reason = "serde asks so")]
fn id_text<S: serde::Serializer>(
    id: &Option<ConversationId>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    id.map(|id| id.to_string()).serialize(serializer)
}

impl Difference {
    /// What is between a document and what it should be; none: nothing.
    pub(super) fn between(
        kind: &'static str,
        key: &str,
        view: Option<&StoredDocument>,
        log: Option<&StoredDocument>,
        show_texts: bool,
    ) -> Self {
        let what = match (view, log) {
            (None, _) => What::Missing,
            (_, None) => What::Extra,
            _ => What::Different,
        };
        let fields = match (view, log) {
            (Some(view), Some(log)) => fields_between(view, log, show_texts),
            _ => Vec::new(),
        };
        let conversation_id = log.or(view).and_then(StoredDocument::conversation_id);
        Self {
            kind,
            key: shown_key(key, show_texts),
            conversation_id,
            what,
            fields,
        }
    }
}

fn fields_between(
    view: &StoredDocument,
    log: &StoredDocument,
    show_texts: bool,
) -> Vec<FieldDifference> {
    let (of_view, of_log) = (leaves(view), leaves(log));
    let mut names: Vec<&String> = of_view.keys().chain(of_log.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differing = names
        .into_iter()
        .filter(|name| of_view.get(*name) != of_log.get(*name));
    differing
        .map(|name| {
            let show = |value: &Value| shown(name, value, show_texts);
            FieldDifference {
                name: name.clone(),
                view: of_view.get(name).map(show),
                log: of_log.get(name).map(show),
            }
        })
        .collect()
}

/// The fields, and the parts of those that have any.
fn leaves(document: &StoredDocument) -> Map<String, Value> {
    let mut leaves = Map::new();
    for (name, value) in &document.fields {
        add_leaves(name.clone(), value, &mut leaves);
    }
    if let Some(version) = document.version {
        leaves.insert("version".to_owned(), version.into());
    }
    leaves
}

fn add_leaves(name: String, value: &Value, leaves: &mut Map<String, Value>) {
    match value {
        Value::Object(parts) if !parts.is_empty() => {
            for (part, value) in parts {
                add_leaves(format!("{name}.{part}"), value, leaves);
            }
        }
        Value::Array(parts) if !parts.is_empty() => {
            for (at, value) in parts.iter().enumerate() {
                add_leaves(format!("{name}.{at}"), value, leaves);
            }
        }
        value => {
            leaves.insert(name, value.clone());
        }
    }
}

/// Fields that hold what people wrote, by the last part of their names.
const TEXTS: [&str; 10] = [
    "text",
    "title",
    "meta",
    "name",
    "mime",
    "emoji",
    "content",
    "event",
    "reactions",
    "forwarded_from",
];

/// A value as it may be shown. What looks like an id, a name or a word of ours
/// is shown as it is, unless it stands where people write.
fn shown(name: &str, value: &Value, show_texts: bool) -> String {
    let Value::String(text) = value else {
        return value.to_string();
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_plain = text.len() <= 64
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.:@-/".contains(c));
    if show_texts || (is_plain && !TEXTS.contains(&last)) {
        return value.to_string();
    }
    shown_text(text, false)
}

/// A text, or its length and hash.
pub(crate) fn shown_text(text: &str, show_texts: bool) -> String {
    if show_texts {
        return format!("{text:?}");
    }
    let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    format!("<{} bytes, hash {hash:016x}>", text.len())
}

/// The fields of a document, as they may be shown.
pub(crate) fn shown_fields(
    document: &StoredDocument,
    show_texts: bool,
) -> BTreeMap<String, String> {
    let leaves = leaves(document).into_iter();
    leaves
        .map(|(name, value)| {
            let value = shown(&name, &value, show_texts);
            (name, value)
        })
        .collect()
}

/// A key that somebody may have written anything into.
fn shown_key(key: &str, show_texts: bool) -> String {
    let is_plain = key.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    if show_texts || (is_plain && key.len() <= 400) {
        return key.to_owned();
    }
    let hash = xxhash_rust::xxh3::xxh3_64(key.as_bytes());
    format!("<{} bytes, hash {hash:016x}>", key.len())
}
