//! One task for each connection: hello, then frames in and out, then bye.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidings_domain::{Code, TempId};
use tidings_wire::frames::{ClientFrame, FrameError, Request, ServerFrame, UNKNOWN_TYPE};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message, Utf8Bytes};
use uuid::Uuid;

use crate::close::CloseReason;
use crate::commands;
use crate::forward::{self, ForwardRequest};
use crate::http::Arrival;
use crate::line::Line;
use crate::load;
use crate::outbox::Outbox;
use crate::peer::Reply;
use crate::place::Place;
use crate::presence;
use crate::rendering;
use crate::shared::Shared;
use crate::socket::Socket;
use crate::typing;

/// How long a connection that is being closed may take to take its last
/// frames, and again to close its side.
const BYE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a session ended: with a reason to tell, or with nobody there any more.
type Ended = Option<CloseReason>;

/// How large a hello may be, in bytes: as large as a request's head, which
/// carries the same token. Who has not said it yet gets no more memory.
pub(crate) const HELLO_BYTES: usize = 16 * 1024;
/// Frames are read up to this many times the allowed size, so that one that is
/// only somewhat too large is read to its end and its sender hears why the
/// connection is closed.
const READ_MARGIN: usize = 4;

/// Serves a connection to its end. It may be evicted until there is a good
/// hello.
pub(crate) async fn run<L: Line>(arrival: &Arrival, ws: &mut L) {
    let ended = match Box::pin(open(arrival, ws)).await {
        Ok(Some(joined)) => converse(joined.shared(), ws, &joined.socket).await,
        // Others need its place now.
        Ok(None) => return,
        Err(ended) => ended,
    };
    Box::pin(close(ws, ended)).await;
}

/// A socket in the hub, for as long as its session lasts.
struct Joined {
    place: Place,
    socket: Arc<Socket>,
}

impl Joined {
    fn shared(&self) -> &Arc<Shared> {
        self.place.shared()
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let shared = self.shared();
        let left = shared.hub.disconnect(&self.socket);
        presence::changed(shared, &self.socket.peer, left);
        for key in self.socket.peer.lanes.close() {
            shared.inflight.forget(key, &self.socket);
        }
        shared.metrics.sockets.decrement(1.0);
        tracing::debug!(session_id = %self.socket.peer.id, "closed");
    }
}

/// Waits for the hello, finds the user's conversations, and welcomes them; none
/// where the connection was evicted before.
async fn open<L: Line>(arrival: &Arrival, ws: &mut L) -> Result<Option<Joined>, Ended> {
    let shared = &arrival.shared;
    let config = &shared.config;
    let hello = timeout(config.hello_timeout, first_frame(ws));
    let text = tokio::select! {
        hello = hello => hello.map_err(|_| CloseReason::HelloMissing)??,
        () = arrival.evicted() => return Ok(None),
    };
    let Ok(ClientFrame::Hello { token }) = ClientFrame::parse(&text) else {
        return Err(Some(CloseReason::NotAuthorized));
    };
    let claims = shared.auth.verify(&token).map_err(|error| {
        tracing::debug!(%error, "a token was refused");
        CloseReason::NotAuthorized
    })?;
    if !arrival.is_known() {
        return Ok(None);
    }
    let place = Place::take(shared).ok_or(CloseReason::TooManyConnections)?;
    ws.set_max_bytes(config.max_frame_bytes * READ_MARGIN);
    let caught_up = timeout(config.hello_timeout, shared.progress.caught_up());
    caught_up.await.map_err(|_| CloseReason::Unavailable)?;

    let session_id = Uuid::new_v4();
    let per_minute = claims.rate.unwrap_or(config.limits.messages_per_minute);
    let limiter = shared.limits.of(&claims.tenant, &claims.user, per_minute);
    let waiting = shared.metrics.outbox_frames.clone();
    let outbox = Outbox::new(config.outbox_frames, config.outbox_bytes, waiting);
    let who = (claims.tenant, claims.user);
    let metrics = Arc::clone(&shared.metrics);
    let socket = Arc::new(Socket::new(session_id, who, outbox, limiter, metrics));
    let user = shared
        .hub
        .connect(&socket, config.limits.connections_per_user)
        .map_err(|_| CloseReason::TooManyConnections)?;
    shared.metrics.sockets.increment(1.0);
    let joined = Joined { place, socket };
    if shared.draining.load(Ordering::Acquire) {
        return Err(Some(CloseReason::Draining));
    }
    load::memberships(shared, &user).await;
    presence::changed(shared, &joined.socket.peer, None);

    let socket = &joined.socket;
    let welcome = ServerFrame::Welcome {
        session_id: &session_id.to_string(),
        user_id: &socket.peer.user,
        tenant: &socket.peer.tenant,
        server_time: shared.clock.now(),
        heartbeat_s: config.heartbeat.as_secs(),
        max_frame_bytes: config.max_frame_bytes,
    };
    let welcome = Message::Text(welcome.to_json().into());
    write(ws, &socket.outbox, config.heartbeat, [welcome]).await?;
    socket.outbox.look_again();
    tracing::debug!(%session_id, "opened");
    Ok(Some(joined))
}

