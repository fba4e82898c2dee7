use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::StoreError;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request may take, all in all. Whoever asks for a person waits
/// less.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A thin client of the part of the REST API that OpenSearch and Elasticsearch
/// have in common.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
}

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// The error's type as the server names it. The reason beside it is left
    /// out everywhere: it may quote a message.
    pub(super) kind: String,
}

#[derive(Deserialize)]
struct FailureBody {
    error: FailureCause,
}

#[derive(Deserialize)]
struct FailureCause {
    #[serde(rename = "type")]
    kind: String,
}

/// A request's body.
pub(super) enum Body<'a> {
    None,
    Json(&'a Value),
    /// One JSON document a line.
    Lines(String),
}

impl Client {
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        let fatal = |error: &dyn std::fmt::Display| {
            StoreError::Fatal(format!("the address of the search store: {error}"))
        };
        let slashed = format!("{}/", url.trim_end_matches('/'));
        let base = Url::parse(&slashed).map_err(|error| fatal(&error))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(fatal(&"is neither http nor https"));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| fatal(&error.without_url()))?;
        Ok(Self { http, base })
    }

    /// Asks, and reads the answer: of a success, or of a failure.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body<'_>,
    ) -> Result<Result<T, Failure>, StoreError> {
        let url = self
            .base
            .join(path)
            .map_err(|error| StoreError::Fatal(format!("a path is no path: {error}")))?;
        let request = self.http.request(method, url);
        let request = match body {
            Body::None => request,
            Body::Json(json) => request.json(json),
            Body::Lines(lines) => request
                .header(CONTENT_TYPE, "application/x-ndjson")
                .body(lines),
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(unreachable)?;
        if !status.is_success() {
            let body = serde_json::from_slice::<FailureBody>(&bytes);
            let kind = body.map_or_else(|_| "no reason given".to_owned(), |body| body.error.kind);
            return Ok(Err(Failure { status, kind }));
        }
        serde_json::from_slice(&bytes).map(Ok).map_err(|error| {
            // The error alone: what was read may hold messages.
            let place = (error.line(), error.column());
            StoreError::Fatal(format!("an answer cannot be read, at {place:?}"))
        })
    }

    /// Asks what has to succeed.
    pub(super) async fn demand<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body<'_>,
    ) -> Result<T, StoreError> {
        self.ask(method, path, body)
            .await?
            .map_err(StoreError::from)
    }
}

fn unreachable(error: reqwest::Error) -> StoreError {
    // Its address may hold a password; its source says what happened.
    let error = error.without_url();
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    StoreError::Transient(message)
}

impl From<Failure> for StoreError {
    fn from(Failure { status, kind }: Failure) -> Self {
        let message = format!("{status}, {kind}");
        match status {
            StatusCode::TOO_MANY_REQUESTS => Self::Saturated(message),
            status if status.is_server_error() => Self::Transient(message),
            // An index that is not there, or not yet; one that may not be
            // written as the disk is full.
            StatusCode::NOT_FOUND | StatusCode::REQUEST_TIMEOUT => Self::Transient(message),
            _ if kind == "cluster_block_exception" => Self::Transient(message),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Self::Data(message),
            _ => Self::Fatal(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::{Client, Failure};
    use crate::StoreError;

    #[test]
    fn errors_are_classed_by_what_to_do_about_them() {
        let class = |status, kind: &str| {
            let failure = Failure {
                status: StatusCode::from_u16(status).expect("a status"),
                kind: kind.to_owned(),
            };
            match StoreError::from(failure) {
                StoreError::Transient(_) => "transient",
                StoreError::Saturated(_) => "saturated",
                StoreError::Data(_) => "data",
                StoreError::Fatal(_) => "fatal",
            }
        };
        let table = [
            (429, "circuit_breaking_exception", "saturated"),
            (503, "no_shard_available_action_exception", "transient"),
            (500, "anything", "transient"),
            (404, "index_not_found_exception", "transient"),
            (403, "cluster_block_exception", "transient"),
            (403, "security_exception", "fatal"),
            (401, "security_exception", "fatal"),
            (400, "mapper_parsing_exception", "data"),
            (413, "no reason given", "data"),
        ];
        for (status, kind, expected) in table {
            assert_eq!(class(status, kind), expected, "{status} {kind}");
        }
    }

    #[test]
    fn an_address_must_be_one() {
        assert!(Client::new("http://u:p@127.0.0.1:9200").is_ok());
        for url in ["", "nowhere", "ftp://127.0.0.1"] {
            let refused = Client::new(url).map(drop);
            assert!(matches!(refused, Err(StoreError::Fatal(_))), "{url}");
        }
    }
}
