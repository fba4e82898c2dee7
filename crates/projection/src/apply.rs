use std::sync::Arc;
use std::time::Instant;

use tidings_service::health::Condition;
use tidings_service::traces::{self, Operation, Span, Work};
use tidings_views::StoreError;
use tidings_wire::{Topic, TraceParent};

use crate::dead::DeadLetters;
use crate::lag::Lag;
use crate::ledger::Ledger;
use crate::meter::Meter;
use crate::outage::{Outage, Waits};
use crate::pause::{Halt, Pause};
use crate::step::{Effect, Step, positions_after};
use crate::{Entry, Refused, View};

/// Applies steps to the view, whatever its store does meanwhile.
pub(crate) struct Applier {
    view: Arc<dyn View>,
    dead: DeadLetters,
    /// The steps of the batch at hand that are among the dead letters already.
    buried: Vec<(i32, i64)>,
    outage: Outage,
    ready: Condition,
    pause: Pause,
    meter: Meter,
    pub(crate) lag: Lag,
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
        view: Arc<dyn View>,
        dead: DeadLetters,
        lag: Lag,
        ready: Condition,
        waits: Waits,
        pause: Pause,
        meter: Meter,
    ) -> Self {
        let name = view.name();
        let outage = Outage::of(format!("the store of the {name} view"), waits);
        Self {
            view,
            dead,
            buried: Vec::new(),
            outage,
            ready,
            pause,
            meter,
            lag,
        }
    }

    /// Asks the store, again and again while it is down.
    pub(crate) fn ask<T>(
        &mut self,
        question: impl AsyncFn(&dyn View) -> Result<T, StoreError>,
    ) -> Result<T, Halt> {
        loop {
            match self.pause.run(question(self.view.as_ref())) {
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
        // They end with the batch.
        let _spans = self.spans(steps, started);
        self.buried.clear();
        let applied = self.apply_or_split(steps, ledger)?;
        if applied == Applied::All {
            let decisions = steps.iter().filter_map(Step::entry).count();
            self.meter.applied(decisions, started.elapsed());
        }
        Ok(applied)
    }

    /// Goes on with the traces of those decisions that are recorded.
    fn spans(&self, steps: &[Step], since: Instant) -> Vec<Span> {
        let decisions = steps.iter().filter(|step| step.entry().is_some());
        decisions
            .filter_map(|step| {
                let work = Work {
                    part: self.view.name(),
                    operation: Operation::Process,
                    topic: Topic::MessageDelivered.name(),
                    partition: step.stored.partition,
                    since,
                };
                let headers = &step.stored.record.headers;
                let parent = || TraceParent::sampled_in(headers).map(TraceParent::ids);
                let span = traces::follow(parent, &work)?;
                span.offset(step.stored.offset);
                Some(span)
            })
            .collect()
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
                (error, steps) => {
                    // The worker measures between batches, and this one may
                    // take as long as its store is down.
                    let oldest = steps.first().map(|step| step.stored.record.timestamp);
                    self.lag.measure(ledger, oldest);
                    self.failed(error)?;
                }
            }
        }
    }

    /// Applies steps, once. What was done of it before is done again, to no
    /// effect.
    fn attempt(&mut self, steps: &[Step], ledger: &Ledger) -> Result<(), Failed> {
        let stored = self.pause.run(self.view.positions())?;
        if ledger.is_ahead_of(&stored) {
            return Err(Failed::StoreLostData);
        }
        let positions = positions_after(steps);
        let (entries, places): (Vec<Entry<'_>>, Vec<usize>) = steps
            .iter()
            .enumerate()
            .filter_map(|(place, step)| Some((step.entry()?, place)))
            .unzip();
        let broken = steps.iter().enumerate().filter_map(|(place, step)| {
            let Effect::Broken(cause) = &step.effect else {
                return None;
            };
            Some((place, cause.clone()))
        });
        let mut dead: Vec<(usize, String)> = broken.collect();
        // Positions come last, when what they pass over is durable elsewhere.
        let with = if dead.is_empty() { &positions[..] } else { &[] };
        let refused = self.pause.run(self.view.apply(&entries, with))?;
        let refused = refused
            .into_iter()
            .map(|Refused { index, cause }| (places[index], cause));
        dead.extend(refused);
        if dead.is_empty() {
            return Ok(());
        }
        dead.sort_by_key(|(place, _)| *place);
        for (place, cause) in &dead {
            self.bury(&steps[*place], cause)?;
        }
        self.pause.run(self.view.apply(&[], &positions))?;
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
