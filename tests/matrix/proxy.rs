use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// What one direction may hold back while the link is slow: chunks.
const HELD: usize = 256;
const CHUNK: usize = 16 * 1024;

/// A TCP proxy before a process: its connections can be cut, and be slow.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    cut: watch::Sender<u64>,
    link: Arc<Link>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Link {
    /// The file with the address of what is behind; it is there once that is.
    target: PathBuf,
    delay_ms: AtomicU64,
}

impl Proxy {
    /// Listens on a free port, for what has its address in the file `target`.
    pub(crate) async fn before(target: PathBuf) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let link = Arc::new(Link {
            target,
            delay_ms: AtomicU64::new(0),
        });
        let (cut, _) = watch::channel(0);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&link), cut.clone()));
        Ok(Self {
            address,
            cut,
            link,
            accepting,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection there is; new ones can be made.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|times| *times += 1);
    }

    /// Holds back what comes, in either direction, by so long.
    pub(crate) fn delay(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.link.delay_ms.store(delay, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, link: Arc<Link>, cut: watch::Sender<u64>) {
    while let Ok((client, _)) = listener.accept().await {
        let link = Arc::clone(&link);
        let mut cut = cut.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                _ = cut.changed() => {}
                // A connection that fails ends; whoever made it sees that.
                _ = carry(client, &link) => {}
            }
        });
    }
}

async fn carry(client: TcpStream, link: &Link) -> Result<()> {
    let address = std::fs::read_to_string(&link.target).context("nothing is behind yet")?;
    let server = TcpStream::connect(address.trim()).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::try_join!(
        one_way(from_client, to_server, &link.delay_ms),
        one_way(from_server, to_client, &link.delay_ms),
    )?;
    Ok(())
}

/// Carries one direction to its end. What was read waits for its time in a
/// queue, so that a slow link is one of high latency and not of one chunk at a
/// time.
async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay_ms: &AtomicU64,
) -> Result<()> {
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(HELD);
    let read = async move {
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = from.read(&mut chunk).await?;
            if length == 0 {
                return Ok(());
            }
            let delay = Duration::from_millis(delay_ms.load(Ordering::Relaxed));
            let held = (Instant::now() + delay, chunk[..length].to_vec());
            queue.send(held).await.context("the other side is gone")?;
        }
    };
    let write = async {
        while let Some((due, chunk)) = queued.recv().await {
            sleep_until(due).await;
            to.write_all(&chunk).await?;
        }
        to.shutdown().await?;
        anyhow::Ok(())
    };
    tokio::try_join!(read, write)?;
    Ok(())
}
