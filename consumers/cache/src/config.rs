use std::net::SocketAddr;

use tidings_projection::Projection;
use tidings_projection::process::ProcessArgs;
use tidings_service::config::{ServerUrl, parse_listen};

/// What the binary is told by flags and the environment.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "tidings-cache", version, about)]
pub struct Config {
    /// What it has in common with the other projections.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Redis
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: ServerUrl,
    /// Address of /healthz, /readyz and /metrics
    #[arg(
        long,
        env = "TIDINGS_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:7704",
        value_parser = parse_listen
    )]
    pub listen: SocketAddr,
    /// Most records in one write to the store
    #[arg(
        long,
        env = "TIDINGS_CACHE_BATCH",
        value_name = "RECORDS",
        default_value_t = Projection::BATCH as u32,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub batch: u32,
}
