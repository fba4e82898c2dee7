use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::proxy::Proxy;
use crate::system::{Disk, Printed, System, printed, repository};

/// Shorter than a pause of ours, so that whoever is paused has lost its place.
const SESSION_TIMEOUT_MS: &str = "6000";
/// With room for the servers' own files, and filled up in no time.
const DISK_MEBIBYTES: u32 = 768;
/// What stands behind a proxy: servers, and what clients connect to.
const BROKERS: [&str; 3] = ["kafka", "kafka-2", "kafka-3"];
const SERVERS: [&str; 4] = ["registry", "mongodb", "opensearch", "redis"];
const ENTRANCES: [&str; 3] = ["edge-1", "edge-2", "api"];

/// A cluster by `scripts/cluster`, in a folder of its own, with proxies before
/// its servers and its entrances. Down when dropped.
pub(crate) struct Cluster {
    folder: TempDir,
    binaries: PathBuf,
    brokers: &'static [&'static str],
    proxies: HashMap<&'static str, Proxy>,
    disk: Option<Disk>,
}

impl Cluster {
    /// Brings one up, with so many brokers and the data of `on_disk` on a
    /// [`Disk`].
    pub(crate) async fn up(binaries: &Path, brokers: usize, on_disk: Option<&str>) -> Result<Self> {
        let brokers = &BROKERS[..brokers];
        let folder = TempDir::with_prefix("crash-matrix-")?;
        let mut proxies = HashMap::new();
        for name in brokers.iter().copied().chain(SERVERS).chain(ENTRANCES) {
            let target = folder.path().join(format!("cluster/{name}.address"));
            proxies.insert(name, Proxy::before(target).await?);
        }
        let mut cluster = Self {
            folder,
            binaries: binaries.to_owned(),
            brokers,
            proxies,
            disk: None,
        };
        if let Some(name) = on_disk {
            cluster.disk = Some(Disk::mount(&cluster.data(name), DISK_MEBIBYTES)?);
        }
        let cluster = tokio::task::spawn_blocking(move || {
            cluster.script(&["up"])?;
            anyhow::Ok(cluster)
        });
        cluster.await?
    }

    /// Runs `scripts/cluster`; gives what it prints.
    fn script(&self, arguments: &[&str]) -> Result<String> {
        self.run_script(arguments)?.done()
    }

    fn run_script(&self, arguments: &[&str]) -> Result<Printed> {
        let mut command = Command::new(repository().join("scripts/cluster"));
        command
            .args(arguments)
            .env("TIDINGS_CLUSTER_DIR", self.logs())
            .env("TIDINGS_CLUSTER_TIMEOUT", "150")
            .env("TIDINGS_BIN_DIR", &self.binaries)
            .env("TIDINGS_SESSION_TIMEOUT_MS", SESSION_TIMEOUT_MS)
            .env("TIDINGS_CLUSTER_BROKERS", self.brokers.len().to_string());
        for name in self.brokers.iter().copied().chain(SERVERS) {
            let variable = name.to_uppercase().replace('-', "_");
            let via = format!("TIDINGS_CLUSTER_VIA_{variable}");
            command.env(via, self.proxies[name].address().to_string());
        }
        printed(&mut command)
    }
}

impl System for Cluster {
    fn environment(&self) -> Result<HashMap<String, String>> {
        let unquote = |value: &str| value.trim_matches(['"', '\'']).to_owned();
        let exported = self.script(&["env"])?;
        let lines = exported.lines();
        let pairs = lines.filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        Ok(pairs
            .map(|(name, value)| (name.to_owned(), unquote(value)))
            .collect())
    }

    fn place(&self) -> Result<[String; 2]> {
        let brokers = self.brokers.iter();
        let brokers = brokers.map(|name| self.proxies[name].address().to_string());
        Ok([
            "--brokers".to_owned(),
            brokers.collect::<Vec<_>>().join(","),
        ])
    }

    fn pid(&self, name: &str) -> Result<String> {
        let variable = format!("PID_{}", name.to_uppercase().replace('-', "_"));
        let pid = self.environment()?.remove(&variable);
        pid.with_context(|| format!("{name} does not run"))
    }

    fn start(&self, name: &str) -> Result<()> {
        self.script(&["start", name]).map(drop)
    }

    fn stop(&self, name: &str) -> Result<()> {
        self.script(&["stop", name]).map(drop)
    }

    fn unready(&self) -> Result<Vec<String>> {
        // It fails where one of them does not run.
        let status = self.run_script(&["status"])?.stdout;
        let lines = status.lines().skip(1).map(str::split_whitespace);
        let unready = lines.filter_map(|mut line| {
            let (name, state) = (line.next()?, line.nth(1)?);
            (!["ready", "stopped"].contains(&state)).then(|| name.to_owned())
        });
        Ok(unready.collect())
    }

    fn add(&self, role: &str) -> Result<String> {
        Ok(self.script(&["add", role])?.trim().to_owned())
    }

    fn proxy(&self, name: &str) -> Result<&Proxy> {
        let found = self.proxies.get(name);
        found.with_context(|| format!("no proxy before {name}"))
    }

    fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    fn edges(&self) -> Vec<SocketAddr> {
        let edges = ["edge-1", "edge-2"];
        edges.map(|name| self.proxies[name].address()).to_vec()
    }

    fn api(&self) -> SocketAddr {
        self.proxies["api"].address()
    }

    fn views(&self) -> &[&'static str] {
        &["history", "search", "cache"]
    }

    fn data(&self, name: &str) -> PathBuf {
        self.logs().join("data").join(name)
    }

    fn logs(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    fn binaries(&self) -> &Path {
        &self.binaries
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.script(&["down", "--keep"]) {
            eprintln!("crash-matrix: {error:#}");
        }
        // Unmounted first: a folder that is one cannot be removed.
        self.disk = None;
        if let Err(error) = fs::remove_dir_all(self.logs()) {
            eprintln!("crash-matrix: {}: {error}", self.logs().display());
        }
    }
}
