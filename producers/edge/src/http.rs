use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use crate::close::CloseReason;
use crate::session;
use crate::shared::Shared;

/// The subprotocol, which clients may name.
const SUBPROTOCOL: &str = "tidings.v1";
/// What one read from a connection takes at most, in bytes. The buffer is
/// there as long as the connection (tungstenite's own default is 128 KiB). Most
/// commands fit; a longer one takes a second read.
const READ_BUFFER: usize = 512;
/// Frames are gathered up to this many bytes before they are written.
const WRITE_BUFFER: usize = 4_096;
/// Frames are read up to this many times the allowed size, so that one that is
/// only somewhat too large is read to its end and its sender hears why the
/// connection is closed.
const READ_MARGIN: usize = 4;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/socket", get(upgrade))
        .route("/", get(index))
        .with_state(shared)
}

async fn upgrade(State(shared): State<Arc<Shared>>, ws: WebSocketUpgrade) -> Response {
    if shared.draining.load(Ordering::Acquire) {
        let retry = [(header::RETRY_AFTER, "5")];
        return (StatusCode::SERVICE_UNAVAILABLE, retry, "draining\n").into_response();
    }
    let slot = Slot::take(&shared);
    let max_bytes = shared.config.max_frame_bytes * READ_MARGIN;
    ws.protocols([SUBPROTOCOL])
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_frame_size(max_bytes)
        .max_message_size(max_bytes)
        .on_upgrade(move |socket| {
            let sessions = shared.sessions.clone();
            sessions.track_future(Box::pin(serve(shared, Box::new(socket), slot)))
        })
}

async fn serve(shared: Arc<Shared>, socket: Box<WebSocket>, slot: Slot) {
    if slot.is_over {
        Box::pin(session::refuse(socket, CloseReason::TooManyConnections)).await;
    } else {
        session::run(shared, socket).await;
    }
    drop(slot);
}

/// A connection's place among those this edge takes.
struct Slot {
    shared: Arc<Shared>,
    /// There are too many already.
    is_over: bool,
}

impl Slot {
    fn take(shared: &Arc<Shared>) -> Self {
        let before = shared.connections.fetch_add(1, Ordering::AcqRel);
        let most = shared.config.limits.max_connections;
        Self {
            shared: Arc::clone(shared),
            is_over: most > 0 && before >= most,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn index() -> Html<&'static str> {
    Html(include_str!("index.html"))
}
