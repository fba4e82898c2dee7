use axum::Json;
use axum::response::Response;
use serde::Deserialize;
use tidings_domain::{Kind, MessageId};
use tidings_edge::Caller;
use utoipa::IntoParams;

use super::page;
use crate::address;
use crate::document::{Decided, Made, ReadProblems, Taken, WriteHeaders, WriteProblems};
use crate::problem::Problem;
use crate::request::{JsonText, Params, Segments, conversation_id, limit};
use crate::types::{
    Conversation, ConversationList, ConversationUpdate, KindName, Message, MessagePage,
    NewConversation, ReadUpTo, Unread,
};
use crate::write::{Makes, Write};

/// How many there are on a page, unless the client says otherwise.
const PAGE: usize = 50;
/// And at most.
const MAX_PAGE: usize = 100;

/// Make a conversation
///
/// A direct conversation is the same whoever makes it: the second time, it is
/// there already (200).
#[utoipa::path(
    post,
    path = "/v1/conversations",
    tag = "conversations",
    params(WriteHeaders),
    request_body = NewConversation,
    responses(Taken, Made, Decided, WriteProblems)
)]
pub(super) async fn create(
    caller: Caller,
    write: Write,
    body: JsonText,
) -> Result<Response, Problem> {
    let request = body.command("create", write.temp_id(), &[])?;
    Ok(write.run(&caller, request, Makes::Conversation).await)
}

/// Which conversations to list.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Only those of this kind.
    #[param(inline, value_type = Option<KindName>)]
    kind: Option<String>,
    /// How many (50), put into 1 to 100.
    limit: Option<i64>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List the caller's conversations
///
/// Latest activity first.
#[utoipa::path(
    get,
    path = "/v1/conversations",
    tag = "conversations",
    params(ListParams),
    responses(
        (status = 200, description = "A page", body = ConversationList,
         headers(("Link" = Option<String>, description = "The next page"))),
        ReadProblems,
    )
)]
pub(super) async fn list(
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Result<Response, Problem> {
    let kind = match params.kind.as_deref() {
        None => None,
        Some(name) => Some(
            Kind::parse(name)
                .ok_or_else(|| Problem::invalid("kind: must be direct, group or channel"))?,
        ),
    };
    let limit = limit(params.limit, PAGE, MAX_PAGE);
    let cursor = params.cursor.as_deref();
    let found = caller.list(kind, limit, cursor).await?;
    let next = found.next_cursor.clone().map(|cursor| {
        let kind = kind.map_or(String::new(), |kind| format!("&kind={}", kind.as_str()));
        format!("/v1/conversations?limit={limit}&cursor={cursor}{kind}")
    });
    let body = ConversationList {
        conversations: found
            .conversations
            .iter()
            .map(|listed| {
                Conversation::of(
                    &listed.conversation,
                    &listed.member,
                    listed.last_message.as_ref(),
                )
            })
            .collect(),
        next_cursor: found.next_cursor,
    };
    Ok(page(body, next))
}

/// Get a conversation
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation_id}",
    tag = "conversations",
    params(("conversation_id" = String, Path, format = "uuid")),
    responses((status = 200, description = "The conversation", body = Conversation), ReadProblems)
)]
pub(super) async fn get(
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Json<Conversation>, Problem> {
    let id = conversation_id(&id)?;
    let (conversation, member) = caller.conversation(id).await?;
    // The last one that the caller has not deleted for themselves.
    let last = caller.page(id, None, None, 1).await?.messages;
    Ok(Json(Conversation::of(&conversation, &member, last.first())))
}

/// Change a conversation
///
/// One change a request, as each is decided on its own.
#[utoipa::path(
    put,
    path = "/v1/conversations/{conversation_id}",
    tag = "conversations",
    params(("conversation_id" = String, Path, format = "uuid"), WriteHeaders),
    request_body = ConversationUpdate,
    responses(Taken, Decided, WriteProblems)
)]
pub(super) async fn update(
    caller: Caller,
    Segments(id): Segments<String>,
    write: Write,
    body: JsonText,
) -> Result<Response, Problem> {
    body.only("op", OPS)?;
    change(&caller, &id, write, body, "update", &[]).await
}

