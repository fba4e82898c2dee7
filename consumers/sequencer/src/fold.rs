use tidings_domain::{Digest, Ownership, Partition, ReaderRule, Timestamp, Verdict};
use tidings_log::LogReader;
use tidings_wire::{
    Codec, DecodeError, Delivered, DeliveredBody, Marked, Stored, Topic, delivered_header,
};

use crate::error::ReadError;
use crate::inputs::NextInputs;
use crate::saved::{Saved, SavedChunk, Tail};

/// The state of a partition as a fold of its valid decisions.
pub(crate) struct Fold {
    partition: i32,
    tail: Tail,
    rule: ReaderRule,
    state: Partition,
    inputs: NextInputs,
    last_valid: Option<LastValid>,
    last_at: Timestamp,
    saved: Option<FromSaved>,
    unread: Option<Unread>,
    batch: Vec<Stored>,
}

/// Valid decisions that could not be decoded, and were passed over as every
/// reader does.
struct Unread {
    first: ReadError,
    /// The last one whose schema the registry does not know. It may know it
    /// again, and then the decision counts.
    unknown_schema: Option<i64>,
}

/// What a fold that started from a snapshot knows of it.
struct FromSaved {
    upto: i64,
    chunks: Vec<SavedChunk>,
    /// Whether the decision before `upto` was seen to be valid.
    confirmed: bool,
}

/// The last valid decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastValid {
    pub(crate) offset: i64,
    pub(crate) by: Ownership,
    digest: Digest,
}

/// What a fold has come to.
pub(crate) struct Folded {
    pub(crate) state: Partition,
    pub(crate) inputs: NextInputs,
    pub(crate) last_valid: Option<LastValid>,
    pub(crate) last_at: Timestamp,
    /// Below which offset the saved state is complete; 0: none is.
    pub(crate) saved_upto: i64,
    pub(crate) chunks: Vec<SavedChunk>,
}

impl Fold {
    /// From the partition's first record.
    pub(crate) fn from_start(partition: i32) -> Self {
        Self {
            partition,
            tail: Tail::new(Topic::MessageDelivered, partition, 0),
            rule: ReaderRule::default(),
            state: Partition::new(),
            inputs: NextInputs::default(),
            last_valid: None,
            last_at: Timestamp::default(),
            saved: None,
            unread: None,
            batch: Vec::new(),
        }
    }

    /// From a snapshot. The last decision it reflects is read again: its
    /// digest is what the snapshot is checked against.
    pub(crate) fn from_saved(partition: i32, saved: Saved) -> Self {
        let Saved {
            pieces,
            chunks,
            upto,
            by,
            next,
        } = saved;
        Self {
            tail: Tail::new(Topic::MessageDelivered, partition, (upto - 1).max(0)),
            rule: ReaderRule::resume(Some(by)),
            state: Partition::restore(pieces),
            inputs: next.into(),
            saved: Some(FromSaved {
                upto,
                chunks,
                confirmed: false,
            }),
            ..Self::from_start(partition)
        }
    }

    /// The rule at this point of the log.
    pub(crate) fn rule(&self) -> ReaderRule {
        self.rule
    }

    /// Folds some of what is below `to`; says whether that was all of it.
    pub(crate) fn advance(
        &mut self,
        reader: &dyn LogReader,
        codec: &Codec,
        to: i64,
    ) -> Result<bool, ReadError> {
        let mut batch = std::mem::take(&mut self.batch);
        let done = self.tail.read(reader, to, &mut batch)?;
        for stored in &batch {
            self.take_in(codec, stored)?;
        }
        batch.clear();
        self.batch = batch;
        Ok(done)
    }

    fn take_in(&mut self, codec: &Codec, stored: &Stored) -> Result<(), ReadError> {
        let (partition, offset) = (self.partition, stored.offset);
        match delivered_header(&stored.record) {
            Ok(Delivered::Claim(by)) => {
                self.rule.claim(by);
            }
            Ok(Delivered::Decided(marked)) => {
                if self.rule.decision(marked.by) == Verdict::Valid {
                    self.apply(codec, stored, marked)?;
                }
            }
            // It names no owner, so it cannot be the current owner's.
            Err(error) => {
                tracing::warn!(partition, offset, %error, "a foreign record in message.delivered");
            }
        }
        Ok(())
    }

    fn apply(&mut self, codec: &Codec, stored: &Stored, marked: Marked) -> Result<(), ReadError> {
        let offset = stored.offset;
        let body = match codec.decode_delivered(&stored.record) {
            Ok(body) => body,
            Err(error) if error.is_transient() => return Err(ReadError::decode(stored, error)),
            Err(error) => {
                self.pass_over(stored, error);
                return Ok(());
            }
        };
        let at = match &body {
            DeliveredBody::Decision(decision) => {
                self.state.apply(decision);
                decision.at
            }
            DeliveredBody::Dead { at, .. } => *at,
        };
        self.last_at = self.last_at.max(at);
        self.inputs.advance(marked.input);
        self.last_valid = Some(LastValid {
            offset,
            by: marked.by,
            digest: marked.digest,
        });
        if let Some(saved) = &mut self.saved
            && offset == saved.upto - 1
        {
            saved.confirmed = true;
        }
        Ok(())
    }

    fn pass_over(&mut self, stored: &Stored, error: DecodeError) {
        let (partition, offset) = (self.partition, stored.offset);
        tracing::error!(partition, offset, %error, "a valid decision cannot be decoded");
        let is_unknown_schema = matches!(error, DecodeError::UnknownSchema(_));
        let unread = self.unread.get_or_insert_with(|| Unread {
            first: ReadError::decode(stored, error),
            unknown_schema: None,
        });
        if is_unknown_schema {
            unread.unknown_schema = Some(offset);
        }
    }

    /// Why a decision that was passed over may be missing from the state; none:
    /// it is not. The digest of a later one shows whether the writer's state is
    /// the same without it. Of those at the end, bytes that are not Avro are
    /// nobody's decision, whoever reads them: their command is decided again. A
    /// schema may only be lost.
    pub(crate) fn doubt(&self) -> Option<&ReadError> {
        let unread = self.unread.as_ref()?;
        let last_valid = self.last_valid.map_or(-1, |last| last.offset);
        let may_return = unread.unknown_schema.is_some_and(|at| at > last_valid);
        (may_return || !self.is_sound()).then_some(&unread.first)
    }

    /// Whether it started from a snapshot.
    pub(crate) fn is_from_saved(&self) -> bool {
        self.saved.is_some()
    }

    /// Whether the state is the one that the last valid decision left behind.
    pub(crate) fn is_sound(&self) -> bool {
        let anchored = self.saved.as_ref().is_none_or(|saved| saved.confirmed);
        let expected = self
            .last_valid
            .map_or_else(Digest::default, |last| last.digest);
        anchored && expected == self.state.digest()
    }

    /// Ends it.
    pub(crate) fn finish(self) -> Folded {
        let (saved_upto, chunks) = self
            .saved
            .map_or_else(Default::default, |saved| (saved.upto, saved.chunks));
        Folded {
            state: self.state,
            inputs: self.inputs,
            last_valid: self.last_valid,
            last_at: self.last_at,
            saved_upto,
            chunks,
        }
    }
}
