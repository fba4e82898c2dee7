//! Commands: from a request to the log, and from its decision to an answer.

use std::time::Duration;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tidings_domain::{Code, TempId};
use tidings_edge::{Allowance, Caller, Delivered, Heard, Pending, Refusal};
use tidings_wire::frames::Request;
use tokio::time::timeout;
use uuid::Uuid;

use crate::problem::Problem;
use crate::types::{DeliveredBody, PendingBody};
use crate::{address, conditional, prefer};

/// The header that names a command: draft-ietf-httpapi-idempotency-key-header.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header that says that a command is sent again: the protocol's `retry`.
pub(crate) const RETRY: HeaderName = HeaderName::from_static("tidings-retry");
/// draft-ietf-httpapi-ratelimit-headers.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// How long a command may take to become durable. One that waits for others of
/// the user takes as long as these.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a request wants its command to be handled.
pub(crate) struct Write {
    temp_id: TempId,
    retry: bool,
    wait: Option<Duration>,
}

/// What a command makes, if it is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Makes {
    Message,
    Conversation,
    /// Nothing with an address of its own.
    Change,
}

impl<S: Send + Sync> FromRequestParts<S> for Write {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let headers = &parts.headers;
        Ok(Self {
            temp_id: temp_id(headers)?,
            retry: retry(headers)?,
            wait: prefer::wait(headers),
        })
    }
}

/// The client's key as it is, or as the draft's quoted string; a new one where
/// there is none.
fn temp_id(headers: &HeaderMap) -> Result<TempId, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        let made = Uuid::new_v4().to_string();
        return Ok(TempId::parse(&made).expect("a UUID is short and printable"));
    };
    let text = value.to_str().unwrap_or_default();
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    TempId::parse(quoted.unwrap_or(text)).map_err(|error| {
        let detail = format!("Idempotency-Key: {}", error.message);
        Problem::of(error.code, detail)
    })
}

/// Whether the client says that it sent this before.
fn retry(headers: &HeaderMap) -> Result<bool, Problem> {
    match headers.get(RETRY).map(HeaderValue::as_bytes) {
        None | Some(b"false") => Ok(false),
        Some(b"true") => Ok(true),
        Some(_) => Err(Problem::invalid("Tidings-Retry: must be true or false")),
    }
}

impl Write {
    pub(crate) fn temp_id(&self) -> &TempId {
        &self.temp_id
    }

    /// Puts a command into the log and answers as soon as it is durable, or,
    /// where the client would wait for it, decided.
    pub(crate) async fn run(self, caller: &Caller, request: Request, makes: Makes) -> Response {
        let mut submission = caller.submit(self.temp_id.clone(), self.retry, request);
        let heard = match timeout(DURABLE_TIMEOUT, submission.pending()).await {
            Ok(heard) => heard,
            Err(_) => Err(not_durable_in_time()),
        };
        // Taken out of the allowance by now.
        let allowance = (makes == Makes::Message)
            .then(|| caller.allowance())
            .flatten();
        let mut response = match (heard, self.wait) {
            (Err(refusal), _) => problem(refusal).into_response(),
            (Ok(Heard::Answered(delivered)), _) => self.delivered(&delivered, makes),
            (Ok(Heard::Pending(pending)), None) => self.pending(&pending),
            (Ok(Heard::Pending(pending)), Some(wait)) => {
                let mut response = match timeout(wait, submission.decision()).await {
                    Ok(Ok(delivered)) => self.delivered(&delivered, makes),
                    Ok(Err(refusal)) => problem(refusal).into_response(),
                    Err(_) => self.pending(&pending),
                };
                let applied = format!("wait={}", wait.as_secs());
                insert(&mut response, prefer::PREFERENCE_APPLIED, &applied);
                response
            }
        };
        insert(&mut response, IDEMPOTENCY_KEY, self.temp_id.as_str());
        if let Some(allowance) = allowance {
            tell_allowance(&mut response, allowance);
        }
        response
    }

    fn pending(&self, pending: &Pending) -> Response {
        let body = PendingBody::of(&self.temp_id, pending);
        let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
        let address = address::outcome(pending.conversation_id, &self.temp_id);
        insert(&mut response, header::LOCATION, &address);
        response
    }

    fn delivered(&self, delivered: &Delivered, makes: Makes) -> Response {
        let address = match makes {
            Makes::Message => delivered.message_id.map(address::message),
            Makes::Conversation => Some(address::conversation(delivered.conversation_id)),
            Makes::Change => None,
        };
        let status = if address.is_some() && !delivered.duplicate {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        let body = DeliveredBody::of(&self.temp_id, delivered);
        let mut response = (status, Json(body)).into_response();
        if let Some(address) = address {
            insert(&mut response, header::LOCATION, &address);
        }
        // Right after its event, that is what the message's revision is.
        if let (Some(_), Some(seq), false) =
            (delivered.message_id, delivered.seq, delivered.duplicate)
        {
            let etag = conditional::etag(seq);
            response.headers_mut().insert(header::ETAG, etag);
        }
        response
    }
}

fn not_durable_in_time() -> Refusal {
    Refusal {
        code: Code::Unavailable,
        message: "It is not durable yet, and may become so: send it again with the same \
                  Idempotency-Key, or ask for its outcome."
            .into(),
        retry_after_ms: None,
    }
}

/// A refusal, as a problem.
pub(crate) fn problem(refusal: Refusal) -> Problem {
    Problem::of(refusal.code, refusal.message).after_ms(refusal.retry_after_ms)
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        problem(refusal)
    }
}

fn tell_allowance(response: &mut Response, allowance: Allowance) {
    let Allowance {
        per_minute,
        remaining,
    } = allowance;
    let policy = format!(r#""messages";q={per_minute};w=60"#);
    insert(response, RATE_LIMIT_POLICY, &policy);
    insert(
        response,
        RATE_LIMIT,
        &format!(r#""messages";r={remaining}"#),
    );
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    let value = HeaderValue::try_from(value).expect("ids, numbers and paths are printable ASCII");
    response.headers_mut().insert(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_may_be_quoted_or_left_out() {
        let key = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, value.parse().unwrap());
            temp_id(&headers)
        };
        for (value, expected) in [("m1", "m1"), ("\"m 1\"", "m 1"), ("\"", "\"")] {
            assert_eq!(key(value).unwrap().as_str(), expected);
        }
        for value in ["", "\"\"", "ä", &"x".repeat(65)] {
            let expected = Problem::invalid("x").into_response().status();
            assert_eq!(key(value).unwrap_err().into_response().status(), expected);
        }
        let made = temp_id(&HeaderMap::new()).unwrap();
        assert_ne!(made, temp_id(&HeaderMap::new()).unwrap());
    }
}
