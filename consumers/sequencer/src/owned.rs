use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tidings_domain::{Command, Ownership, Partition, ReaderRule, Timestamp};
use tidings_log::{LogError, Mark, read_range};
use tidings_service::lifecycle::Backoff;
use tidings_service::traces::{self, Operation, Span, Work};
use tidings_wire::{
    Codec, DecodeError, Delivered, Input, Record, Stored, Topic, TraceParent, delivered_header,
    names, partition_of,
};

use crate::checkpoint::{Checkpointer, Verified};
use crate::context::Context;
use crate::error::Stop;
use crate::fold::Folded;
use crate::inputs::NextInputs;
use crate::metrics::Decided;

/// Its name: in dead letters, and to pause it.
pub(crate) const CONSUMER: &str = "sequencer";
/// How often it is told how far the commands are decided.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// The largest value of a dead letter, in bytes: the log's 1,000,000 less room
/// for the key and the headers.
const LARGEST_LETTER: usize = 900_000;

/// A partition that this instance owns: decides its commands.
///
/// The state is ahead of the log by what is in flight. Every acknowledged
/// offset is compared with the expected one: another means that somebody else
/// wrote, and the reader's rule says whether that ends the ownership.
pub(crate) struct Owned {
    partition: i32,
    by: Ownership,
    state: Partition,
    /// The next command of each topic to decide.
    inputs: NextInputs,
    /// Time does not go back from one decision to the next.
    last_at: Timestamp,
    /// The offset the next acknowledged decision must have.
    expected: i64,
    in_flight: VecDeque<InFlight>,
    verified: Option<Verified>,
    intake: Intake,
    checkpointer: Checkpointer,
    retry: Backoff,
    attempts: u32,
    /// When it is next told how far the commands are decided.
    tell_at: Duration,
    /// Below which offset it was told.
    told_upto: i64,
}

/// A decision on its way to the log.
struct InFlight {
    token: u64,
    input: Input,
    /// When the edge took the command, if it could be read.
    asked: Option<Timestamp>,
    decided: Decided,
    /// Ends when it is durable.
    _span: Option<Span>,
}

/// Whether commands are taken. Where they are not, the log is told to stop
/// delivering them, and later to go on at the next one to decide.
enum Intake {
    Open,
    /// Too much is in flight.
    Full,
    /// A command went to the dead letters; its marker waits until it is there.
    Dead {
        token: u64,
        command: Box<Stored>,
    },
    /// An operator has paused it.
    Paused,
    /// A command could not be decoded for now.
    Retry {
        until: Duration,
    },
    /// The partition is given up; no more commands.
    Closed {
        deadline: Duration,
    },
}

impl Owned {
    pub(crate) fn new(
        context: &Context,
        partition: i32,
        by: Ownership,
        claimed_at: i64,
        folded: Folded,
    ) -> Self {
        let Folded {
            state,
            inputs,
            last_valid,
            last_at,
            saved_upto,
            chunks,
        } = folded;
        let verified = last_valid.map(|last| Verified {
            upto: last.offset + 1,
            by: last.by,
            next: inputs.clone(),
        });
        let options = &context.options;
        Self {
            partition,
            by,
            state,
            inputs,
            last_at,
            expected: claimed_at + 1,
            in_flight: VecDeque::new(),
            verified,
            intake: Intake::Open,
            checkpointer: Checkpointer::new(context, partition, by, saved_upto, chunks),
            retry: Backoff::new(options.first_wait, options.longest_wait),
            attempts: 0,
            tell_at: Duration::ZERO,
            told_upto: 0,
        }
    }

    /// The claim under which it is owned.
    pub(crate) fn ownership(&self) -> Ownership {
        self.by
    }

    /// How many decisions are on their way to the log.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Lets the commands come, unless it is paused.
    pub(crate) fn start(&mut self, context: &mut Context) -> Result<(), Stop> {
        if context.paused {
            self.intake = Intake::Paused;
            return Ok(());
        }
        self.intake = Intake::Open;
        Ok(context.log.start(self.partition, self.inputs.pairs())?)
    }

