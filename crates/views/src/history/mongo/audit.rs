//! The collections of the history view, document by document.

use async_trait::async_trait;
use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc, serialize_to_document};
use mongodb::error::{ErrorKind, WriteFailure};
use mongodb::options::FindOptions;
use serde::Serialize;
use serde_json::{Map, Value};

use super::error::{DUPLICATE_KEY, NO_SUCH_COLLECTION, classify};
use super::message_record::{EditRecord, EventRecord, HiddenRecord, MessageRecord};
use super::record::{
    ConversationRecord, MemberRecord, OutcomeRecord, PositionRecord, event_outcome_id, outcome_id,
    own_outcome_id,
};
use super::{MongoHistory, prepare};
use crate::audit::sqlite::{hex, unhex};
use crate::audit::{
    Audit, EachPage, Flaw, HistoryAudit, HistoryDocument, OutcomeKeeping, OutcomeSort, Part, Raw,
    Replacement, StoredDocument,
};
use crate::history::document::id_text;
use crate::{Position, StoreError};

const KINDS: &[&str] = &[
    "events",
    "messages",
    "edits",
    "hidden",
    "conversations",
    "members",
    "outcomes",
];

/// Documents given out at once.
const PAGE: usize = 1_000;

impl MongoHistory {
    fn raw(&self, kind: &str) -> Collection<Document> {
        self.collection(kind)
    }

    async fn index_names(&self, kind: &str) -> Result<Vec<Document>, StoreError> {
        let collection = self.raw(kind);
        let listed = self
            .in_time(async {
                Ok(async {
                    let mut cursor = collection.list_indexes().await?;
                    let mut keys = Vec::new();
                    while cursor.advance().await? {
                        keys.push(cursor.deserialize_current()?.keys);
                    }
                    Ok::<_, mongodb::error::Error>(keys)
                }
                .await)
            })
            .await?;
        match listed {
            Ok(keys) => Ok(keys),
            Err(error) if is_code(&error, NO_SUCH_COLLECTION) => Ok(Vec::new()),
            Err(error) => Err(classify(&error)),
        }
    }
}

fn is_code(error: &mongodb::error::Error, code: i32) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => command.code == code,
        ErrorKind::Write(WriteFailure::WriteError(write)) => write.code == code,
        _ => false,
    }
}

/// What a key begins with whose `_id` is no text.
const OBJECT_ID: &str = "ObjectId(";
const OTHER_ID: &str = "bson:";

/// A document's `_id` as a key: its text, or whatever else it is.
fn key_of(id: Option<&Bson>) -> String {
    match id {
        Some(Bson::String(text)) if !text.starts_with(OTHER_ID) && !text.starts_with(OBJECT_ID) => {
            text.clone()
        }
        Some(Bson::ObjectId(id)) => format!("{OBJECT_ID}{id})"),
        Some(other) => {
            let bytes = doc! { "_id": other }.to_vec().unwrap_or_default();
            format!("{OTHER_ID}{}", hex(&bytes))
        }
        None => String::new(),
    }
}

/// The `_id` that a key was made of.
fn id_of(key: &str) -> Bson {
    let object_id = key
        .strip_prefix(OBJECT_ID)
        .and_then(|rest| rest.strip_suffix(')'));
    if let Some(Ok(id)) = object_id.map(ObjectId::parse_str) {
        return Bson::ObjectId(id);
    }
    let other = key.strip_prefix(OTHER_ID).and_then(unhex);
    let other = other.and_then(|bytes| Document::from_reader(&bytes[..]).ok());
    match other.and_then(|mut document| document.remove("_id")) {
        Some(id) => id,
        None => Bson::String(key.to_owned()),
    }
}

/// As a field: a time as its milliseconds, what JSON has no word for as the
/// driver spells it.
fn json(value: Bson) -> Value {
    match value {
        Bson::Int32(number) => number.into(),
        Bson::Int64(number) => number.into(),
        Bson::DateTime(at) => at.timestamp_millis().into(),
        Bson::Document(document) => Value::Object(fields(document)),
        Bson::Array(values) => values.into_iter().map(json).collect(),
        other => serde_json::to_value(&other).unwrap_or(Value::Null),
    }
}

fn fields(document: Document) -> Map<String, Value> {
    document
        .into_iter()
        .map(|(name, value)| (name, json(value)))
        .collect()
}

fn stored(kind: &'static str, document: Document) -> StoredDocument {
    StoredDocument {
        kind,
        key: key_of(document.get("_id")),
        version: None,
        fields: fields(document.clone()),
        raw: Raw::Bson(document),
    }
}

fn filter_of(part: &Part, kind: &str) -> Document {
    let mut filter = Document::new();
    if let Some(id) = part.conversation_id {
        let field = match kind {
            "conversations" => "_id",
            _ => "conversation_id",
        };
        filter.insert(field, id_text(id.0));
    }
    if let Some(tenant) = &part.tenant {
        filter.insert("tenant", tenant.as_str());
    }
    filter
}

fn encoded(kind: &'static str, record: &impl Serialize) -> Result<StoredDocument, StoreError> {
    let document =
        serialize_to_document(record).map_err(|error| StoreError::Data(error.to_string()))?;
    Ok(stored(kind, document))
}

