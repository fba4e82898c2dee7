//! Arguments that several binaries share. Each is a flag and an environment
//! variable of the same name; flatten the structs into the binary's own.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

#[cfg(feature = "process")]
use crate::telemetry::LogFormat;

/// An address that may hold a user's name and password; shown without them.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// The whole of it, to connect with.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who leaves out the scheme may still have written a password.
        let (scheme, rest) = match self.0.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, self.0.as_str()),
        };
        let authority = rest.find(['/', '?']).unwrap_or(rest.len());
        match (scheme, rest[..authority].rfind('@')) {
            (_, None) => f.write_str(&self.0),
            (Some(scheme), Some(at)) => write!(f, "{scheme}://***@{}", &rest[at + 1..]),
            (None, Some(at)) => write!(f, "***@{}", &rest[at + 1..]),
        }
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Where Kafka is.
#[derive(Clone, Debug, clap::Args)]
pub struct KafkaArgs {
    /// Kafka brokers, comma-separated host:port
    #[arg(long, env = "KAFKA_BROKERS", value_name = "HOST:PORT,…")]
    pub brokers: String,
    /// File of further librdkafka properties, NAME=VALUE a line: TLS, SASL
    #[arg(long, env = "KAFKA_PROPERTIES_FILE", value_name = "FILE")]
    pub kafka_properties: Option<PathBuf>,
    /// Put before each topic, registry subject and consumer group
    #[arg(
        long,
        env = "TIDINGS_TOPIC_PREFIX",
        value_name = "PREFIX",
        default_value = ""
    )]
    pub topic_prefix: String,
    /// How long Kafka waits for a silent member of a consumer group
    #[arg(
        long,
        env = "TIDINGS_SESSION_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1_000..)
    )]
    pub session_timeout_ms: u32,
}

/// Where the schema registry is.
#[derive(Clone, Debug, clap::Args)]
pub struct RegistryArgs {
    /// Schema registry, the base of its Confluent API
    #[arg(long, env = "SCHEMA_REGISTRY_URL", value_name = "URL")]
    pub registry_url: ServerUrl,
}

/// Where MongoDB is.
#[derive(Clone, Debug, clap::Args)]
pub struct MongoArgs {
    /// MongoDB, with the database in the path [default database: tidings]
    #[arg(long, env = "MONGODB_URI", hide_env_values = true, value_name = "URI")]
    pub mongodb_uri: ServerUrl,
}

/// Where the search view is.
#[derive(Clone, Debug, clap::Args)]
pub struct SearchArgs {
    /// OpenSearch or Elasticsearch [default: none, searches are unavailable]
    #[arg(long, env = "SEARCH_URL", hide_env_values = true, value_name = "URL")]
    pub search_url: Option<ServerUrl>,
}

/// Where Redis is, for whoever can do without.
#[derive(Clone, Debug, clap::Args)]
pub struct RedisArgs {
    /// Redis, for the cache and for typing and presence; without, there is none
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: Option<ServerUrl>,
}

/// How it logs.
#[cfg(feature = "process")]
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// How log lines look
    #[arg(
        long,
        env = "TIDINGS_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "human"
    )]
    pub log_format: LogFormat,
    /// What is logged, such as info or info,tidings_log=debug
    #[arg(
        long = "log",
        env = "TIDINGS_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log_filter: String,
}

/// Whether to say what is in force and stop.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct PrintConfigArgs {
    /// Print the configuration in force, without secrets, and exit
    #[arg(long)]
    pub print_config: bool,
}

impl PrintConfigArgs {
    /// Prints `config` if that was asked for; then the caller is to return.
    /// Secrets hide themselves in their `Debug`.
    #[must_use]
    pub fn print(self, config: &impl fmt::Debug) -> bool {
        if self.print_config {
            println!("{config:#?}");
        }
        self.print_config
    }
}

/// Reads an address to listen on; for a flag of the binary's own, since each
/// has its own default.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an address such as 127.0.0.1:7700"))
}

/// Reads a length of time: a number and s, m, h or d; a bare number is seconds.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let seconds_each = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 0,
    };
    let number = text[..text.len() - unit.len()].parse::<u64>().ok();
    let seconds = number.and_then(|number| number.checked_mul(seconds_each));
    match seconds {
        // A century is beyond what anybody means.
        Some(seconds @ 1..=3_155_760_000) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected a time such as 90s, 15m, 1h or 30d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_their_passwords() {
        let shown = [
            (
                "mongodb://u:p%40@h:1/db?x=a@b",
                "mongodb://***@h:1/db?x=a@b",
            ),
            ("mongodb://h:1/db", "mongodb://h:1/db"),
            ("http://u@h/path@home", "http://***@h/path@home"),
            ("h:1", "h:1"),
            ("admin:secret@h:9200/x@y", "***@h:9200/x@y"),
        ];
        for (full, expected) in shown {
            let url: ServerUrl = full.parse().unwrap();
            assert_eq!(url.to_string(), expected);
            assert_eq!(url.expose(), full);
            assert_eq!(format!("{url:?}"), format!("{expected:?}"));
        }
    }

    #[test]
    fn times_have_units() {
        let cases = [
            ("90s", 90),
            ("90", 90),
            ("15m", 900),
            ("1h", 3_600),
            ("30d", 2_592_000),
        ];
        for (text, seconds) in cases {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "h",
            "1w",
            "-1h",
            "0",
            "1.5h",
            "99999999999d",
            "1 h",
            "é",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
