use mongodb::bson;
use rusqlite::types::Value as Column;
use serde_json::{Map, Value};
use tidings_domain::{ConversationId, Tenant};
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3Default;

/// A document as a store holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDocument {
    /// Its kind: the collection, table or index.
    pub kind: &'static str,
    /// Its key, unique among its kind.
    pub key: String,
    /// The version it is guarded by, where that is none of its fields.
    pub version: Option<i64>,
    /// All of its fields.
    pub fields: Map<String, Value>,
    /// As the store's own client knows it.
    pub(crate) raw: Raw,
}

/// A document as the client of its store knows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Raw {
    /// The columns of a row of SQLite.
    Columns(Vec<Column>),
    /// A document of MongoDB.
    Bson(bson::Document),
    /// The source of a document of OpenSearch, as it is to be sent.
    Source(Value),
    /// A cached value.
    Bytes(Vec<u8>),
}

impl StoredDocument {
    /// A hash of all of it. Guards against accidents, not against attackers.
    #[must_use]
    pub fn digest(&self) -> u128 {
        let mut hasher = Xxh3Default::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        add(self.kind.as_bytes());
        add(self.key.as_bytes());
        add(&self.version.unwrap_or(-1).to_le_bytes());
        // The names in a map are sorted.
        add(Value::Object(self.fields.clone()).to_string().as_bytes());
        hasher.digest128()
    }

    /// The conversation it belongs to, where it says so.
    #[must_use]
    pub fn conversation_id(&self) -> Option<ConversationId> {
        let named = self.fields.get("conversation_id").and_then(Value::as_str);
        let id = match (named, self.kind) {
            (Some(id), _) => id,
            (None, "conversations") => &self.key,
            (None, _) => return None,
        };
        Uuid::try_parse(id).ok().map(ConversationId)
    }

    /// The tenant it belongs to, where it says so.
    #[must_use]
    pub fn tenant(&self) -> Option<Tenant> {
        let tenant = self.fields.get("tenant").and_then(Value::as_str)?;
        Tenant::parse(tenant).ok()
    }
}