/// The first frame that says something.
async fn first_frame<L: Line>(ws: &mut L) -> Result<Utf8Bytes, Ended> {
    loop {
        match ws.recv().await {
            Some(Ok(Message::Text(text))) => return Ok(text),
            Some(Ok(Message::Binary(_))) => return Err(Some(CloseReason::NotAuthorized)),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_))) | None => return Err(None),
            Some(Err(error)) => return Err(read_failed(error)),
        }
    }
}

/// Frames in and out, until one side has enough.
async fn converse<L: Line>(shared: &Arc<Shared>, ws: &mut L, socket: &Arc<Socket>) -> Ended {
    let (outbox, heartbeat) = (&socket.outbox, shared.config.heartbeat);
    let mut last_seen = Instant::now();
    let mut draining = false;
    let timer = sleep_until(last_seen + heartbeat);
    tokio::pin!(timer);
    loop {
        // Not biased: neither a flood of events nor one of commands may keep
        // the other waiting.
        tokio::select! {
            () = outbox.changed() => match Box::pin(write_outbox(ws, outbox, heartbeat)).await {
                Ok(false) => {}
                Ok(true) => {
                    if !draining {
                        draining = true;
                        timer.as_mut().reset(Instant::now() + shared.config.drain_timeout);
                    }
                    if socket.peer.lanes.is_idle() && outbox.is_empty() {
                        return Some(CloseReason::Draining);
                    }
                }
                Err(ended) => return ended,
            },
            message = ws.recv(), if !draining => {
                last_seen = Instant::now();
                if let Err(ended) = received(shared, socket, message) {
                    return ended;
                }
            }
            () = &mut timer => {
                if draining {
                    return Some(CloseReason::Draining);
                }
                let silent = last_seen.elapsed();
                if silent >= heartbeat * 2 {
                    return Some(CloseReason::Silent);
                }
                if silent >= heartbeat {
                    let ping = [Message::Ping(tungstenite::Bytes::new())];
                    if let Err(ended) = Box::pin(write(ws, outbox, heartbeat, ping)).await {
                        return ended;
                    }
                    outbox.look_again();
                    timer.as_mut().reset(last_seen + heartbeat * 2);
                } else {
                    timer.as_mut().reset(last_seen + heartbeat);
                }
            }
        }
    }
}

fn received(
    shared: &Arc<Shared>,
    socket: &Arc<Socket>,
    message: Option<Result<Message, Error>>,
) -> Result<(), Ended> {
    match message {
        Some(Ok(Message::Text(text))) if text.len() <= shared.config.max_frame_bytes => {
            frame(shared, socket, &text)
        }
        Some(Ok(Message::Text(_) | Message::Binary(_))) => Err(Some(CloseReason::BadFrame)),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(()),
        Some(Ok(Message::Close(_))) | None => Err(None),
        Some(Err(error)) => Err(read_failed(error)),
    }
}

/// A connection that broke needs no bye; anything else was a bad frame.
fn read_failed(error: Error) -> Ended {
    match error {
        Error::Io(_) => None,
        _ => Some(CloseReason::BadFrame),
    }
}

