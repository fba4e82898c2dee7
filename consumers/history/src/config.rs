use std::net::SocketAddr;

use tidings_service::config::{
    KafkaArgs, LogArgs, MongoArgs, PrintConfigArgs, RegistryArgs, parse_listen,
};

/// What the binary is told by flags and the environment.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "tidings-history", version, about)]
pub struct Config {
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Where the schema registry is.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Where MongoDB is.
    #[command(flatten)]
    pub mongodb: MongoArgs,
    /// Address of /healthz, /readyz and /metrics
    #[arg(
        long,
        env = "TIDINGS_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:7702",
        value_parser = parse_listen
    )]
    pub listen: SocketAddr,
    /// Most records in one write to the store
    #[arg(
        long,
        env = "TIDINGS_HISTORY_BATCH",
        value_name = "RECORDS",
        default_value_t = crate::Projection::BATCH as u32,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub batch: u32,
    /// How it logs.
    #[command(flatten)]
    pub log: LogArgs,
    /// Whether to print this and exit.
    #[command(flatten)]
    pub print: PrintConfigArgs,
}
