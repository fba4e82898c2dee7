//! The sequencer of a cluster: one of any number, which share the partitions.

mod connect;

use std::pin::pin;

use anyhow::{Context, Result};
use axum::Router;
use clap::Parser;
use tidings_log::Log;
use tidings_sequencer::{Clock, Parts, Sequencer, SequencerArgs};
use tidings_service::health::Health;
use tidings_service::lifecycle::shutdown_signal;
use tidings_service::{http, telemetry, traces};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let args = SequencerArgs::parse();
    if args.print.print(&args) {
        return Ok(());
    }
    let metrics = telemetry::init(args.log.log_format, &args.log.log_filter)?;
    tracing::info!(config = ?args, "starting");
    let _exporter = traces::start(&args.traces)?;
    let stop = shutdown_signal().context("cannot catch signals")?;
    let health = Health::new(metrics);
    let ready = health.condition("partitions");
    let listener = http::listen(args.listen).await?;
    let serving = CancellationToken::new();
    let server = tokio::spawn(http::serve(
        listener,
        health.clone(),
        Router::new(),
        serving.clone(),
    ));

    let result = match connect::connect(&args, &stop).await? {
        Some((codec, log)) => {
            let sequencer = Sequencer::spawn(Parts {
                log: log.sequencer()?,
                reader: log,
                codec,
                clock: Clock::system(),
                options: args.options(),
                ready,
                stop: stop.clone(),
            })?;
            let mut ended = pin!(sequencer.wait());
            tokio::select! {
                result = &mut ended => result,
                () = stop.cancelled() => {
                    health.set_draining();
                    ended.await
                }
            }
        }
        None => Ok(()),
    };
    serving.cancel();
    server.await.context("the HTTP server panicked")??;
    result.context("the sequencer cannot go on")
}
