use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::LazyLock;
use std::{env, thread};

use anyhow::{Context, Result, bail};

/// Where the servers are that nothing of ours goes without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers {
    /// Kafka's bootstrap servers, `host:port`.
    pub brokers: String,
    /// The base of the schema registry's Confluent API.
    pub registry_url: String,
    /// MongoDB, with a database in the path.
    pub mongodb_uri: String,
}

/// Kafka, the registry and MongoDB; see [`brokers`] for where they come from.
/// The others are started by [`search_url`], [`elasticsearch_url`] and
/// [`redis_url`], only for tests that ask for them.
///
/// # Panics
/// Where one cannot be started.
#[must_use]
pub fn servers() -> &'static Servers {
    static SERVERS: LazyLock<Servers> = LazyLock::new(|| {
        // Three starts at once take little longer than one.
        let registry = thread::spawn(|| registry_url().to_owned());
        let mongodb = thread::spawn(|| mongodb_uri().to_owned());
        let joined = |handle: thread::JoinHandle<String>| {
            handle
                .join()
                .expect("the thread that starts a server says why it cannot")
        };
        Servers {
            brokers: brokers().to_owned(),
            registry_url: joined(registry),
            mongodb_uri: joined(mongodb),
        }
    });
    &SERVERS
}

/// Kafka's bootstrap servers: `KAFKA_BROKERS`, or a broker that
/// `scripts/servers` starts once per process and that ends with it.
///
/// # Panics
/// Where it cannot be started.
#[must_use]
pub fn brokers() -> &'static str {
    static BROKERS: LazyLock<String> = LazyLock::new(|| {
        from_environment_or_started("KAFKA_BROKERS", "kafka", |port| format!("127.0.0.1:{port}"))
    });
    &BROKERS
}

/// The base of a schema registry's Confluent API: `SCHEMA_REGISTRY_URL`, or a
/// registry started as in [`brokers`].
///
/// # Panics
/// Where it cannot be started.
#[must_use]
pub fn registry_url() -> &'static str {
    static REGISTRY: LazyLock<String> = LazyLock::new(|| {
        from_environment_or_started("SCHEMA_REGISTRY_URL", "registry", |port| {
            format!("http://127.0.0.1:{port}/apis/ccompat/v7")
        })
    });
    &REGISTRY
}

/// A MongoDB with a database in the path: `MONGODB_URI`, or a server started
/// as in [`brokers`].
///
/// # Panics
/// Where it cannot be started.
#[must_use]
pub fn mongodb_uri() -> &'static str {
    static MONGODB: LazyLock<String> = LazyLock::new(|| {
        from_environment_or_started("MONGODB_URI", "mongodb", |port| {
            format!("mongodb://127.0.0.1:{port}/tidings")
        })
    });
    &MONGODB
}

/// The base URL of OpenSearch: `SEARCH_URL`, or a server started as in
/// [`brokers`]. Tests share it: use an index name of your own ([`fresh_name`]).
///
/// # Panics
/// Where it cannot be started.
#[must_use]
pub fn search_url() -> &'static str {
    static SEARCH: LazyLock<String> = LazyLock::new(|| {
        from_environment_or_started("SEARCH_URL", "opensearch", |port| {
            format!("http://127.0.0.1:{port}")
        })
    });
    &SEARCH
}

/// The base URL of Elasticsearch 7.10, the oldest of the servers that the
/// search view supports: `ELASTICSEARCH_URL`, or a server started as in
/// [`brokers`]. `scripts/test` starts none, for few tests want it.
///
/// # Panics
/// Where it cannot be started.
#[must_use]
pub fn elasticsearch_url() -> &'static str {
    static ELASTICSEARCH: LazyLock<String> = LazyLock::new(|| {
        from_environment_or_started("ELASTICSEARCH_URL", "elasticsearch", |port| {
            format!("http://127.0.0.1:{port}")
        })
    });
    &ELASTICSEARCH
}

/// A Redis, without a database in the path: `REDIS_URL`, or a server started
/// as in [`brokers`]. Tests share it: use keys of your own ([`fresh_name`]).
///
/// # Panics
/// Where it cannot be started.
#[must_use]
pub fn redis_url() -> &'static str {
    static REDIS: LazyLock<String> = LazyLock::new(|| {
        from_environment_or_started("REDIS_URL", "redis", |port| {
            format!("redis://127.0.0.1:{port}")
        })
    });
    &REDIS
}

/// A prefix for topics, subjects and groups that no other test uses.
#[must_use]
pub fn fresh_prefix() -> String {
    format!("{}.", fresh_name())
}

/// The same MongoDB with a database that no other test uses.
#[must_use]
pub fn fresh_database(uri: &str) -> String {
    let (base, options) = match uri.split_once('?') {
        Some((base, options)) => (base, format!("?{options}")),
        None => (uri, String::new()),
    };
    let (scheme, rest) = base.split_once("://").unwrap_or(("mongodb", base));
    let hosts = rest.split('/').next().unwrap_or(rest);
    format!("{scheme}://{hosts}/{}{options}", fresh_name())
}

