use std::sync::Arc;
use std::time::Instant;

use tidings_domain::Rows;
use tidings_service::health::Condition;
use tidings_views::history::{HistoryWriter, StoreError};

use crate::dead::DeadLetters;
use crate::fold::{Refused, fold, wanted};
use crate::ledger::Ledger;
use crate::meter::Meter;
use crate::outage::Outage;
use crate::pause::{Halt, Pause};
use crate::step::{Effect, Step, positions_after};

/// Applies steps to the store, whatever the store does meanwhile.
pub(crate) struct Applier {
    store: Arc<dyn HistoryWriter>,
    dead: DeadLetters,
    /// The steps of the batch at hand that are among the dead letters already.
    buried: Vec<(i32, i64)>,
    outage: Outage,
    ready: Condition,
    pause: Pause,
    meter: Meter,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// All of it is in the store, or among the dead letters.
    All,
    /// Not all of it: the store has less than was written to it before.
    StoreLostData,
}

/// Why an attempt did not succeed.
enum Failed {
    Store(StoreError),
    StoreLostData,
    Halt(Halt),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Halt> for Failed {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl Applier {
    pub(crate) fn new(
        store: Arc<dyn HistoryWriter>,
        dead: DeadLetters,
        ready: Condition,
        pause: Pause,
        meter: Meter,
    ) -> Self {
        let outage = Outage::of("the store of the history view");
        Self {
            store,
            dead,
            buried: Vec::new(),
            outage,
            ready,
            pause,
            meter,
        }
    }

    /// Asks the store, again and again while it is down.
    pub(crate) fn ask<T>(
        &mut self,
        question: impl AsyncFn(&dyn HistoryWriter) -> Result<T, StoreError>,
    ) -> Result<T, Halt> {
        loop {
            match self.pause.run(question(self.store.as_ref())) {
                Ok(answer) => {
                    self.worked();
                    return Ok(answer);
                }
                Err(error) => self.failed(error)?,
            }
        }
    }

    /// Applies a batch. Ends when the store has it, however long it is down.
    pub(crate) fn apply(
        &mut self,
        steps: &mut [Step],
        ledger: &mut Ledger,
    ) -> Result<Applied, Halt> {
        let started = Instant::now();
        self.buried.clear();
        let applied = self.apply_or_split(steps, ledger)?;
        if applied == Applied::All {
            let decisions = steps.iter().filter_map(Step::decision).count();
            self.meter.applied(decisions, started.elapsed());
        }
        Ok(applied)
    }

    /// Applies steps. Where the store refuses some of their data, halves them
    /// until the one that it refuses is found.
    fn apply_or_split(&mut self, steps: &mut [Step], ledger: &mut Ledger) -> Result<Applied, Halt> {
        loop {
            let error = match self.attempt(steps, ledger) {
                Ok(()) => {
                    self.worked();
                    ledger.advance(&positions_after(steps));
                    return Ok(Applied::All);
                }
                Err(Failed::Store(error)) => error,
                Err(Failed::StoreLostData) => return Ok(Applied::StoreLostData),
                Err(Failed::Halt(halt)) => return Err(halt),
            };
            match (error, &mut *steps) {
                (
                    StoreError::Data(cause),
                    [
                        Step {
                            effect: effect @ Effect::Decision(_),
                            ..
                        },
                    ],
                ) => {
                    self.meter.store_error(&StoreError::Data(String::new()));
                    *effect = Effect::Broken(cause);
                }
                (StoreError::Data(_), steps) if steps.len() > 1 => {
                    let (first, second) = steps.split_at_mut(steps.len() / 2);
                    return match self.apply_or_split(first, ledger)? {
                        Applied::All => self.apply_or_split(second, ledger),
                        lost @ Applied::StoreLostData => Ok(lost),
                    };
                }
                (error, _) => self.failed(error)?,
            }
        }
    }

    /// Applies steps, once. What was done of it before is done again, to no
    /// effect.
    fn attempt(&mut self, steps: &[Step], ledger: &Ledger) -> Result<(), Failed> {
        let wanted = wanted(steps);
        let (loaded, stored) = self.pause.run(async {
            tokio::join!(
                self.store.load(&wanted.conversations, &wanted.members),
                self.store.positions(),
            )
        });
        if ledger.is_ahead_of(&stored?) {
            return Err(Failed::StoreLostData);
        }
        let folded = fold(steps, loaded?);
        let positions = positions_after(steps);
        if folded.refused.is_empty() {
            self.pause.run(self.store.write(&folded.rows, &positions))?;
            return Ok(());
        }
        // Positions come last, when what they pass over is durable elsewhere.
        self.pause.run(self.store.write(&folded.rows, &[]))?;
        for Refused { step, cause } in &folded.refused {
            self.bury(&steps[*step], cause)?;
        }
        self.pause
            .run(self.store.write(&Rows::default(), &positions))?;
        Ok(())
    }

    fn bury(&mut self, step: &Step, cause: &str) -> Result<(), Halt> {
        let place = (step.stored.partition, step.stored.offset);
        if !self.buried.contains(&place) {
            self.dead.bury(&step.stored, cause, &self.pause)?;
            self.meter.dead();
            self.buried.push(place);
        }
        Ok(())
    }

    fn worked(&mut self) {
        self.outage.worked();
        self.ready.set_ready(true);
    }

    /// Waits before the next attempt, where there is to be one.
    fn failed(&mut self, error: StoreError) -> Result<(), Halt> {
        self.meter.store_error(&error);
        let state = match &error {
            StoreError::Transient(_) => "unavailable",
            StoreError::Saturated(_) => "saturated",
            // Data that belongs to no decision: a position, an index.
            StoreError::Data(_) | StoreError::Fatal(_) => return Err(error.into()),
        };
        self.ready.set_ready(false);
        let wait = self.outage.failed(state, &error);
        self.pause.wait(wait)
    }
}
