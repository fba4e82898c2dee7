use std::time::Duration;

use tidings_domain::{OwnerId, Ownership};
use tidings_log::LogError;
use tidings_service::lifecycle::Backoff;
use tidings_wire::{Codec, Topic};
use uuid::Uuid;

use crate::context::Context;
use crate::error::{ReadError, SequencerError};
use crate::fold::Fold;
use crate::owned::Owned;
use crate::saved::SavedReader;

/// A partition that is to be gained: read what the log holds, append a claim,
/// read on up to it, and see whether it counts.
pub(crate) struct Claim {
    partition: i32,
    backoff: Backoff,
    /// When reading began, for the time recovery takes.
    started: Duration,
    step: Step,
}

enum Step {
    /// It failed before; wait.
    Waiting { until: Duration },
    /// Reading the snapshots.
    Loading(SavedReader),
    /// Folding what there is: the epoch to claim is one more.
    Folding { fold: Fold, to: i64 },
    /// The claim is on its way.
    Claiming {
        fold: Fold,
        by: Ownership,
        token: u64,
    },
    /// The claim stands at `at`; folding up to it.
    Confirming { fold: Fold, by: Ownership, at: i64 },
    /// Only while a step is being made.
    Between,
}

/// What came of a step.
pub(crate) enum Progress {
    /// Nothing to do until later.
    Idle,
    /// There is more to read.
    Busy,
    /// The partition is gained.
    Won(Box<Owned>),
}

impl Claim {
    /// Begins at once.
    pub(crate) fn new(context: &Context, partition: i32) -> Self {
        let options = &context.options;
        Self {
            partition,
            backoff: Backoff::new(options.first_wait, options.longest_wait),
            started: Duration::ZERO,
            step: Step::Waiting {
                until: Duration::ZERO,
            },
        }
    }

    /// Begins after a wait: the partition was owned and had to be dropped.
    pub(crate) fn after_a_wait(context: &Context, partition: i32) -> Self {
        let mut claim = Self::new(context, partition);
        claim.wait(context);
        claim
    }

    fn wait(&mut self, context: &Context) {
        let until = context.clock.elapsed() + self.backoff.next_wait();
        self.step = Step::Waiting { until };
    }

    /// Goes on as far as is possible without waiting long.
    pub(crate) fn turn(&mut self, context: &mut Context) -> Result<Progress, SequencerError> {
        match self.step(context) {
            Ok(progress) => Ok(progress),
            Err(ReadError::Log(error @ LogError::Fatal(_))) => Err(error.into()),
            // A decision that is missing from the state is not skipped either:
            // whoever looks after the log must see to it, and until then it is
            // tried again, as the registry may just have lost a schema.
            Err(error) => {
                tracing::error!(partition = self.partition, %error, "cannot read the partition");
                context.metrics.claims_failed.increment(1);
                self.wait(context);
                Ok(Progress::Idle)
            }
        }
    }

    fn step(&mut self, context: &mut Context) -> Result<Progress, ReadError> {
        let partition = self.partition;
        let reader = context.reader.clone();
        match std::mem::replace(&mut self.step, Step::Between) {
            Step::Waiting { until } => {
                let now = context.clock.elapsed();
                if now < until {
                    self.step = Step::Waiting { until };
                    return Ok(Progress::Idle);
                }
                self.started = now;
                self.step = Step::Loading(SavedReader::new(partition));
            }
            Step::Loading(mut saved) => {
                if saved.read(&*reader)? {
                    let (_, to) = reader.watermarks(Topic::MessageDelivered, partition)?;
                    let fold = match saved.finish(&context.codec) {
                        // One from another log, or from a future that an
                        // unclean election has undone.
                        Some(saved) if saved.upto > to => Fold::from_start(partition),
                        Some(saved) => Fold::from_saved(partition, saved),
                        None => Fold::from_start(partition),
                    };
                    self.step = Step::Folding { fold, to };
                } else {
                    self.step = Step::Loading(saved);
                }
            }
            Step::Folding { mut fold, to } => {
                if fold.advance(&*reader, &context.codec, to)? {
                    if let Some(doubt) = fold.doubt() {
                        if !fold.is_from_saved() {
                            return Err(doubt.clone());
                        }
                        let fold = Fold::from_start(partition);
                        self.step = Step::Folding { fold, to };
                        return Ok(Progress::Busy);
                    }
                    let owner = OwnerId(Uuid::new_v4());
                    let by = Ownership {
                        epoch: fold.rule().next_epoch(),
                        owner,
                    };
                    let record = Codec::claim(by, context.clock.now());
                    let token = context.produce(Topic::MessageDelivered, partition, record);
                    self.step = Step::Claiming { fold, by, token };
                    return Ok(Progress::Idle);
                }
                self.step = Step::Folding { fold, to };
            }
            Step::Confirming { mut fold, by, at } => {
                if fold.advance(&*reader, &context.codec, at + 1)? {
                    return self.decide(context, fold, by, at);
                }
                self.step = Step::Confirming { fold, by, at };
            }
            step @ (Step::Claiming { .. } | Step::Between) => {
                self.step = step;
                return Ok(Progress::Idle);
            }
        }
        Ok(Progress::Busy)
    }

    /// The log is folded up to and with the claim: who owns the partition?
    fn decide(
        &mut self,
        context: &Context,
        fold: Fold,
        by: Ownership,
        at: i64,
    ) -> Result<Progress, ReadError> {
        let partition = self.partition;
        if fold.rule().current() != Some(by) {
            tracing::info!(partition, epoch = by.epoch.0, "another claim came first");
            context.metrics.claims_lost.increment(1);
            self.wait(context);
            return Ok(Progress::Idle);
        }
        if !fold.is_sound() {
            context.metrics.digest_mismatches.increment(1);
            if fold.is_from_saved() {
                tracing::warn!(
                    partition,
                    "the saved state is not the one that was decided on; \
                     folding the partition from its start"
                );
                self.step = Step::Confirming {
                    fold: Fold::from_start(partition),
                    by,
                    at,
                };
                return Ok(Progress::Busy);
            }
            // The log is the truth; its writer's digest was wrong, or is made
            // otherwise in another version.
            tracing::error!(partition, "the folded state is not the one its writer had");
        }
        if let Some(doubt) = fold.doubt() {
            return Err(doubt.clone());
        }
        let took = context.clock.elapsed().saturating_sub(self.started);
        context.metrics.claims_won.increment(1);
        context.metrics.recovery_seconds.record(took.as_secs_f64());
        let folded = fold.finish();
        tracing::info!(
            partition,
            epoch = by.epoch.0,
            conversations = folded.state.len(),
            took_ms = took.as_millis() as u64,
            "partition gained"
        );
        let owned = Owned::new(context, partition, by, at, folded);
        Ok(Progress::Won(Box::new(owned)))
    }

    /// A produce ended; if it was the claim, goes on. Says whether the claim
    /// is still to be reckoned with.
    pub(crate) fn produced(
        &mut self,
        context: &Context,
        token: u64,
        result: Result<i64, LogError>,
    ) -> Result<bool, SequencerError> {
        match std::mem::replace(&mut self.step, Step::Between) {
            Step::Claiming {
                fold,
                by,
                token: ours,
            } if ours == token => match result {
                Ok(at) => self.step = Step::Confirming { fold, by, at },
                Err(error @ LogError::Fatal(_)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(partition = self.partition, %error, "a claim was not appended");
                    context.metrics.claims_failed.increment(1);
                    self.wait(context);
                    return Ok(false);
                }
            },
            // What a former owner in this process had still on its way.
            step => self.step = step,
        }
        Ok(true)
    }
}
