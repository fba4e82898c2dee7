//! What handlers take from a request: each extractor refuses with a problem.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use axum::RequestPartsExt;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tidings_domain::{Code, ConversationId, MessageId, TempId};
use tidings_wire::frames::{self, ClientFrame, FrameError};
use tokio::time::timeout;

use crate::problem::Problem;

/// The largest body taken, in bytes: that of the socket protocol's frames.
pub(crate) const MAX_BODY_BYTES: usize = 65_536;
/// What of a body that is too large is read and thrown away, so that its
/// sender, still writing, hears why it is refused.
const MAX_DISCARDED_BYTES: usize = 1024 * 1024;
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The segments of a path.
pub(crate) struct Segments<T>(pub(crate) T);

impl<T, S> FromRequestParts<S> for Segments<T>
where
    T: DeserializeOwned + Send + 'static,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.extract::<Path<T>>().await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(_) => Err(Problem::invalid("The path is not UTF-8.")),
        }
    }
}

/// The parameters behind the question mark.
pub(crate) struct Params<T>(pub(crate) T);

impl<T, S> FromRequestParts<S> for Params<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(Problem::invalid(rejection.body_text())),
        }
    }
}

pub(crate) fn conversation_id(text: &str) -> Result<ConversationId, Problem> {
    Ok(ConversationId::parse("conversation_id", text)?)
}

pub(crate) fn message_id(text: &str) -> Result<MessageId, Problem> {
    Ok(MessageId::parse("message_id", text)?)
}

/// Puts a limit into `1..=most`; `default` where there is none.
pub(crate) fn limit(given: Option<i64>, default: usize, most: usize) -> usize {
    match given {
        None => default,
        Some(given) => usize::try_from(given.max(1)).map_or(most, |given| given.min(most)),
    }
}

/// A body that is JSON by what its sender says; what is in it is not looked at
/// yet.
pub(crate) struct JsonText(String);

impl<S: Send + Sync> FromRequest<S> for JsonText {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media_type());
        }
        if is_coded(request.headers()) {
            return Err(Problem::unsupported_coding());
        }
        let read = timeout(BODY_TIMEOUT, read(request.into_body()));
        let bytes = read
            .await
            .map_err(|_| Problem::invalid("The body did not come in time."))??;
        String::from_utf8(bytes)
            .map(Self)
            .map_err(|_| Problem::invalid("The body is not UTF-8."))
    }
}

/// Whether the body is `application/json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let Some(kind) = kind.and_then(|kind| kind.to_str().ok()) else {
        return false;
    };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Whether the body would have to be unpacked, as small ones may become large.
fn is_coded(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::CONTENT_ENCODING);
    codings
        .into_iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    let mut chunks = body.into_data_stream();
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::invalid("The body broke off."))?;
        length += chunk.len();
        if length <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&chunk);
        } else if length > MAX_BODY_BYTES + MAX_DISCARDED_BYTES {
            break;
        }
    }
    if length > MAX_BODY_BYTES {
        let detail = format!("The body is larger than {MAX_BODY_BYTES} bytes.");
        return Err(Problem::of(Code::TooLarge, detail));
    }
    Ok(bytes)
}

impl JsonText {
    /// A command without anything in its body.
    pub(crate) fn empty() -> Self {
        Self("{}".to_owned())
    }

    /// One member, where the socket protocol has a list of them.
    pub(crate) fn members(user: &str) -> Self {
        Self(serde_json::json!({ "members": [user] }).to_string())
    }

