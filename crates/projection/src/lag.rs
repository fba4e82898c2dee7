use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidings_domain::Timestamp;
use tidings_log::Log;
use tidings_wire::Topic;

use crate::ledger::Ledger;
use crate::meter::Meter;

/// How often the lag is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// Measures how far the view is behind the log, also while its store is down.
pub(crate) struct Lag {
    log: Arc<dyn Log>,
    meter: Meter,
    measured: Option<Instant>,
    /// When the last record that was applied was made.
    applied: Option<Timestamp>,
}

impl Lag {
    pub(crate) fn new(log: Arc<dyn Log>, meter: Meter) -> Self {
        Self {
            log,
            meter,
            measured: None,
            applied: None,
        }
    }

    /// A record that was made then is applied, and all before it.
    pub(crate) fn applied(&mut self, made: Timestamp) {
        self.applied = Some(made);
    }

    /// Measures, if it is time to. `at_hand` is when the oldest record was made
    /// that is being applied.
    pub(crate) fn measure(&mut self, ledger: &Ledger, at_hand: Option<Timestamp>) {
        if self
            .measured
            .is_some_and(|measured| measured.elapsed() < MEASURE_EVERY)
        {
            return;
        }
        self.measured = Some(Instant::now());
        let mut behind = 0;
        for (partition, mark) in ledger.marks() {
            match self.log.watermarks(Topic::MessageDelivered, partition) {
                Ok((_, end)) => behind += (end - mark.offset).max(0),
                // Polling will meet the same, and tell.
                Err(_) => return,
            }
        }
        let since = at_hand.or(self.applied).filter(|_| behind > 0);
        self.meter.lag(behind, since.map_or(Duration::ZERO, age));
    }
}

/// How long ago it was.
fn age(made: Timestamp) -> Duration {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.saturating_sub(Duration::from_millis(made.0.max(0).cast_unsigned()))
}
