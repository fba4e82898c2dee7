//! `tidings-api`: the HTTP API of a cluster, one of any number.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches};
use tidings_edge::{EdgeArgs, connect};
use tidings_service::health::Health;
use tidings_service::lifecycle::shutdown_signal;
use tidings_service::{http, telemetry, tls, traces};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let args = args();
    if args.print.print(&args) {
        return ExitCode::SUCCESS;
    }
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidings-api: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// It is told the same as an edge, whose log and views it uses; both may run
/// on one machine, and so it listens elsewhere.
fn args() -> EdgeArgs {
    let command = EdgeArgs::command()
        .name("tidings-api")
        .about("The HTTP API: commands and questions over REST")
        .mut_arg("listen", |listen| {
            listen
                .default_value("127.0.0.1:7701")
                .help("Address of the API, /docs, /healthz, /readyz and /metrics")
        });
    EdgeArgs::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
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
    let edge = Arc::new(edge);
    let listener = http::listen(args.listen).await?;
    let listener = listener.certificate(certificate);
    let listener = listener.bounds(args.limits.bounds());
    // The port stays open while it drains, so that /readyz can say so.
    let serving = CancellationToken::new();
    let server = tokio::spawn(http::serve(
        listener,
        health,
        tidings_api::router(Arc::clone(&edge)),
        serving.clone(),
    ));
    stop.cancelled().await;
    edge.drain().await;
    serving.cancel();
    server.await.context("the HTTP server panicked")?
}
