//! The handlers, by what they are about. Each route names its OpenAPI
//! operation; `document` gathers them.
#![expect(unused_qualifications, reason = "utoipa's macro writes paths in full")]

mod conversations;
mod members;
mod messages;
mod outcomes;
mod reactions;
mod search;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::server::Api;

/// Every route under `/v1`, with its part of the document.
pub(crate) fn all() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(messages::send))
        .routes(routes!(messages::get, messages::edit, messages::delete))
        .routes(routes!(messages::history))
        .routes(routes!(reactions::add))
        .routes(routes!(reactions::remove))
        .routes(routes!(conversations::create, conversations::list))
        .routes(routes!(
            conversations::get,
            conversations::update,
            conversations::archive
        ))
        .routes(routes!(conversations::messages))
        .routes(routes!(conversations::read))
        .routes(routes!(conversations::unread))
        .routes(routes!(members::add, members::list))
        .routes(routes!(members::remove))
        .routes(routes!(members::set_role))
        .routes(routes!(outcomes::get))
        .routes(routes!(search::all))
        .routes(routes!(search::messages))
        .routes(routes!(search::conversations))
        .routes(routes!(search::users))
        .routes(routes!(search::suggestions))
        .routes(routes!(search::recent))
}

/// A page, and in `Link` (RFC 8288) the address of the next.
fn page<T: Serialize>(body: T, next: Option<String>) -> Response {
    let mut response = Json(body).into_response();
    if let Some(link) = next.and_then(|next| format!("<{next}>; rel=\"next\"").try_into().ok()) {
        response
            .headers_mut()
            .insert(axum::http::header::LINK, link);
    }
    response
}
