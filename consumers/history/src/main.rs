//! `tidings-history`: the projection of `message.delivered` into MongoDB.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tidings_history::{Config, connect};
use tidings_service::health::Health;
use tidings_service::lifecycle::shutdown_signal;
use tidings_service::{http, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    if config.print.print(&config) {
        return ExitCode::SUCCESS;
    }
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidings-history: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> Result<()> {
    let health = Health::new(telemetry::init(
        config.log.log_format,
        &config.log.log_filter,
    )?);
    let ready = health.condition("history view");
    let stop = shutdown_signal()?;
    let listener = http::listen(config.listen).await?;
    let server = http::serve(listener, health, axum::Router::new(), stop.clone());
    let server = tokio::spawn(server);
    if let Some(projection) = connect(&config, &stop).await? {
        let ended = projection.readiness(ready).run(stop.clone()).await;
        stop.cancel();
        ended.context("the projection has stopped")?;
    }
    server.await.context("the HTTP server has panicked")?
}
