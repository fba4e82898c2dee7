//! Logs to stderr, metrics for Prometheus.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For a person at a terminal.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The buckets of every `_seconds` histogram: 100 µs to 10 s, close enough
/// around the promised 10, 50 and 100 ms to tell on which side of them it is.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05,
    0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// What the process has counted and measured.
#[derive(Clone)]
pub struct MetricsHandle(PrometheusHandle);

impl MetricsHandle {
    /// All of it, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

impl std::fmt::Debug for MetricsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsHandle")
    }
}

/// Starts logs (see [`init_logs`]) and metrics (see [`install_metrics`]).
///
/// # Errors
/// Where the filter cannot be read, or another subscriber or recorder is there.
pub fn init(format: LogFormat, filter: &str) -> Result<MetricsHandle> {
    init_logs(format, filter)?;
    install_metrics()
}

/// Sends log lines to stderr. `filter` is what `tracing_subscriber` takes:
/// `info`, or `info,tidings_edge=debug`. Once a process.
///
/// # Errors
/// Where the filter cannot be read, or logs go elsewhere already.
pub fn init_logs(format: LogFormat, filter: &str) -> Result<()> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("TIDINGS_LOG: {filter:?} is not a log filter"))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Human => {
            use std::io::IsTerminal;
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_ansi(colours).with_target(false).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let harmless = filter_fn(|line| !tells_what_was_said(line.target(), *line.level()));
    tracing_subscriber::registry()
        .with(filter)
        .with(lines.with_filter(harmless))
        .try_init()
        .map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

/// Whether lines of this kind hold whole frames, with tokens and texts. They
/// are left out whatever the filter says.
fn tells_what_was_said(target: &str, level: Level) -> bool {
    let library = target.split("::").next().unwrap_or_default();
    level == Level::TRACE && ["tungstenite", "tokio_tungstenite"].contains(&library)
}

/// Makes the process' metrics go to one recorder. A second call gives the
/// same one again.
///
/// # Errors
/// Where somebody else has installed a recorder.
pub fn install_metrics() -> Result<MetricsHandle> {
    static INSTALLED: Mutex<Option<MetricsHandle>> = Mutex::new(None);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets(SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .context("cannot start metrics")?;
    Ok(installed.insert(MetricsHandle(handle)).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_have_the_buckets_of_the_promises() {
        let handle = install_metrics().unwrap();
        metrics::histogram!("tidings_test_seconds").record(0.004);
        let text = install_metrics().unwrap().render();
        assert!(
            text.contains("tidings_test_seconds_bucket{le=\"0.003\"} 0"),
            "{text}"
        );
        assert!(
            text.contains("tidings_test_seconds_bucket{le=\"0.005\"} 1"),
            "{text}"
        );
        assert_eq!(format!("{handle:?}"), "MetricsHandle");
    }
}
