use axum::response::Response;
use serde::Deserialize;
use tidings_edge::Caller;
use utoipa::IntoParams;

use super::conversations::change;
use super::page;
use crate::address;
use crate::document::{Decided, ReadProblems, Taken, WriteHeaders, WriteProblems};
use crate::problem::Problem;
use crate::request::{JsonText, Params, Segments, conversation_id, limit};
use crate::types::{Member, MemberList, NewMembers, NewRole};
use crate::write::Write;

/// How many there are on a page, unless the client says otherwise; and at
/// most.
const PAGE: usize = 100;

/// Add members
///
/// To a group: any member. To a channel: its admins and owners.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}/members",
    tag = "members",
    params(("conversation_id" = String, Path, format = "uuid"), WriteHeaders),
    request_body = NewMembers,
    responses(Taken, Decided, WriteProblems)
)]
pub(super) async fn add(
    caller: Caller,
    Segments(id): Segments<String>,
    write: Write,
    body: JsonText,
) -> Result<Response, Problem> {
    change(
        &caller,
        &id,
        write,
        body,
        "update",
        &[("op", "add_members")],
    )
    .await
}

/// Which members to list.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct MembersParams {
    /// How many (100), put into 1 to 100.
    limit: Option<i64>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List members
///
/// By user id.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation_id}/members",
    tag = "members",
    params(("conversation_id" = String, Path, format = "uuid"), MembersParams),
    responses(
        (status = 200, description = "A page", body = MemberList,
         headers(("Link" = Option<String>, description = "The next page"))),
        ReadProblems,
    )
)]
pub(super) async fn list(
    caller: Caller,
    Segments(id): Segments<String>,
    Params(params): Params<MembersParams>,
) -> Result<Response, Problem> {
    let id = conversation_id(&id)?;
    let limit = limit(params.limit, PAGE, PAGE);
    let cursor = params.cursor.as_deref();
    let found = caller.members(id, limit, cursor).await?;
    let next = found.next_cursor.as_deref().map(|cursor| {
        let path = address::conversation(id);
        format!(
            "{path}/members?limit={limit}&cursor={}",
            address::segment(cursor)
        )
    });
    let body = MemberList {
        members: found.members.iter().filter_map(Member::of).collect(),
        next_cursor: found.next_cursor,
    };
    Ok(page(body, next))
}

/// Remove a member
///
/// The caller themselves: to leave. Another: by admins and owners.
#[utoipa::path(
    delete,
    path = "/v1/conversations/{conversation_id}/members/{user_id}",
    tag = "members",
    params(
        ("conversation_id" = String, Path, format = "uuid"),
        ("user_id" = String, Path, pattern = "^[A-Za-z0-9_.:@-]{1,64}$"),
        WriteHeaders
    ),
    responses(Taken, Decided, WriteProblems)
)]
pub(super) async fn remove(
    caller: Caller,
    Segments((id, user)): Segments<(String, String)>,
    write: Write,
) -> Result<Response, Problem> {
    if caller.user().as_str() == user {
        let given = [("op", "leave")];
        return change(&caller, &id, write, JsonText::empty(), "update", &given).await;
    }
    let (given, body) = ([("op", "remove_members")], JsonText::members(&user));
    change(&caller, &id, write, body, "update", &given).await
}

/// Change a member's role
///
/// By owners and admins; only an owner makes or unmakes owners and admins.
#[utoipa::path(
    put,
    path = "/v1/conversations/{conversation_id}/members/{user_id}/role",
    tag = "members",
    params(
        ("conversation_id" = String, Path, format = "uuid"),
        ("user_id" = String, Path, pattern = "^[A-Za-z0-9_.:@-]{1,64}$"),
        WriteHeaders
    ),
    request_body = NewRole,
    responses(Taken, Decided, WriteProblems)
)]
pub(super) async fn set_role(
    caller: Caller,
    Segments((id, user)): Segments<(String, String)>,
    write: Write,
    body: JsonText,
) -> Result<Response, Problem> {
    let given = [("op", "set_role"), ("user_id", &*user)];
    change(&caller, &id, write, body, "update", &given).await
}