/// A name that no other test uses, of small letters, digits and dashes: for
/// databases, indexes and keys.
#[must_use]
pub fn fresh_name() -> String {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    format!("test-{}", &unique[..12])
}

fn from_environment_or_started(
    variable: &str,
    kind: &str,
    address: impl FnOnce(&str) -> String,
) -> String {
    match env::var(variable) {
        Ok(value) if !value.is_empty() => value,
        _ => match start(kind) {
            Ok(port) => address(&port),
            Err(error) => panic!("cannot start {kind} ({variable} is not set): {error:#}"),
        },
    }
}

/// Starts a server that ends with this process; returns its port.
fn start(kind: &str) -> Result<String> {
    let folder = folder_of(kind)?;
    let fetched = Command::new(script())
        .args(["fetch", kind])
        .status()
        .context("scripts/servers")?;
    if !fetched.success() {
        bail!("scripts/servers fetch failed");
    }
    let port = free_port()?;
    let log_path = folder.with_extension("log");
    let log = File::create(&log_path)?;
    // Never waited for: `--parent` ends it when this process is gone, and until
    // then it is needed.
    let server = run(kind, &port, &folder, log.try_clone()?.into(), log.into())?;
    wait_until_ready(kind, &port, &server)
        .with_context(|| format!("see {}", log_path.display()))?;
    Ok(port)
}

/// A folder for a server's data.
pub(crate) fn folder_of(name: &str) -> Result<PathBuf> {
    let folder = own_folder()?.join(name);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> Result<String> {
    let asked = Command::new(script()).arg("port").output()?;
    Ok(String::from_utf8(asked.stdout)?.trim().to_owned())
}

/// Runs a server that ends with this process at the latest.
pub(crate) fn run(
    kind: &str,
    port: &str,
    folder: &Path,
    stdout: Stdio,
    stderr: Stdio,
) -> Result<Child> {
    command(kind, port, folder)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .context("scripts/servers")
}

/// What runs a server.
pub(crate) fn command(kind: &str, port: &str, folder: &Path) -> Command {
    let mut command = Command::new(script());
    command
        .args(["run", kind, "--port", port, "--data"])
        .arg(folder)
        .args(["--parent", &process::id().to_string()]);
    command
}

pub(crate) fn wait_until_ready(kind: &str, port: &str, server: &Child) -> Result<()> {
    let pid = server.id().to_string();
    let ready = Command::new(script())
        .args(["wait", kind, "--port", port, "--pid", &pid])
        .status()?;
    if !ready.success() {
        bail!("{kind} did not come up");
    }
    Ok(())
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/servers")
}

/// A folder for this process's servers. Nobody is there to remove it when the
/// process ends, so each start removes those of processes that are gone.
fn own_folder() -> Result<PathBuf> {
    let all = env::temp_dir().join("tidings-testkit");
    fs::create_dir_all(&all)?;
    for entry in fs::read_dir(&all)?.flatten() {
        let name = entry.file_name();
        let gone = name.to_str().is_some_and(|pid| {
            pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()
        });
        if gone {
            // Another process may be removing it at this moment: no matter.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
    Ok(all.join(process::id().to_string()))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_fresh_database_keeps_hosts_and_options() {
        let uri = fresh_database("mongodb://u:p@a:1,b:2/tidings?replicaSet=r");
        let (start, rest) = uri.split_once("/test-").expect("a new name");
        assert_eq!(start, "mongodb://u:p@a:1,b:2");
        assert!(rest.ends_with("?replicaSet=r"));
        assert!(fresh_database("mongodb://a:1").starts_with("mongodb://a:1/test-"));
    }

    #[test]
    fn prefixes_differ() {
        assert_ne!(fresh_prefix(), fresh_prefix());
    }

    /// The status line of an HTTP answer, or a Redis answer's first line.
    fn ask(address: &str, question: &str) -> String {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a time limit");
        stream.write_all(question.as_bytes()).expect("asked");
        let mut line = String::new();
        BufReader::new(stream)
            .read_line(&mut line)
            .expect("answered");
        line
    }

    #[test]
    fn search_servers_answer() {
        for url in [search_url(), elasticsearch_url()] {
            let address = url.strip_prefix("http://").expect("an address");
            let answer = ask(
                address,
                "GET /_cluster/health HTTP/1.0\r\nHost: localhost\r\n\r\n",
            );
            assert!(answer.contains(" 200 "), "{url}: {answer}");
        }
    }

    #[test]
    fn redis_answers() {
        let address = redis_url().strip_prefix("redis://").expect("an address");
        assert_eq!(ask(address, "PING\r\n"), "+PONG\r\n");
    }
}
