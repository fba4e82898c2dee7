//! The indexes of the search view, document by document.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::OpenSearch;
use super::client::Body;
use super::document::{
    ConversationSource, MemberSource, MessageSource, PositionSource, UserSource,
};
use super::index::{self, Kind};
use crate::audit::{
    Audit, EachPage, Flaw, Part, Raw, Replacement, SearchAudit, SearchDocument, StoredDocument,
};
use crate::{Position, StoreError};

const KINDS: &[&str] = &["messages", "conversations", "members", "users"];
/// Documents given out at once.
const PAGE: usize = 1_000;
/// How often, and how far apart, a document is written again until the one
/// before it is forgotten: the server's clock for that goes in steps of 200 ms.
const FORGETTING: u32 = 10;
const FORGETTING_PAUSE: Duration = Duration::from_millis(250);
/// How long a scan may pause between two pages.
const SCROLL: &str = "5m";

fn kind_of(name: &str) -> Result<Kind, StoreError> {
    Kind::ALL
        .into_iter()
        .find(|kind| kind.name() == name)
        .ok_or_else(|| StoreError::Fatal(format!("the search view has no {name}")))
}

#[derive(Deserialize)]
struct Scrolled {
    #[serde(rename = "_scroll_id")]
    scroll_id: Option<String>,
    hits: Hits,
}

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_version")]
    version: Option<i64>,
    #[serde(rename = "_seq_no")]
    seq_no: Option<i64>,
    #[serde(rename = "_primary_term")]
    primary_term: Option<i64>,
    #[serde(rename = "_source")]
    source: Option<Map<String, Value>>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Several {
    docs: Vec<Hit>,
}

#[derive(Deserialize)]
struct Changed {
    items: Vec<Map<String, Value>>,
}

fn stored(kind: &'static str, hit: Hit) -> Option<StoredDocument> {
    let fields = hit.source?;
    Some(StoredDocument {
        kind,
        key: hit.id,
        version: hit.version.filter(|_| kind != Kind::Users.name()),
        raw: Raw::Source(Value::Object(fields.clone())),
        fields,
    })
}

fn encoded(
    kind: &'static str,
    key: String,
    version: Option<i64>,
    source: &impl Serialize,
) -> Result<StoredDocument, StoreError> {
    let unreadable = |error: serde_json::Error| {
        StoreError::Data(format!("a document cannot be encoded: {error}"))
    };
    let source = serde_json::to_value(source).map_err(unreadable)?;
    let mut fields = source.as_object().cloned().unwrap_or_default();
    // It is sent, but not kept.
    fields.remove("words");
    Ok(StoredDocument {
        kind,
        key,
        version,
        fields,
        raw: Raw::Source(source),
    })
}

impl OpenSearch {
    /// What stands for an index now: its alias, or, where that is lost, the
    /// index itself; none: neither is there.
    async fn place(&self, kind: Kind) -> Result<Option<String>, StoreError> {
        let alias = self.names.alias(kind);
        if index::has_alias(&self.client, &alias).await? {
            return Ok(Some(alias));
        }
        let index = self.names.index(kind);
        let is_there = index::is_there(&self.client, &index).await?;
        Ok(is_there.then_some(index))
    }

