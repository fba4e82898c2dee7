//! `tidings-simulator`: plays seeds, or one seed with a trace.

use std::process::ExitCode;

use clap::Parser;
use tidings_simulator::{Counts, Plan, Simulator, shrink};

/// Plays seeds over a simulated log and checks what must always hold.
///
/// Exit codes: 0 all hold; 1 a seed fails; 2 usage.
///
/// Examples:
///
///   tidings-simulator --seeds 100000 --from 10000
///
///   tidings-simulator --seed 4711
#[derive(Parser)]
#[command(version, verbatim_doc_comment)]
struct Args {
    /// How many seeds to play.
    #[arg(long, default_value_t = 10_000, conflicts_with = "seed")]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0, conflicts_with = "seed")]
    from: u64,
    /// Play this one, and print all that happens.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let simulator = match Simulator::new() {
        Ok(simulator) => simulator,
        Err(error) => {
            eprintln!("tidings-simulator: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (seeds, from) = match args.seed {
        Some(seed) => (1, seed),
        None => (args.seeds, args.from),
    };
    let mut counts = Counts::default();
    for seed in from..from.saturating_add(seeds) {
        let mut trace = |line: String| {
            if args.seed.is_some() {
                println!("{line}");
            }
        };
        let plan = Plan::of(seed);
        match simulator.run(&plan, &mut trace) {
            Ok(more) => counts += more,
            Err(failure) => {
                println!("seed {seed} fails: {failure}");
                if let Some((shorter, failure)) = shrink(&simulator, &plan) {
                    let (all, left) = (plan.steps.len(), shorter.steps.len());
                    println!("{left} of its {all} steps are enough: {failure}");
                    // It was seen to fail; only its trace is of interest.
                    let again = simulator.run(&shorter, &mut |line| println!("{line}"));
                    if again.is_ok() {
                        println!("this time it did not fail: it is not deterministic");
                    }
                }
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{seeds} seeds from {from}: {counts}");
    ExitCode::SUCCESS
}
