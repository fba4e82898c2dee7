use std::collections::HashMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::proxy::Proxy;

/// Where the repository is.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Something that runs, and in which processes can be hit: [`Cluster`] or
/// [`Dev`]. Its methods block.
///
/// [`Cluster`]: crate::cluster::Cluster
/// [`Dev`]: crate::dev::Dev
pub(crate) trait System: Send + Sync {
    /// The environment in which `tidings` finds all of it.
    fn environment(&self) -> Result<HashMap<String, String>>;

    /// Where `tidings` finds the log.
    fn place(&self) -> Result<[String; 2]>;

    /// The pid of a live process.
    fn pid(&self, name: &str) -> Result<String>;

    /// Starts a process that has ended, and waits until it is ready.
    fn start(&self, name: &str) -> Result<()>;

    /// SIGTERM, and waits for its end.
    fn stop(&self, name: &str) -> Result<()>;

    /// The processes that should run, but do not serve.
    fn unready(&self) -> Result<Vec<String>>;

    /// Starts one more of a role; gives its name.
    fn add(&self, role: &str) -> Result<String>;

    /// The proxy before a process.
    fn proxy(&self, name: &str) -> Result<&Proxy>;

    /// The disk of its own, if there is one.
    fn disk(&self) -> Option<&Disk>;

    /// The entrances for sockets.
    fn edges(&self) -> Vec<SocketAddr>;

    /// The entrance of the HTTP API.
    fn api(&self) -> SocketAddr;

    /// The views that can be compared with the log.
    fn views(&self) -> &[&'static str];

    /// Where a process writes its data.
    fn data(&self, name: &str) -> PathBuf;

    /// Where the logs of its processes are.
    fn logs(&self) -> PathBuf;

    /// Our binaries.
    fn binaries(&self) -> &Path;

    /// Runs `tidings`; gives what it prints, also where it exits with 1.
    fn tidings(&self, arguments: &[&str]) -> Result<Printed> {
        let mut command = Command::new(self.binaries().join("tidings"));
        command.args(arguments).envs(self.environment()?);
        printed(&mut command)
    }

    /// Runs `tidings` on the system's log and views.
    fn tidings_there(&self, arguments: &[&str]) -> Result<Printed> {
        let place = self.place()?;
        let place = place.iter().map(String::as_str);
        let arguments: Vec<_> = arguments.iter().copied().chain(place).collect();
        self.tidings(&arguments)
    }

    /// Sends a signal, such as `-KILL`.
    fn signal(&self, name: &str, signal: &str) -> Result<()> {
        let pid = self.pid(name)?;
        let status = Command::new("kill").args([signal, &pid]).status()?;
        ensure!(status.success(), "kill {signal} {name} ({pid}): {status}");
        Ok(())
    }

    /// A token of a user whom no limit holds up.
    fn token(&self, user: &str) -> Result<String> {
        let issued = self.tidings(&["token", "--user", user, "--rate", "0", "--ttl", "1d"])?;
        Ok(issued.done()?.trim().to_owned())
    }

    /// All of `message.delivered`.
    fn delivered(&self) -> Result<Vec<Value>> {
        self.tidings_there(&["tail", "message.delivered", "--from", "beginning"])?
            .done()?
            .lines()
            .map(|line| serde_json::from_str(line).context("tail prints no JSON"))
            .collect()
    }
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Printed {
    what: String,
    pub(crate) success: bool,
    pub(crate) stdout: String,
    stderr: String,
}

impl Printed {
    /// What it printed, where it succeeded.
    pub(crate) fn done(self) -> Result<String> {
        if self.success {
            return Ok(self.stdout);
        }
        bail!("{}", self.complaint())
    }

    /// That it failed, in its own words.
    pub(crate) fn complaint(&self) -> String {
        let words: Vec<_> = self.stderr.lines().chain(self.stdout.lines()).collect();
        let last = words.len().saturating_sub(12);
        format!("{} failed: {}", self.what, words[last..].join("\n"))
    }
}

/// Runs a command to its end.
pub(crate) fn printed(command: &mut Command) -> Result<Printed> {
    let program = Path::new(command.get_program()).to_owned();
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let arguments: Vec<_> = command
        .get_args()
        .map(|one| one.to_string_lossy())
        .collect();
    let what = format!("{name} {}", arguments.join(" "));
    let output = command.output().with_context(|| what.clone())?;
    Ok(Printed {
        what,
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Looks again and again until `condition` holds.
pub(crate) fn wait_until(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    let start = Instant::now();
    while !condition() {
        ensure!(
            start.elapsed() < deadline,
            "{what}: not within {deadline:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A small disk of its own, in memory: a folder that can be filled up without
/// harm to anybody else.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts it at `folder`, which is made.
    pub(crate) fn mount(folder: &Path, mebibytes: u32) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(folder);
        printed(&mut mount)?.done()?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) -> Result<()> {
        let mut zeros = File::open("/dev/zero")?;
        let mut ballast = File::create(self.ballast())?;
        match std::io::copy(&mut zeros, &mut ballast) {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(()),
            other => bail!("the disk does not get full: {other:?}"),
        }
    }

    /// Makes room again.
    pub(crate) fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        unmount.arg("--lazy").arg(&self.folder).stdin(Stdio::null());
        if let Err(error) = printed(&mut unmount).and_then(Printed::done) {
            eprintln!("crash-matrix: {error:#}");
        }
    }
}
