use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidings_domain::{ConversationId, MessageId, Timestamp, UserId};
use uuid::Uuid;

use super::client::{Body, Client};
use super::document::{ConversationSource, MessageSource, PositionSource, UserSource};
use super::index::{Kind, Names};
use crate::search::{
    Asker, ConversationHit, Documents, Filters, Found, MessageHit, Page, Query, Wanted,
};
use crate::{Position, StoreError};
use tidings_query::Term;
use tidings_query::words::folded;

/// How many values a `terms` query takes at most is 65,536 unless an index
/// says otherwise.
const TERMS: usize = 60_000;
/// How many words a phrase's last word may become, where it is a prefix.
const EXPANSIONS: usize = 10_000;
/// More partitions than any topic has.
const PARTITIONS: usize = 10_000;

#[derive(Deserialize)]
struct Answer<T> {
    hits: Hits<T>,
}

#[derive(Deserialize)]
struct Hits<T> {
    total: Total,
    hits: Vec<Hit<T>>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
}

#[derive(Deserialize)]
struct Hit<T> {
    #[serde(rename = "_source")]
    source: T,
}

#[derive(Deserialize)]
struct Several<T> {
    docs: Vec<One<T>>,
}

#[derive(Deserialize)]
struct One<T> {
    #[serde(rename = "_version")]
    version: Option<i64>,
    #[serde(rename = "_source")]
    source: Option<T>,
    error: Option<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Grouped {
    aggregations: Groups,
}

#[derive(Deserialize)]
struct Groups {
    conversations: Buckets,
}

#[derive(Deserialize)]
struct Buckets {
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    key: Uuid,
}

pub(super) async fn positions(client: &Client, names: &Names) -> Result<Vec<Position>, StoreError> {
    positions_at(client, &names.alias(Kind::Positions)).await
}

/// The positions in an index, by its name or alias.
pub(super) async fn positions_at(
    client: &Client,
    alias: &str,
) -> Result<Vec<Position>, StoreError> {
    // Searches see only what was refreshed; the index is tiny.
    let refreshed = client
        .ask::<Value>(Method::POST, &format!("{alias}/_refresh"), Body::None)
        .await?;
    match refreshed {
        Ok(_) => {}
        // There is nothing yet, or nothing any more.
        Err(failure) if failure.status == StatusCode::NOT_FOUND => return Ok(Vec::new()),
        Err(failure) => return Err(failure.into()),
    }
    let question = json!({"size": PARTITIONS, "query": {"match_all": {}}});
    let found: Hits<PositionSource> = search(client, alias, &question).await?;
    Ok(found
        .hits
        .into_iter()
        .map(|hit| hit.source.position())
        .collect())
}

pub(super) async fn load(
    client: &Client,
    names: &Names,
    wanted: &Wanted,
) -> Result<Documents, StoreError> {
    let mut documents = Documents::default();
    let ids = wanted.messages.iter().map(MessageId::to_string).collect();
    let messages = by_id::<MessageSource>(client, &names.alias(Kind::Messages), ids).await?;
    for (source, version) in messages {
        let message = source.document(version)?;
        documents.messages.insert(message.message_id, message);
    }
    let ids = wanted.conversations.iter();
    let ids = ids.map(ConversationId::to_string).collect();
    let alias = names.alias(Kind::Conversations);
    for (source, version) in by_id::<ConversationSource>(client, &alias, ids).await? {
        let conversation = source.document(version)?;
        documents
            .conversations
            .insert(conversation.conversation_id, conversation);
    }
    Ok(documents)
}

/// Documents by their ids, with their versions, as they were last written.
async fn by_id<T: DeserializeOwned>(
    client: &Client,
    alias: &str,
    ids: Vec<String>,
) -> Result<Vec<(T, i64)>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let question = json!({"ids": ids});
    let found: Several<T> = client
        .demand(
            Method::POST,
            &format!("{alias}/_mget"),
            Body::Json(&question),
        )
        .await?;
    let mut documents = Vec::with_capacity(found.docs.len());
    for one in found.docs {
        if let Some(error) = one.error {
            return Err(StoreError::Transient(format!(
                "a document cannot be read now: {}",
                error.kind
            )));
        }
        documents.extend(one.source.zip(one.version));
    }
    Ok(documents)
}

pub(super) async fn messages(
    client: &Client,
    names: &Names,
    asker: &Asker,
    query: &Query,
    filters: &Filters,
    page: &Page<(Timestamp, MessageId)>,
) -> Result<Found<MessageHit>, StoreError> {
    if asker.conversations.is_empty() {
        return Ok(Found::nothing());
    }
    let mut filter = vec![
        json!({"term": {"tenant": asker.tenant.as_str()}}),
        one_of(&asker.conversations),
    ];
    filter.extend(query.terms().iter().map(clause));
    if let Some(by) = &filters.by {
        filter.push(json!({"term": {"by": by.as_str()}}));
    }
    if let Some(from) = filters.from {
        filter.push(json!({"range": {"at": {"gte": from.0}}}));
    }
    if let Some(to) = filters.to {
        filter.push(json!({"range": {"at": {"lte": to.0}}}));
    }
    if let Some(has_attachment) = filters.has_attachment {
        filter.push(json!({"term": {"has_attachment": has_attachment}}));
    }
    let hidden = json!({"term": {"hidden_for": asker.user_id.as_str()}});
    let mut question = json!({
        "size": page.limit + 1,
        "query": {"bool": {"filter": filter, "must_not": [hidden]}},
        "sort": [{"at": "desc"}, {"message_id": "desc"}],
    });
    if let Some((at, id)) = page.after {
        question["search_after"] = json!([at.0, id.to_string()]);
    }
    let alias = names.alias(Kind::Messages);
    let found = search::<MessageSource>(client, &alias, &question).await?;
    found.page(page.limit, MessageSource::hit)
}

