//! Ten thousand seeds, and that a seed means the same each time.

use std::ops::Range;

use tidings_simulator::{Counts, Plan, Simulator};

fn play(seeds: Range<u64>) -> Counts {
    let simulator = Simulator::new().expect("threads");
    let mut counts = Counts::default();
    for seed in seeds {
        match simulator.run(&Plan::of(seed), &mut |_| {}) {
            Ok(more) => counts += more,
            Err(failure) => panic!("seed {seed}: {failure}; see it by --seed {seed}"),
        }
    }
    counts
}

#[test]
fn what_must_hold_holds_for_ten_thousand_seeds() {
    // Each seed is a world of its own: that two are played at once changes
    // nothing in either.
    let mut counts = Counts::default();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| play(5_000..10_000));
        counts += play(0..5_000);
        counts += other.join().expect("its panic says what is wrong");
    });
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
        counts.deaths,
        counts.landed,
        counts.moves,
        counts.jumped,
        counts.restores,
        counts.kills,
        counts.failed_appends,
        counts.connects,
        counts.cuts,
        counts.closed,
        counts.frames,
    ];
    assert!(met.iter().all(|met| *met >= 1_000), "{counts}");
}

#[test]
fn a_seed_is_played_the_same_each_time() {
    let simulator = Simulator::new().expect("threads");
    for seed in 0..200 {
        let play = || {
            let mut lines = Vec::new();
            let result = simulator.run(&Plan::of(seed), &mut |line| lines.push(line));
            (lines, result)
        };
        assert_eq!(play(), play(), "seed {seed}");
    }
}
