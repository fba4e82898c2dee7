use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::servers::{command, folder_of, free_port, run, wait_until_ready};

/// A Redis of a test's own, to be stopped, killed and started again.
pub struct OwnRedis {
    port: String,
    server: Child,
}

impl OwnRedis {
    /// Starts one.
    ///
    /// # Errors
    /// Where it does not come up.
    pub fn start() -> Result<Self> {
        let port = free_port()?;
        let server = start_on(&port)?;
        Ok(Self { port, server })
    }

    /// Where it is, also while it is down.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Stops it from answering; connections stay.
    ///
    /// # Errors
    /// Where it is not running.
    pub fn pause(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// Lets it answer again.
    ///
    /// # Errors
    /// Where it is not running.
    pub fn resume(&self) -> Result<()> {
        self.signal("-CONT")
    }

    /// Ends it at once; what it held is lost.
    ///
    /// # Errors
    /// Where it cannot be ended.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill().context("redis-server")?;
        self.server.wait().context("redis-server")?;
        Ok(())
    }

    /// Starts it again, empty, where it was.
    ///
    /// # Errors
    /// Where it does not come up.
    pub fn start_again(&mut self) -> Result<()> {
        self.server = start_on(&self.port)?;
        Ok(())
    }

    /// Empties it, as `FLUSHALL` does.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn flush(&self) -> Result<()> {
        let mut connection = TcpStream::connect(format!("127.0.0.1:{}", self.port))?;
        connection.write_all(b"FLUSHALL\r\n")?;
        let mut answer = [0; 5];
        connection.read_exact(&mut answer)?;
        ensure!(&answer == b"+OK\r\n", "FLUSHALL failed");
        Ok(())
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.server.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status()?;
        ensure!(sent.success(), "kill {signal} {pid} failed");
        Ok(())
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        // One that is killed already is as good.
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

fn start_on(port: &str) -> Result<Child> {
    let folder = folder_of(&format!("redis-{port}"))?;
    let server = run("redis", port, &folder, Stdio::null(), Stdio::null())?;
    wait_until_ready("redis", port, &server)?;
    Ok(server)
}

/// A Redis of a test's own that speaks TLS, and knows one user by a password.
pub struct SecureRedis {
    port: String,
    server: Child,
}

impl SecureRedis {
    /// Starts one that shows this certificate.
    ///
    /// # Errors
    /// Where it does not come up: a redis-server may be built without TLS.
    pub fn start(certificate: &Path, key: &Path, user: &str, password: &str) -> Result<Self> {
        let (plain, port) = (free_port()?, free_port()?);
        let folder = folder_of(&format!("redis-{port}"))?;
        let properties = folder.join("secure.conf");
        let text = format!(
            "tls-port {port}\ntls-auth-clients no\ntls-cert-file {certificate}\n\
             tls-key-file {key}\ntls-ca-cert-file {certificate}\n\
             user {user} on >{password} ~* &* +@all\n",
            certificate = certificate.display(),
            key = key.display(),
        );
        fs::write(&properties, text)?;
        let server = command("redis", &plain, &folder)
            .arg("--properties")
            .arg(&properties)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("scripts/servers")?;
        let redis = Self { port, server };
        wait_until_ready("redis", &plain, &redis.server)?;
        Ok(redis)
    }

    /// Where it is: `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for SecureRedis {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
