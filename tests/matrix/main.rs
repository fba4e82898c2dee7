//! `crash-matrix`: does something bad to each process and server while people
//! talk, and compares what they were told with what is there afterwards.

mod caller;
mod cells;
mod cluster;
mod crowd;
mod dev;
mod fault;
#[allow(dead_code, reason = "tests use the rest of it")]
#[path = "../support/history.rs"]
mod history;
mod log;
mod member;
mod proxy;
mod record;
mod report;
mod run;
mod stage;
mod system;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use cells::{Cell, Filter};
use clap::Parser;
use report::Results;
use stage::Stages;

/// Does something bad to each process and server while users talk, and compares
/// what they were told with what is there afterwards.
///
/// A cell of the matrix is COMPONENT/FAULT/PHASE. Cells that were run and held
/// are not run again, so that it can be interrupted and goes on. It wants the
/// binaries of a release build, and what `scripts/servers` wants.
///
/// Exit codes: 0 all cells hold; 1 some fail, or it failed itself; 2 usage.
///
/// Examples:
///
///   scripts/crash-matrix --only '*/kill/import' --only sequencer
///
///   scripts/crash-matrix --only kafka/cut/import --again
///
///   scripts/crash-matrix --table
#[derive(Parser)]
#[command(name = "crash-matrix", version, verbatim_doc_comment)]
struct Args {
    /// Only these cells, `*` is any; repeat it, they are run in this order
    #[arg(long, value_name = "COMPONENT[/FAULT[/PHASE]]")]
    only: Vec<Filter>,
    /// List the cells, and run none
    #[arg(long)]
    list: bool,
    /// Run cells that have held, too
    #[arg(long)]
    again: bool,
    /// Where results are kept, one JSON object a line
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/crash-matrix/results.jsonl"
    )]
    results: PathBuf,
    /// Our binaries
    #[arg(
        long,
        env = "TIDINGS_BIN_DIR",
        value_name = "DIR",
        default_value = "target/release"
    )]
    binaries: PathBuf,
    /// Write the table of the results into docs/reliability.md, and run nothing
    #[arg(long, conflicts_with = "list")]
    table: bool,
}

impl Args {
    /// In the order of `--only`, each once.
    fn cells(&self) -> Vec<Cell> {
        let all = Cell::all();
        if self.only.is_empty() {
            return all;
        }
        let mut wanted = Vec::new();
        for filter in &self.only {
            let taken = all.iter().filter(|cell| filter.takes(**cell));
            let new: Vec<_> = taken.filter(|cell| !wanted.contains(*cell)).collect();
            wanted.extend(new);
        }
        wanted
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let cells = args.cells();
    if args.list {
        for cell in cells {
            println!("{cell}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut results = Results::open(&args.results)?;
    if args.table {
        results.write_table(&system::repository().join("docs/reliability.md"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut stages = Stages::new(&args.binaries, &args.results)?;
    let mut failed = 0;
    for cell in cells {
        if args.again || !results.done(cell) {
            let row = stages.play(cell).await?;
            println!("{}", row.line());
            failed += usize::from(!row.holds());
            results.add(&row)?;
        }
    }
    println!("{failed} cells fail");
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