    fn pause(&mut self, context: &mut Context, intake: Intake) -> Result<(), Stop> {
        self.intake = intake;
        Ok(context.log.stop(self.partition)?)
    }

    /// Decides a command.
    pub(crate) fn command(&mut self, context: &mut Context, stored: Stored) -> Result<(), Stop> {
        if !matches!(self.intake, Intake::Open) {
            // It was read before the log was told to stop, and comes again.
            return Ok(());
        }
        match self.inputs.get(stored.topic) {
            // Decided already.
            Some(next) if stored.offset < next => return Ok(()),
            Some(next) if stored.offset > next => tracing::warn!(
                partition = self.partition,
                topic = %stored.topic,
                from = next,
                to = stored.offset,
                "the log does not hold these commands any more"
            ),
            _ => {}
        }
        match self.decode(context, &stored) {
            Ok(command) => {
                self.attempts = 0;
                self.retry.reset();
                self.decide(context, &stored, &command)
            }
            Err(error) if error.is_transient() => {
                self.attempts += 1;
                let wait = self.retry.next_wait();
                tracing::warn!(
                    partition = self.partition,
                    %error,
                    wait_ms = wait.as_millis() as u64,
                    "a command cannot be decoded for now"
                );
                let until = context.clock.elapsed() + wait;
                self.pause(context, Intake::Retry { until })
            }
            Err(error) => self.bury(context, stored, &error),
        }
    }

    fn decode(&self, context: &Context, stored: &Stored) -> Result<Command, DecodeError> {
        let command = context.codec.decode_command(stored.topic, &stored.record)?;
        // Decoding has seen that the key is the conversation's id.
        let key = stored.record.key.as_deref().unwrap_or_default();
        let home = partition_of(key, context.reader.partitions());
        if home != self.partition {
            let message = format!("the conversation belongs to partition {home}");
            return Err(DecodeError::Malformed(message));
        }
        Ok(command)
    }

    fn decide(
        &mut self,
        context: &mut Context,
        stored: &Stored,
        command: &Command,
    ) -> Result<(), Stop> {
        let span = self.span(stored);
        let now = self.tick_time(context);
        let decision = self.state.decide(command, now);
        self.state.apply(&decision);
        let digest = self.state.digest();
        let mut record = context
            .codec
            .encode_decision(&decision, stored, self.by, digest)?;
        let decided = Decided::from(&decision.outcome);
        if let Some(span) = &span {
            span.note("tidings.outcome", decided.name());
            // What the views do with the decision comes of this.
            if let Some(trace) = TraceParent::sampled(span.ids()) {
                record.headers.set(names::TRACEPARENT, trace.to_string());
            }
        }
        self.append(context, stored, record, Some(command.at), decided, span);
        if self.in_flight.len() >= context.options.max_in_flight {
            self.pause(context, Intake::Full)?;
        }
        Ok(())
    }

    /// Goes on with the command's trace, if it is one that is recorded.
    fn span(&self, stored: &Stored) -> Option<Span> {
        let work = Work {
            part: CONSUMER,
            operation: Operation::Process,
            topic: stored.topic.name(),
            partition: self.partition,
            since: Instant::now(),
        };
        let parent = || TraceParent::sampled_in(&stored.record.headers).map(TraceParent::ids);
        let span = traces::follow(parent, &work)?;
        span.offset(stored.offset);
        Some(span)
    }

    fn tick_time(&mut self, context: &Context) -> Timestamp {
        self.last_at = self.last_at.max(context.clock.now());
        self.last_at
    }

