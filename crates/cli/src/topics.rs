//! `tidings topics`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;
use tidings_log::topics::{Cluster, Declared, Plan, plan};
use tidings_wire::Codec;

use crate::output;
use crate::place::{Place, PlaceArgs};

/// Show or make the topics that a cluster needs
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Topics {
    /// Show what `apply` would do
    ///
    /// Exit status: 0 nothing is to be done, 1 something is to be done or is
    /// refused, 2 wrong usage.
    #[command(after_help = EXAMPLES)]
    Plan(TopicsArgs),
    /// Make the topics and set their settings, and register the schemas
    ///
    /// Where anything is refused, nothing is done. The schemas are registered
    /// where a registry is given.
    ///
    /// Exit status: 0 all is as declared, 1 failed or refused, 2 wrong usage.
    #[command(after_help = EXAMPLES)]
    Apply(TopicsArgs),
}

const EXAMPLES: &str = "\
Examples:
  tidings topics plan --brokers 127.0.0.1:9092
  tidings topics apply --replication-factor 1 --registry-url http://127.0.0.1:8081
  tidings topics apply --partitions 48 --topic-prefix wide-";

/// Which topics, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct TopicsArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Brokers that hold each partition of a new topic [default: as declared]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    replication_factor: Option<i32>,
    /// Partitions of each new topic, for good [default: as declared: 12]
    ///
    /// A conversation lives in the partition of its key, so the count can never
    /// be changed. It is the most sequencers, and processes of a projection, that
    /// can share the work.
    #[arg(long, env = "TIDINGS_PARTITIONS", value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What was found or done.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    plan: Plan,
    /// Whether the plan was carried out.
    applied: bool,
    /// The subjects whose schemas are registered, and the schemas' ids.
    schemas: Vec<Schema>,
}

#[derive(Serialize)]
struct Schema {
    subject: String,
    id: u32,
}

pub(crate) async fn run(topics: Topics) -> Result<ExitCode> {
    let (args, apply) = match &topics {
        Topics::Plan(args) => (args, false),
        Topics::Apply(args) => (args, true),
    };
    let brokers = match args.place.place() {
        Place::Kafka(brokers) => brokers,
        Place::Folder(_) => return nothing_to_do(args.json),
    };
    let mut declared = Declared::built_in().with_prefix(&args.place.registry.topic_prefix);
    if let Some(replicas) = args.replication_factor {
        declared = declared.with_replication_factor(replicas);
    }
    if let Some(partitions) = args.partitions {
        declared = declared.with_partitions(partitions);
    }
    let cluster = Cluster::connect(&args.place.kafka(&brokers)?)?;
    let actual = cluster
        .describe(&declared)
        .await
        .with_context(|| brokers.clone())?;
    let plan = plan(&declared, &actual);
    let is_done = plan.is_done();
    let mut report = Report {
        plan,
        applied: false,
        schemas: Vec::new(),
    };
    if apply && report.plan.refusals.is_empty() {
        cluster.apply(&declared, &actual, &report.plan).await?;
        report.applied = true;
        if let Some(registry) = args.place.registry.config() {
            let schemas = Codec::register_all(&registry).await?;
            let schema = |(subject, id)| Schema { subject, id };
            report.schemas = schemas.into_iter().map(schema).collect();
        }
    }
    if args.json {
        output::json(&report)?;
    } else {
        output::line(&describe(&report, apply))?;
    }
    Ok(if is_done || report.applied {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn describe(report: &Report, apply: bool) -> String {
    let mut text = report.plan.to_string();
    for Schema { subject, id } in &report.schemas {
        text.push_str(&format!("schema {subject}: id {id}\n"));
    }
    let refused = !report.plan.refusals.is_empty();
    text.push_str(match (apply, report.plan.is_done()) {
        (_, false) if refused => "Nothing is done while anything is refused.",
        (true, false) => "Done.",
        (false, false) => "`tidings topics apply` does it.",
        (_, true) => "The topics are as declared.",
    });
    text
}

fn nothing_to_do(json: bool) -> Result<ExitCode> {
    if json {
        let report = Report {
            plan: Plan::default(),
            applied: false,
            schemas: Vec::new(),
        };
        output::json(&report)?;
    } else {
        output::line(
            "Nothing to do: a data folder makes its own topics. Of a cluster, give --brokers or \
             set KAFKA_BROKERS.",
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
