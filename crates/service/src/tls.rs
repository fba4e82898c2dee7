//! TLS on the port of a process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often it is looked whether the files are other ones.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// With what clients are served over TLS.
#[derive(Clone, Debug, clap::Args)]
pub struct TlsArgs {
    /// File of the certificate and its chain, in PEM: the port speaks TLS
    #[arg(
        long,
        env = "TIDINGS_TLS_CERT_FILE",
        value_name = "FILE",
        requires = "tls_key_file"
    )]
    pub tls_cert_file: Option<PathBuf>,
    /// File of the certificate's private key, in PEM
    #[arg(
        long,
        env = "TIDINGS_TLS_KEY_FILE",
        value_name = "FILE",
        requires = "tls_cert_file"
    )]
    pub tls_key_file: Option<PathBuf>,
}

impl TlsArgs {
    /// Reads the files; none where none are given.
    ///
    /// # Errors
    /// A file that cannot be read, has nothing of what it must have, or a key
    /// that is not the certificate's; the text names the file.
    pub fn load(&self) -> Result<Option<Certificate>> {
        match (&self.tls_cert_file, &self.tls_key_file) {
            (Some(chain), Some(key)) => Certificate::load(chain, key).map(Some),
            _ => Ok(None),
        }
    }
}

/// A certificate and its key, as they stand in their files. A renewed one is
/// used within ten seconds, for the connections that come then.
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    /// When the files were changed last, as they were read.
    changed: [Option<SystemTime>; 2],
    looked: Instant,
}

impl Certificate {
    /// Reads a certificate with its chain, and its key, both in PEM.
    ///
    /// # Errors
    /// As of [`TlsArgs::load`].
    pub fn load(chain: &Path, key: &Path) -> Result<Self> {
        let changed = [changed(chain), changed(key)];
        let config = Arc::new(config(chain, key)?);
        Ok(Self {
            chain: chain.to_owned(),
            key: key.to_owned(),
            loaded: Mutex::new(Loaded {
                config,
                changed,
                looked: Instant::now(),
            }),
        })
    }

    /// What the next connection is served with.
    fn current(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock();
        if loaded.looked.elapsed() >= LOOK_EVERY {
            loaded.looked = Instant::now();
            self.renew(&mut loaded);
        }
        Arc::clone(&loaded.config)
    }

    /// Reads the files again if they are other ones. While what stands there
    /// cannot be used, the last one that could be stays.
    fn renew(&self, loaded: &mut Loaded) {
        let changed = [changed(&self.chain), changed(&self.key)];
        if changed == loaded.changed {
            return;
        }
        match config(&self.chain, &self.key) {
            Ok(config) => {
                loaded.config = Arc::new(config);
                loaded.changed = changed;
                tracing::info!(file = %self.chain.display(), "the certificate was renewed");
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "the certificate cannot be renewed");
            }
        }
    }

    /// Makes the handshake with a client.
    ///
    /// # Errors
    /// The client's: it speaks no TLS, takes none of our versions or not this
    /// certificate, or is gone. How long it may take is the caller's business.
    pub async fn accept(&self, tcp: TcpStream) -> io::Result<Stream> {
        let stream = TlsAcceptor::from(self.current()).accept(tcp).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|of| of.modified()).ok()
}