    fn append(
        &mut self,
        context: &mut Context,
        stored: &Stored,
        record: Record,
        asked: Option<Timestamp>,
        decided: Decided,
        span: Option<Span>,
    ) {
        let input = Input {
            topic: stored.topic,
            offset: stored.offset,
        };
        let token = context.produce(Topic::MessageDelivered, self.partition, record);
        self.inputs.advance(input);
        self.in_flight.push_back(InFlight {
            token,
            input,
            asked,
            decided,
            _span: span,
        });
    }

    /// Sends a command that nobody can decide to the dead letters.
    fn bury(
        &mut self,
        context: &mut Context,
        stored: Stored,
        error: &DecodeError,
    ) -> Result<(), Stop> {
        tracing::warn!(
            partition = self.partition,
            topic = %stored.topic,
            offset = stored.offset,
            %error,
            "a command goes to the dead letters"
        );
        let attempts = std::mem::take(&mut self.attempts) + 1;
        let letter = dead_letter(&stored, &error.to_string(), attempts);
        let token = context.produce(Topic::DeadSequencer, self.partition, letter);
        self.pause(
            context,
            Intake::Dead {
                token,
                command: Box::new(stored),
            },
        )
    }

    /// The dead letter is durable: mark its command as decided, and go on.
    fn buried(&mut self, context: &mut Context, command: &Stored) -> Result<(), Stop> {
        context.metrics.dead_letters.increment(1);
        let at = self.tick_time(context);
        let record = context
            .codec
            .encode_dead(command, at, self.by, self.state.digest())?;
        self.append(context, command, record, None, Decided::Dead, None);
        self.start(context)
    }

    /// A produce of this partition ended.
    pub(crate) fn produced(
        &mut self,
        context: &mut Context,
        token: u64,
        result: Result<i64, LogError>,
    ) -> Result<(), Stop> {
        let is_next = self
            .in_flight
            .front()
            .is_some_and(|first| first.token == token);
        if is_next {
            return self.acknowledged(context, result?);
        }
        if let Intake::Dead { token: ours, .. } = &self.intake
            && *ours == token
        {
            result?;
            if let Intake::Dead { command, .. } = std::mem::replace(&mut self.intake, Intake::Open)
            {
                self.buried(context, &command)?;
            }
            return Ok(());
        }
        if self
            .in_flight
            .iter()
            .any(|decision| decision.token == token)
        {
            let outcome = if result.is_ok() {
                "out of order"
            } else {
                "with a failure"
            };
            return Err(Stop::Unsure(format!(
                "a decision was acknowledged {outcome}"
            )));
        }
        // A failed piece of a snapshot would leave a checkpoint without it; and
        // a failure of a former owner's record in this process tells nothing.
        match result {
            Ok(_) => self.checkpointer.produced(context, token),
            Err(error) if self.checkpointer.waits_for(token) => Err(error.into()),
            Err(_) => Ok(()),
        }
    }

    fn acknowledged(&mut self, context: &mut Context, offset: i64) -> Result<(), Stop> {
        if offset != self.expected {
            self.check_gap(context, offset)?;
        }
        let Some(decision) = self.in_flight.pop_front() else {
            return Ok(());
        };
        self.expected = offset + 1;
        let verified = self.verified.get_or_insert_with(|| Verified {
            upto: 0,
            by: self.by,
            next: NextInputs::default(),
        });
        verified.upto = offset + 1;
        verified.by = self.by;
        verified.next.advance(decision.input);
        let now = context.clock.now();
        let after = decision
            .asked
            .map(|asked| now.0.saturating_sub(asked.0).max(0) as u64);
        context
            .metrics
            .decided(decision.decided, after.map(Duration::from_millis));
        self.checkpointer
            .verified(context, decision.token, verified)
    }

