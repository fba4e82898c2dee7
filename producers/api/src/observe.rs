//! What is done around every handler: the request's id, a line in the log, the
//! figures, and a look at what the client takes.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;
use uuid::Uuid;

use crate::problem::Problem;

/// The request's id: the client's, or one made here.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id taken from a client.
const MAX_ID_BYTES: usize = 128;

/// Gives the request its id, and tells of it in the log and in the metrics.
/// Neither holds more of its address than the route.
pub(crate) async fn observe(mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(request.headers());
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().to_owned(),
        None => "none".to_owned(),
    };
    let method = request.method().clone();
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let request_id = id.to_str().unwrap_or_default();
    let span = tracing::info_span!("request", request_id, %method, route = route.as_str());

    let mut response = next.run(request).instrument(span.clone()).await;

    let (status, taken) = (response.status(), begun.elapsed());
    span.in_scope(|| {
        let (status, ms) = (status.as_u16(), taken.as_secs_f64() * 1e3);
        if status >= 500 {
            tracing::warn!(status, ms, "not served");
        } else {
            tracing::info!(status, ms, "served");
        }
    });
    let (method, route) = (method_label(&method), metrics::SharedString::from(route));
    let status = status.as_str().to_owned();
    metrics::histogram!(
        "tidings_api_request_seconds",
        "method" => method.clone(), "route" => route.clone()
    )
    .record(taken);
    metrics::counter!(
        "tidings_api_requests_total",
        "method" => method, "route" => route, "status" => status
    )
    .increment(1);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// A client may make up methods; a label must not.
fn method_label(method: &axum::http::Method) -> metrics::SharedString {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "other",
    }
    .into()
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let fits = |id: &&HeaderValue| {
        let bytes = id.as_bytes();
        (1..=MAX_ID_BYTES).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    headers
        .get(REQUEST_ID)
        .filter(fits)
        .cloned()
        .unwrap_or_else(|| {
            let made = Uuid::new_v4().to_string();
            HeaderValue::try_from(made).expect("a UUID is printable ASCII")
        })
}

/// Refuses a client that takes no JSON.
pub(crate) async fn acceptable(request: Request, next: Next) -> Response {
    if takes_json(request.headers()) {
        next.run(request).await
    } else {
        Problem::not_acceptable().into_response()
    }
}

/// Whether any range of `Accept` covers JSON; what cannot be read does not
/// count against the client.
fn takes_json(headers: &HeaderMap) -> bool {
    let ranges: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|range| !range.is_empty())
        .collect();
    ranges.is_empty() || ranges.iter().any(|range| covers_json(range))
}

fn covers_json(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let refused = parts.any(|parameter| {
        let quality = parameter.strip_prefix("q=").and_then(|q| q.parse().ok());
        quality.is_some_and(|quality: f32| quality <= 0.0)
    });
    let covers = ["*/*", "application/*", "application/json"]
        .iter()
        .any(|json| kind.eq_ignore_ascii_case(json));
    covers && !refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_over_if_it_can_stand_in_a_log() {
        let id = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
            request_id(&headers)
        };
        assert_eq!(id(b"abc-1"), "abc-1");
        for bad in [&b""[..], b"a b", b"\xff", &[b'x'; 129]] {
            let made = id(bad);
            assert_eq!(made.len(), 36, "{bad:?}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn what_a_client_takes() {
        let takes = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(value));
            takes_json(&headers)
        };
        assert!(takes_json(&HeaderMap::new()));
        for value in [
            "*/*",
            "application/json",
            "text/html, application/*;q=0.5",
            "text/html,*/*;q=0.1",
            "Application/JSON; charset=utf-8",
            "",
        ] {
            assert!(takes(value), "{value}");
        }
        for value in ["text/html", "application/xml", "application/json;q=0"] {
            assert!(!takes(value), "{value}");
        }
    }

    #[test]
    fn made_up_methods_share_a_label() {
        let made_up = axum::http::Method::from_bytes(b"BREW").unwrap();
        assert_eq!(method_label(&made_up).as_ref(), "other");
    }
}
