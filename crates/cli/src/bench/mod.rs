//! `tidings bench`.

mod fleet;
mod http;
mod idle;
mod load;
mod meter;
mod projection;
mod raw;
mod report;
mod scan;
mod socket;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use self::http::HttpLoad;
use self::load::Load;
use self::raw::{RawLoad, RawReport};
use crate::client::{ClientArgs, Dialer};
use crate::output;

/// Measure a server under load
///
/// Opens sockets of as many users, makes conversations, and sends messages at
/// a given rate whatever the server does. Latencies are counted from when a
/// message was due, so a server that stalls cannot hide it. The first second
/// (--warmup) is not measured. A table goes to stderr, one JSON document to
/// stdout.
///
/// Exit status: 0 all arrived once and in order, 1 something went wrong,
/// 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  tidings bench --connections 1000 --rate 2000 --seconds 30
  tidings bench --connections 100 --members 2 --seconds 20 --with-raw sqlite
  tidings bench projection search --brokers 127.0.0.1:9092
  tidings bench idle --connections 5000 --pid $(pgrep -x tidings)
  tidings bench raw --brokers 127.0.0.1:9092")]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Other {
    Http(HttpArgs),
    Idle(IdleArgs),
    Projection(projection::ProjectionArgs),
    Raw(RawArgs),
}

#[derive(Debug, clap::Args)]
struct LoadArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// Sockets, each of a user of its own
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Messages a second in all; 0: as fast as the window allows
    #[arg(long, value_name = "R", default_value_t = 0.0, value_parser = parse_amount)]
    rate: f64,
    /// How long to measure
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = parse_amount)]
    seconds: f64,
    /// How long to run before measuring, in seconds
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = parse_amount)]
    warmup: f64,
    /// Members of each conversation
    #[arg(long, value_name = "M", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    members: u32,
    /// Conversations of each group of so many; its messages go to them in turn
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    conversations: u32,
    /// Bytes of each text (its first 30 or so say which message it is)
    #[arg(long, value_name = "B", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    bytes: u32,
    /// Messages undecided at once with --rate 0
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// Measure this without tidings afterwards, and compare
    #[arg(long, value_name = "WHICH")]
    with_raw: Option<Raw>,
    /// Kafka brokers of --with-raw kafka
    #[arg(long, env = "KAFKA_BROKERS", value_name = "HOST:PORT,…")]
    brokers: Option<String>,
    /// Print no table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Raw {
    /// Produce, consume, copy, consume, with plain rdkafka
    Kafka,
    /// Insert, read, copy, read, in batches
    Sqlite,
}

/// Measure reads over HTTP beside messages over sockets
///
/// Reads pages, messages, lists, members and what is unread at a given rate,
/// while messages are sent over sockets; then asks a bare axum handler in this
/// process at the same rate, beside the same messages. Latencies are counted
/// from when a request was due.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings bench http --rate 500 --messages 500 --seconds 20
  tidings bench http --url \"$TIDINGS_EDGE_URLS\" --api-url \"$TIDINGS_API_URL\"")]
struct HttpArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// Base of the HTTP API
    #[arg(
        long,
        env = "TIDINGS_API_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:7700"
    )]
    api_url: String,
    /// Reads a second
    #[arg(long, value_name = "R", default_value_t = 500.0, value_parser = parse_amount)]
    rate: f64,
    /// Messages a second meanwhile; 0: none
    #[arg(long, value_name = "R", default_value_t = 500.0, value_parser = parse_amount)]
    messages: f64,
    /// How long to measure each of the two
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = parse_amount)]
    seconds: f64,
    /// How long to run before measuring, in seconds
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = parse_amount)]
    warmup: f64,
    /// Users who read, each with a conversation of its own
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,
    /// Print no table
    #[arg(long)]
    json: bool,
}

/// Measure a server's memory for each idle connection
#[derive(Debug, clap::Args)]
struct IdleArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// Sockets, each of a user of its own
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// The server's process
    #[arg(long, value_name = "PID")]
    pid: u32,
    /// Print no sentence
    #[arg(long)]
    json: bool,
}