/// The changes that are made here; those of members have routes of their own.
const OPS: &[&str] = &[
    "rename",
    "close",
    "reopen",
    "archive",
    "unarchive",
    "mute",
    "unmute",
];

/// Archive a conversation
///
/// For the caller alone: nothing of it is lost, and `unarchive` brings it
/// back.
#[utoipa::path(
    delete,
    path = "/v1/conversations/{conversation_id}",
    tag = "conversations",
    params(("conversation_id" = String, Path, format = "uuid"), WriteHeaders),
    responses(Taken, Decided, WriteProblems)
)]
pub(super) async fn archive(
    caller: Caller,
    Segments(id): Segments<String>,
    write: Write,
) -> Result<Response, Problem> {
    let (given, body) = ([("op", "archive")], JsonText::empty());
    change(&caller, &id, write, body, "update", &given).await
}

/// Mark a conversation as read
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}/read",
    tag = "conversations",
    params(("conversation_id" = String, Path, format = "uuid"), WriteHeaders),
    request_body = ReadUpTo,
    responses(Taken, Decided, WriteProblems)
)]
pub(super) async fn read(
    caller: Caller,
    Segments(id): Segments<String>,
    write: Write,
    body: JsonText,
) -> Result<Response, Problem> {
    change(&caller, &id, write, body, "read", &[]).await
}

/// A command about a conversation.
pub(super) async fn change(
    caller: &Caller,
    id: &str,
    write: Write,
    body: JsonText,
    kind: &str,
    given: &[(&str, &str)],
) -> Result<Response, Problem> {
    let mut fields = vec![("conversation_id", id)];
    fields.extend_from_slice(given);
    let request = body.command(kind, write.temp_id(), &fields)?;
    Ok(write.run(caller, request, Makes::Change).await)
}

/// Which messages to page through.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct MessagesParams {
    /// Only the replies of the thread with this first message.
    #[param(format = "uuid")]
    thread: Option<String>,
    /// How many (50), put into 1 to 100.
    limit: Option<i64>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Page through a conversation's messages
///
/// Newest first.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation_id}/messages",
    tag = "conversations",
    params(("conversation_id" = String, Path, format = "uuid"), MessagesParams),
    responses(
        (status = 200, description = "A page", body = MessagePage,
         headers(("Link" = Option<String>, description = "The next page"))),
        ReadProblems,
    )
)]
pub(super) async fn messages(
    caller: Caller,
    Segments(id): Segments<String>,
    Params(params): Params<MessagesParams>,
) -> Result<Response, Problem> {
    let id = conversation_id(&id)?;
    let thread = params.thread.as_deref();
    let thread = thread
        .map(|text| MessageId::parse("thread", text))
        .transpose()?;
    let before = params.cursor.as_deref().map(place).transpose()?;
    let limit = limit(params.limit, PAGE, MAX_PAGE);
    let found = caller.page(id, thread, before, limit).await?;
    let next = found.next_before.map(|before| {
        let thread = thread.map_or(String::new(), |thread| format!("&thread={thread}"));
        let path = address::conversation(id);
        format!("{path}/messages?limit={limit}&cursor={before}{thread}")
    });
    let body = MessagePage {
        messages: found.messages.iter().map(Message::of).collect(),
        next_cursor: found.next_before.map(|before| before.to_string()),
    };
    Ok(page(body, next))
}

/// A page's cursor: the `no` it goes on below.
fn place(cursor: &str) -> Result<u64, Problem> {
    let digits = cursor.bytes().all(|byte| byte.is_ascii_digit());
    let place = digits.then(|| cursor.parse().ok()).flatten();
    place.ok_or_else(|| Problem::invalid("cursor: is none that a page gave"))
}

/// Count what the caller has not read
#[utoipa::path(
    get,
    path = "/v1/unread",
    tag = "conversations",
    responses((status = 200, description = "The counts", body = Unread), ReadProblems)
)]
pub(super) async fn unread(caller: Caller) -> Result<Json<Unread>, Problem> {
    Ok(Json(Unread::of(&caller.unread().await?)))
}
