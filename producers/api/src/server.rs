use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use tidings_edge::{Caller, Edge};
use tidings_service::http::Guest;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::problem::Problem;
use crate::{document, observe, routes};

/// What every handler can reach.
#[derive(Clone)]
pub(crate) struct Api {
    edge: Arc<Edge>,
}

/// The HTTP API over an edge: every route under `/v1` but the socket's, the
/// document at `/openapi.json`, and a page to try it at `/docs`.
pub fn router(edge: Arc<Edge>) -> Router {
    let (routes, openapi) = routes::all().split_for_parts();
    let page = SwaggerUi::new("/docs")
        .url("/openapi.json", document::complete(openapi))
        .config(Config::default().persist_authorization(true));
    routes
        .fallback(async || Problem::no_such_path())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(axum::middleware::from_fn(observe::acceptable))
        .layer(axum::middleware::from_fn(observe::observe))
        .with_state(Api { edge })
        .merge(Router::from(page))
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or_else(|| {
            let detail = "Authorization: a Bearer token is needed.";
            Problem::unauthorized(None, detail.to_owned())
        })?;
        let caller = api
            .edge
            .authenticate(token)
            .map_err(|error| Problem::unauthorized(Some("invalid_token"), format!("{error}.")))?;
        // Where it is evicted already, its connection ends anyhow.
        if let Some(guest) = parts.extensions.get::<Guest>() {
            let _ = guest.known();
        }
        Ok(caller)
    }
}

/// The token of `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_is_one() {
        let token = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer  abc").as_deref(), Some("abc"));
        assert_eq!(token("Basic abc"), None);
        assert_eq!(token("abc"), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
