//! `tidings-edge`: the socket server of a cluster, one of any number.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tidings_edge::{EdgeArgs, connect};
use tidings_service::health::Health;
use tidings_service::lifecycle::shutdown_signal;
use tidings_service::{http, telemetry, tls, traces};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let args = EdgeArgs::parse();
    if args.print.print(&args) {
        return ExitCode::SUCCESS;
    }
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidings-edge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: EdgeArgs) -> Result<()> {
    let health = Health::new(telemetry::init(args.log.log_format, &args.log.log_filter)?);
    let _exporter = traces::start(&args.traces)?;
    tls::install_provider();
    let auth = args.auth.load()?;
    let certificate = args.tls.load()?;
    let stop = shutdown_signal().context("cannot catch signals")?;
    tracing::info!(config = ?args, "starting");
    let Some(edge) = connect(&args, auth, health.clone(), &stop).await? else {
        return Ok(());
    };
    let listener = http::listen(args.listen).await?;
    let listener = listener.certificate(certificate);
    let listener = listener.bounds(args.limits.bounds());
    // The port stays open while it drains, so that /readyz can say so.
    let serving = CancellationToken::new();
    let server = tokio::spawn(http::serve(
        listener,
        health,
        edge.router(),
        serving.clone(),
    ));
    stop.cancelled().await;
    edge.drain().await;
    serving.cancel();
    server.await.context("the HTTP server panicked")?
}