fn frame(shared: &Arc<Shared>, socket: &Arc<Socket>, text: &str) -> Result<(), Ended> {
    match ClientFrame::parse(text) {
        Ok(ClientFrame::Command {
            temp_id,
            retry,
            request,
        }) => {
            command(shared, socket, temp_id, retry, request);
        }
        Ok(ClientFrame::Question { id, question }) => rendering::ask(shared, socket, id, question),
        Ok(ClientFrame::Typing {
            conversation_id,
            on,
        }) => typing::typed(shared, socket, conversation_id, on),
        Ok(ClientFrame::Ping) => socket.send(ServerFrame::Pong.to_json()),
        Ok(ClientFrame::Pong) => {}
        Ok(ClientFrame::Hello { .. }) => {
            socket.error(None, Code::Invalid, "type: a hello is only the first frame");
        }
        Ok(ClientFrame::Unknown { id }) => {
            let (id, message) = (id.as_deref(), "There is no such type of frame.");
            let answer = ServerFrame::Error {
                id,
                code: UNKNOWN_TYPE,
                message,
                retry: false,
                retry_after_ms: None,
            };
            socket.send(answer.to_json());
        }
        Err(FrameError::Malformed) => return Err(Some(CloseReason::BadFrame)),
        Err(FrameError::Command { temp_id, error }) => {
            Reply::Socket(Arc::clone(socket)).answer(&temp_id, Err(error.into()));
        }
        Err(FrameError::Other { id, error }) => {
            socket.error(id.as_deref(), error.code, &error.to_string());
        }
    }
    Ok(())
}

fn command(
    shared: &Arc<Shared>,
    socket: &Arc<Socket>,
    temp_id: TempId,
    retry: bool,
    request: Request,
) {
    let reply = || Reply::Socket(Arc::clone(socket));
    let limiter = socket.limiter.as_deref();
    let Request::Forward {
        conversation_id,
        message_ids,
        to,
    } = request
    else {
        return commands::submit(shared, reply(), limiter, temp_id, retry, request);
    };
    let forward = ForwardRequest {
        temp_id: temp_id.clone(),
        retry,
        from: conversation_id,
        message_ids,
        to,
    };
    let submitted = forward::submit(shared, &socket.peer, limiter, forward, |_| reply());
    if let Err(refusal) = submitted {
        reply().answer(&temp_id, Err(refusal));
    }
}

/// Writes all that waits, and tells whether the socket is to finish.
async fn write_outbox<L: Line>(
    ws: &mut L,
    outbox: &Outbox,
    limit: Duration,
) -> Result<bool, Ended> {
    loop {
        let taken = outbox.take();
        if taken.closing.is_some() {
            return Err(taken.closing);
        }
        if taken.frames.is_empty() {
            return Ok(taken.draining);
        }
        write(
            ws,
            outbox,
            limit,
            taken.frames.into_iter().map(Message::Text),
        )
        .await?;
    }
}

/// Writes messages and flushes once. A peer that does not read does not hold
/// this up: it is left as soon as its outbox is full, or after `limit`.
async fn write<L: Line>(
    ws: &mut L,
    outbox: &Outbox,
    limit: Duration,
    messages: impl IntoIterator<Item = Message>,
) -> Result<(), Ended> {
    let writing = async {
        for message in messages {
            ws.feed(message).await?;
        }
        ws.flush().await
    };
    tokio::select! {
        biased;
        reason = outbox.closing() => Err(Some(reason)),
        written = writing => written.map_err(|_| None),
        () = sleep(limit) => Err(Some(CloseReason::SlowReader)),
    }
}

/// Says bye where there is somebody to hear it, and closes.
pub(crate) async fn close<L: Line>(ws: &mut L, ended: Ended) {
    let Some(reason) = ended else {
        // Sends the answer to the peer's close frame, if there was one; a peer
        // that is gone need not take it.
        timeout(BYE_TIMEOUT, ws.close()).await.ok();
        return;
    };
    let farewell = async {
        ws.feed(Message::Text(reason.bye().into())).await?;
        let frame = CloseFrame {
            code: reason.code().into(),
            reason: reason.message().into(),
        };
        ws.feed(Message::Close(Some(frame))).await?;
        ws.flush().await
    };
    if !matches!(timeout(BYE_TIMEOUT, farewell).await, Ok(Ok(()))) {
        return;
    }
    // Bytes that were never read would make the kernel reset the connection,
    // and take the bye away from the peer: read until it closes, or, where
    // nothing can be read as frames any more, give it a moment.
    let heard = async {
        let mut read = 0_u32;
        while let Some(Ok(_)) = ws.recv().await {
            read += 1;
        }
        if read == 0 {
            sleep(BYE_TIMEOUT / 4).await;
        }
    };
    timeout(BYE_TIMEOUT, heard).await.ok();
}
