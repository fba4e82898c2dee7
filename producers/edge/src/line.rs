use std::future::Future;

use tungstenite::{Error, Message};

/// What a session speaks over: a WebSocket, or what stands for one where there
/// are no sockets.
pub trait Line: Send {
    /// From now on takes messages of up to so many bytes.
    fn set_max_bytes(&mut self, max_bytes: usize);

    /// The next message; none once the line is closed. Nothing is lost when the
    /// future is dropped before it is done.
    fn recv(&mut self) -> impl Future<Output = Option<Result<Message, Error>>> + Send;

    /// Adds a message to those that the next [`flush`](Self::flush) sends.
    ///
    /// # Errors
    /// Where nothing can be sent any more.
    fn feed(&mut self, message: Message) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sends what was fed.
    ///
    /// # Errors
    /// Where nothing can be sent any more.
    fn flush(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sends a close frame, or the answer to the peer's.
    ///
    /// # Errors
    /// Where nothing can be sent any more.
    fn close(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
}
