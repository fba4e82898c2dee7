use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_log::{Delivery, Log, LogError, PauseGate, ProjectionSource};
use tidings_service::health::Condition;
use tidings_views::Position;
use tidings_wire::{Stored, Topic};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::apply::{Applied, Applier};
use crate::dead::DeadLetters;
use crate::fixed::FixedSource;
use crate::intake::{Gap, Intake};
use crate::lag::Lag;
use crate::ledger::{Ledger, position_of};
use crate::meter::Meter;
use crate::outage::Outage;
use crate::pause::{Halt, Pause};
use crate::{Projection, ProjectionError, Throttle};

/// How long to wait for records before looking whether to stop.
const POLL: Duration = Duration::from_millis(100);
/// How often the log is told how far the projection has come.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// The projection at work, on its thread.
pub(crate) struct Worker {
    log: Arc<dyn Log>,
    source: Box<dyn ProjectionSource>,
    batch: usize,
    gather: Duration,
    gathered: Gathered,
    throttle: Option<Throttle>,
    intake: Intake,
    gate: PauseGate,
    meter: Meter,
    applier: Applier,
    ledger: Ledger,
    outage: Outage,
    ready: Condition,
    pause: Pause,
    /// When the log was last told how far the projection has come.
    committed: Instant,
    /// Whether it has come further since.
    uncommitted: bool,
}

impl Worker {
    /// Prepares the store and joins the log, waiting for both.
    pub(crate) fn new(
        projection: Projection,
        runtime: Handle,
        stop: CancellationToken,
    ) -> Result<Self, Halt> {
        let Projection {
            log,
            codec,
            view,
            batch,
            gather,
            ready,
            generation,
            throttle,
            partitions,
            waits,
        } = projection;
        let name = view.name();
        let pause = Pause::new(runtime, stop);
        let meter = Meter::new(name, generation);
        let dead = DeadLetters::new(Arc::clone(&log), view.dead_letters(), name, waits);
        let lag = Lag::new(Arc::clone(&log), meter.clone());
        let ready_when_applied = ready.clone();
        let mut applier = Applier::new(
            view,
            dead,
            lag,
            ready_when_applied,
            waits,
            pause.clone(),
            meter.clone(),
        );
        applier.ask(async |view| view.prepare().await)?;
        let group = generation.consumer(name);
        let mut outage = Outage::of("the log", waits);
        let gate = wait_for(&mut outage, &pause, || PauseGate::open(&*log, &group))?;
        let source: Box<dyn ProjectionSource> = match partitions {
            Some(partitions) => Box::new(FixedSource::new(Arc::clone(&log), partitions)),
            None => wait_for(&mut outage, &pause, || log.projection(&group))?,
        };
        Ok(Self {
            log,
            source,
            batch,
            gather,
            gathered: Gathered::default(),
            throttle,
            intake: Intake::new(codec, waits, pause.clone(), meter.clone()),
            gate,
            meter,
            applier,
            ledger: Ledger::default(),
            outage,
            ready,
            pause,
            committed: Instant::now(),
            uncommitted: false,
        })
    }

    /// Works until it is told to stop or cannot go on.
    pub(crate) fn run(mut self) -> Result<(), Halt> {
        let result = self.work();
        self.ready.set_ready(false);
        self.commit();
        result
    }

    fn work(&mut self) -> Result<(), Halt> {
        while !self.pause.is_over() {
            self.turn()?;
        }
        Ok(())
    }

    /// Takes what the log gives next, and applies what is due.
    pub(crate) fn turn(&mut self) -> Result<(), Halt> {
        let is_paused = self.is_paused();
        let (wanted, wait) = match is_paused {
            // Stays in its group, and takes nothing.
            true => (0, POLL),
            false => self.appetite(),
        };
        let delivery = wait_for(&mut self.outage, &self.pause, || {
            self.source.poll(wanted, wait)
        })?;
        match delivery {
            Delivery::Records(records) => self.gathered.add(records),
            Delivery::Assigned(partitions) => self.assigned(&partitions)?,
            Delivery::Revoked(partitions) => self.revoked(&partitions),
        }
        if !is_paused && self.gathered.is_due(self.batch, self.gather) {
            self.apply_gathered()?;
        }
        if self.uncommitted && self.committed.elapsed() >= COMMIT_EVERY {
            self.commit();
        }
        self.applier.lag.measure(&self.ledger, None);
        Ok(())
    }

    /// Whether an operator has paused it.
    fn is_paused(&mut self) -> bool {
        let is_paused = self.gate.paused().is_some();
        self.ready.set_paused(is_paused);
        self.meter.paused(is_paused);
        is_paused
    }

    fn assigned(&mut self, partitions: &[i32]) -> Result<(), Halt> {
        tracing::info!(?partitions, "partitions assigned");
        let positions = self.stored_positions(partitions)?;
        self.start(&positions)
    }

    fn revoked(&mut self, partitions: &[i32]) {
        tracing::info!(?partitions, "partitions revoked");
        self.commit();
        // Whoever has them next reads these again: a store that is down must
        // not hold up the others.
        self.gathered.drop_partitions(partitions);
        for &partition in partitions {
            self.ledger.drop_partition(partition);
            self.intake.drop_partition(partition);
        }
    }

    /// How many records to ask for now, and how long to wait for them.
    fn appetite(&self) -> (usize, Duration) {
        let wanted = self.batch.saturating_sub(self.gathered.records.len());
        let left = self
            .gathered
            .since
            .map_or(POLL, |since| self.gather.saturating_sub(since.elapsed()));
        (wanted.max(1), left.min(POLL))
    }

