//! `tidings lag`.

mod watch;

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use tidings_log::is_consumer;
use tidings_operate::{ConsumerLag, LagMeter, LagReport, Thresholds};

use crate::output;
use crate::place::PlaceArgs;

/// Show how far each consumer is behind the log
///
/// Of the sequencer and of every projection: records that are not applied yet,
/// and the age of the oldest of them, by what each has told the log (Kafka's
/// group offsets; in a data folder a table). A consumer tells once a second.
/// Shown too: which are paused and why, and which have no process at them.
///
/// Works on the data folder of a `tidings dev` that is running, too.
///
/// Exit status: 0 done, 1 failed or further behind than --max-records or
/// --max-seconds allow, 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings lag
  tidings lag --partitions --consumer history
  tidings lag --max-seconds 30 --json
  tidings lag --watch --metrics http://edge-1:7700,http://edge-2:7700")]
pub(crate) struct LagArgs {
    /// Only this consumer (repeat it, or separate with commas)
    #[arg(
        long = "consumer",
        value_name = "CONSUMER",
        value_delimiter = ',',
        value_parser = parse_consumer
    )]
    consumers: Vec<String>,
    /// Show each partition that is behind
    #[arg(long)]
    partitions: bool,
    /// Exit with 1 where a consumer is more records behind
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    max_records: Option<i64>,
    /// Exit with 1 where a consumer is more seconds behind
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    max_seconds: Option<f64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Stay, and show on the terminal what changes: also the rates of topics,
    /// the sequencers' epochs, open dead letters and the edges' sockets
    #[arg(long, conflicts_with_all = ["json", "partitions", "max_records", "max_seconds"])]
    watch: bool,
    /// How often --watch looks, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 1.0,
        value_parser = parse_interval,
        requires = "watch"
    )]
    every: f64,
    /// The edges whose sockets --watch shows: where their metrics are (repeat
    /// it, or separate with commas)
    #[arg(long, value_name = "URL", value_delimiter = ',', requires = "watch")]
    metrics: Vec<String>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Reads a consumer's name.
pub(crate) fn parse_consumer(text: &str) -> Result<String, String> {
    if is_consumer(text) {
        return Ok(text.to_owned());
    }
    Err("expected sequencer, history, search or cache, or a generation such as history.g2".into())
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok(seconds),
        _ => Err("expected a number of seconds that is not negative".to_owned()),
    }
}

fn parse_interval(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3_600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds from 0.1 to 3600".to_owned()),
    }
}

pub(crate) fn run(args: &LagArgs) -> Result<ExitCode> {
    if args.watch {
        return watch::run(args);
    }
    let runtime = crate::runtime()?;
    let log = runtime.block_on(args.place.open_log())?;
    let mut meter = LagMeter::new(log)?;
    let report = meter.measure(&args.consumers)?;
    let thresholds = Thresholds {
        records: args.max_records,
        seconds: args.max_seconds,
    };
    let by_name = !args.consumers.is_empty();
    let late = report
        .consumers
        .iter()
        .any(|lag| thresholds.are_exceeded_by(lag, by_name));
    if args.json {
        output::json(&report)?;
    } else {
        output::line(describe(&report, args.partitions).trim_end())?;
    }
    Ok(ExitCode::from(u8::from(late)))
}

fn describe(report: &LagReport, with_partitions: bool) -> String {
    let mut text = format!(
        "{:<14} {:<10} {:>7} {:>12} {:>12}\n",
        "CONSUMER", "STATE", "MEMBERS", "RECORDS", "SECONDS"
    );
    for lag in &report.consumers {
        // Writing to a String cannot fail.
        writeln!(
            text,
            "{:<14} {:<10} {:>7} {:>12} {:>12.1}",
            lag.consumer,
            lag.state.text(),
            lag.members,
            lag.records,
            lag.seconds,
        )
        .ok();
        if let Some(paused) = &lag.paused {
            let by = paused.by.as_deref().unwrap_or("somebody");
            let (since, reason) = (&paused.since, &paused.reason);
            writeln!(text, "  paused by {by} since {since}: {reason}").ok();
        }
        if with_partitions {
            describe_partitions(lag, &mut text);
        }
    }
    text
}

fn describe_partitions(lag: &ConsumerLag, text: &mut String) {
    for partition in lag.partitions.iter().filter(|lag| lag.records > 0) {
        let next = partition
            .next
            .map_or_else(|| "-".to_owned(), |next| next.to_string());
        writeln!(
            text,
            "  {} {}: {} behind, {:.1} s (at {next} of {})",
            partition.topic,
            partition.partition,
            partition.records,
            partition.seconds,
            partition.end,
        )
        .ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_seconds_are_read() {
        for name in ["sequencer", "history", "search.g12"] {
            assert_eq!(parse_consumer(name), Ok(name.to_owned()));
        }
        for name in ["", "histori", "history.g", "history.gx", "edge"] {
            assert!(parse_consumer(name).is_err(), "{name}");
        }
        assert_eq!(parse_seconds("1.5"), Ok(1.5));
        assert_eq!(parse_interval("0.5"), Ok(0.5));
        assert!(parse_interval("0").is_err() && parse_interval("NaN").is_err());
        assert!(parse_seconds("-1").is_err() && parse_seconds("inf").is_err());
    }
}
