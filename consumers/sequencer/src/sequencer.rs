use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidings_domain::Epoch;
use tidings_log::{LogError, LogReader, PauseGate, SequencerEvent, SequencerLog};
use tidings_service::health::Condition;
use tidings_wire::{Codec, Stored};
use tokio_util::sync::CancellationToken;

use crate::claim::{Claim, Progress};
use crate::context::Context;
use crate::error::Stop;
use crate::metrics::Metrics;
use crate::owned::{CONSUMER, Owned};
use crate::{Clock, SequencerError, SequencerOptions};

/// How many events are taken from the log at once.
const AT_ONCE: usize = 1_024;
/// How long the log is waited for when nothing else is to be done. Timers and
/// the stop token are looked at this often.
const IDLE: Duration = Duration::from_millis(50);

/// What a sequencer works with.
pub struct Parts {
    /// Its side of the log.
    pub log: Box<dyn SequencerLog>,
    /// The same log, to read from.
    pub reader: Arc<dyn LogReader>,
    /// Reads commands, writes decisions.
    pub codec: Codec,
    /// The time.
    pub clock: Clock,
    /// What can be tuned.
    pub options: SequencerOptions,
    /// Fulfilled while every partition it was given is its own.
    pub ready: Condition,
    /// Cancelled when it is to finish and leave.
    pub stop: CancellationToken,
}

/// Decides the commands of the partitions it is given.
pub struct Sequencer {
    context: Context,
    /// None: it is not known yet whether it is paused.
    gate: Option<PauseGate>,
    ready: Condition,
    stop: CancellationToken,
    partitions: BTreeMap<i32, Slot>,
    /// Whether the log has said anything about partitions yet.
    assigned: bool,
    /// Whether partitions are being read: then the log is not waited for.
    busy: bool,
    stopping: bool,
    events: Vec<SequencerEvent>,
}

enum Slot {
    Claiming(Box<Claim>),
    Owned(Box<Owned>),
}

impl fmt::Debug for Sequencer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequencer")
            .field("partitions", &self.partitions.keys())
            .field("stopping", &self.stopping)
            .finish_non_exhaustive()
    }
}

