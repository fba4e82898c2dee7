use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tidings_edge::Caller;
use utoipa::IntoParams;

use crate::conditional;
use crate::document::{
    Conditional, Decided, Made, Outdated, ReadProblems, Taken, WriteHeaders, WriteProblems,
};
use crate::problem::Problem;
use crate::request::{JsonText, Params, Segments, message_id};
use crate::types::{Edit, EditList, Message, MessageEdit, NewMessage};
use crate::write::{Makes, Write};

/// Post a message
#[utoipa::path(
    post,
    path = "/v1/messages",
    tag = "messages",
    params(WriteHeaders),
    request_body = NewMessage,
    responses(Taken, Made, Decided, WriteProblems)
)]
pub(super) async fn send(
    caller: Caller,
    write: Write,
    body: JsonText,
) -> Result<Response, Problem> {
    let request = body.command("send", write.temp_id(), &[])?;
    Ok(write.run(&caller, request, Makes::Message).await)
}

/// Get a message
///
/// Its ETag is its revision: the seq of the last event that changed it.
#[utoipa::path(
    get,
    path = "/v1/messages/{message_id}",
    tag = "messages",
    params(
        ("message_id" = String, Path, format = "uuid"),
        ("If-None-Match" = Option<String>, Header, description = "ETags that the client has"),
    ),
    responses(
        (status = 200, description = "The message", body = Message,
         headers(("ETag" = String, description = "The message's revision"))),
        (status = 304, description = "The client has this revision",
         headers(("ETag" = String, description = "The message's revision"))),
        ReadProblems,
    )
)]
pub(super) async fn get(
    caller: Caller,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let row = caller.message(message_id(&id)?).await?;
    let etag = [(header::ETAG, conditional::etag(row.rev))];
    if conditional::is_known(&headers, row.rev) {
        return Ok((StatusCode::NOT_MODIFIED, etag).into_response());
    }
    Ok((etag, Json(Message::of(&row))).into_response())
}

/// Edit a message
///
/// Only by who wrote it, within 15 minutes. With If-Match, only while the
/// message has one of these revisions: that is checked before the edit goes
/// into the log, against the history view, so that of two edits at the same
/// time both may pass. The one that comes first in the log is then the
/// earlier text of the other, and nothing is lost.
#[utoipa::path(
    put,
    path = "/v1/messages/{message_id}",
    tag = "messages",
    params(("message_id" = String, Path, format = "uuid"), Conditional, WriteHeaders),
    request_body = MessageEdit,
    responses(
        Taken,
        Decided,
        WriteProblems,
        Outdated,
    )
)]
pub(super) async fn edit(
    caller: Caller,
    Segments(id): Segments<String>,
    headers: HeaderMap,
    write: Write,
    body: JsonText,
) -> Result<Response, Problem> {
    change(&caller, &id, &headers, write, body, "edit", &[]).await
}

/// Whose eyes a message is deleted for.
#[derive(Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteParams {
    /// `everyone`: a tombstone stays, and the text is kept out of members'
    /// reach. `purge`: the text leaves every view for good. `me`: only the
    /// caller does not see it any more.
    #[param(inline, value_type = Option<Scope>, default = "everyone")]
    scope: String,
}

#[derive(utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(
    dead_code,
    reason = "read by the socket protocol's parser; this describes it"
)]
enum Scope {
    Everyone,
    Purge,
    Me,
}

impl Default for DeleteParams {
    fn default() -> Self {
        Self {
            scope: "everyone".to_owned(),
        }
    }
}

/// Delete a message
///
/// For everyone or as a purge: by who wrote it, admins and owners.
#[utoipa::path(
    delete,
    path = "/v1/messages/{message_id}",
    tag = "messages",
    params(
        ("message_id" = String, Path, format = "uuid"),
        DeleteParams,
        Conditional,
        WriteHeaders
    ),
    responses(
        Taken,
        Decided,
        WriteProblems,
        Outdated,
    )
)]
pub(super) async fn delete(
    caller: Caller,
    Segments(id): Segments<String>,
    Params(params): Params<DeleteParams>,
    headers: HeaderMap,
    write: Write,
) -> Result<Response, Problem> {
    let (body, scope) = (JsonText::empty(), [("scope", params.scope.as_str())]);
    change(&caller, &id, &headers, write, body, "delete", &scope).await
}

/// A command about a message, which names the message's conversation.
pub(super) async fn change(
    caller: &Caller,
    id: &str,
    headers: &HeaderMap,
    write: Write,
    body: JsonText,
    kind: &str,
    given: &[(&str, &str)],
) -> Result<Response, Problem> {
    let id = message_id(id)?;
    let (message, conversation) = (
        id.to_string(),
        caller.conversation_of(id).await?.to_string(),
    );
    let mut fields = vec![
        ("conversation_id", conversation.as_str()),
        ("message_id", message.as_str()),
    ];
    fields.extend_from_slice(given);
    let request = body.command(kind, write.temp_id(), &fields)?;
    if conditional::is_conditional(headers) {
        let row = caller.message(id).await?;
        if !conditional::may_change(headers, row.rev) {
            return Err(Problem::precondition_failed());
        }
    }
    Ok(write.run(caller, request, Makes::Change).await)
}

/// Get a message's earlier contents
#[utoipa::path(
    get,
    path = "/v1/messages/{message_id}/history",
    tag = "messages",
    params(("message_id" = String, Path, format = "uuid")),
    responses(
        (status = 200, description = "What it said before each edit, oldest first",
         body = EditList),
        ReadProblems,
    )
)]
pub(super) async fn history(
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Json<EditList>, Problem> {
    let id = message_id(&id)?;
    let (_, edits) = caller.edits(id).await?;
    Ok(Json(EditList {
        message_id: id.to_string(),
        edits: edits.iter().map(Edit::of).collect(),
    }))
}
