use std::fmt;
use std::ops::AddAssign;

/// What was met, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commands decided for the first time.
    pub decided: usize,
    /// Commands decided to be known already.
    pub duplicates: usize,
    /// Claims and decisions that were appended before the faults ended.
    pub amid_faults: usize,
    /// Sequencers that died.
    pub crashes: usize,
    /// Partitions that went to another sequencer.
    pub rebalances: usize,
    /// Decisions of sequencers that were not the owner any more.
    pub zombie_decisions: usize,
    /// Commands that clients sent again.
    pub resends: usize,
    /// Commands, or their acknowledgements, that were lost.
    pub lost: usize,
    /// Commands that were appended twice.
    pub repeated: usize,
    /// Commands that the log delivered again.
    pub redelivered: usize,
    /// Produces that failed.
    pub failed_produces: usize,
    /// Readers that began again at a mark.
    pub reconnects: usize,
    /// Projections that died in a write.
    pub deaths: usize,
    /// Rows of theirs that arrived when they were dead.
    pub landed: usize,
    /// Partitions that went to another projection.
    pub moves: usize,
    /// Records that the log gave projections again, or left out.
    pub jumped: usize,
    /// Times that the store was put back.
    pub restores: usize,
    /// Connections of devices to edges.
    pub connects: usize,
    /// Connections that broke.
    pub cuts: usize,
    /// Connections that edges closed.
    pub closed: usize,
    /// Edges that died.
    pub kills: usize,
    /// Appends of edges that failed.
    pub failed_appends: usize,
    /// Frames that devices got.
    pub frames: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.decided += more.decided;
        self.duplicates += more.duplicates;
        self.amid_faults += more.amid_faults;
        self.crashes += more.crashes;
        self.rebalances += more.rebalances;
        self.zombie_decisions += more.zombie_decisions;
        self.resends += more.resends;
        self.lost += more.lost;
        self.repeated += more.repeated;
        self.redelivered += more.redelivered;
        self.failed_produces += more.failed_produces;
        self.reconnects += more.reconnects;
        self.deaths += more.deaths;
        self.landed += more.landed;
        self.moves += more.moves;
        self.jumped += more.jumped;
        self.restores += more.restores;
        self.connects += more.connects;
        self.cuts += more.cuts;
        self.closed += more.closed;
        self.kills += more.kills;
        self.failed_appends += more.failed_appends;
        self.frames += more.frames;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} commands decided, {} known already, {} records amid faults; {} crashes, {} rebalances, {} decisions of \
             zombies, {} failed produces, {} redelivered; clients: {} resends, {} lost, {} \
             repeated, {} reconnects; projections: {} deaths, {} rows landed late, {} moves, {} \
             records repeated or left out, {} restores; edges: {} deaths, {} failed appends; devices: \
             {} connects, {} connections cut, {} closed, {} frames",
            self.decided,
            self.duplicates,
            self.amid_faults,
            self.crashes,
            self.rebalances,
            self.zombie_decisions,
            self.failed_produces,
            self.redelivered,
            self.resends,
            self.lost,
            self.repeated,
            self.reconnects,
            self.deaths,
            self.landed,
            self.moves,
            self.jumped,
            self.restores,
            self.kills,
            self.failed_appends,
            self.connects,
            self.cuts,
            self.closed,
            self.frames
        )
    }
}
