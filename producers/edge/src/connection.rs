//! A WebSocket on a connection that was HTTP's, which takes next to no memory while
//! nothing goes over it.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tidings_service::http::Paced;
use tidings_service::tls;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use crate::boundary::Boundary;
use crate::line::Line;

/// What one read from a connection takes at most, in bytes. Most commands fit;
/// a longer one takes more reads.
const READ_BUFFER: usize = 512;
/// Frames are gathered up to this many bytes before they are written.
const WRITE_BUFFER: usize = 4_096;

/// A connection that was upgraded to a WebSocket.
///
/// The protocol's state and its buffers are there while something is on its
/// way, in or out, and given up as soon as the connection has come to rest.
pub(crate) struct Connection {
    stream: Stream,
    /// None at rest.
    context: Option<Box<WebSocketContext>>,
    /// Something was fed since the last flush.
    unflushed: bool,
    /// There is nothing more to read.
    ended: bool,
    max_bytes: usize,
}

impl Connection {
    /// Takes a connection over from the HTTP server once the handshake is
    /// answered; none if the client is gone by then. A message of more than
    /// `max_bytes` is an error.
    pub(crate) async fn take_over(upgrade: OnUpgrade, max_bytes: usize) -> Option<Self> {
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "a connection ended in its handshake");
                return None;
            }
        };
        let Ok(parts) = upgraded.downcast::<TokioIo<Paced>>() else {
            tracing::error!("sockets are served on this crate's own connections only");
            return None;
        };
        let read = parts.read_buf.into();
        let stream = parts.io.into_inner().into_inner();
        Some(Self::new(stream, read, max_bytes))
    }

    /// A connection from which `read` was read already.
    fn new(tcp: tls::Stream, read: Vec<u8>, max_bytes: usize) -> Self {
        let mut boundary = Boundary::default();
        boundary.pass(&read);
        let config = Some(config(max_bytes));
        let context = WebSocketContext::from_partially_read(read, Role::Server, config);
        Self {
            stream: Stream {
                tcp,
                boundary,
                blocked: false,
            },
            context: Some(Box::new(context)),
            unflushed: false,
            ended: false,
            max_bytes,
        }
    }

    /// Ends the connection below, so that over TLS the peer sees that nothing
    /// was cut off.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        self.stream.tcp.shutdown().await
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // Whoever does not read is not read from: the answers to its pings
        // would pile up.
        if self.stream.blocked
            && let Err(error) = ready!(self.poll_flush(cx))
        {
            self.ended = true;
            return Poll::Ready(Some(Err(error)));
        }
        let read = match &self.context {
            Some(_) => Ok(()),
            None => ready!(self.stream.tcp.poll_read_ready(cx)),
        };
        let read = match read {
            Ok(()) => self.with_context(cx, |context, io| context.read(io)),
            Err(error) => Poll::Ready(Err(error.into())),
        };
        match read {
            Poll::Pending => {
                self.rest();
                Poll::Pending
            }
            Poll::Ready(Ok(message)) => Poll::Ready(Some(Ok(message))),
            Poll::Ready(Err(error)) => {
                self.ended = true;
                let closed = matches!(error, Error::AlreadyClosed | Error::ConnectionClosed);
                Poll::Ready((!closed).then_some(Err(error)))
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let flushed = ready!(self.with_context(cx, |context, io| context.flush(io)));
        self.unflushed = false;
        closed_is_fine(flushed)
    }

    /// Does something with the protocol's state; pending where the connection
    /// blocks, and then the task is woken when it does not any more.
    fn with_context<T>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut WebSocketContext, &mut Io<'_, '_>) -> Result<T, Error>,
    ) -> Poll<Result<T, Error>> {
        let max_bytes = self.max_bytes;
        let fresh = || Box::new(WebSocketContext::new(Role::Server, Some(config(max_bytes))));
        let context = self.context.get_or_insert_with(fresh);
        let stream = &mut self.stream;
        match act(context, &mut Io { stream, cx }) {
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
            done => Poll::Ready(done),
        }
    }

    /// Gives up the protocol's state if it is the one to begin with. To be
    /// called after a read that found nothing more: whatever has come was taken
    /// as messages then, but for the beginning of one.
    fn rest(&mut self) {
        let is_active = |context: &WebSocketContext| context.can_write();
        let is_resting = !self.unflushed
            && !self.stream.blocked
            && self.stream.boundary.is_between_messages()
            && self.context.as_deref().is_some_and(is_active);
        if is_resting {
            self.context = None;
        }
    }
}

impl Line for Connection {
    /// To be called when a message was read.
    fn set_max_bytes(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
        if let Some(context) = &mut self.context {
            context.set_config(|config| {
                config.max_frame_size = Some(max_bytes);
                config.max_message_size = Some(max_bytes);
            });
        }
    }

