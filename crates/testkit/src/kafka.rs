use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, Result};

use crate::servers::{command, folder_of, free_port, wait_until_ready};

/// A Kafka of a test's own that wants TLS and a password of its clients.
pub struct SecureKafka {
    port: String,
    server: Child,
}

impl SecureKafka {
    /// Starts one that shows the certificate in `keystore` (PEM: the key, then
    /// the certificate) and knows one user, by SASL PLAIN.
    ///
    /// # Errors
    /// Where it does not come up.
    pub fn start(keystore: &Path, user: &str, password: &str) -> Result<Self> {
        let (plain, controller, port) = (free_port()?, free_port()?, free_port()?);
        let folder = folder_of(&format!("kafka-{port}"))?;
        let properties = folder.join("secure.properties");
        let text = format!(
            "listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},\
             SECURE://127.0.0.1:{port}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SECURE://127.0.0.1:{port}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,\
             SECURE:SASL_SSL\n\
             listener.name.secure.sasl.enabled.mechanisms=PLAIN\n\
             listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain\
             .PlainLoginModule required user_{user}=\"{password}\";\n\
             listener.name.secure.ssl.keystore.type=PEM\n\
             listener.name.secure.ssl.keystore.location={}\n",
            keystore.display()
        );
        fs::write(&properties, text)?;
        let log = File::create(folder.join("kafka.log"))?;
        let server = command("kafka", &plain, &folder)
            .args(["--controller-port", &controller, "--properties"])
            .arg(&properties)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("scripts/servers")?;
        let kafka = Self { port, server };
        wait_until_ready("kafka", &plain, &kafka.server)
            .with_context(|| format!("see {}", folder.join("kafka.log").display()))?;
        Ok(kafka)
    }

    /// Where clients find it.
    #[must_use]
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for SecureKafka {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
