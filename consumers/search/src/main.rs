//! `tidings-search`: the projection of `message.delivered` into OpenSearch or
//! Elasticsearch.

use anyhow::Result;
use clap::Parser;
use tidings_projection::process;
use tidings_search::{Config, connect};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

// The projection's thread does the work; these carry the store's connections.
#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let config = Config::parse();
    if config.process.print.print(&config) {
        return Ok(());
    }
    let connect = async |log, codec, _: &_| connect(&config, log, codec).map(Some);
    process::run(
        &config,
        &config.process,
        config.listen,
        "search view",
        connect,
    )
    .await
}
