//! Where a log is: in a data folder, or in Kafka.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tidings_log::embedded::EmbeddedLog;
use tidings_log::kafka::{KafkaConfig, KafkaLog};
use tidings_log::{Log, LogReader};
use tidings_sqlite::Database;
use tidings_wire::{Codec, RegistryConfig};

const BROKERS: &str = "KAFKA_BROKERS";
const DEFAULT_DATA: &str = "./tidings-data";

/// Which log is meant.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PlaceArgs {
    /// Data folder of `tidings dev` [default: ./tidings-data, unless brokers are given]
    #[arg(
        long,
        env = "TIDINGS_DATA",
        value_name = "DIR",
        conflicts_with = "brokers"
    )]
    data: Option<PathBuf>,
    /// Kafka brokers [env: KAFKA_BROKERS, unless a data folder is given]
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: Option<String>,
    /// File of further librdkafka properties, NAME=VALUE a line: TLS, SASL
    #[arg(long, env = "KAFKA_PROPERTIES_FILE", value_name = "FILE")]
    kafka_properties: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) registry: RegistryUrlArgs,
}

/// The schema registry of a cluster.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RegistryUrlArgs {
    /// Schema registry, the base of its Confluent API
    #[arg(
        long,
        alias = "registry",
        env = "SCHEMA_REGISTRY_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    registry_url: Option<String>,
    /// Put before each topic, registry subject and consumer group
    #[arg(
        long,
        env = "TIDINGS_TOPIC_PREFIX",
        value_name = "PREFIX",
        default_value = ""
    )]
    pub(crate) topic_prefix: String,
}

/// A place, decided.
pub(crate) enum Place {
    /// A data folder.
    Folder(PathBuf),
    /// Kafka, by its brokers.
    Kafka(String),
}

/// A log, open for writing.
pub(crate) struct Opened {
    /// The log.
    pub(crate) log: Arc<dyn Log>,
    /// The file of a data folder, which holds the views, too.
    pub(crate) database: Option<Database>,
}

impl RegistryUrlArgs {
    /// The registry, if one is given. Its URL may hold a password.
    pub(crate) fn config(&self) -> Option<RegistryConfig> {
        let url = self.registry_url.clone().filter(|url| !url.is_empty())?;
        Some(RegistryConfig {
            url,
            topic_prefix: self.topic_prefix.clone(),
        })
    }
}

impl PlaceArgs {
    /// A flag counts more than the environment, and of the environment's two
    /// the data folder more.
    pub(crate) fn place(&self) -> Place {
        match (&self.brokers, &self.data) {
            (Some(brokers), _) => Place::Kafka(brokers.clone()),
            (None, Some(data)) => Place::Folder(data.clone()),
            (None, None) => match env::var(BROKERS) {
                Ok(brokers) if !brokers.is_empty() => Place::Kafka(brokers),
                _ => Place::Folder(DEFAULT_DATA.into()),
            },
        }
    }

    /// Opens the log for reading. Must be called in a runtime, which the codec
    /// keeps using.
    pub(crate) async fn open(&self) -> Result<(Arc<dyn LogReader>, Codec)> {
        let codec = self.codec().await?;
        Ok((self.open_log().await?, codec))
    }

    /// What reads the log's records. Must be called in a runtime, which it
    /// keeps using.
    pub(crate) async fn codec(&self) -> Result<Codec> {
        match self.place() {
            Place::Folder(_) => Ok(Codec::locked()),
            Place::Kafka(_) => {
                let registry = self.registry.config().context(
                    "records in Kafka are read with the schema registry: set SCHEMA_REGISTRY_URL \
                     or give --registry-url",
                )?;
                Ok(Codec::connect(&registry).await?)
            }
        }
    }

    /// Opens the log for reading, beside a process that writes it.
    pub(crate) async fn open_log(&self) -> Result<Arc<dyn LogReader>> {
        match self.place() {
            Place::Folder(data) => {
                check_folder(&data)?;
                let log = Database::open_read_only(&data)
                    .map_err(anyhow::Error::from)
                    .and_then(|database| Ok(EmbeddedLog::open_read_only(database)?))
                    .with_context(|| format!("cannot read the log in {}", data.display()))?;
                Ok(Arc::new(log))
            }
            Place::Kafka(brokers) => Ok(Arc::new(self.connect(&brokers).await?)),
        }
    }

    /// Opens the log for writing. A data folder must not be in use.
    pub(crate) async fn open_writable(&self) -> Result<Opened> {
        match self.place() {
            Place::Folder(data) => {
                check_folder(&data)?;
                let partitions = self.open_log().await?.partitions();
                let database = Database::open(&data)?;
                let log = EmbeddedLog::open(database.clone(), partitions)?;
                Ok(Opened {
                    log: Arc::new(log),
                    database: Some(database),
                })
            }
            Place::Kafka(brokers) => Ok(Opened {
                log: Arc::new(self.connect(&brokers).await?),
                database: None,
            }),
        }
    }

    /// How to use the Kafka at these brokers.
    pub(crate) fn kafka(&self, brokers: &str) -> Result<KafkaConfig> {
        let properties = self.kafka_properties.as_deref();
        let mut config = KafkaConfig::new(brokers).with_properties(properties)?;
        config.topic_prefix.clone_from(&self.registry.topic_prefix);
        Ok(config)
    }

    /// Connects to the Kafka at these brokers.
    pub(crate) async fn connect(&self, brokers: &str) -> Result<KafkaLog> {
        let config = self.kafka(brokers)?;
        let log = tokio::task::spawn_blocking(move || KafkaLog::connect(config)).await?;
        log.with_context(|| format!("Kafka at {brokers}"))
    }
}

fn check_folder(data: &Path) -> Result<()> {
    if data.join("tidings.sqlite").exists() {
        return Ok(());
    }
    bail!(
        "no log in {}: give --data the folder of `tidings dev`, or --brokers",
        data.display()
    )
}
