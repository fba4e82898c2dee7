use tidings_domain::Verdict;
use tidings_views::Position;
use tidings_wire::{Codec, DecodeError, DeliveredBody, DeliveredStream, Judged, Stored};

use crate::ledger::{Ledger, Place};
use crate::meter::Meter;
use crate::outage::{Outage, Waits};
use crate::pause::{Halt, Pause};
use crate::step::{Effect, Step};

/// Turns records into steps: leaves out what is done, judges by the reader's
/// rule, decodes.
pub(crate) struct Intake {
    codec: Codec,
    stream: DeliveredStream,
    registry: Outage,
    pause: Pause,
    meter: Meter,
}

/// What a delivery holds.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// What is next, in order.
    pub(crate) steps: Vec<Step>,
    /// Partitions whose next record was not among what came.
    pub(crate) gaps: Vec<Gap>,
}

/// A jump in the offsets of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) partition: i32,
    /// The offset that should have come.
    pub(crate) expected: i64,
    /// The offset that came.
    pub(crate) found: i64,
}

impl Intake {
    pub(crate) fn new(codec: Codec, waits: Waits, pause: Pause, meter: Meter) -> Self {
        let registry = Outage::of("asking the schema registry", waits);
        Self {
            codec,
            stream: DeliveredStream::default(),
            registry,
            pause,
            meter,
        }
    }

    /// Goes on in a partition from here.
    pub(crate) fn resume(&mut self, position: Position) {
        self.stream.resume(position.partition, position.current);
    }

    /// Forgets a partition.
    pub(crate) fn drop_partition(&mut self, partition: i32) {
        self.stream.drop_partition(partition);
    }

    /// Takes in records of which each partition's come in order.
    pub(crate) fn take(&mut self, records: Vec<Stored>, ledger: &Ledger) -> Result<Taken, Halt> {
        let mut taken = Taken {
            steps: Vec::with_capacity(records.len()),
            gaps: Vec::new(),
        };
        // What comes after the steps taken so far, of each partition.
        let mut next: Vec<(i32, i64)> = Vec::new();
        for stored in records {
            let (partition, offset) = (stored.partition, stored.offset);
            let known = next.iter().position(|(known, _)| *known == partition);
            let place = match known {
                Some(index) => Place::of(offset, next[index].1),
                None => ledger.place(partition, offset),
            };
            match place {
                Place::Next => {}
                Place::Repeat => {
                    self.meter.repeated();
                    continue;
                }
                Place::Ahead(expected) => {
                    if taken.gaps.iter().all(|gap| gap.partition != partition) {
                        taken.gaps.push(Gap {
                            partition,
                            expected,
                            found: offset,
                        });
                    }
                    continue;
                }
                Place::Foreign => continue,
            }
            match known {
                Some(index) => next[index].1 = offset + 1,
                None => next.push((partition, offset + 1)),
            }
            let effect = self.effect(&stored)?;
            let current = self.stream.current(partition);
            taken.steps.push(Step {
                stored,
                current,
                effect,
            });
        }
        Ok(taken)
    }

    /// What a record asks of the view.
    fn effect(&mut self, stored: &Stored) -> Result<Effect, Halt> {
        match self.stream.judge(stored) {
            Ok(Judged::Claim(Verdict::Claimed)) => Ok(Effect::Nothing),
            Ok(Judged::Claim(_) | Judged::Void) => {
                self.meter.void();
                Ok(Effect::Nothing)
            }
            Ok(Judged::Valid(_)) => self.decode(stored),
            Err(error) => Ok(Effect::Broken(error.to_string())),
        }
    }

    /// Decodes a valid record, waiting for the registry where it must be asked.
    fn decode(&mut self, stored: &Stored) -> Result<Effect, Halt> {
        loop {
            let error: DecodeError = match self.codec.decode_delivered(&stored.record) {
                Ok(body) => {
                    self.registry.worked();
                    return Ok(match body {
                        DeliveredBody::Decision(decision) => Effect::Decision(decision),
                        DeliveredBody::Dead { .. } => Effect::Nothing,
                    });
                }
                Err(error) => error,
            };
            if !error.is_transient() {
                return Ok(Effect::Broken(error.to_string()));
            }
            let wait = self.registry.failed("unavailable", &error);
            self.pause.wait(wait)?;
        }
    }
}
