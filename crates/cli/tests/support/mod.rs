//! A `tidings dev` as a process.

#![allow(dead_code, reason = "each file of tests uses some of it")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A `tidings dev`, killed when the test ends.
pub(crate) struct Dev {
    pub(crate) process: Child,
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) data: PathBuf,
}

impl Dev {
    pub(crate) fn start(data: &Path, listen: &str) -> Self {
        Self::start_logging(data, listen, "warn", Stdio::inherit())
    }

    /// Logs what `filter` says to `log`.
    pub(crate) fn start_logging(data: &Path, listen: &str, filter: &str, log: Stdio) -> Self {
        let mut command = command();
        command.args(["dev", "--listen", listen, "--log", filter]);
        Self::start_by(command.stderr(log), data)
    }

    /// By a command that lacks no more than the folder.
    pub(crate) fn start_by(command: &mut Command, data: &Path) -> Self {
        let command = command.arg("--data").arg(data).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the binary runs");
        let stdout = process.stdout.take().expect("piped");
        let (mut url, mut token) = (None, None);
        for line in BufReader::new(stdout).lines() {
            let line = line.expect("text");
            let mut words = line.split_whitespace();
            match words.next() {
                Some("url") => url = words.next().map(str::to_owned),
                Some("token") => token = words.next().map(str::to_owned),
                _ => {}
            }
            if url.is_some() && token.is_some() {
                break;
            }
        }
        let (url, token) = (url.expect("a url"), token.expect("a token"));
        Self {
            process,
            url,
            token,
            data: data.to_owned(),
        }
    }

    pub(crate) fn kill(mut self) -> PathBuf {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ran");
        self.data.clone()
    }

    /// SIGTERM; the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        self.process.wait().expect("it ran").code()
    }

    pub(crate) fn token(&self, user: &str) -> String {
        let output = run(command()
            .args(["token", "--user", user, "--data"])
            .arg(&self.data));
        String::from_utf8(output.stdout)
            .expect("a token")
            .trim_end()
            .to_owned()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Gone already where the test has ended it.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    for name in [
        "TIDINGS_DATA",
        "TIDINGS_JWT_SECRET",
        "TIDINGS_JWT_SECRET_FILE",
        "KAFKA_BROKERS",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the binary runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
