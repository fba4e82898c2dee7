use axum::http::HeaderMap;
use axum::response::Response;
use tidings_edge::Caller;

use super::messages::change;
use crate::document::{Decided, Taken, WriteHeaders, WriteProblems};
use crate::problem::Problem;
use crate::request::{JsonText, Segments};
use crate::types::NewReaction;
use crate::write::Write;

/// Add a reaction to a message
///
/// Adding it twice is accepted and changes nothing.
#[utoipa::path(
    post,
    path = "/v1/messages/{message_id}/reactions",
    tag = "messages",
    params(("message_id" = String, Path, format = "uuid"), WriteHeaders),
    request_body = NewReaction,
    responses(Taken, Decided, WriteProblems)
)]
pub(super) async fn add(
    caller: Caller,
    Segments(id): Segments<String>,
    write: Write,
    body: JsonText,
) -> Result<Response, Problem> {
    let given = [("op", "add")];
    change(
        &caller,
        &id,
        &HeaderMap::new(),
        write,
        body,
        "react",
        &given,
    )
    .await
}

/// Take a reaction back
///
/// Taking back what is not there is accepted and changes nothing.
#[utoipa::path(
    delete,
    path = "/v1/messages/{message_id}/reactions/{reaction}",
    tag = "messages",
    params(
        ("message_id" = String, Path, format = "uuid"),
        ("reaction" = String, Path, description = "The emoji", min_length = 1, max_length = 32),
        WriteHeaders
    ),
    responses(Taken, Decided, WriteProblems)
)]
pub(super) async fn remove(
    caller: Caller,
    Segments((id, reaction)): Segments<(String, String)>,
    write: Write,
) -> Result<Response, Problem> {
    let (given, body) = ([("op", "remove"), ("emoji", &*reaction)], JsonText::empty());
    change(
        &caller,
        &id,
        &HeaderMap::new(),
        write,
        body,
        "react",
        &given,
    )
    .await
}