/// Measure Kafka and SQLite without tidings
///
/// SQLite: batched inserts, the same through a copy, and bare durable commits,
/// in the data folder's file system. Kafka, where brokers are given: produce,
/// consume, copy, consume, in topics of its own that are deleted afterwards.
#[derive(Debug, clap::Args)]
struct RawArgs {
    /// Kafka brokers
    #[arg(long, env = "KAFKA_BROKERS", value_name = "HOST:PORT,…")]
    brokers: Option<String>,
    /// Folder for the SQLite file, removed afterwards
    #[arg(
        long,
        env = "TIDINGS_DATA",
        value_name = "DIR",
        default_value = "./tidings-data"
    )]
    data: PathBuf,
    /// Messages a second at which Kafka's latencies are measured too
    #[arg(long, value_name = "R", default_value_t = 0.0, value_parser = parse_amount)]
    rate: f64,
    /// How long to measure each
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = parse_amount)]
    seconds: f64,
    /// Bytes of each text; records are larger, as ours are
    #[arg(long, value_name = "B", default_value_t = 200)]
    bytes: u32,
    /// Print no table
    #[arg(long)]
    json: bool,
}

fn parse_amount(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(amount) if amount.is_finite() && amount >= 0.0 => Ok(amount),
        _ => Err("expected a number that is not negative".to_owned()),
    }
}

pub(crate) fn run(args: BenchArgs) -> Result<ExitCode> {
    match args.other {
        None => run_load(&args.load),
        Some(Other::Http(args)) => run_http(args),
        Some(Other::Idle(args)) => run_idle(&args),
        Some(Other::Projection(args)) => run_projection(&args),
        Some(Other::Raw(args)) => run_raw(&args),
    }
}

fn run_load(args: &LoadArgs) -> Result<ExitCode> {
    let dialer = Dialer::new(&args.client)?;
    let load = Load {
        connections: args.connections as usize,
        rate: args.rate,
        seconds: args.seconds,
        warmup_seconds: args.warmup,
        members: args.members.min(args.connections) as usize,
        conversations: args.conversations as usize,
        bytes: args.bytes as usize,
        window: args.window as usize,
    };
    let mut report = load::run(&dialer, load)?;
    if let Some(which) = args.with_raw {
        let load = RawLoad {
            rate: args.rate,
            seconds: args.seconds,
            text_bytes: load.bytes,
        };
        let mut raw = RawReport::default();
        let rate = match which {
            Raw::Kafka => {
                let brokers = args.brokers.as_deref();
                let brokers = brokers.context("--with-raw kafka needs --brokers")?;
                raw.kafka.insert(raw::kafka(brokers, load)?).pipeline_rate
            }
            Raw::Sqlite => {
                raw.sqlite
                    .insert(raw::sqlite(&args.client.secret.data, load)?)
                    .pipeline_rate
            }
        };
        // A rate that was asked for says nothing about what was possible.
        report.ratio_to_raw = (args.rate == 0.0).then(|| report.achieved_rate / rate);
        tell(args.json, &raw.describe());
        report.raw = Some(serde_json::to_value(raw)?);
    }
    show(args.json, &report.describe(), &report)?;
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn run_http(args: HttpArgs) -> Result<ExitCode> {
    let dialer = Dialer::new(&args.client)?;
    let load = HttpLoad {
        api: args.api_url,
        rate: args.rate,
        messages: args.messages,
        seconds: args.seconds,
        warmup_seconds: args.warmup,
        users: args.users as usize,
    };
    if load.rate <= 0.0 {
        anyhow::bail!("--rate: there must be reads to measure");
    }
    let report = http::run(&dialer, &load)?;
    show(args.json, &report.describe(), &report)?;
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn run_idle(args: &IdleArgs) -> Result<ExitCode> {
    let dialer = Dialer::new(&args.client)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(idle::run(&dialer, args.connections as usize, args.pid))?;
    show(args.json, &report.describe(), &report)?;
    Ok(ExitCode::SUCCESS)
}

fn run_projection(args: &projection::ProjectionArgs) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(projection::run(args))?;
    show(args.json, &report.describe(), &report)?;
    Ok(ExitCode::SUCCESS)
}

fn run_raw(args: &RawArgs) -> Result<ExitCode> {
    let load = RawLoad {
        rate: args.rate,
        seconds: args.seconds,
        text_bytes: args.bytes as usize,
    };
    let kafka = args
        .brokers
        .as_deref()
        .map(|brokers| raw::kafka(brokers, load))
        .transpose()?;
    let report = RawReport {
        kafka,
        sqlite: Some(raw::sqlite(&args.data, load)?),
    };
    show(args.json, &report.describe(), &report)?;
    Ok(ExitCode::SUCCESS)
}

fn show(only_json: bool, text: &str, report: &impl Serialize) -> Result<()> {
    tell(only_json, text);
    output::json(report)
}

/// The table is for whoever watches: no harm where nobody does.
fn tell(only_json: bool, text: &str) {
    if !only_json {
        writeln!(io::stderr(), "{text}").ok();
    }
}
