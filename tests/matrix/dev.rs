use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::proxy::Proxy;
use crate::system::{Disk, System, printed, repository, wait_until};

const DISK_MEBIBYTES: u32 = 64;
const START_TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// `tidings dev` as a process of its own, with a proxy before it. It ends when
/// dropped.
pub(crate) struct Dev {
    // Unmounted before the folder is removed.
    disk: Option<Disk>,
    folder: TempDir,
    binaries: PathBuf,
    listen: SocketAddr,
    proxy: Proxy,
    process: Mutex<Option<Child>>,
}

impl Dev {
    /// Starts it, with its data folder on a [`Disk`] if `on_disk`.
    pub(crate) async fn up(binaries: &Path, on_disk: bool) -> Result<Self> {
        let folder = TempDir::with_prefix("crash-matrix-")?;
        // Not one of the ports that outgoing connections take: the proxy dials
        // it again and again while nobody is there.
        let port = printed(Command::new(repository().join("scripts/servers")).arg("port"))?;
        let port = port.done()?.trim().parse()?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        fs::write(folder.path().join("address"), listen.to_string())?;
        let proxy = Proxy::before(folder.path().join("address")).await?;
        let mut dev = Self {
            folder,
            binaries: binaries.to_owned(),
            listen,
            proxy,
            disk: None,
            process: Mutex::new(None),
        };
        if on_disk {
            dev.disk = Some(Disk::mount(&dev.data("dev"), DISK_MEBIBYTES)?);
        }
        let dev = tokio::task::spawn_blocking(move || {
            dev.start("dev")?;
            anyhow::Ok(dev)
        });
        dev.await?
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the process has ended, by whatever.
    fn ended(&self) -> bool {
        match self.process().as_mut() {
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => true,
        }
    }
}

impl System for Dev {
    fn environment(&self) -> Result<HashMap<String, String>> {
        let data = self.data("dev").to_string_lossy().into_owned();
        Ok(HashMap::from([("TIDINGS_DATA".to_owned(), data)]))
    }

    fn place(&self) -> Result<[String; 2]> {
        let data = self.data("dev").to_string_lossy().into_owned();
        Ok(["--data".to_owned(), data])
    }

    fn pid(&self, _name: &str) -> Result<String> {
        let ended = self.ended();
        let process = self.process();
        let child = process.as_ref().filter(|_| !ended);
        Ok(child.context("dev does not run")?.id().to_string())
    }

    fn start(&self, _name: &str) -> Result<()> {
        wait_until(STOP_TIMEOUT, "the end of dev", || self.ended())?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.logs().join("dev.log"))?;
        let child = Command::new(self.binaries.join("tidings"))
            .args(["dev", "--listen", &self.listen.to_string()])
            .envs(self.environment()?)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("tidings dev does not start")?;
        *self.process() = Some(child);
        wait_until(START_TIMEOUT, "dev is up", || {
            self.ended() || self.unready().is_ok_and(|unready| unready.is_empty())
        })?;
        self.pid("dev").map(drop)
    }

    fn stop(&self, name: &str) -> Result<()> {
        self.signal(name, "-TERM")?;
        wait_until(STOP_TIMEOUT, "the end of dev", || self.ended())
    }

    fn unready(&self) -> Result<Vec<String>> {
        let ask = || {
            let mut stream = TcpStream::connect(self.listen)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
            let mut answer = [0; 12];
            stream.read_exact(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        let ready = ask().is_ok_and(|answer| answer.ends_with(b" 200"));
        Ok((!ready).then(|| "dev".to_owned()).into_iter().collect())
    }

    fn add(&self, _role: &str) -> Result<String> {
        bail!("dev is alone on its data folder")
    }

    fn proxy(&self, _name: &str) -> Result<&Proxy> {
        Ok(&self.proxy)
    }

    fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    fn edges(&self) -> Vec<SocketAddr> {
        vec![self.proxy.address()]
    }

    fn api(&self) -> SocketAddr {
        self.proxy.address()
    }

    fn views(&self) -> &[&'static str] {
        &["history", "search"]
    }

    fn data(&self, _name: &str) -> PathBuf {
        self.folder.path().join("data")
    }

    fn logs(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn binaries(&self) -> &Path {
        &self.binaries
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Some(mut child) = self.process().take() {
            let ended = child.kill().and_then(|()| child.wait());
            if let Err(error) = ended {
                eprintln!("crash-matrix: dev: {error}");
            }
        }
    }
}
