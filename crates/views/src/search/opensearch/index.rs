use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Body, Client};
use crate::StoreError;
use crate::generation::Generation;

/// The version of all mappings.
const VERSION: &str = "v1";
/// How long what was written may be hidden from searches.
const REFRESH_INTERVAL: &str = "1s";

/// What there is an index for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Messages,
    Conversations,
    Members,
    Users,
    Positions,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [
        Self::Messages,
        Self::Conversations,
        Self::Members,
        Self::Users,
        Self::Positions,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Conversations => "conversations",
            Self::Members => "members",
            Self::Users => "users",
            Self::Positions => "positions",
        }
    }

    fn properties(self) -> Value {
        let id = json!({"type": "keyword"});
        // Only kept, to be shown.
        let shown = json!({"type": "keyword", "index": false, "doc_values": false});
        // Without lengths, as nothing is ranked by them.
        let words = json!({"type": "text", "analyzer": "words", "norms": false});
        match self {
            Self::Messages => json!({
                "message_id": id, "conversation_id": id, "tenant": id, "by": id,
                "no": {"type": "long", "index": false, "doc_values": false},
                "at": {"type": "date", "format": "epoch_millis"},
                "text": shown, "words": words,
                "has_attachment": {"type": "boolean"}, "hidden_for": id,
            }),
            Self::Conversations => json!({
                "conversation_id": id, "tenant": id, "kind": shown, "title": shown,
                "words": words,
                "created_at": {"type": "date", "format": "epoch_millis"},
            }),
            Self::Members => json!({
                "conversation_id": id, "tenant": id, "user_id": id, "folded": id,
                "is_present": {"type": "boolean"},
            }),
            Self::Users => json!({"tenant": id, "user_id": id, "folded": id}),
            Self::Positions => json!({
                "partition": {"type": "integer"}, "offset": {"type": "long"},
                "epoch": {"type": "long"}, "owner": id,
            }),
        }
    }

    /// The index's definition. Words are split before they come here (see
    /// `words`), so there are only the spaces between them to find; a word may
    /// be as long as a message. Texts are not kept twice.
    fn definition(self, alias: &str) -> Value {
        json!({
            "settings": {
                "index": {
                    "number_of_shards": 1,
                    "auto_expand_replicas": "0-1",
                    // Also when nobody has searched for a while.
                    "refresh_interval": REFRESH_INTERVAL,
                },
                "analysis": {
                    "tokenizer": {"words": {"type": "whitespace", "max_token_length": 32_000}},
                    "analyzer": {"words": {"type": "custom", "tokenizer": "words"}},
                },
            },
            "mappings": {
                "dynamic": "strict",
                "_source": {"excludes": ["words"]},
                "properties": self.properties(),
            },
            "aliases": {alias: {}},
        })
    }
}

/// How the indexes of a generation are called.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    generation: Generation,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Result<Self, StoreError> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if !prefix.chars().all(fits) {
            let message = format!(
                "the prefix {prefix:?} cannot be part of an index's name: only a-z, 0-9, '.', \
                 '_' and '-' can"
            );
            return Err(StoreError::Fatal(message));
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            generation: Generation::FIRST,
        })
    }

    pub(super) fn of(&self, generation: Generation) -> Self {
        Self {
            prefix: self.prefix.clone(),
            generation,
        }
    }

    /// The index that says which generations there are.
    pub(super) fn generations(&self) -> String {
        format!("tidings-{}generations", self.prefix)
    }

    /// What an index is read and written by.
    pub(super) fn alias(&self, kind: Kind) -> String {
        let first = format!("tidings-{}{}", self.prefix, kind.name());
        self.generation.name(&first)
    }

    pub(super) fn index(&self, kind: Kind) -> String {
        let first = format!("tidings-{}{}-{VERSION}", self.prefix, kind.name());
        self.generation.name(&first)
    }
}

