//! The OpenAPI document: what every operation shares, and the whole.

use std::collections::BTreeMap;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Header, InfoBuilder, OpenApi, Ref, RefOr, Response};
use utoipa::{IntoParams, IntoResponses, PartialSchema, ToSchema};

use crate::problem::{self, ProblemBody};
use crate::routes;
use crate::types::{DeliveredBody, PendingBody};

/// The name of the one security scheme.
const BEARER: &str = "token";

/// The HTTP API, described: what is served at `/openapi.json`.
#[must_use]
pub fn document() -> OpenApi {
    complete(routes::all().into_openapi())
}

/// Puts in what is not of one operation.
pub(crate) fn complete(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("tidings")
        .description(Some(include_str!("document.md")))
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(utoipa::openapi::License::new(env!(
            "CARGO_PKG_LICENSE"
        ))))
        .build();
    let components = document.components.get_or_insert_default();
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The same token as a socket's hello."))
        .build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(token));
    let shared = [
        (ProblemBody::name(), ProblemBody::schema()),
        (PendingBody::name(), PendingBody::schema()),
        (DeliveredBody::name(), DeliveredBody::schema()),
    ];
    for (name, schema) in shared {
        components.schemas.insert(name.into_owned(), schema);
    }
    let mut nested = Vec::new();
    PendingBody::schemas(&mut nested);
    DeliveredBody::schemas(&mut nested);
    components.schemas.extend(nested);
    document.security = Some(vec![SecurityRequirement::new(BEARER, [""; 0])]);
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            identify(operation);
        }
    }
    document
}

/// Every answer carries the request's id.
fn identify(operation: &mut Operation) {
    let id = text_header("The request's id: the client's own, or one made here.");
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            let headers = &mut response.headers;
            headers.insert("X-Request-Id".to_owned(), RefOr::T(id.clone()));
        }
    }
}

fn text_header(description: &str) -> Header {
    let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
    HeaderBuilder::new()
        .schema(Some(text))
        .description(Some(description))
        .build()
}

fn number_header(description: &str) -> Header {
    let number = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer));
    HeaderBuilder::new()
        .schema(Some(number))
        .description(Some(description))
        .build()
}

type Responses = BTreeMap<String, RefOr<Response>>;

fn one(status: u16, response: ResponseBuilder) -> Responses {
    Responses::from([(status.to_string(), RefOr::T(response.build()))])
}

fn json<T: ToSchema>(description: &str) -> ResponseBuilder {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name())));
    ResponseBuilder::new()
        .description(description)
        .content("application/json", content.build())
}

fn a_write<T: ToSchema>(description: &str) -> ResponseBuilder {
    json::<T>(description)
        .header(
            "Idempotency-Key",
            text_header("The command's, made here where the request had none."),
        )
        .header(
            "Preference-Applied",
            text_header("The wait that was kept to, if one was asked for."),
        )
        .header(
            "RateLimit-Policy",
            text_header("Of a message: how many a user may send, where that is limited."),
        )
        .header(
            "RateLimit",
            text_header("Of a message: how many are left, where that is limited."),
        )
}

/// Durable, and not decided yet.
pub(crate) struct Taken;

impl IntoResponses for Taken {
    fn responses() -> Responses {
        let response = a_write::<PendingBody>("Durable: it will be decided, whatever happens.");
        one(
            202,
            response.header("Location", text_header("Where its outcome is.")),
        )
    }
}

/// Decided, and something was made.
pub(crate) struct Made;

impl IntoResponses for Made {
    fn responses() -> Responses {
        let response = a_write::<DeliveredBody>("Decided: it was made.");
        one(
            201,
            response
                .header("Location", text_header("Where what was made is."))
                .header("ETag", text_header("A message's revision.")),
        )
    }
}

/// Decided, now or before.
pub(crate) struct Decided;

impl IntoResponses for Decided {
    fn responses() -> Responses {
        let response = a_write::<DeliveredBody>("Decided: it was accepted, now or before.");
        one(
            200,
            response
                .header("Location", text_header("Where what was made before is."))
                .header("ETag", text_header("A message's revision after it.")),
        )
    }
}

/// Why a question may not be answered.
pub(crate) struct ReadProblems;