pub(super) async fn conversations(
    client: &Client,
    names: &Names,
    asker: &Asker,
    query: &Query,
    page: &Page<(Timestamp, ConversationId)>,
) -> Result<Found<ConversationHit>, StoreError> {
    if asker.conversations.is_empty() {
        return Ok(Found::nothing());
    }
    let mut either = Vec::new();
    if query.has_words() {
        let terms: Vec<Value> = query.terms().iter().map(clause).collect();
        either.push(json!({"bool": {"filter": terms}}));
    }
    if let Some(prefix) = query.id_prefix() {
        let with_member = with_member(client, names, asker, &prefix).await?;
        if !with_member.is_empty() {
            either.push(one_of(&with_member));
        }
    }
    if either.is_empty() {
        return Ok(Found::nothing());
    }
    let mut question = json!({
        "size": page.limit + 1,
        "query": {"bool": {
            "filter": [
                {"term": {"tenant": asker.tenant.as_str()}},
                one_of(&asker.conversations),
            ],
            "should": either,
            "minimum_should_match": 1,
        }},
        "sort": [{"created_at": "desc"}, {"conversation_id": "desc"}],
    });
    if let Some((at, id)) = page.after {
        question["search_after"] = json!([at.0, id.to_string()]);
    }
    let alias = names.alias(Kind::Conversations);
    let found = search::<ConversationSource>(client, &alias, &question).await?;
    found.page(page.limit, ConversationSource::hit)
}

/// Those of the asker's conversations that have a member whose id begins so.
async fn with_member(
    client: &Client,
    names: &Names,
    asker: &Asker,
    prefix: &str,
) -> Result<Vec<ConversationId>, StoreError> {
    let question = json!({
        "size": 0,
        "query": {"bool": {"filter": [
            {"term": {"tenant": asker.tenant.as_str()}},
            {"term": {"is_present": true}},
            {"prefix": {"folded": {"value": prefix}}},
            one_of(&asker.conversations),
        ]}},
        "aggs": {"conversations": {"terms": {
            "field": "conversation_id",
            "size": asker.conversations.len().min(TERMS),
        }}},
    });
    let path = format!("{}/_search", names.alias(Kind::Members));
    let found: Grouped = client
        .demand(Method::POST, &path, Body::Json(&question))
        .await?;
    let buckets = found.aggregations.conversations.buckets.into_iter();
    Ok(buckets.map(|bucket| ConversationId(bucket.key)).collect())
}

pub(super) async fn users(
    client: &Client,
    names: &Names,
    asker: &Asker,
    prefix: &str,
    page: &Page<UserId>,
) -> Result<Found<UserId>, StoreError> {
    let mut question = json!({
        "size": page.limit + 1,
        "query": {"bool": {"filter": [
            {"term": {"tenant": asker.tenant.as_str()}},
            {"prefix": {"folded": {"value": prefix}}},
        ]}},
        "sort": [{"folded": "asc"}, {"user_id": "asc"}],
    });
    if let Some(after) = &page.after {
        question["search_after"] = json!([folded(after.as_str()), after.as_str()]);
    }
    let alias = names.alias(Kind::Users);
    let found = search::<UserSource>(client, &alias, &question).await?;
    found.page(page.limit, UserSource::user_id)
}

async fn search<T: DeserializeOwned>(
    client: &Client,
    alias: &str,
    question: &Value,
) -> Result<Hits<T>, StoreError> {
    // A shard that does not answer must not look like one without hits.
    let path = format!("{alias}/_search?track_total_hits=true&allow_partial_search_results=false");
    let answer: Answer<T> = client
        .demand(Method::POST, &path, Body::Json(question))
        .await?;
    Ok(answer.hits)
}

impl<T> Hits<T> {
    /// A page of what was found when one more than `limit` was asked for.
    fn page<H>(
        self,
        limit: usize,
        read: impl Fn(T) -> Result<H, StoreError>,
    ) -> Result<Found<H>, StoreError> {
        let hits = self.hits.into_iter().map(|hit| read(hit.source));
        let hits = hits.collect::<Result<Vec<H>, StoreError>>()?;
        Ok(Found::page(hits, self.total.value, limit))
    }
}

/// That a document belongs to one of these conversations.
fn one_of(conversations: &[ConversationId]) -> Value {
    let parts: Vec<Value> = conversations
        .chunks(TERMS)
        .map(|part| {
            let ids: Vec<String> = part.iter().map(ConversationId::to_string).collect();
            json!({"terms": {"conversation_id": ids}})
        })
        .collect();
    json!({"bool": {"should": parts, "minimum_should_match": 1}})
}

/// That a document has these words side by side. None of these queries has a
/// syntax of its own, so there is nothing to escape.
fn clause(term: &Term) -> Value {
    let words = term.words.join(" ");
    match (term.words.len(), term.is_prefix) {
        (1, false) => json!({"term": {"words": {"value": words}}}),
        (1, true) => json!({"prefix": {"words": {"value": words}}}),
        (_, false) => json!({"match_phrase": {"words": {"query": words}}}),
        (_, true) => json!({"match_phrase_prefix": {
            "words": {"query": words, "max_expansions": EXPANSIONS}
        }}),
    }
}