/// Makes the indexes that are not there.
pub(super) async fn prepare(client: &Client, names: &Names) -> Result<(), StoreError> {
    for kind in Kind::ALL {
        let (alias, index) = (names.alias(kind), names.index(kind));
        let known = client
            .ask::<Value>(Method::GET, &format!("_alias/{alias}"), Body::None)
            .await?;
        match known {
            Ok(_) => continue,
            Err(failure) if failure.status == StatusCode::NOT_FOUND => {}
            Err(failure) => return Err(failure.into()),
        }
        let definition = kind.definition(&alias);
        let made = client
            .ask::<Value>(Method::PUT, &index, Body::Json(&definition))
            .await?;
        match made {
            Ok(_) => tracing::info!(index, "made an index"),
            // Another process was quicker.
            Err(failure) if failure.kind == "resource_already_exists_exception" => {}
            Err(failure) if failure.status == StatusCode::BAD_REQUEST => {
                let message = format!("cannot make {index}: {}", failure.kind);
                return Err(StoreError::Fatal(message));
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(())
}

/// Whether an alias names something.
pub(super) async fn has_alias(client: &Client, alias: &str) -> Result<bool, StoreError> {
    exists(client, &format!("_alias/{alias}")).await
}

/// Whether there is an index of this name.
pub(super) async fn is_there(client: &Client, index: &str) -> Result<bool, StoreError> {
    exists(client, &format!("{index}/_settings")).await
}

async fn exists(client: &Client, path: &str) -> Result<bool, StoreError> {
    let asked = client.ask::<Value>(Method::GET, path, Body::None).await?;
    match asked {
        Ok(_) => Ok(true),
        Err(failure) if failure.status == StatusCode::NOT_FOUND => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

/// Puts an alias on an index.
pub(super) async fn put_alias(client: &Client, alias: &str, index: &str) -> Result<(), StoreError> {
    let actions = json!({"actions": [{"add": {"index": index, "alias": alias}}]});
    client
        .demand::<Value>(Method::POST, "_aliases", Body::Json(&actions))
        .await
        .map(drop)
}

/// Has what is written stay hidden from searches, while nobody searches, or
/// makes all of it visible, and from then on what comes. Documents and positions
/// that are asked for by their ids are not hidden. Positions are few, and are
/// looked for.
pub(super) async fn hold_refreshes(
    client: &Client,
    names: &Names,
    is_held: bool,
) -> Result<(), StoreError> {
    let interval = if is_held { "-1" } else { REFRESH_INTERVAL };
    let settings = json!({"index": {"refresh_interval": interval}});
    for kind in Kind::ALL {
        if kind == Kind::Positions {
            continue;
        }
        let alias = names.alias(kind);
        client
            .demand::<Value>(
                Method::PUT,
                &format!("{alias}/_settings"),
                Body::Json(&settings),
            )
            .await?;
        if !is_held {
            client
                .demand::<Value>(Method::POST, &format!("{alias}/_refresh"), Body::None)
                .await?;
        }
    }
    Ok(())
}

/// Has the versions of deleted documents forgotten at once, or after the usual
/// minute.
pub(super) async fn forget_deleted(
    client: &Client,
    index: &str,
    at_once: bool,
) -> Result<(), StoreError> {
    let keep = if at_once { json!("0s") } else { Value::Null };
    let settings = json!({"index": {"gc_deletes": keep}});
    let path = format!("{index}/_settings");
    client
        .demand::<Value>(Method::PUT, &path, Body::Json(&settings))
        .await?;
    if at_once {
        // They are forgotten when the index is refreshed.
        let path = format!("{index}/_refresh");
        client
            .demand::<Value>(Method::POST, &path, Body::None)
            .await?;
    }
    Ok(())
}

/// Forgets the positions, as the data they vouch for is not there any more:
/// the view is then built again from the beginning.
pub(super) async fn forget_positions(client: &Client, names: &Names) -> Result<(), StoreError> {
    delete(client, &names.index(Kind::Positions)).await
}

/// Deletes all indexes of a generation, its positions first.
pub(super) async fn delete_all(client: &Client, names: &Names) -> Result<(), StoreError> {
    for kind in Kind::ALL.into_iter().rev() {
        delete(client, &names.index(kind)).await?;
    }
    Ok(())
}

/// Deletes an index, if it is there.
async fn delete(client: &Client, index: &str) -> Result<(), StoreError> {
    let gone = client
        .ask::<Value>(Method::DELETE, index, Body::None)
        .await?;
    match gone {
        Ok(_) => Ok(()),
        Err(failure) if failure.status == StatusCode::NOT_FOUND => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

#[cfg(any(test, feature = "testing"))]
pub(super) async fn refresh_all(client: &Client, names: &Names) -> Result<(), StoreError> {
    for kind in Kind::ALL {
        let path = format!("{}/_refresh", names.alias(kind));
        client
            .demand::<Value>(Method::POST, &path, Body::None)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) async fn lose_messages(client: &Client, names: &Names) -> Result<(), StoreError> {
    let index = names.index(Kind::Messages);
    client
        .demand::<Value>(Method::DELETE, &index, Body::None)
        .await
        .map(drop)
}
