//! One HTTP/1.1 port per process, in the clear or over TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::health::Health;
use crate::tls::{Certificate, Stream};

/// What a request's head may take; a connection's read buffer grows no
/// further. hyper allows no less than 8 KiB.
const BUFFER_BYTES: usize = 16 * 1024;
/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests in progress are waited for at the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// An open port.
pub struct Listener {
    tcp: TcpListener,
    certificate: Option<Arc<Certificate>>,
}

/// Opens a port; a failure names the address.
///
/// # Errors
/// Where the address is taken, or not this machine's.
pub async fn listen(address: SocketAddr) -> Result<Listener> {
    let tcp = TcpListener::bind(address)
        .await
        .with_context(|| format!("TIDINGS_LISTEN: cannot listen on {address}"))?;
    let certificate = None;
    Ok(Listener { tcp, certificate })
}

impl Listener {
    /// Serves over TLS with this certificate, or in the clear where there is
    /// none.
    #[must_use]
    pub fn certificate(self, certificate: Option<Certificate>) -> Self {
        let certificate = certificate.map(Arc::new);
        Self {
            certificate,
            ..self
        }
    }

    /// The address, with the port that was taken.
    ///
    /// # Errors
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Serves `app` and the routes of `health` until `shutdown`, then waits up to
/// five seconds for the requests in progress. Connections that were upgraded
/// to WebSockets are their handler's business and not waited for. Handlers can
/// extract `ConnectInfo<SocketAddr>`.
///
/// # Errors
/// Where the listener fails for good.
pub async fn serve(
    listener: Listener,
    health: Health,
    app: Router,
    shutdown: CancellationToken,
) -> Result<()> {
    let app = app.merge(health.router());
    let connections = TaskTracker::new();
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .max_buf_size(BUFFER_BYTES)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.tcp.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (certificate, app) = (listener.certificate.clone(), app.clone());
                let (builder, shutdown) = (builder.clone(), shutdown.clone());
                connections.spawn(async move {
                    let open = Box::pin(open(stream, certificate.as_deref()));
                    let stream = tokio::select! {
                        biased;
                        () = shutdown.cancelled() => return,
                        stream = open => stream,
                    };
                    match stream {
                        Ok(stream) => converse(stream, peer, app, builder, shutdown).await,
                        Err(error) => tracing::debug!(%error, "no handshake"),
                    }
                });
            }
            // Out of file descriptors, or the peer is gone again: the listener
            // itself is fine, so wait for a descriptor to come back.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not end in time");
    }
    Ok(())
}

/// Makes a connection ready for HTTP.
async fn open(tcp: TcpStream, certificate: Option<&Certificate>) -> io::Result<Stream> {
    // Frames are small and somebody waits for each.
    tcp.set_nodelay(true)?;
    match certificate {
        Some(certificate) => certificate.accept(tcp).await,
        None => Ok(Stream::Plain(tcp)),
    }
}

/// Serves one connection until it ends, is upgraded, or `shutdown`.
async fn converse(
    stream: Stream,
    peer: SocketAddr,
    app: Router,
    builder: hyper::server::conn::http1::Builder,
    shutdown: CancellationToken,
) {
    let service = app.map_request(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    });
    let connection = builder
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // A client that goes away in the middle is no event for an operator.
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::install_metrics;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn serves_the_app_and_the_health_routes_until_told_to_stop() {
        let health = Health::new(install_metrics().unwrap());
        let log = health.condition("log");
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let app = Router::new().route(
            "/peer",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }),
        );
        let server = tokio::spawn(serve(listener, health.clone(), app, shutdown.clone()));

        assert!(ask(address, "/peer").await.ends_with("127.0.0.1"));
        assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let unready = ask(address, "/readyz").await;
        assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
        assert!(unready.contains(r#""missing":["log"]"#), "{unready}");
        log.set_ready(true);
        assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(ask(address, "/metrics").await.starts_with("HTTP/1.1 200"));
        assert!(ask(address, "/nothing").await.starts_with("HTTP/1.1 404"));

        shutdown.cancel();
        server.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
