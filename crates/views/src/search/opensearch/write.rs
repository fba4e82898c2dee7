use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;

use super::client::{Body, Client, Failure};
use super::document::{
    ConversationSource, MemberSource, MessageSource, PositionSource, UserSource,
};
use super::index::{Kind, Names, forget_positions};
use crate::search::Documents;
use crate::{Position, StoreError};

/// Documents in one request, where that many are to be written: a projection
/// that keeps up writes fewer.
const BULK: usize = 1_000;
/// Bytes after which a request is sent as well. Servers take 100 MB.
const BULK_BYTES: usize = 5_000_000;
/// Requests of one write that are under way at once.
const UNDER_WAY: usize = 2;

/// Writes documents, then positions.
pub(super) async fn write(
    client: &Client,
    names: &Names,
    documents: &Documents,
    positions: &[Position],
) -> Result<(), StoreError> {
    let mut bulk = Bulk::new(client, names);
    for message in documents.messages.values() {
        let source = MessageSource::of(message);
        let id = message.message_id.to_string();
        bulk.put(Kind::Messages, &id, message.version, &source)
            .await?;
    }
    for conversation in documents.conversations.values() {
        let source = ConversationSource::of(conversation);
        let id = conversation.conversation_id.to_string();
        bulk.put(Kind::Conversations, &id, conversation.version, &source)
            .await?;
    }
    for member in documents.members.values() {
        let id = format!("{}/{}", member.conversation_id, member.user_id);
        let source = MemberSource::of(member);
        bulk.put(Kind::Members, &id, member.version, &source)
            .await?;
    }
    for (tenant, user) in &documents.users {
        // It never changes.
        let id = format!("{tenant}/{user}");
        let source = UserSource::of(tenant, user);
        bulk.put(Kind::Users, &id, 1, &source).await?;
    }
    bulk.flush().await?;
    for position in positions {
        let id = position.partition.to_string();
        let source = PositionSource::of(position);
        bulk.put(Kind::Positions, &id, position.offset + 1, &source)
            .await?;
    }
    bulk.flush().await
}

/// A request that fills up, and those that are under way.
struct Bulk<'a> {
    client: &'a Client,
    names: &'a Names,
    lines: String,
    documents: usize,
    under_way: JoinSet<Result<Vec<Failure>, StoreError>>,
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
struct Answer {
    errors: bool,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: ItemResult,
}

#[derive(Deserialize)]
struct ItemResult {
    status: u16,
    error: Option<ItemError>,
}

#[derive(Deserialize)]
struct ItemError {
    #[serde(rename = "type")]
    kind: String,
}

impl<'a> Bulk<'a> {
    fn new(client: &'a Client, names: &'a Names) -> Self {
        Self {
            client,
            names,
            lines: String::new(),
            documents: 0,
            under_way: JoinSet::new(),
            failures: Vec::new(),
        }
    }

    /// Adds a document, and sends the request when it is full. A document is
    /// added once, so it does not matter which request comes first.
    async fn put(
        &mut self,
        kind: Kind,
        id: &str,
        version: i64,
        source: &impl Serialize,
    ) -> Result<(), StoreError> {
        let action = json!({"index": {
            "_index": self.names.alias(kind),
            "_id": id,
            "version": version,
            "version_type": "external",
        }});
        let source = serde_json::to_string(source)
            .map_err(|error| StoreError::Data(format!("a document cannot be encoded: {error}")))?;
        self.lines.push_str(&action.to_string());
        self.lines.push('\n');
        self.lines.push_str(&source);
        self.lines.push('\n');
        self.documents += 1;
        if self.documents == BULK || self.lines.len() >= BULK_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    /// Sends the request as it is, once there is room.
    async fn send(&mut self) -> Result<(), StoreError> {
        if self.documents == 0 {
            return Ok(());
        }
        while self.under_way.len() >= UNDER_WAY {
            self.take_answer().await?;
        }
        self.documents = 0;
        let (client, lines) = (self.client.clone(), std::mem::take(&mut self.lines));
        self.under_way
            .spawn(async move { request(&client, lines).await });
        Ok(())
    }

    async fn take_answer(&mut self) -> Result<(), StoreError> {
        if let Some(answer) = self.under_way.join_next().await {
            let answer = answer.map_err(|error| StoreError::Fatal(error.to_string()))?;
            let failures = answer?;
            let is_gone = |failure: &Failure| failure.status == StatusCode::NOT_FOUND;
            if failures.iter().any(is_gone) {
                tracing::warn!("an index of the search view is gone; building the view again");
                forget_positions(self.client, self.names).await?;
            }
            self.failures.extend(failures);
        }
        Ok(())
    }

    /// Waits until all that was added is written.
    async fn flush(&mut self) -> Result<(), StoreError> {
        self.send().await?;
        while !self.under_way.is_empty() {
            self.take_answer().await?;
        }
        let mut failures = std::mem::take(&mut self.failures);
        // What passes comes first: a document that is refused will be so when
        // the others are written.
        failures.sort_by_key(|failure| failure.status == StatusCode::BAD_REQUEST);
        failures
            .into_iter()
            .next()
            .map_or(Ok(()), |failure| Err(failure.into()))
    }
}

/// Sends a request; what of it is not in the index now.
async fn request(client: &Client, lines: String) -> Result<Vec<Failure>, StoreError> {
    // An index that was lost must not come back by itself, with a mapping
    // that nobody has chosen.
    let answer: Answer = client
        .demand(Method::POST, "_bulk?require_alias=true", Body::Lines(lines))
        .await?;
    if !answer.errors {
        return Ok(Vec::new());
    }
    let results = answer.items.into_iter().map(|item| item.index);
    Ok(results.filter_map(failure).collect())
}

/// What became of a document, where it is not in the index now.
fn failure(result: ItemResult) -> Option<Failure> {
    let status = StatusCode::from_u16(result.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // A version that is not lower is there already.
    if status.is_success() || status == StatusCode::CONFLICT {
        return None;
    }
    let kind = result
        .error
        .map_or_else(|| "no reason given".to_owned(), |error| error.kind);
    Some(Failure { status, kind })
}

/// Writes a document with a field that the mapping does not have, between two
/// good ones.
#[cfg(test)]
pub(super) async fn put_a_stranger(client: &Client, names: &Names) -> Result<(), StoreError> {
    let mut bulk = Bulk::new(client, names);
    for (id, source) in [
        ("1", json!({"tenant": "t"})),
        ("2", json!({"stranger": true})),
        ("3", json!({"tenant": "t"})),
    ] {
        bulk.put(Kind::Users, id, 1, &source).await?;
    }
    bulk.flush().await
}
