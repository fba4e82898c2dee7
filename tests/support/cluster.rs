use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

/// Where the repository is.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The folder of our binaries, built if they are not up to date.
fn binaries() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let mut build = Command::new(env!("CARGO"));
        // Cargo tells a test about its package in the environment. A build
        // script that looks at these would run again, and again afterwards.
        for (name, _) in std::env::vars_os() {
            let told = name.to_string_lossy();
            if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
                build.env_remove(&name);
            }
        }
        let status = build
            // All targets, for then cargo chooses the same features of our
            // dependencies as `cargo test` did, and has nothing left to do.
            .args(["build", "--workspace", "--all-targets", "--locked"])
            .current_dir(repository())
            .status()
            .expect("cargo can be run");
        assert!(status.success(), "our binaries do not build");
        // This test's own binary is in DIR/deps.
        let test = std::env::current_exe().expect("the path of this test");
        let folder = test
            .parent()
            .and_then(Path::parent)
            .expect("the folder of binaries");
        folder.to_owned()
    });
    &BUILT
}

/// A cluster by `scripts/cluster`, in a folder of its own. Down when dropped.
pub(crate) struct Cluster {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Cluster {
    /// Brings one up; `settings` are environment variables of our binaries.
    pub(crate) fn up(settings: &[(&'static str, &str)]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let settings = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let cluster = Self { folder, settings };
        cluster.script(&["up"]);
        cluster
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(repository().join("scripts/cluster"));
        command
            .args(arguments)
            .env("TIDINGS_CLUSTER_DIR", self.folder.path().join("cluster"))
            .env("TIDINGS_BIN_DIR", binaries())
            // Those of the servers that the test run shares.
            .env_remove("KAFKA_BROKERS")
            .env_remove("SCHEMA_REGISTRY_URL")
            .env_remove("MONGODB_URI")
            .env_remove("SEARCH_URL")
            .env_remove("REDIS_URL")
            .envs(self.settings.iter().map(|(name, value)| (*name, value)));
        command
    }

    /// Runs `scripts/cluster` and expects it to succeed.
    pub(crate) fn script(&self, arguments: &[&str]) -> String {
        let output = self
            .command(arguments)
            .output()
            .expect("scripts/cluster can be run");
        text_of(&output, &format!("scripts/cluster {arguments:?}"))
    }

    /// What `scripts/cluster env` exports.
    pub(crate) fn env(&self) -> HashMap<String, String> {
        let unquote = |value: &str| value.trim_matches(['"', '\'']).to_owned();
        self.script(&["env"])
            .lines()
            .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
            .map(|(name, value)| (name.to_owned(), unquote(value)))
            .collect()
    }

    /// The sockets' addresses, comma-separated.
    pub(crate) fn edge_urls(&self) -> String {
        self.env()["TIDINGS_EDGE_URLS"].clone()
    }

    /// Sends a signal to a process, such as `-KILL` to `edge-1`.
    pub(crate) fn signal(&self, name: &str, signal: &str) {
        let pid = &self.env()[&format!("PID_{}", name.to_uppercase().replace('-', "_"))];
        let status = Command::new("kill")
            .args([signal, pid])
            .status()
            .expect("kill can be run");
        assert!(status.success(), "kill {signal} {name} ({pid})");
    }

    /// The `tidings` command, with the cluster's environment.
    pub(crate) fn tidings(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binaries().join("tidings"));
        command.args(arguments).envs(self.env());
        command
    }

    /// Starts an import of these files over both edges; its summary goes to
    /// `summary.json` in the cluster's folder.
    pub(crate) fn start_import(&self, files: &[PathBuf]) -> Child {
        let summary = File::create(self.summary_path()).expect("a file for the summary");
        self.tidings(&[
            "import",
            "irc",
            "--json",
            "--parallel",
            "2",
            "--give-up-after",
            "120s",
        ])
        .args(["--url", &self.edge_urls()])
        .args(files)
        .stdout(summary)
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the import starts")
    }

    /// Waits for an import, expects it to have succeeded, gives its summary.
    pub(crate) fn finish_import(&self, import: &mut Child) -> Value {
        let status = import.wait().expect("the import ends");
        let summary = std::fs::read(self.summary_path()).expect("the summary");
        let summary: Value = serde_json::from_slice(&summary).expect("the summary is JSON");
        assert!(
            status.success(),
            "the import failed: {:#}",
            summary["total"]
        );
        summary
    }

    fn summary_path(&self) -> PathBuf {
        self.folder.path().join("summary.json")
    }

    /// All of `message.delivered`, as `tidings tail` prints it.
    pub(crate) fn delivered(&self) -> Vec<Value> {
        let output = self
            .tidings(&["tail", "message.delivered", "--from", "beginning"])
            .args(["--brokers", &self.env()["KAFKA_BROKERS"]])
            .output()
            .expect("tidings tail can be run");
        text_of(&output, "tidings tail")
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
            .collect()
    }

    /// A token for a user.
    pub(crate) fn token(&self, user: &str) -> String {
        self.issue(&["token", "--user", user])
    }

    /// A token of a user in a tenant.
    pub(crate) fn token_of(&self, user: &str, tenant: &str) -> String {
        self.issue(&["token", "--user", user, "--tenant", tenant])
    }

    fn issue(&self, arguments: &[&str]) -> String {
        let output = self
            .tidings(arguments)
            .output()
            .expect("tidings token can be run");
        text_of(&output, "tidings token").trim().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // All that is left of it for whoever looks why.
            for arguments in ["status", "logs"] {
                if let Ok(output) = self.command(&[arguments]).output() {
                    eprintln!("{}", String::from_utf8_lossy(&output.stdout));
                }
            }
        }
        let output = self.command(&["down"]).output();
        if !output.is_ok_and(|output| output.status.success()) {
            eprintln!("scripts/cluster down failed");
        }
    }
}

fn text_of(output: &Output, what: &str) -> String {
    assert!(
        output.status.success(),
        "{what}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).expect("output is UTF-8")
}
