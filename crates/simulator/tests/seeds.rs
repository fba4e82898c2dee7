//! Ten thousand seeds, and that a seed means the same each time.

use tidings_simulator::{Counts, Plan, Simulator};

#[test]
fn what_must_hold_holds_for_ten_thousand_seeds() {
    let simulator = Simulator::default();
    let mut counts = Counts::default();
    for seed in 0..10_000 {
        match simulator.run(&Plan::of(seed), &mut |_| {}) {
            Ok(more) => counts += more,
            Err(failure) => panic!("seed {seed}: {failure}; see it by --seed {seed}"),
        }
    }
    println!("{counts}");
    let met = [
        counts.decided,
        counts.duplicates,
        counts.amid_faults,
        counts.crashes,
        counts.rebalances,
        counts.zombie_decisions,
        counts.resends,
        counts.lost,
        counts.repeated,
        counts.redelivered,
        counts.failed_produces,
        counts.reconnects,
    ];
    assert!(met.iter().all(|met| *met >= 1_000), "{counts}");
}

#[test]
fn a_seed_is_played_the_same_each_time() {
    let simulator = Simulator::default();
    for seed in 0..200 {
        let play = || {
            let mut lines = Vec::new();
            let result = simulator.run(&Plan::of(seed), &mut |line| lines.push(line));
            (lines, result)
        };
        assert_eq!(play(), play(), "seed {seed}");
    }
}