impl Sequencer {
    /// One that owns nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            log,
            reader,
            codec,
            clock,
            options,
            ready,
            stop,
        } = parts;
        let metrics = Metrics::new();
        let context = Context {
            log,
            reader,
            codec,
            clock,
            options,
            metrics,
            next_token: 0,
            paused: true,
        };
        Self {
            context,
            gate: None,
            ready,
            stop,
            partitions: BTreeMap::new(),
            assigned: false,
            busy: false,
            stopping: false,
            events: Vec::new(),
        }
    }

    /// Works until it is told to stop and has finished.
    ///
    /// # Errors
    /// [`SequencerError`] where it cannot go on. What it had not written is
    /// then for the next owner to decide.
    pub fn run(mut self) -> Result<(), SequencerError> {
        while self.turn()? {}
        tracing::info!("every partition is handed over");
        Ok(())
    }

    /// One turn of the loop: takes what the log has, and does what is due.
    /// Says whether there is to be another.
    ///
    /// # Errors
    /// [`SequencerError`] where it cannot go on.
    pub fn turn(&mut self) -> Result<bool, SequencerError> {
        self.poll()?;
        if self.stop.is_cancelled() && !self.stopping {
            self.stopping = true;
            let all: Vec<i32> = self.partitions.keys().copied().collect();
            self.give_up(&all)?;
        }
        self.look_for_a_pause()?;
        self.claim()?;
        self.work()?;
        self.report();
        Ok(!(self.stopping && self.partitions.is_empty()))
    }

    /// Partitions are claimed and kept while it is paused; no command is taken.
    fn look_for_a_pause(&mut self) -> Result<(), SequencerError> {
        let gate = match &mut self.gate {
            Some(gate) => gate,
            unknown => match PauseGate::open(&*self.context.reader, CONSUMER) {
                Ok(gate) => unknown.insert(gate),
                Err(LogError::Unavailable(error)) => {
                    tracing::warn!(%error, "cannot find out whether it is paused");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            },
        };
        self.context.paused = gate.paused().is_some();
        self.ready.set_paused(self.context.paused);
        Ok(())
    }

    fn poll(&mut self) -> Result<(), SequencerError> {
        let timeout = if self.busy { Duration::ZERO } else { IDLE };
        let mut events = std::mem::take(&mut self.events);
        let polled = self.context.log.poll(AT_ONCE, timeout, &mut events);
        for event in events.drain(..) {
            self.handle(event)?;
        }
        self.events = events;
        match polled {
            Err(LogError::Unavailable(error)) => {
                tracing::warn!(%error, "the log cannot be read");
                // Not a wait for anything: only against a busy loop.
                std::thread::sleep(IDLE);
                Ok(())
            }
            polled => Ok(polled?),
        }
    }

    fn handle(&mut self, event: SequencerEvent) -> Result<(), SequencerError> {
        match event {
            SequencerEvent::Command(stored) => self.command(stored),
            SequencerEvent::Produced {
                token,
                partition,
                result,
            } => self.produced(token, partition, result),
            SequencerEvent::Assigned(partitions) => {
                self.assigned = true;
                tracing::info!(?partitions, "partitions assigned");
                for partition in partitions {
                    if self.stopping {
                        self.stop_log(partition)?;
                    } else {
                        let claim = Claim::new(&self.context, partition);
                        self.partitions
                            .insert(partition, Slot::Claiming(Box::new(claim)));
                    }
                }
                Ok(())
            }
            SequencerEvent::Revoked(partitions) => {
                tracing::info!(?partitions, "partitions revoked");
                self.give_up(&partitions)
            }
            SequencerEvent::Lost(partitions) => {
                tracing::warn!(?partitions, "partitions lost");
                for partition in partitions {
                    self.partitions.remove(&partition);
                }
                Ok(())
            }
        }
    }

    fn command(&mut self, stored: Stored) -> Result<(), SequencerError> {
        let partition = stored.partition;
        // Of a partition that is not its own any more, it is the next owner's.
        let Some(Slot::Owned(owned)) = self.partitions.get_mut(&partition) else {
            return Ok(());
        };
        let result = owned.command(&mut self.context, stored);
        self.drop_where_stopped(partition, result)
    }

    fn produced(
        &mut self,
        token: u64,
        partition: i32,
        result: Result<i64, LogError>,
    ) -> Result<(), SequencerError> {
        match self.partitions.get_mut(&partition) {
            Some(Slot::Claiming(claim)) => {
                if claim.produced(&self.context, token, result)? {
                    return Ok(());
                }
                // The log takes nothing after a failure until it is told that
                // the failure is known.
                self.stop_log(partition)
            }
            Some(Slot::Owned(owned)) => {
                let result = owned.produced(&mut self.context, token, result);
                self.drop_where_stopped(partition, result)
            }
            None => Ok(()),
        }
    }

    /// Never guess: a partition about which anything is unsure is dropped,
    /// claimed again, and recovered from the log.
    fn drop_where_stopped(
        &mut self,
        partition: i32,
        result: Result<(), Stop>,
    ) -> Result<(), SequencerError> {
        let why = match result {
            Ok(()) => return Ok(()),
            Err(Stop::Fatal(error)) => return Err(error),
            Err(why) => why,
        };
        tracing::warn!(partition, %why, "partition dropped");
        self.context.metrics.dropped.increment(1);
        self.stop_log(partition)?;
        let claim = Claim::after_a_wait(&self.context, partition);
        match self
            .partitions
            .insert(partition, Slot::Claiming(Box::new(claim)))
        {
            // It is being given up: leave it to the next owner.
            Some(Slot::Owned(owned)) if owned.is_closed() => {
                self.partitions.remove(&partition);
            }
            _ => {}
        }
        Ok(())
    }

    /// Tells the log to deliver no more commands of a partition.
    fn stop_log(&mut self, partition: i32) -> Result<(), SequencerError> {
        match self.context.log.stop(partition) {
            Err(LogError::Unavailable(error)) => {
                tracing::warn!(partition, %error, "cannot stop the partition's commands");
                Ok(())
            }
            stopped => Ok(stopped?),
        }
    }

    /// Begins to hand over: what is owned finishes first.
    fn give_up(&mut self, partitions: &[i32]) -> Result<(), SequencerError> {
        for &partition in partitions {
            match self.partitions.get_mut(&partition) {
                Some(Slot::Owned(owned)) => owned.close(&self.context),
                _ => {
                    self.partitions.remove(&partition);
                    self.stop_log(partition)?;
                }
            }
        }
        Ok(())
    }

    /// Goes on with the partitions that are to be gained.
    fn claim(&mut self) -> Result<(), SequencerError> {
        self.busy = false;
        let mut won = Vec::new();
        for (&partition, slot) in &mut self.partitions {
            let Slot::Claiming(claim) = slot else {
                continue;
            };
            match claim.turn(&mut self.context)? {
                Progress::Idle => {}
                Progress::Busy => self.busy = true,
                Progress::Won(owned) => won.push((partition, owned)),
            }
        }
        for (partition, mut owned) in won {
            let result = owned.start(&mut self.context);
            self.partitions.insert(partition, Slot::Owned(owned));
            self.drop_where_stopped(partition, result)?;
            // The next one's turn is now, not after a wait.
            self.busy = true;
        }
        Ok(())
    }

    /// Does what is due in the partitions that are owned.
    fn work(&mut self) -> Result<(), SequencerError> {
        let now = self.context.clock.elapsed();
        let mut stopped = Vec::new();
        let mut finished = Vec::new();
        for (&partition, slot) in &mut self.partitions {
            let Slot::Owned(owned) = slot else { continue };
            if let Err(stop) = owned.turn(&mut self.context) {
                stopped.push((partition, stop));
            } else if owned.is_finished(now) {
                finished.push(partition);
            }
        }
        for (partition, stop) in stopped {
            self.drop_where_stopped(partition, Err(stop))?;
        }
        for partition in finished {
            tracing::info!(partition, "partition handed over");
            self.partitions.remove(&partition);
            self.stop_log(partition)?;
        }
        Ok(())
    }

    fn report(&self) {
        let owned = self.partitions.values().filter_map(|slot| match slot {
            Slot::Owned(owned) => Some(owned),
            Slot::Claiming(_) => None,
        });
        let (mut count, mut in_flight, mut epoch) = (0, 0, Epoch(0));
        for owned in owned {
            count += 1;
            in_flight += owned.in_flight();
            epoch = epoch.max(owned.ownership().epoch);
        }
        self.context.metrics.owned.set(count as f64);
        self.context.metrics.in_flight.set(in_flight as f64);
        let paused = u8::from(self.context.paused);
        self.context.metrics.paused.set(paused);
        self.context.metrics.epoch.set(epoch.0 as f64);
        self.ready
            .set_ready(self.assigned && !self.stopping && count == self.partitions.len());
    }
}