    /// Answers pings and the close frame.
    async fn recv(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    async fn feed(&mut self, message: Message) -> Result<(), Error> {
        if self.stream.blocked {
            self.flush().await?;
        }
        let mut message = Some(message);
        poll_fn(|cx| match message.take() {
            Some(message) => {
                self.unflushed = true;
                match self.with_context(cx, |context, io| context.write(io, message)) {
                    // It was taken: what blocks is what was before it.
                    Poll::Pending => Poll::Ready(Ok(())),
                    written => written,
                }
            }
            None => Poll::Ready(Ok(())),
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    async fn close(&mut self) -> Result<(), Error> {
        let mut is_closing = false;
        poll_fn(|cx| {
            if is_closing {
                return self.poll_flush(cx);
            }
            is_closing = true;
            closed_is_fine(ready!(
                self.with_context(cx, |context, io| context.close(io, None))
            ))
        })
        .await
    }
}

fn config(max_bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_frame_size(Some(max_bytes))
        .max_message_size(Some(max_bytes))
}

/// Flushing may find that the close frames have been exchanged.
fn closed_is_fine(result: Result<(), Error>) -> Poll<Result<(), Error>> {
    Poll::Ready(match result {
        Err(Error::ConnectionClosed) => Ok(()),
        other => other,
    })
}

struct Stream {
    tcp: tls::Stream,
    /// Where what was read ends.
    boundary: Boundary,
    /// The last write did not go.
    blocked: bool,
}

/// A connection as the protocol uses it from within a task.
struct Io<'a, 'b> {
    stream: &'a mut Stream,
    cx: &'a mut Context<'b>,
}

impl Read for Io<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        let read = Pin::new(&mut self.stream.tcp).poll_read(self.cx, &mut buffer);
        now(read)?;
        self.stream.boundary.pass(buffer.filled());
        Ok(buffer.filled().len())
    }
}

impl Write for Io<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = Pin::new(&mut self.stream.tcp).poll_write(self.cx, bytes);
        self.stream.blocked = written.is_pending();
        now(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        now(Pin::new(&mut self.stream.tcp).poll_flush(self.cx))
    }
}

fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};
    use tungstenite::protocol::frame::Frame;
    use tungstenite::protocol::frame::coding::{Data, OpCode};

    async fn connected(read: Vec<u8>) -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let connection = Connection::new(tls::Stream::Plain(accepted.unwrap().0), read, 1 << 20);
        (connection, client.unwrap())
    }

    fn text(text: &str, opcode: Data, is_final: bool) -> Vec<u8> {
        let mut frame = Frame::message(text.to_owned(), OpCode::Data(opcode), is_final);
        frame.header_mut().mask = Some([0; 4]);
        let mut bytes = Vec::new();
        frame.format(&mut bytes).unwrap();
        bytes
    }

    async fn next(connection: &mut Connection) -> String {
        connection.recv().await.unwrap().unwrap().to_string()
    }

    /// Reads until there is nothing more for now; tells whether it rests then.
    async fn rests(connection: &mut Connection) -> bool {
        let nothing = poll_fn(|cx| Poll::Ready(connection.poll_recv(cx).is_pending())).await;
        assert!(nothing, "there is something to read");
        connection.context.is_none()
    }

    #[tokio::test]
    async fn rests_between_messages_and_not_within_one() {
        let early = text("early", Data::Text, true);
        let (mut connection, mut client) = connected(early).await;
        assert_eq!(next(&mut connection).await, "early");
        assert!(rests(&mut connection).await);

        let long = "x".repeat(3 * READ_BUFFER);
        let long_frame = text(&long, Data::Text, true);
        let (first, second) = long_frame.split_at(5);
        client.write_all(first).await.unwrap();
        connection.stream.tcp.tcp().readable().await.unwrap();
        assert!(!rests(&mut connection).await, "half a header");
        client.write_all(second).await.unwrap();
        assert_eq!(next(&mut connection).await, long);
        assert!(rests(&mut connection).await);

        let fragment = text("a", Data::Text, false);
        client.write_all(&fragment).await.unwrap();
        connection.stream.tcp.tcp().readable().await.unwrap();
        assert!(!rests(&mut connection).await, "half a message");
        let both = [text("b", Data::Continue, true), text("c", Data::Text, true)];
        client.write_all(&both.concat()).await.unwrap();
        assert_eq!(next(&mut connection).await, "ab");
        assert_eq!(next(&mut connection).await, "c");
        assert!(rests(&mut connection).await);
    }

    #[tokio::test]
    async fn rests_only_when_all_is_written() {
        let (mut connection, mut client) = connected(Vec::new()).await;
        connection.feed(Message::text("1")).await.unwrap();
        assert!(!rests(&mut connection).await, "not flushed");
        connection.flush().await.unwrap();
        assert!(rests(&mut connection).await);
        let mut got = [0; 3];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, [0x81, 1, b'1']);

        // Nobody reads: at some time the connection takes no more.
        let much = "x".repeat(1 << 20);
        let mut sent = 0;
        while !connection.stream.blocked {
            connection.feed(Message::text(much.as_str())).await.unwrap();
            sent += much.len() + 10;
        }
        assert!(!rests(&mut connection).await, "blocked");
        let mut taken = vec![0; sent];
        let (flushed, read) = tokio::join!(connection.flush(), client.read_exact(&mut taken));
        flushed.unwrap();
        read.unwrap();
        assert!(rests(&mut connection).await);
    }

    #[tokio::test]
    async fn pings_are_answered_and_a_close_frame_ends_it() {
        let (mut connection, mut client) = connected(Vec::new()).await;
        assert!(rests(&mut connection).await);
        client
            .write_all(&[0x89, 0x81, 0, 0, 0, 0, 7])
            .await
            .unwrap();
        let ping = connection.recv().await.unwrap().unwrap();
        assert_eq!(ping, Message::Ping(vec![7].into()));
        assert!(rests(&mut connection).await);
        let mut pong = [0; 3];
        client.read_exact(&mut pong).await.unwrap();
        assert_eq!(pong, [0x8a, 1, 7]);

        client.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
        let close = connection.recv().await.unwrap().unwrap();
        assert_eq!(close, Message::Close(None));
        connection.close().await.unwrap();
        assert!(connection.recv().await.is_none());
        let mut answer = [0; 2];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [0x88, 0]);
    }

    #[tokio::test]
    async fn one_that_is_closing_keeps_its_state() {
        let (mut connection, _client) = connected(Vec::new()).await;
        connection.feed(Message::Close(None)).await.unwrap();
        connection.flush().await.unwrap();
        assert!(!rests(&mut connection).await);
    }
}
