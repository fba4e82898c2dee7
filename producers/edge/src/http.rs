use std::future;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use hyper::upgrade::OnUpgrade;
use tidings_service::http::Guest;

use crate::close::CloseReason;
use crate::connection::Connection;
use crate::place::Place;
use crate::session;
use crate::shared::Shared;

/// The subprotocol, which clients may name.
const SUBPROTOCOL: &str = "tidings.v1";
/// How long the end of a connection may take to be sent.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/socket", get(upgrade))
        .route("/", get(index))
        .with_state(shared)
}

async fn upgrade(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    // axum checks and answers the handshake. The connection itself is taken
    // over from hyper: axum's own WebSocket keeps its buffers, and the task it
    // is served in, at their full size as long as it is open.
    let ours = parts.extensions.get_mut::<OnUpgrade>();
    let upgrade = ours.map(|upgrade| mem::replace(upgrade, never()));
    let (upgrade, handshake) = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(handshake) => (upgrade.unwrap_or_else(never), handshake),
        Err(rejection) => return rejection.into_response(),
    };
    if shared.draining.load(Ordering::Acquire) {
        let retry = [(header::RETRY_AFTER, "5")];
        return (StatusCode::SERVICE_UNAVAILABLE, retry, "draining\n").into_response();
    }
    let guest = parts.extensions.remove::<Guest>();
    let sessions = shared.sessions.clone();
    sessions.spawn(serve(upgrade, Arrival { shared, guest }));
    handshake
        .protocols([SUBPROTOCOL])
        .on_upgrade(|_| future::ready(()))
}

/// An upgrade that does not come.
fn never() -> OnUpgrade {
    hyper::upgrade::on(axum::http::Request::new(()))
}

/// Serves a connection from its upgrade to its end.
///
/// Futures hold whatever any of their states needs, and once more for each
/// future around them. So what a phase needs is boxed, and the connection is
/// lent: one that does nothing is then as small as it can be.
async fn serve(upgrade: OnUpgrade, arrival: Arrival) {
    let taking = Box::pin(Connection::take_over(upgrade, session::HELLO_BYTES));
    let Some(mut connection) = taking.await else {
        return;
    };
    if Place::is_there(&arrival.shared) {
        session::run(&arrival, &mut connection).await;
    } else {
        let reason = Some(CloseReason::TooManyConnections);
        Box::pin(session::close(&mut connection, reason)).await;
    }
    let shutdown = Box::pin(connection.shutdown());
    tokio::time::timeout(SHUTDOWN_TIMEOUT, shutdown).await.ok();
}

/// A connection that has come to this edge, to its end.
pub(crate) struct Arrival {
    pub(crate) shared: Arc<Shared>,
    /// What it is to the port; none where that does not count.
    pub(crate) guest: Option<Guest>,
}

impl Arrival {
    /// The client has shown a token. False where that is too late.
    pub(crate) fn is_known(&self) -> bool {
        self.guest.as_ref().is_none_or(Guest::known)
    }

    /// Returns when it has to go before that.
    pub(crate) async fn evicted(&self) {
        match &self.guest {
            Some(guest) => guest.evicted().await,
            None => future::pending().await,
        }
    }
}

async fn index() -> Html<&'static str> {
    Html(include_str!("index.html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F: Future>(_: impl FnOnce(OnUpgrade, Arrival) -> F) -> usize {
        size_of::<F>()
    }

    /// There is one for each connection, idle or not.
    #[test]
    fn the_task_of_a_connection_is_small() {
        let size = size_of_future(serve);
        assert!(size <= 640, "{size} bytes");
    }
}
