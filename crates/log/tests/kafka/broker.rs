use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A broker of a test's own, to be killed, frozen and started again.
pub(crate) struct Broker {
    port: String,
    data: tempfile::TempDir,
    process: Child,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let fetched = Command::new(script())
            .arg("fetch")
            .status()
            .expect("scripts/servers");
        assert!(fetched.success(), "cannot fetch Kafka");
        let port = Command::new(script())
            .arg("port")
            .output()
            .expect("a free port");
        let port = String::from_utf8(port.stdout)
            .expect("digits")
            .trim()
            .to_owned();
        let data = tempfile::tempdir().expect("a folder");
        let process = run(&port, data.path());
        let broker = Self {
            port,
            data,
            process,
        };
        broker.wait();
        broker
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// As a power cut, but for what the machine had not written to its disk.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("kills");
        self.process.wait().expect("ends");
    }

    pub(crate) fn start_again(&mut self) {
        self.process = run(&self.port, self.data.path());
        self.wait();
    }

    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .expect("kill");
        assert!(sent.success(), "cannot send SIG{name}");
    }

    fn wait(&self) {
        let pid = self.process.id().to_string();
        let ready = Command::new(script())
            .args(["wait", "kafka", "--port", &self.port, "--pid", &pid])
            .status()
            .expect("scripts/servers");
        assert!(ready.success(), "the broker does not come up");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have been killed by the test.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn run(port: &str, data: &Path) -> Child {
    Command::new(script())
        .args(["run", "kafka", "--port", port, "--data"])
        .arg(data)
        .args(["--parent", &std::process::id().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/servers")
}