    async fn get_hits(&self, place: &str, keys: &[String]) -> Result<Vec<Hit>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let path = format!("{place}/_mget");
        let question = json!({"ids": keys});
        let found: Several = self
            .client
            .demand(Method::POST, &path, Body::Json(&question))
            .await?;
        if found.docs.iter().any(|hit| hit.error.is_some()) {
            let message = "a document cannot be read now".to_owned();
            return Err(StoreError::Transient(message));
        }
        Ok(found.docs)
    }

    /// Runs one action of a bulk request; whether it was done, and not refused
    /// for another version.
    async fn act(&self, action: &Value, source: Option<&Value>) -> Result<bool, StoreError> {
        let mut lines = format!("{action}\n");
        if let Some(source) = source {
            lines.push_str(&format!("{source}\n"));
        }
        let changed: Changed = self
            .client
            .demand(Method::POST, "_bulk", Body::Lines(lines))
            .await?;
        let result = changed.items.into_iter().next();
        let result = result.and_then(|item| item.into_iter().next());
        let status = result.as_ref().and_then(|(_, it)| it["status"].as_u64());
        match status {
            Some(200 | 201) => Ok(true),
            Some(404 | 409) => Ok(false),
            other => {
                let kind =
                    result.and_then(|(_, it)| Some(it["error"]["type"].as_str()?.to_owned()));
                let kind = kind.unwrap_or_else(|| "no reason given".to_owned());
                let status = other.unwrap_or_default();
                Err(match status {
                    400 | 413 => StoreError::Data(format!("{status}, {kind}")),
                    429 => StoreError::Saturated(format!("{status}, {kind}")),
                    _ => StoreError::Transient(format!("{status}, {kind}")),
                })
            }
        }
    }

    async fn delete(&self, place: &str, hit: &Hit) -> Result<bool, StoreError> {
        let action = json!({"delete": {
            "_index": place,
            "_id": hit.id,
            "if_seq_no": hit.seq_no,
            "if_primary_term": hit.primary_term,
        }});
        self.act(&action, None).await
    }

    async fn replace_one(&self, replacement: &Replacement) -> Result<bool, StoreError> {
        let (Some(name), Some(key)) = (replacement.kind(), replacement.key()) else {
            return Ok(false);
        };
        let Some(place) = self.place(kind_of(name)?).await? else {
            return Ok(false);
        };
        let hits = self.get_hits(&place, &[key.to_owned()]).await?;
        let Some(hit) = hits.into_iter().next() else {
            return Ok(false);
        };
        let there = Hit {
            source: hit.source.clone(),
            id: hit.id.clone(),
            error: None,
            ..hit
        };
        let now = stored(name, there);
        if now != replacement.seen {
            return Ok(false);
        }
        let Some(new) = &replacement.new else {
            return self.delete(&place, &hit).await;
        };
        let Raw::Source(source) = &new.raw else {
            return Ok(false);
        };
        let version = new.version.unwrap_or(1);
        let action = json!({"index": {
            "_index": place,
            "_id": key,
            "version": version,
            "version_type": "external_gte",
        }});
        // A higher one would keep out what is to come. It can only be taken
        // away with the document.
        let is_too_high = now.is_some() && hit.version.is_some_and(|there| there > version);
        if is_too_high {
            if !self.delete(&place, &hit).await? {
                return Ok(false);
            }
        } else if self.act(&action, Some(source)).await? {
            return Ok(true);
        }
        // What was deleted just now is remembered with its version for a
        // minute, unless it is to be forgotten at once.
        let mut is_done = Ok(false);
        for _ in 0..FORGETTING {
            index::forget_deleted(&self.client, &place, true).await?;
            is_done = self.act(&action, Some(source)).await;
            if !matches!(is_done, Ok(false)) {
                break;
            }
            tokio::time::sleep(FORGETTING_PAUSE).await;
        }
        index::forget_deleted(&self.client, &place, false).await?;
        is_done
    }
}

