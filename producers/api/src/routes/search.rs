use axum::Json;
use axum::response::Response;
use serde::Deserialize;
use tidings_domain::{ConversationId, UserId};
use tidings_edge::Caller;
use tidings_wire::frames::{MAX_HITS, Search, SearchIn, search_from, search_to};
use utoipa::IntoParams;

use super::page;
use crate::address;
use crate::document::SearchProblems;
use crate::problem::Problem;
use crate::request::{Params, limit};
use crate::types::{RecentSearches, SearchResults, SuggestionList};

/// How many there are on a page, unless the client says otherwise.
const PAGE: usize = 20;

/// What to search for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchParams {
    /// Words, all of which must be there, whole and in any case. `"…"` is a
    /// phrase, a trailing `*` a prefix; anything else is taken literally.
    #[param(example = "kernel pan*")]
    q: String,
    /// How many (20), put into 1 to 100.
    limit: Option<i64>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which messages to search.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct MessageFilters {
    /// Only in this conversation.
    #[param(format = "uuid")]
    conversation_id: Option<String>,
    /// Only of this sender.
    #[param(pattern = "^[A-Za-z0-9_.:@-]{1,64}$")]
    by: Option<String>,
    /// Only of this time (RFC 3339) or day (UTC), or later.
    from: Option<String>,
    /// Only of this time (RFC 3339) or day (UTC), or earlier.
    to: Option<String>,
    /// Only with, or without, something attached.
    has_attachment: Option<bool>,
}

/// Search everything
///
/// The caller's messages and conversations, and the tenant's users. Pages
/// after the first are of messages alone.
#[utoipa::path(
    get,
    path = "/v1/search",
    tag = "search",
    params(SearchParams, MessageFilters),
    responses(
        (status = 200, description = "A page", body = SearchResults,
         headers(("Link" = Option<String>, description = "The next page"))),
        SearchProblems,
    )
)]
pub(super) async fn all(
    caller: Caller,
    Params(params): Params<SearchParams>,
    Params(filters): Params<MessageFilters>,
) -> Result<Response, Problem> {
    find(&caller, "/v1/search", SearchIn::All, params, &filters).await
}

/// Search messages
///
/// In the caller's conversations, newest first.
#[utoipa::path(
    get,
    path = "/v1/search/messages",
    tag = "search",
    params(SearchParams, MessageFilters),
    responses(
        (status = 200, description = "A page", body = SearchResults,
         headers(("Link" = Option<String>, description = "The next page"))),
        SearchProblems,
    )
)]
pub(super) async fn messages(
    caller: Caller,
    Params(params): Params<SearchParams>,
    Params(filters): Params<MessageFilters>,
) -> Result<Response, Problem> {
    let path = "/v1/search/messages";
    find(&caller, path, SearchIn::Messages, params, &filters).await
}

/// Search conversations
///
/// The caller's, by title and member.
#[utoipa::path(
    get,
    path = "/v1/search/conversations",
    tag = "search",
    params(SearchParams),
    responses(
        (status = 200, description = "A page", body = SearchResults,
         headers(("Link" = Option<String>, description = "The next page"))),
        SearchProblems,
    )
)]
pub(super) async fn conversations(
    caller: Caller,
    Params(params): Params<SearchParams>,
) -> Result<Response, Problem> {
    let (path, none) = ("/v1/search/conversations", MessageFilters::default());
    find(&caller, path, SearchIn::Conversations, params, &none).await
}

/// Search users
///
/// The tenant's, by the beginning of their id.
#[utoipa::path(
    get,
    path = "/v1/search/users",
    tag = "search",
    params(SearchParams),
    responses(
        (status = 200, description = "A page", body = SearchResults,
         headers(("Link" = Option<String>, description = "The next page"))),
        SearchProblems,
    )
)]
pub(super) async fn users(
    caller: Caller,
    Params(params): Params<SearchParams>,
) -> Result<Response, Problem> {
    let (path, none) = ("/v1/search/users", MessageFilters::default());
    find(&caller, path, SearchIn::Users, params, &none).await
}

async fn find(
    caller: &Caller,
    path: &str,
    within: SearchIn,
    params: SearchParams,
    filters: &MessageFilters,
) -> Result<Response, Problem> {
    let conversation_id = filters.conversation_id.as_deref();
    let by = filters.by.as_deref();
    let search = Search {
        conversation_id: conversation_id
            .map(|text| ConversationId::parse("conversation_id", text))
            .transpose()?,
        by: by.map(user).transpose()?,
        from: filters.from.as_deref().map(search_from).transpose()?,
        to: filters.to.as_deref().map(search_to).transpose()?,
        has_attachment: filters.has_attachment,
        limit: limit(params.limit, PAGE, MAX_HITS),
        cursor: params.cursor,
        ..Search::new(within, params.q)
    };
    let found = caller.search(&search).await?;
    let next = found.next_cursor.as_deref().map(|cursor| {
        let mut next = format!("{path}?q={}", address::segment(&search.query));
        let (limit, attached) = (search.limit.to_string(), filters.has_attachment);
        let attached = attached.map(|attached| attached.to_string());
        for (name, value) in [
            ("conversation_id", conversation_id),
            ("by", by),
            ("from", filters.from.as_deref()),
            ("to", filters.to.as_deref()),
            ("has_attachment", attached.as_deref()),
            ("limit", Some(limit.as_str())),
            ("cursor", Some(cursor)),
        ] {
            if let Some(value) = value {
                next.push_str(&format!("&{name}={}", address::segment(value)));
            }
        }
        next
    });
    Ok(page(SearchResults::from(found), next))
}

fn user(text: &str) -> Result<UserId, Problem> {
    UserId::parse(text).map_err(|error| Problem::invalid(format!("by: {}", error.message)))
}

/// What is being typed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SuggestParams {
    /// So far.
    #[param(example = "ker")]
    q: String,
}

/// Suggest how a search goes on
#[utoipa::path(
    get,
    path = "/v1/search/suggestions",
    tag = "search",
    params(SuggestParams),
    responses(
        (status = 200, description = "Ways on", body = SuggestionList),
        SearchProblems,
    )
)]
pub(super) async fn suggestions(
    caller: Caller,
    Params(params): Params<SuggestParams>,
) -> Result<Json<SuggestionList>, Problem> {
    Ok(Json(caller.suggestions(&params.q).await?.into()))
}

/// List the caller's recent searches
///
/// As this process remembers them: the last ten.
#[utoipa::path(
    get,
    path = "/v1/search/recent",
    tag = "search",
    responses(
        (status = 200, description = "The searches", body = RecentSearches),
        SearchProblems,
    )
)]
pub(super) async fn recent(caller: Caller) -> Json<RecentSearches> {
    Json(RecentSearches {
        searches: caller.recent_searches(),
    })
}
