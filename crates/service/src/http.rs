//! One HTTP/1.1 port per process, in the clear or over TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::admission::{self, Admission};
use crate::health::Health;
use crate::tls::{Certificate, Stream};

pub use crate::admission::Guest;
pub use crate::paced::Paced;

/// What a request's head may take; a connection's read buffer grows no
/// further. hyper allows no less than 8 KiB.
const BUFFER_BYTES: usize = 16 * 1024;
/// How long requests in progress are waited for at the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is said again that connections cannot be accepted.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// What is expected of clients before they have shown who they are.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long the handshake of TLS may take.
    pub handshake: Duration,
    /// How long a request's head may take, or the next one's to come.
    pub head: Duration,
    /// How long nothing of an answer may be taken.
    pub answer: Duration,
    /// Connections that have not shown a token, at once; 0: no limit. One more
    /// ends the one that has been there for longest.
    pub unauthenticated: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            unauthenticated: 10_000,
        }
    }
}

/// An open port.
pub struct Listener {
    tcp: TcpListener,
    certificate: Option<Arc<Certificate>>,
    bounds: Bounds,
}

/// Opens a port; a failure names the address.
///
/// # Errors
/// Where the address is taken, or not this machine's.
pub async fn listen(address: SocketAddr) -> Result<Listener> {
    let tcp = TcpListener::bind(address)
        .await
        .with_context(|| format!("TIDINGS_LISTEN: cannot listen on {address}"))?;
    Ok(Listener {
        tcp,
        certificate: None,
        bounds: Bounds::default(),
    })
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

    /// Expects this of clients, and not what [`Bounds::default`] says.
    #[must_use]
    pub fn bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
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
/// extract `ConnectInfo<SocketAddr>`, and find the connection's [`Guest`] among
/// the request's extensions, to be told when a client has shown who it is.
///
/// There are never more connections than the process may have files open, but
/// for a few that are left to the rest of it.
///
/// # Errors
/// Where the listener fails for good.
pub async fn serve(
    listener: Listener,
    health: Health,
    app: Router,
    shutdown: CancellationToken,
) -> Result<()> {
    let Listener {
        tcp,
        certificate,
        bounds,
    } = listener;
    let admission = Admission::new(bounds.unauthenticated, admission::most_connections());
    let connections = TaskTracker::new();
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .max_buf_size(BUFFER_BYTES)
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head);
    let port = Port {
        app: app.merge(health.router()),
        builder,
        bounds,
        certificate,
        shutdown: shutdown.clone(),
    };
    let mut troubles = Troubles::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            // Whoever has to go for the last one goes before the next one comes.
            accepted = async { admission.settled().await; tcp.accept().await } => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let served = port.clone().serve(stream, peer, admission.enter());
                connections.spawn(served);
            }
            // This peer is gone again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // Out of file descriptors: the listener itself is fine, so wait for
            // one to come back.
            Err(error) => {
                troubles.add(&error);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(tcp);
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not end in time");
    }
    Ok(())
}

/// Connections that could not be accepted, and when that was last said.
#[derive(Default)]
struct Troubles {
    since: u32,
    said: Option<Instant>,
}

impl Troubles {
    fn add(&mut self, error: &io::Error) {
        metrics::counter!("tidings_http_accept_failures_total").increment(1);
        self.since += 1;
        if self
            .said
            .is_none_or(|said| said.elapsed() >= COMPLAIN_EVERY)
        {
            let times = std::mem::take(&mut self.since);
            tracing::warn!(%error, times, "cannot accept connections");
            self.said = Some(Instant::now());
        }
    }
}

/// How the connections of a port are served.
#[derive(Clone)]
struct Port {
    app: Router,
    builder: hyper::server::conn::http1::Builder,
    bounds: Bounds,
    certificate: Option<Arc<Certificate>>,
    shutdown: CancellationToken,
}

impl Port {
    /// Serves one connection until it ends, is upgraded or evicted, or until
    /// `shutdown`.
    async fn serve(self, tcp: TcpStream, peer: SocketAddr, guest: Guest) {
        let open = Box::pin(self.open(tcp));
        let stream = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return,
            () = guest.evicted() => return,
            stream = open => stream,
        };
        match stream {
            Ok(stream) => self.converse(stream, peer, guest).await,
            Err(error) => tracing::debug!(%error, "no handshake"),
        }
    }

    /// Makes a connection ready for HTTP.
    async fn open(&self, tcp: TcpStream) -> io::Result<Stream> {
        // Frames are small and somebody waits for each.
        tcp.set_nodelay(true)?;
        match &self.certificate {
            Some(certificate) => {
                tokio::time::timeout(self.bounds.handshake, certificate.accept(tcp)).await?
            }
            None => Ok(Stream::Plain(tcp)),
        }
    }

    async fn converse(self, stream: Stream, peer: SocketAddr, guest: Guest) {
        let (app, served) = (self.app, guest.clone());
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(served.clone());
            let (app, served) = (app.clone(), served.clone());
            async move {
                let response = app.oneshot(request).await;
                served.served();
                response
            }
        });
        let stream = Paced::new(stream, self.bounds.answer);
        let connection = self
            .builder
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = guest.evicted() => return,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        // A client that goes away in the middle is no event for an operator.
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
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