    /// Reads the command `kind` by the socket protocol's own rules: the body's
    /// fields, and those that stand in the path or are otherwise `given`.
    pub(crate) fn command(
        &self,
        kind: &str,
        temp_id: &TempId,
        given: &[(&str, &str)],
    ) -> Result<frames::Request, Problem> {
        let not_an_object = || Problem::invalid("The body must be a JSON object.");
        let body: BTreeMap<Cow<'_, str>, &RawValue> =
            serde_json::from_str(&self.0).map_err(|_| not_an_object())?;
        let frame = Frame {
            kind,
            temp_id: temp_id.as_str(),
            given: given.iter().copied().collect(),
            body: body
                .into_iter()
                .filter(|(name, _)| {
                    let name: &str = name;
                    !["type", "temp_id", "retry"].contains(&name)
                        && !given.iter().any(|(given, _)| *given == name)
                })
                .collect(),
        };
        let frame = serde_json::to_string(&frame).map_err(|_| not_an_object())?;
        match ClientFrame::parse(&frame) {
            Ok(ClientFrame::Command { request, .. }) => Ok(request),
            Err(FrameError::Command { error, .. } | FrameError::Other { error, .. }) => {
                Err(error.into())
            }
            Err(FrameError::Malformed) | Ok(_) => Err(not_an_object()),
        }
    }
}

impl JsonText {
    /// Refuses a body whose field `name` is none of these texts.
    pub(crate) fn only(&self, name: &'static str, texts: &[&str]) -> Result<(), Problem> {
        let body: BTreeMap<Cow<'_, str>, serde_json::Value> = serde_json::from_str(&self.0)
            .map_err(|_| Problem::invalid("The body must be a JSON object."))?;
        match body.get(name).and_then(serde_json::Value::as_str) {
            Some(text) if texts.contains(&text) => Ok(()),
            _ => {
                let texts = texts.join(", ");
                Err(Problem::invalid(format!("{name}: must be one of {texts}")))
            }
        }
    }
}

/// The frame that a socket would have sent.
#[derive(Serialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    temp_id: &'a str,
    #[serde(flatten)]
    given: BTreeMap<&'a str, &'a str>,
    #[serde(flatten)]
    body: BTreeMap<Cow<'a, str>, &'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::Content;
    use tidings_wire::frames::Request as Asked;

    fn command(body: &str, given: &[(&str, &str)]) -> Result<Asked, Problem> {
        let temp_id = TempId::parse("a \"quoted\" one").unwrap();
        JsonText(body.to_owned()).command("edit", &temp_id, given)
    }

    #[test]
    fn what_the_path_says_counts_more_than_the_body() {
        let (here, there) = (
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "6ba7b811-9dad-11d1-80b4-00c04fd430c8",
        );
        let given = [("conversation_id", here), ("message_id", here)];
        let expected = Asked::Edit {
            conversation_id: ConversationId::parse("", here).unwrap(),
            message_id: MessageId::parse("", here).unwrap(),
            content: Content::text("hello"),
        };
        for body in [
            r#"{"content":{"text":"hello"}}"#.to_owned(),
            format!(
                r#"{{"content":{{"text":"hello"}},"message_id":"{there}","type":"send",
                    "temp_id":7,"retry":"x","more":[1]}}"#
            ),
            r#"{"content":{"text":"no"},"content":{"text":"hello"}}"#.to_owned(),
        ] {
            assert_eq!(command(&body, &given), Ok(expected.clone()), "{body}");
        }
    }

    #[test]
    fn bad_bodies_are_problems_that_say_what_is_wrong() {
        let id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        let given = [("conversation_id", id), ("message_id", id)];
        for body in ["", "[]", "null", "{", "{} {}", "\"x\""] {
            let expected = Problem::invalid("The body must be a JSON object.");
            assert_eq!(command(body, &given), Err(expected), "{body}");
        }
        assert_eq!(
            command("{}", &given),
            Err(Problem::invalid("content: is missing"))
        );
        assert_eq!(
            command("{}", &[("conversation_id", "x")]),
            Err(Problem::invalid("conversation_id: is not a UUID"))
        );
    }

    #[test]
    fn limits_are_put_into_range() {
        for (given, expected) in [
            (None, 50),
            (Some(0), 1),
            (Some(-5), 1),
            (Some(7), 7),
            (Some(i64::MAX), 100),
        ] {
            assert_eq!(limit(given, 50, 100), expected, "{given:?}");
        }
    }

    #[test]
    fn only_json_is_json() {
        let said = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            is_json(&headers)
        };
        assert!(said("application/json") && said("Application/JSON; charset=utf-8"));
        assert!(!said("text/plain") && !said("application/jsonp"));
        assert!(!is_json(&HeaderMap::new()));
    }
}