    /// Somebody else wrote between the expected offset and this one.
    fn check_gap(&self, context: &Context, offset: i64) -> Result<(), Stop> {
        let (partition, from) = (self.partition, self.expected);
        if offset < from {
            let message = format!("a decision got offset {offset}, below {from}");
            return Err(Stop::Unsure(message));
        }
        let mut rule = ReaderRule::resume(Some(self.by));
        let topic = Topic::MessageDelivered;
        read_range::<LogError>(&*context.reader, topic, partition, from, offset, |stored| {
            if let Ok(Delivered::Claim(by)) = delivered_header(&stored.record) {
                rule.claim(by);
            }
            Ok(())
        })?;
        match rule.current() {
            Some(current) if current != self.by => Err(Stop::Superseded(current)),
            _ => {
                tracing::info!(
                    partition,
                    from,
                    to = offset,
                    "another's records here are void"
                );
                Ok(())
            }
        }
    }

    /// Does what is due.
    pub(crate) fn turn(&mut self, context: &mut Context) -> Result<(), Stop> {
        let now = context.clock.elapsed();
        match self.intake {
            Intake::Full if self.in_flight.len() <= context.options.max_in_flight / 2 => {
                self.start(context)?;
            }
            Intake::Retry { until } if now >= until => self.start(context)?,
            Intake::Open if context.paused => self.pause(context, Intake::Paused)?,
            Intake::Paused if !context.paused => self.start(context)?,
            _ => {}
        }
        self.tell(context, now);
        let closed = self.is_closed();
        let due = self.checkpointer.is_due(now) || closed && self.checkpointer.is_idle();
        if !due {
            return Ok(());
        }
        match (self.in_flight.back(), &self.verified) {
            (Some(_), _) if closed => Ok(()),
            (Some(last), _) => {
                self.checkpointer
                    .take_unverified(&mut self.state, last.token);
                Ok(())
            }
            (None, Some(at)) if at.upto > self.checkpointer.saved_upto() => self
                .checkpointer
                .take_verified(context, &mut self.state, at),
            _ => Ok(()),
        }
    }

    /// Tells now and then how far the commands are decided, and leaves a mark.
    fn tell(&mut self, context: &mut Context, now: Duration) {
        let Some(verified) = &self.verified else {
            return;
        };
        if now < self.tell_at || verified.upto <= self.told_upto {
            return;
        }
        self.tell_at = now + TELL_EVERY;
        self.told_upto = verified.upto;
        let mark = Mark {
            offset: verified.upto,
            current: Some(verified.by),
        };
        let told = context
            .log
            .commit(self.partition, verified.next.pairs(), mark);
        if let Err(error) = told {
            // Marks and lag displays may be old; the next one comes.
            tracing::debug!(partition = self.partition, %error, "cannot leave a mark");
        }
    }

    /// Takes no more commands: finishes what is in flight, saves the state.
    pub(crate) fn close(&mut self, context: &Context) {
        if !self.is_closed() {
            let deadline = context.clock.elapsed() + context.options.drain_timeout;
            self.intake = Intake::Closed { deadline };
        }
    }

    /// Whether it takes no more commands.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.intake, Intake::Closed { .. })
    }

    /// Whether it was closed, and is finished or has had its time.
    pub(crate) fn is_finished(&self, now: Duration) -> bool {
        let Intake::Closed { deadline } = self.intake else {
            return false;
        };
        let saved = self
            .verified
            .as_ref()
            .is_none_or(|verified| verified.upto <= self.checkpointer.saved_upto());
        (self.in_flight.is_empty() && saved && self.checkpointer.is_idle()) || now >= deadline
    }
}

/// A command's dead letter. One that would outgrow what the log takes is kept
/// without its value, which stands in its own topic for a while longer.
fn dead_letter(stored: &Stored, error: &str, attempts: u32) -> Record {
    let size = stored.record.value.as_ref().map_or(0, |value| value.len());
    if size <= LARGEST_LETTER {
        return Codec::dead_letter(stored, CONSUMER, error, attempts);
    }
    let error = format!("{error} (its value of {size} bytes is not in this letter)");
    let mut letter = Codec::dead_letter(stored, CONSUMER, &error, attempts);
    letter.value = None;
    letter
}