fn config(chain: &Path, key: &Path) -> Result<ServerConfig> {
    let (cert_file, key_file) = (chain.display(), key.display());
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("TIDINGS_TLS_CERT_FILE: cannot read {cert_file}"))?;
    anyhow::ensure!(
        !certificates.is_empty(),
        "TIDINGS_TLS_CERT_FILE: there is no certificate in {cert_file}"
    );
    let key = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("TIDINGS_TLS_KEY_FILE: cannot read {key_file}"))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .with_context(|| format!("{cert_file} and {key_file} cannot be used together"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Names the provider of cryptography for clients that take the process's:
/// more than one is built in, as libraries differ in which they want.
pub fn install_provider() {
    // Fails where there is one already, which is as good.
    CryptoProvider::install_default(aws_lc_rs::default_provider()).ok();
}

/// A client's connection.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Plain(TcpStream),
    /// Over TLS, after the handshake.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Ready when something may have come. To be asked after a read that found
    /// nothing: what TLS has read and not given out yet does not count.
    pub fn poll_read_ready(&self, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => tcp.poll_read_ready(cx),
            Self::Tls(tls) => tls.get_ref().0.poll_read_ready(cx),
        }
    }

    /// The connection below.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Task<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Task<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::CertifiedKey;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::*;

    struct Files {
        folder: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Self { folder }
        }

        fn paths(&self) -> [PathBuf; 2] {
            ["chain.pem", "key.pem"].map(|name| self.folder.path().join(name))
        }

        /// Puts another certificate there, as of a time of its own.
        fn renew(&self, day: u64) -> CertificateDer<'static> {
            let CertifiedKey { cert, signing_key } =
                rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            let texts = [cert.pem(), signing_key.serialize_pem()];
            for (path, text) in self.paths().iter().zip(texts) {
                fs::write(path, text).unwrap();
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400);
                let file = fs::File::options().write(true).open(path).unwrap();
                file.set_modified(at).unwrap();
            }
            cert.der().clone()
        }

        fn load(&self) -> Result<Certificate> {
            let [chain, key] = self.paths();
            Certificate::load(&chain, &key)
        }
    }

    /// Whether a client who trusts this certificate can speak with the server.
    async fn is_shown(server: &Certificate, trusted: &CertificateDer<'static>) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = async {
            let tcp = TcpStream::connect(listener.local_addr().unwrap()).await?;
            let name = ServerName::try_from("localhost").unwrap();
            let mut tls = TlsConnector::from(Arc::new(config))
                .connect(name, tcp)
                .await?;
            tls.write_all(b"ping").await?;
            tls.flush().await?;
            io::Result::Ok(())
        };
        let server = async {
            let (tcp, _) = listener.accept().await?;
            let mut stream = server.accept(tcp).await?;
            let mut heard = [0; 4];
            stream.read_exact(&mut heard).await?;
            io::Result::Ok(heard)
        };
        let (client, heard) = tokio::join!(client, server);
        client.is_ok() && heard.is_ok_and(|heard| heard == *b"ping")
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_used_and_a_broken_one_is_not() {
        let files = Files::new();
        let first = files.renew(1);
        let server = files.load().unwrap();
        assert!(is_shown(&server, &first).await);

        let look_again = || {
            let ago = Instant::now().checked_sub(LOOK_EVERY);
            server.loaded.lock().looked = ago.unwrap();
        };
        let second = files.renew(2);
        assert!(is_shown(&server, &first).await, "it has just looked");
        look_again();
        assert!(is_shown(&server, &second).await);
        assert!(!is_shown(&server, &first).await);

        let [chain, _] = files.paths();
        fs::write(chain, "half a file").unwrap();
        look_again();
        assert!(is_shown(&server, &second).await);
        let third = files.renew(3);
        look_again();
        assert!(is_shown(&server, &third).await);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let files = Files::new();
        let error = |files: &Files| format!("{:#}", files.load().err().unwrap());
        let missing = error(&files);
        assert!(missing.contains("TIDINGS_TLS_CERT_FILE") && missing.contains("chain.pem"));
        files.renew(1);
        let [chain, key] = files.paths();
        fs::write(&chain, "no certificate").unwrap();
        assert!(error(&files).contains("there is no certificate in"));
        files.renew(1);
        fs::write(&key, "no key").unwrap();
        let no_key = error(&files);
        assert!(no_key.contains("TIDINGS_TLS_KEY_FILE") && no_key.contains("key.pem"));
        let other = Files::new();
        other.renew(1);
        files.renew(2);
        fs::copy(&other.paths()[1], &key).unwrap();
        assert!(error(&files).contains("cannot be used together"));
    }
}
