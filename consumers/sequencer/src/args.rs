use std::net::SocketAddr;
use std::time::Duration;

use tidings_log::kafka::{KafkaConfig, PropertiesError};
use tidings_service::config::{KafkaArgs, LogArgs, PrintConfigArgs, RegistryArgs, parse_listen};
use tidings_service::traces::TraceArgs;
use tidings_wire::RegistryConfig;

use crate::SequencerOptions;

/// Decides each command, numbers it, and writes the decision to the log.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "tidings-sequencer", version, about)]
pub struct SequencerArgs {
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Where the schema registry is.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Address of /healthz, /readyz and /metrics
    #[arg(
        long,
        env = "TIDINGS_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:7710",
        value_parser = parse_listen
    )]
    pub listen: SocketAddr,
    /// How often the state of a partition that changed is saved
    #[arg(
        long,
        env = "TIDINGS_CHECKPOINT_INTERVAL_MS",
        value_name = "MS",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(10..)
    )]
    pub checkpoint_interval_ms: u64,
    /// How long a partition that is handed over may take to finish
    #[arg(
        long,
        env = "TIDINGS_DRAIN_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 5_000
    )]
    pub drain_timeout_ms: u64,
    /// How it logs.
    #[command(flatten)]
    pub log: LogArgs,
    /// What it traces.
    #[command(flatten)]
    pub traces: TraceArgs,
    /// Whether to print all this and stop.
    #[command(flatten)]
    pub print: PrintConfigArgs,
}

impl SequencerArgs {
    /// How to use Kafka.
    ///
    /// # Errors
    /// [`PropertiesError`], of the file of properties.
    pub fn kafka(&self) -> Result<KafkaConfig, PropertiesError> {
        let properties = self.kafka.kafka_properties.as_deref();
        Ok(KafkaConfig {
            topic_prefix: self.kafka.topic_prefix.clone(),
            session_timeout_ms: self.kafka.session_timeout_ms,
            ..KafkaConfig::new(&self.kafka.brokers).with_properties(properties)?
        })
    }

    /// How to use the schema registry.
    #[must_use]
    pub fn registry(&self) -> RegistryConfig {
        RegistryConfig {
            url: self.registry.registry_url.expose().to_owned(),
            topic_prefix: self.kafka.topic_prefix.clone(),
        }
    }

    /// What can be tuned.
    #[must_use]
    pub fn options(&self) -> SequencerOptions {
        SequencerOptions {
            checkpoint_interval: Duration::from_millis(self.checkpoint_interval_ms),
            drain_timeout: Duration::from_millis(self.drain_timeout_ms),
            ..SequencerOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[test]
    fn arguments_become_settings_and_hide_passwords() {
        SequencerArgs::command().debug_assert();
        let args = SequencerArgs::parse_from([
            "tidings-sequencer",
            "--brokers",
            "a:1,b:2",
            "--registry-url",
            "http://user:secret@registry:8081",
            "--topic-prefix",
            "test.",
            "--checkpoint-interval-ms",
            "250",
        ]);
        assert_eq!(args.kafka().unwrap().topic_prefix, "test.");
        assert_eq!(args.registry().topic_prefix, "test.");
        assert_eq!(
            args.options().checkpoint_interval,
            Duration::from_millis(250)
        );
        assert!(!format!("{args:?}").contains("secret"));
    }
}