#[async_trait]
impl Audit for MongoHistory {
    fn kinds(&self) -> &'static [&'static str] {
        KINDS
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.all_positions().await
    }

    async fn flaws(&self) -> Result<Vec<Flaw>, StoreError> {
        match prepare::stamp(self).await? {
            Some(prepare::VERSION) => {}
            Some(other) => {
                let message = format!(
                    "the collections are of version {other}, this is {}: they are built anew when \
                     tidings-history starts",
                    prepare::VERSION
                );
                return Ok(vec![Flaw {
                    message,
                    is_mendable: false,
                }]);
            }
            None => {
                let mut flaws = vec![Flaw::mendable(
                    "the stamp of the collections' version is lost: at the next start of \
                     tidings-history all of them would be dropped and built anew",
                )];
                flaws.append(&mut self.missing_indexes().await?);
                return Ok(flaws);
            }
        }
        self.missing_indexes().await
    }

    async fn mend(&self) -> Result<(), StoreError> {
        prepare::make_indexes(self).await?;
        match prepare::stamp(self).await? {
            None => prepare::put_stamp(self).await,
            Some(_) => Ok(()),
        }
    }

    async fn scan(
        &self,
        kind: &'static str,
        part: &Part,
        each: EachPage<'_>,
    ) -> Result<(), StoreError> {
        let options = FindOptions::builder().batch_size(1_000).build();
        let (collection, filter) = (self.raw(kind), filter_of(part, kind));
        let mut cursor = self
            .in_time(async { collection.find(filter).with_options(options).await })
            .await?;
        let mut page = Vec::with_capacity(PAGE);
        while self.in_time(cursor.advance()).await? {
            let document = cursor
                .deserialize_current()
                .map_err(|error| classify(&error))?;
            page.push(stored(kind, document));
            if page.len() == PAGE {
                each(std::mem::take(&mut page))?;
            }
        }
        each(page)
    }

    async fn get(
        &self,
        kind: &'static str,
        keys: &[String],
    ) -> Result<Vec<StoredDocument>, StoreError> {
        let ids: Vec<Bson> = keys.iter().map(|key| id_of(key)).collect();
        let collection = self.raw(kind);
        self.in_time(async {
            let mut cursor = collection.find(doc! { "_id": { "$in": ids } }).await?;
            let mut found = Vec::new();
            while cursor.advance().await? {
                found.push(stored(kind, cursor.deserialize_current()?));
            }
            Ok(found)
        })
        .await
    }

    async fn replace(&self, replacements: &[Replacement]) -> Result<usize, StoreError> {
        let mut replaced = 0;
        for replacement in replacements {
            if self.replace_one(replacement).await? {
                replaced += 1;
            }
        }
        Ok(replaced)
    }

    async fn set_position(&self, seen: Option<Position>, to: Position) -> Result<bool, StoreError> {
        let position = |position: &Position| encoded("positions", &PositionRecord::from(position));
        let seen = seen.as_ref().map(position).transpose()?;
        let new = Some(position(&to)?);
        self.replace_one(&Replacement { seen, new }).await
    }
}

impl MongoHistory {
    async fn missing_indexes(&self) -> Result<Vec<Flaw>, StoreError> {
        let mut flaws = Vec::new();
        for (collection, keys) in prepare::indexes() {
            let known = self.index_names(collection).await?;
            // A server may keep the directions as other numbers.
            let names = |document: &Document| document.keys().cloned().collect::<Vec<_>>();
            if !known.iter().any(|known| names(known) == names(&keys)) {
                let on: Vec<_> = keys.keys().map(String::as_str).collect();
                let message = format!("{collection} has no index on ({})", on.join(", "));
                flaws.push(Flaw::mendable(message));
            }
        }
        Ok(flaws)
    }

    async fn replace_one(&self, replacement: &Replacement) -> Result<bool, StoreError> {
        let Some(kind) = replacement.kind() else {
            return Ok(false);
        };
        let collection = self.raw(kind);
        let raw = |document: &Option<StoredDocument>| match document.as_ref().map(|it| &it.raw) {
            Some(Raw::Bson(document)) => Some(document.clone()),
            _ => None,
        };
        match (raw(&replacement.seen), raw(&replacement.new)) {
            // All of its fields are as they were.
            (Some(seen), Some(new)) => {
                let replaced = self
                    .in_time(async { collection.replace_one(seen, new).await })
                    .await?;
                Ok(replaced.matched_count == 1)
            }
            (Some(seen), None) => {
                let deleted = self
                    .in_time(async { collection.delete_one(seen).await })
                    .await?;
                Ok(deleted.deleted_count == 1)
            }
            (None, Some(new)) => {
                let inserted = self
                    .in_time(async { Ok(collection.insert_one(new).await) })
                    .await?;
                match inserted {
                    Ok(_) => Ok(true),
                    Err(error) if is_code(&error, DUPLICATE_KEY) => Ok(false),
                    Err(error) => Err(classify(&error)),
                }
            }
            (None, None) => Ok(false),
        }
    }
}

impl HistoryAudit for MongoHistory {
    fn outcomes(&self) -> OutcomeKeeping {
        OutcomeKeeping::EachSort
    }

    fn encode(&self, document: &HistoryDocument) -> Result<StoredDocument, StoreError> {
        match document {
            HistoryDocument::Event(row) => encoded("events", &EventRecord::from(row)),
            HistoryDocument::Message(row) => encoded("messages", &MessageRecord::from(row)),
            HistoryDocument::Edit(row) => encoded("edits", &EditRecord::from(row)),
            HistoryDocument::Hidden(row) => encoded("hidden", &HiddenRecord::from(row)),
            HistoryDocument::Conversation(row) => {
                encoded("conversations", &ConversationRecord::from(row))
            }
            HistoryDocument::Member(row) => encoded("members", &MemberRecord::from(row)),
            HistoryDocument::Outcome(row, sort) => {
                let id = match sort {
                    OutcomeSort::OfEvent => event_outcome_id,
                    OutcomeSort::Own => own_outcome_id,
                    OutcomeSort::Other => outcome_id,
                };
                encoded("outcomes", &OutcomeRecord::new(row, id))
            }
        }
    }
}
