use std::net::SocketAddr;

use tidings_service::auth::AuthArgs;
use tidings_service::config::{
    KafkaArgs, LogArgs, MongoArgs, PrintConfigArgs, RedisArgs, RegistryArgs, SearchArgs,
    parse_listen,
};
use tidings_service::tls::TlsArgs;
use tidings_service::traces::TraceArgs;

use crate::LimitArgs;

/// What the binary is told by flags and the environment.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "tidings-edge", version, about)]
pub struct EdgeArgs {
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Where the schema registry is.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Where MongoDB is.
    #[command(flatten)]
    pub mongodb: MongoArgs,
    /// Where the search view is.
    #[command(flatten)]
    pub search: SearchArgs,
    /// Where Redis is.
    #[command(flatten)]
    pub redis: RedisArgs,
    /// How tokens are checked.
    #[command(flatten)]
    pub auth: AuthArgs,
    /// Who may ask for how much.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Address of sockets, /healthz, /readyz and /metrics
    #[arg(
        long,
        env = "TIDINGS_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:7700",
        value_parser = parse_listen
    )]
    pub listen: SocketAddr,
    /// Whether the port speaks TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// How it logs.
    #[command(flatten)]
    pub log: LogArgs,
    /// What it traces.
    #[command(flatten)]
    pub traces: TraceArgs,
    /// Whether to print this and exit.
    #[command(flatten)]
    pub print: PrintConfigArgs,
}