#[async_trait]
impl Audit for OpenSearch {
    fn kinds(&self) -> &'static [&'static str] {
        KINDS
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        let Some(place) = self.place(Kind::Positions).await? else {
            return Ok(Vec::new());
        };
        super::read::positions_at(&self.client, &place).await
    }

    async fn flaws(&self) -> Result<Vec<Flaw>, StoreError> {
        let mut flaws = Vec::new();
        for kind in Kind::ALL {
            let alias = self.names.alias(kind);
            if index::has_alias(&self.client, &alias).await? {
                continue;
            }
            let index = self.names.index(kind);
            flaws.push(Flaw::mendable(match self.place(kind).await? {
                Some(_) => format!("the alias {alias} of {index} is lost: nobody finds the index"),
                None => format!("the index {index} is not there"),
            }));
        }
        Ok(flaws)
    }

    async fn mend(&self) -> Result<(), StoreError> {
        for kind in Kind::ALL {
            let (alias, index) = (self.names.alias(kind), self.names.index(kind));
            if !index::has_alias(&self.client, &alias).await?
                && index::is_there(&self.client, &index).await?
            {
                index::put_alias(&self.client, &alias, &index).await?;
            }
        }
        index::prepare(&self.client, &self.names).await
    }

    async fn scan(
        &self,
        kind: &'static str,
        part: &Part,
        each: EachPage<'_>,
    ) -> Result<(), StoreError> {
        let Some(place) = self.place(kind_of(kind)?).await? else {
            return Ok(());
        };
        // What was written is visible to searches after a refresh.
        let refresh = format!("{place}/_refresh");
        self.client
            .demand::<Value>(Method::POST, &refresh, Body::None)
            .await?;
        let mut filter = Vec::new();
        if let Some(id) = part.conversation_id
            && kind != Kind::Users.name()
        {
            filter.push(json!({"term": {"conversation_id": id.to_string()}}));
        }
        if let Some(tenant) = &part.tenant {
            filter.push(json!({"term": {"tenant": tenant.as_str()}}));
        }
        let question = json!({
            "size": PAGE,
            "version": true,
            "query": {"bool": {"filter": filter}},
            "sort": ["_doc"],
        });
        let path = format!("{place}/_search?scroll={SCROLL}&allow_partial_search_results=false");
        let mut scrolled: Scrolled = self
            .client
            .demand(Method::POST, &path, Body::Json(&question))
            .await?;
        let result = loop {
            let hits = std::mem::take(&mut scrolled.hits.hits);
            if hits.is_empty() {
                break Ok(());
            }
            let documents = hits.into_iter().filter_map(|hit| stored(kind, hit));
            if let Err(error) = each(documents.collect()) {
                break Err(error);
            }
            let next = json!({"scroll": SCROLL, "scroll_id": scrolled.scroll_id});
            scrolled = self
                .client
                .demand(Method::POST, "_search/scroll", Body::Json(&next))
                .await?;
        };
        if let Some(id) = scrolled.scroll_id {
            let end = json!({"scroll_id": [id]});
            // It ends by itself where this fails.
            let ended = self
                .client
                .ask::<Value>(Method::DELETE, "_search/scroll", Body::Json(&end))
                .await;
            if let Err(error) = ended {
                tracing::debug!(%error, "cannot end a scan");
            }
        }
        result
    }

    async fn get(
        &self,
        kind: &'static str,
        keys: &[String],
    ) -> Result<Vec<StoredDocument>, StoreError> {
        let Some(place) = self.place(kind_of(kind)?).await? else {
            return Ok(Vec::new());
        };
        let hits = self.get_hits(&place, keys).await?;
        Ok(hits
            .into_iter()
            .filter_map(|hit| stored(kind, hit))
            .collect())
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
        let Some(place) = self.place(Kind::Positions).await? else {
            return Ok(false);
        };
        let all = super::read::positions_at(&self.client, &place).await?;
        let now = all.into_iter().find(|at| at.partition == to.partition);
        if now != seen {
            return Ok(false);
        }
        let document = |position: &Position| {
            let key = position.partition.to_string();
            let source = PositionSource::of(position);
            encoded(
                Kind::Positions.name(),
                key,
                Some(position.offset + 1),
                &source,
            )
        };
        let new = document(&to)?;
        let hits = self
            .get_hits(&place, std::slice::from_ref(&new.key))
            .await?;
        let seen = hits.into_iter().next();
        let seen = seen.and_then(|hit| stored(Kind::Positions.name(), hit));
        let replacement = Replacement {
            seen,
            new: Some(new),
        };
        self.replace_one(&replacement).await
    }
}

impl SearchAudit for OpenSearch {
    fn encode(&self, document: &SearchDocument) -> Result<StoredDocument, StoreError> {
        match document {
            SearchDocument::Message(it) => {
                let key = it.message_id.to_string();
                encoded("messages", key, Some(it.version), &MessageSource::of(it))
            }
            SearchDocument::Conversation(it) => {
                let key = it.conversation_id.to_string();
                encoded(
                    "conversations",
                    key,
                    Some(it.version),
                    &ConversationSource::of(it),
                )
            }
            SearchDocument::Member(it) => {
                let key = format!("{}/{}", it.conversation_id, it.user_id);
                encoded("members", key, Some(it.version), &MemberSource::of(it))
            }
            SearchDocument::User(tenant, user) => {
                let key = format!("{tenant}/{user}");
                encoded("users", key, None, &UserSource::of(tenant, user))
            }
        }
    }
}
