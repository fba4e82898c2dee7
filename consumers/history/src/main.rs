//! `tidings-history`: the projection of `message.delivered` into MongoDB.

use std::pin::pin;

use anyhow::{Context, Result};
use clap::Parser;
use tidings_history::{Config, connect};
use tidings_service::health::Health;
use tidings_service::lifecycle::shutdown_signal;
use tidings_service::{http, telemetry};
use tokio_util::sync::CancellationToken;

// The projection's thread does the work; these carry the store's connections.
#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let config = Config::parse();
    if config.print.print(&config) {
        return Ok(());
    }
    let metrics = telemetry::init(config.log.log_format, &config.log.log_filter)?;
    tracing::info!(?config, "starting");
    let stop = shutdown_signal().context("cannot catch signals")?;
    let health = Health::new(metrics);
    let ready = health.condition("history view");
    let listener = http::listen(config.listen).await?;
    let serving = CancellationToken::new();
    let server = http::serve(
        listener,
        health.clone(),
        axum::Router::new(),
        serving.clone(),
    );
    let server = tokio::spawn(server);

    let result = match connect(&config, &stop).await? {
        Some(projection) => {
            let mut ended = pin!(projection.readiness(ready).run(stop.clone()));
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
    server.await.context("the HTTP server has panicked")??;
    result.context("the history view cannot go on")
}
