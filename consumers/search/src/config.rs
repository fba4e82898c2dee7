use std::net::SocketAddr;

use tidings_projection::process::ProcessArgs;
use tidings_service::config::{ServerUrl, parse_listen};

/// What the binary is told by flags and the environment.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "tidings-search", version, about)]
pub struct Config {
    /// What it has in common with the other projections.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// OpenSearch or Elasticsearch
    #[arg(long, env = "SEARCH_URL", hide_env_values = true, value_name = "URL")]
    pub search_url: ServerUrl,
    /// Address of /healthz, /readyz and /metrics
    #[arg(
        long,
        env = "TIDINGS_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:7703",
        value_parser = parse_listen
    )]
    pub listen: SocketAddr,
    /// Most records in one write to the store
    #[arg(
        long,
        env = "TIDINGS_SEARCH_BATCH",
        value_name = "RECORDS",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=1_000)
    )]
    pub batch: u32,
    /// How long a write waits for more records
    #[arg(
        long,
        env = "TIDINGS_SEARCH_GATHER_MS",
        value_name = "MS",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(0..=60_000)
    )]
    pub gather_ms: u32,
}
