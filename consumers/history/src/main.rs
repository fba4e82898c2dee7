//! `tidings-history`: the projection of `message.delivered` into MongoDB.

use anyhow::Result;
use clap::Parser;
use tidings_history::{Config, connect};
use tidings_projection::process;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

// The projection's thread does the work; these carry the store's connections.
#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let config = Config::parse();
    if config.process.print.print(&config) {
        return Ok(());
    }
    let connect = async |log, codec, stop: &_| connect(&config, log, codec, stop).await;
    process::run(
        &config,
        &config.process,
        config.listen,
        "history view",
        connect,
    )
    .await
}