    /// Applies what was gathered.
    fn apply_gathered(&mut self) -> Result<(), Halt> {
        let records = self.gathered.take();
        if records.is_empty() {
            return Ok(());
        }
        let mut taken = self.intake.take(records, &self.ledger)?;
        if let Some(last) = taken.steps.last() {
            if let Some(throttle) = &self.throttle {
                self.pause.wait(throttle.admit(taken.steps.len()))?;
            }
            let made = last.stored.record.timestamp;
            if self.applier.apply(&mut taken.steps, &mut self.ledger)? == Applied::StoreLostData {
                return self.rewind();
            }
            self.applier.lag.applied(made);
            self.uncommitted = true;
        }
        taken.gaps.iter().try_for_each(|gap| self.close(*gap))
    }

    /// Where the store has these partitions.
    fn stored_positions(&mut self, partitions: &[i32]) -> Result<Vec<Position>, Halt> {
        let stored = self.applier.ask(async |view| view.positions().await)?;
        Ok(partitions
            .iter()
            .map(|partition| position_of(*partition, &stored))
            .collect())
    }

    /// Reads partitions from these positions on.
    fn start(&mut self, positions: &[Position]) -> Result<(), Halt> {
        let mut starts = Vec::with_capacity(positions.len());
        for &position in positions {
            let Position {
                partition, offset, ..
            } = position;
            let (_, end) = self.watermarks(partition)?;
            if offset > end {
                return Err(ProjectionError::AheadOfLog {
                    partition,
                    view: offset,
                    log: end,
                }
                .into());
            }
            self.ledger.start(position);
            self.intake.resume(position);
            starts.push((partition, offset));
        }
        // Also where nothing comes: who looks shall know where it stands.
        self.uncommitted = true;
        wait_for(&mut self.outage, &self.pause, || self.source.start(&starts))
    }

    fn watermarks(&mut self, partition: i32) -> Result<(i64, i64), Halt> {
        wait_for(&mut self.outage, &self.pause, || {
            self.log.watermarks(Topic::MessageDelivered, partition)
        })
    }

    /// The store was emptied, or put back to an earlier state: builds the view
    /// again from what is left.
    fn rewind(&mut self) -> Result<(), Halt> {
        tracing::warn!("the store has less than was written to it; building the view from there");
        self.applier.ask(async |view| view.prepare().await)?;
        let positions = self.stored_positions(&self.ledger.partitions())?;
        self.start(&positions)
    }

    /// The record that was expected did not come: reads again from there, or,
    /// where the log does not hold it any more, from where it begins.
    fn close(&mut self, gap: Gap) -> Result<(), Halt> {
        let Gap {
            partition,
            expected,
            found,
        } = gap;
        let (first, _) = self.watermarks(partition)?;
        if first > expected {
            tracing::error!(
                partition,
                expected,
                first,
                "the log does not hold these records any more: the view is incomplete"
            );
        } else {
            tracing::warn!(
                partition,
                expected,
                found,
                "records came out of order; reading again"
            );
        }
        let stands = self
            .ledger
            .marks()
            .into_iter()
            .find(|(known, _)| *known == partition);
        let Some((_, mark)) = stands else {
            return Ok(());
        };
        let offset = mark.offset.max(first);
        self.start(&[Position {
            partition,
            offset,
            current: mark.current,
        }])
    }

    /// Tells the log how far the projection has come, for displays of lag.
    fn commit(&mut self) {
        if !self.uncommitted {
            return;
        }
        if let Err(error) = self.source.commit(&self.ledger.marks()) {
            tracing::debug!(%error, "the log was not told how far the projection has come");
        }
        self.committed = Instant::now();
        self.uncommitted = false;
    }
}

/// Records that wait for their batch to fill.
#[derive(Debug, Default)]
struct Gathered {
    records: Vec<Stored>,
    /// When the first of them came.
    since: Option<Instant>,
}

impl Gathered {
    fn add(&mut self, records: Vec<Stored>) {
        if !records.is_empty() {
            self.since.get_or_insert_with(Instant::now);
        }
        if self.records.is_empty() {
            self.records = records;
        } else {
            self.records.extend(records);
        }
    }

    fn take(&mut self) -> Vec<Stored> {
        self.since = None;
        std::mem::take(&mut self.records)
    }

    fn drop_partitions(&mut self, partitions: &[i32]) {
        self.records
            .retain(|stored| !partitions.contains(&stored.partition));
        if self.records.is_empty() {
            self.since = None;
        }
    }

    /// Whether they are enough for a batch, or have waited long enough.
    fn is_due(&self, batch: usize, longest: Duration) -> bool {
        let waited = self.since.is_some_and(|since| since.elapsed() >= longest);
        waited || self.records.len() >= batch
    }
}

/// Asks the log, again and again while it is unavailable.
fn wait_for<T>(
    outage: &mut Outage,
    pause: &Pause,
    mut question: impl FnMut() -> Result<T, LogError>,
) -> Result<T, Halt> {
    loop {
        match question() {
            Ok(answer) => {
                outage.worked();
                return Ok(answer);
            }
            Err(error @ LogError::Fatal(_)) => return Err(error.into()),
            Err(error) => pause.wait(outage.failed("unavailable", &error))?,
        }
    }
}