impl IntoResponses for ReadProblems {
    fn responses() -> Responses {
        problems(&[
            (400, "A parameter is malformed (`invalid`)"),
            (401, "The token is missing, malformed or expired"),
            (403, "The caller does not belong there (`not_a_member`)"),
            (404, "There is no such thing (`not_found`)"),
            (406, "The client takes no JSON"),
            (
                503,
                "Too much at once (`busy`), or something is down (`unavailable`)",
            ),
        ])
    }
}

/// Why a command may be refused.
pub(crate) struct WriteProblems;

impl IntoResponses for WriteProblems {
    fn responses() -> Responses {
        let mut all = ReadProblems::responses();
        all.extend(problems(&[
            (400, "A field, header or parameter is malformed (`invalid`)"),
            (
                403,
                "The caller does not belong there (`not_a_member`), or may not do this \
                 (`forbidden`)",
            ),
            (
                409,
                "Not any more: `edit_window_closed`, or the conversation is `closed`",
            ),
            (
                413,
                "The body or a field of it is larger than allowed (`too_large`)",
            ),
            (415, "The body is not application/json"),
            (422, "More items than allowed (`too_many`)"),
            (429, "Too many messages in a minute (`rate_limited`)"),
        ]));
        all
    }
}

/// Why a search may be refused, beside what other questions may be refused
/// for.
pub(crate) struct SearchProblems;

impl IntoResponses for SearchProblems {
    fn responses() -> Responses {
        let mut all = ReadProblems::responses();
        all.extend(problems(&[(
            429,
            "Too many searches in a minute (`rate_limited`)",
        )]));
        all
    }
}

/// The message has another revision.
pub(crate) struct Outdated;

impl IntoResponses for Outdated {
    fn responses() -> Responses {
        problems(&[(412, "The message has another revision by now")])
    }
}

fn problems(problems: &[(u16, &str)]) -> Responses {
    let response = |(status, description): &(u16, &str)| {
        let schema = Ref::from_schema_name(ProblemBody::name());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let mut response = ResponseBuilder::new()
            .description(*description)
            .content(problem::MEDIA_TYPE, content);
        if matches!(status, 429 | 503) {
            let seconds = number_header("When to come back, in seconds.");
            response = response.header("Retry-After", seconds);
        }
        if *status == 401 {
            response = response.header("WWW-Authenticate", text_header("RFC 6750's challenge."));
        }
        (status.to_string(), RefOr::T(response.build()))
    };
    problems.iter().map(response).collect()
}

/// How a command is to be handled.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "read by hand; this describes it")]
pub(crate) struct WriteHeaders {
    /// The client's own id of the command, the protocol's `temp_id`: whatever
    /// is sent again with the same one is decided once.
    #[param(
        rename = "Idempotency-Key",
        pattern = "^[!-~]([ -~]{0,62}[!-~])?$",
        example = "m1"
    )]
    idempotency_key: Option<String>,
    /// `true`: this was sent before, maybe longer ago than ten minutes. It is
    /// then looked for in the history view first.
    #[param(rename = "Tidings-Retry", pattern = "^(true|false)$")]
    retry: Option<String>,
    /// `wait=10`: answer with the decision, if there is one within so many
    /// seconds (at most 30), instead of 202 (RFC 7240).
    #[param(rename = "Prefer", example = "wait=10")]
    prefer: Option<String>,
}

/// A condition on the message to change.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "read by hand; this describes it")]
pub(crate) struct Conditional {
    /// ETags of which the message must have one.
    #[param(rename = "If-Match", example = "\"12\"")]
    if_match: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document as it is committed.
    const COMMITTED: &str = include_str!("../openapi.json");

    #[test]
    fn the_committed_document_is_the_served_one() {
        let served = document().to_pretty_json().unwrap() + "\n";
        assert!(
            served == COMMITTED,
            "producers/api/openapi.json is out of date: \
             cargo run --bin tidings-api -- --print-openapi > producers/api/openapi.json"
        );
    }

    #[test]
    fn every_reference_is_there() {
        let json = serde_json::to_value(document()).unwrap();
        let mut references = Vec::new();
        collect(&json, &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let pointer = reference.trim_start_matches('#');
            assert!(json.pointer(pointer).is_some(), "{reference}");
        }
    }

    fn collect(json: &serde_json::Value, references: &mut Vec<String>) {
        match json {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(reference) if name == "$ref" => references.push(reference.to_owned()),
                        _ => collect(value, references),
                    }
                }
            }
            serde_json::Value::Array(items) => {
                items.iter().for_each(|item| collect(item, references));
            }
            _ => {}
        }
    }
}
