use anyhow::Result;
use serde::Serialize;
use tidings_operate::rebuild::{self, Measured, RebuildOptions};
use tidings_service::lifecycle::shutdown_signal;
use tidings_views::bulk::BulkOptions;

use crate::rebuild::ViewArgs;
use crate::rebuild::bar::Bar;

/// Measure how fast a view is built, beside a raw bulk insert
///
/// Fills a generation that nobody reads from the beginning of the log, as
/// `tidings rebuild` does; then inserts the same documents, read back, by the
/// store's own bulk way into collections, indexes or tables that are set up
/// alike; then deletes both. Rates are documents a second. The view that
/// is read stays as it is; what cannot be applied becomes a dead letter once
/// more. In a data folder, `tidings dev` must not be running. Holds all documents of the view in memory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings bench projection history --brokers 127.0.0.1:9092
  tidings bench projection search --runs 5
  tidings bench projection history --data /srv/tidings")]
pub(super) struct ProjectionArgs {
    #[command(flatten)]
    view: ViewArgs,
    /// How often to measure both, one after the other
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Records in one write of the projection
    #[arg(long, value_name = "RECORDS", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    batch: u32,
    /// Documents in one raw bulk insert
    #[arg(long, value_name = "DOCUMENTS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    raw_batch: u32,
    /// How many write at once, of both
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    parallel: u32,
    /// Print no table
    #[arg(long)]
    pub(super) json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct ProjectionReport {
    view: String,
    /// Records of the log.
    records: i64,
    /// Documents that they make.
    documents: usize,
    runs: Vec<Run>,
    /// The median rate to the median raw rate.
    ratio: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Run {
    /// Records a second that were applied.
    records_rate: f64,
    /// Documents a second that came of it.
    rate: f64,
    /// Documents a second by raw bulk inserts.
    raw_rate: f64,
    /// The former to the latter.
    ratio: f64,
}

impl Run {
    fn of(measured: &Measured) -> Self {
        let Measured { records, took, raw } = *measured;
        let seconds = took.as_secs_f64().max(1e-6);
        let rate = raw.documents as f64 / seconds;
        let raw_rate = raw.documents as f64 / raw.took.as_secs_f64().max(1e-6);
        Self {
            records_rate: records as f64 / seconds,
            rate,
            raw_rate,
            ratio: rate / raw_rate.max(1e-6),
        }
    }
}

impl ProjectionReport {
    pub(super) fn describe(&self) -> String {
        let Self {
            view,
            records,
            documents,
            ratio,
            ..
        } = self;
        let mut lines = vec![
            format!("The {view} view: {records} records, {documents} documents"),
            format!(
                "{:>12} {:>12} {:>12} {:>8}",
                "records/s", "documents/s", "raw", "ratio"
            ),
        ];
        lines.extend(self.runs.iter().map(|run| {
            format!(
                "{:>12.0} {:>12.0} {:>12.0} {:>8.2}",
                run.records_rate, run.rate, run.raw_rate, run.ratio
            )
        }));
        lines.push(format!("{:>46} {ratio:>8.2}", "of the medians"));
        lines.join("\n")
    }
}

pub(super) async fn run(args: &ProjectionArgs) -> Result<ProjectionReport> {
    let stop = shutdown_signal()?;
    let view = args.view.open().await?;
    let options = RebuildOptions {
        batch: args.batch as usize,
        parallel: args.parallel as usize,
        ..RebuildOptions::default()
    };
    let raw = BulkOptions {
        batch: args.raw_batch as usize,
        parallel: args.parallel as usize,
    };
    let mut runs = Vec::new();
    let (mut records, mut documents) = (0, 0);
    for _ in 0..args.runs {
        let bar = Bar::new();
        let measured = rebuild::measure(&view, &options, raw, &stop, &|it| bar.show(it)).await;
        bar.clear();
        let measured = measured?;
        (records, documents) = (measured.records, measured.raw.documents);
        runs.push(Run::of(&measured));
    }
    let rate = median(runs.iter().map(|run| run.rate));
    let raw_rate = median(runs.iter().map(|run| run.raw_rate));
    Ok(ProjectionReport {
        view: view.name().to_string(),
        records,
        documents,
        ratio: rate / raw_rate.max(1e-6),
        runs,
    })
}

/// The middle one; of an even number, the middle of the two.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    f64::midpoint(values[low], values[high])
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0].into_iter()), 3.0);
        assert_eq!(median([9.0, 1.0, 3.0].into_iter()), 3.0);
        assert_eq!(median([9.0, 1.0, 3.0, 5.0].into_iter()), 4.0);
    }
}
