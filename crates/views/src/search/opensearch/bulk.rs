use std::time::Instant;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use super::OpenSearch;
use super::client::Body;
use super::index::{self, Kind};
use crate::StoreError;
use crate::audit::{Audit, Part, Raw, StoredDocument};
use crate::bulk::{BulkInsert, BulkInserted, BulkOptions, YARDSTICK, timed};
use crate::generation::Generations;
use tidings_query::words::indexed;

#[async_trait]
impl BulkInsert for OpenSearch {
    async fn bulk_insert(&self, options: BulkOptions) -> Result<BulkInserted, StoreError> {
        let yardstick = self.of(YARDSTICK);
        let mut lines = Vec::new();
        for kind in Kind::ALL {
            if kind == Kind::Positions {
                continue;
            }
            let index = yardstick.names.index(kind);
            self.scan(kind.name(), &Part::default(), &mut |documents| {
                lines.extend(documents.into_iter().map(|it| line(&index, it)));
                Ok(())
            })
            .await?;
        }
        let documents = lines.len();
        let batches = lines.chunks(options.batch.max(1)).map(<[_]>::concat);
        let batches: Vec<String> = batches.collect();
        // An earlier one may have been cut short.
        index::delete_all(&yardstick.client, &yardstick.names).await?;
        index::prepare(&yardstick.client, &yardstick.names).await?;
        index::hold_refreshes(&yardstick.client, &yardstick.names, true).await?;
        let started = Instant::now();
        let inserted = timed(batches, options.parallel, |lines| {
            let client = yardstick.client.clone();
            async move {
                let answer: Value = client
                    .demand(Method::POST, "_bulk", Body::Lines(lines))
                    .await?;
                match answer["errors"].as_bool() {
                    Some(false) => Ok(()),
                    _ => Err(StoreError::Data("a document was refused".to_owned())),
                }
            }
        })
        .await;
        // They are of use when they are found.
        let inserted = match inserted {
            Ok(_) => index::hold_refreshes(&yardstick.client, &yardstick.names, false).await,
            Err(error) => Err(error),
        };
        let took = started.elapsed();
        index::delete_all(&yardstick.client, &yardstick.names).await?;
        inserted?;
        Ok(BulkInserted { documents, took })
    }
}

/// What inserts a document: an action and its source.
fn line(index: &str, document: StoredDocument) -> String {
    let action = json!({"index": {"_index": index, "_id": document.key}});
    let mut source = match document.raw {
        Raw::Source(source) => source,
        _ => Value::Object(document.fields),
    };
    // It is sent, but not kept.
    let text = [&source["text"], &source["title"]];
    let words = text.into_iter().find_map(Value::as_str).map(indexed);
    if let Some(words) = words {
        source["words"] = words.into();
    }
    format!("{action}\n{source}\n")
}
