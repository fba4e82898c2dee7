use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidings_domain::{Code, InputError};
use utoipa::ToSchema;

/// The media type of every answer that is no success.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";
/// When to come back to something that is busy or down, in milliseconds.
const COME_BACK_MS: u64 = 1_000;

/// Why a request was not served, as an answer: RFC 9457.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    retry: bool,
    retry_after_ms: Option<u64>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Problem {
    /// With one of the protocol's codes.
    pub(crate) fn of(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after_ms = matches!(code, Code::Busy | Code::Unavailable).then_some(COME_BACK_MS);
        Self {
            retry: code.retry(),
            retry_after_ms,
            ..Self::new(status_of(code), code.as_str(), detail)
        }
    }

    /// A field, header or parameter that is malformed.
    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Code::Invalid, detail)
    }

    /// Without a token that is good. `error` is RFC 6750's code for a token
    /// that was there.
    pub(crate) fn unauthorized(error: Option<&'static str>, detail: String) -> Self {
        let challenge = match error {
            Some(error) => format!(r#"Bearer realm="tidings", error="{error}""#),
            None => r#"Bearer realm="tidings""#.to_owned(),
        };
        let challenge = HeaderValue::try_from(challenge).expect("the parts are printable ASCII");
        Self {
            header: Some(Box::new((header::WWW_AUTHENTICATE, challenge))),
            ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        }
    }

    /// No route has this path.
    pub(crate) fn no_such_path() -> Self {
        Self::of(Code::NotFound, "There is nothing at this path.")
    }

    /// The route has not this method.
    pub(crate) fn method_not_allowed() -> Self {
        let detail = "The path is there; this method is not: see Allow.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }

    /// The client takes nothing that can be answered.
    pub(crate) fn not_acceptable() -> Self {
        let detail = "Accept: answers are application/json.";
        Self::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail)
    }

    /// The message is not in the state the client named.
    pub(crate) fn precondition_failed() -> Self {
        let detail = "If-Match: the message has another revision by now.";
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition_failed",
            detail,
        )
    }

    /// The body is said to be no JSON.
    pub(crate) fn unsupported_media_type() -> Self {
        Self::unsupported("Content-Type: the body must be application/json.")
    }

    /// The body is said to be compressed.
    pub(crate) fn unsupported_coding() -> Self {
        Self::unsupported("Content-Encoding: the body must not be compressed.")
    }

    fn unsupported(detail: &'static str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            detail,
        )
    }

    /// Says when to come back.
    pub(crate) fn after_ms(self, wait: Option<u64>) -> Self {
        Self {
            retry_after_ms: wait.or(self.retry_after_ms),
            ..self
        }
    }

    fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            retry: false,
            retry_after_ms: None,
            header: None,
        }
    }
}

/// The status of each of the protocol's codes.
pub(crate) fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Invalid => StatusCode::BAD_REQUEST,
        Code::NotAMember | Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::EditWindowClosed | Code::Closed => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::TooMany => StatusCode::UNPROCESSABLE_ENTITY,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Busy | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unsupported => StatusCode::NOT_IMPLEMENTED,
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::of(code, code.sentence())
    }
}

impl From<InputError> for Problem {
    fn from(error: InputError) -> Self {
        Self::of(error.code, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            retry: self.retry,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(wait) = self.retry_after_ms {
            // Whole seconds are all that Retry-After can say.
            let seconds = wait.div_ceil(1_000).max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(header) = self.header {
            let (name, value) = *header;
            headers.insert(name, value);
        }
        response
    }
}

/// Why a request was not served (RFC 9457). `type` is always `about:blank`:
/// what kind of problem it is stands in `code`.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'a str,
    /// The status, in words.
    #[schema(example = "Not Found")]
    title: &'a str,
    /// The status.
    #[schema(minimum = 400, maximum = 599, example = 404)]
    status: u16,
    /// What is wrong, for a person.
    detail: &'a str,
    /// What is wrong, for a program.
    #[schema(example = "not_found")]
    code: &'a str,
    /// Whether the same request may succeed later. With the same
    /// Idempotency-Key it is safe to send it again.
    retry: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_of_its_kind() {
        for code in Code::ALL {
            let status = status_of(code);
            assert!(
                status.is_client_error() || status.is_server_error(),
                "{code}"
            );
            let comes_back = Problem::from(code)
                .into_response()
                .headers()
                .contains_key(header::RETRY_AFTER);
            let is_down = status == StatusCode::SERVICE_UNAVAILABLE;
            assert_eq!(comes_back, is_down, "{code}");
        }
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_never_zero() {
        for (ms, seconds) in [(1, "1"), (1_000, "1"), (1_001, "2"), (59_400, "60")] {
            let problem = Problem::from(Code::RateLimited).after_ms(Some(ms));
            let response = problem.into_response();
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(response.headers()[header::RETRY_AFTER], seconds, "{ms} ms");
        }
    }

    #[test]
    fn a_token_that_was_there_is_named_in_the_challenge() {
        let challenge = |error| {
            let response = Problem::unauthorized(error, "no".to_owned()).into_response();
            response.headers()[header::WWW_AUTHENTICATE].clone()
        };
        assert_eq!(challenge(None), r#"Bearer realm="tidings""#);
        assert_eq!(
            challenge(Some("invalid_token")),
            r#"Bearer realm="tidings", error="invalid_token""#
        );
    }
}
