use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};

/// How long [`SocketClient::recv`] waits unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// A small client of the socket protocol. It reads only when asked to, so it
/// can also play the client that never reads.
#[derive(Debug)]
pub struct SocketClient {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    patience: Duration,
    hears_presence: bool,
}

/// The socket's address of an edge given as `ws://host:port`, with or without
/// a path.
#[must_use]
pub fn socket_url(url: &str) -> String {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    match after_scheme.split_once('/') {
        Some((_, path)) if !path.is_empty() => url.to_owned(),
        _ => format!("{}/v1/socket", url.trim_end_matches('/')),
    }
}

impl SocketClient {
    /// Opens the WebSocket and says nothing yet.
    ///
    /// # Errors
    /// Where the edge cannot be reached or refuses the upgrade.
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_by(url, Connector::Plain).await
    }

    /// As [`open`](Self::open), over TLS: the edge must show this certificate,
    /// or one that it has signed.
    ///
    /// # Errors
    /// Also where the certificate is another one.
    pub async fn open_trusting(url: &str, certificate: CertificateDer<'_>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.into_owned())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::open_by(url, Connector::Rustls(Arc::new(config))).await
    }

    async fn open_by(url: &str, connector: Connector) -> Result<Self> {
        let url = socket_url(url);
        let connecting = connect_async_tls_with_config(&url, None, false, Some(connector));
        let connecting = timeout(PATIENCE, connecting).await;
        let (stream, _) = connecting
            .context("no answer")?
            .with_context(|| url.clone())?;
        Ok(Self {
            stream,
            patience: PATIENCE,
            hears_presence: false,
        })
    }

    /// Opens the WebSocket, says hello and waits for the welcome.
    ///
    /// # Errors
    /// As [`open`](Self::open), and where the edge does not welcome.
    pub async fn connect(url: &str, token: &str) -> Result<Self> {
        let mut client = Self::open(url).await?;
        client
            .send(&json!({"type": "hello", "token": token}))
            .await?;
        client.expect_type("welcome").await?;
        Ok(client)
    }

    /// Sets how long to wait for a frame.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn send(&mut self, frame: &Value) -> Result<()> {
        self.send_message(Message::text(frame.to_string())).await
    }

    /// Sends whatever is given, also what the protocol forbids.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn send_message(&mut self, message: Message) -> Result<()> {
        timeout(self.patience, self.stream.send(message))
            .await
            .context("the socket is full")??;
        Ok(())
    }

    /// From now on receives `presence` too. It comes whenever somebody connects
    /// or leaves, and most tests are about something else.
    pub fn hear_presence(&mut self) {
        self.hears_presence = true;
    }

    /// The next frame, but of `presence` (see [`hear_presence`](Self::hear_presence)).
    ///
    /// # Errors
    /// Where none comes in time, or the edge closes; the error names the code.
    pub async fn recv(&mut self) -> Result<Value> {
        loop {
            match self.next_message().await? {
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(text.as_str())?;
                    if self.hears_presence || frame["type"] != "presence" {
                        return Ok(frame);
                    }
                }
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Close(Some(close)) => {
                    bail!("closed {}: {}", u16::from(close.code), close.reason)
                }
                other => bail!("not a text frame: {other:?}"),
            }
        }
    }

    /// The next frame, which must be of this type.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and where it is of another type.
    pub async fn expect_type(&mut self, kind: &str) -> Result<Value> {
        let frame = self
            .recv()
            .await
            .with_context(|| format!("waiting for {kind}"))?;
        if frame["type"] != kind {
            bail!("expected {kind}, got {frame}");
        }
        Ok(frame)
    }

    /// The next frame for which `wanted` holds; those before it are dropped.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn wait_for(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Result<Value> {
        loop {
            let frame = self.recv().await?;
            if wanted(&frame) {
                return Ok(frame);
            }
        }
    }

    /// Sends a command and waits for its decision, `delivered` or `rejected`;
    /// other frames are dropped.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn command(&mut self, command: &Value) -> Result<Value> {
        self.send(command).await?;
        self.wait_for(|frame| {
            frame["temp_id"] == command["temp_id"]
                && (frame["type"] == "delivered" || frame["type"] == "rejected")
        })
        .await
    }

    /// Sends a question and waits for its answer; other frames are dropped.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn ask(&mut self, question: &Value) -> Result<Value> {
        self.send(question).await?;
        self.wait_for(|frame| frame["id"] == question["id"]).await
    }

    /// Drops frames until the edge closes; returns the close code (1005: none
    /// was given, 1006: the connection just ended).
    ///
    /// # Errors
    /// Where it does not close in time.
    pub async fn closed(&mut self) -> Result<u16> {
        loop {
            match timeout(self.patience, self.stream.next())
                .await
                .context("still open")?
            {
                Some(Ok(Message::Close(close))) => {
                    return Ok(close.map_or(1005, |close| close.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(1006),
            }
        }
    }

    /// Closes the connection in good order.
    ///
    /// # Errors
    /// Where it is gone already.
    pub async fn close(mut self) -> Result<()> {
        self.stream.close(None).await?;
        Ok(())
    }

    async fn next_message(&mut self) -> Result<Message> {
        let next = timeout(self.patience, self.stream.next()).await;
        let next = next.with_context(|| format!("no frame within {:?}", self.patience))?;
        Ok(next.context("the connection ended")??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_may_be_left_out() {
        assert_eq!(socket_url("ws://h:1"), "ws://h:1/v1/socket");
        assert_eq!(socket_url("ws://h:1/"), "ws://h:1/v1/socket");
        assert_eq!(socket_url("ws://h:1/v1/socket"), "ws://h:1/v1/socket");
    }
}
