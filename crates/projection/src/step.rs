use tidings_domain::{Decision, Ownership};
use tidings_views::Position;
use tidings_wire::Stored;

use crate::Entry;

/// One record of `message.delivered`, judged and decoded.
#[derive(Debug)]
pub(crate) struct Step {
    /// The record as it came.
    pub(crate) stored: Stored,
    /// The partition's owner after it.
    pub(crate) current: Option<Ownership>,
    /// What it asks of the view.
    pub(crate) effect: Effect,
}

/// What a record asks of the view.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every step is a decision")]
pub(crate) enum Effect {
    /// To apply this decision.
    Decision(Decision),
    /// Nothing: a claim, a void decision, the marker of a dead command.
    Nothing,
    /// To go to the dead letters, for this reason: it cannot be read, or the
    /// store will not take it.
    Broken(String),
}

impl Step {
    /// The decision to apply, if it is one.
    pub(crate) fn entry(&self) -> Option<Entry<'_>> {
        match &self.effect {
            Effect::Decision(decision) => Some(Entry {
                offset: self.stored.offset,
                decision,
            }),
            Effect::Nothing | Effect::Broken(_) => None,
        }
    }

    /// Where its partition stands after it.
    pub(crate) fn position(&self) -> Position {
        Position {
            partition: self.stored.partition,
            offset: self.stored.offset + 1,
            current: self.current,
        }
    }
}

/// Where each partition stands after all of these steps.
pub(crate) fn positions_after(steps: &[Step]) -> Vec<Position> {
    let mut positions: Vec<Position> = Vec::new();
    for step in steps {
        let after = step.position();
        match positions
            .iter_mut()
            .find(|known| known.partition == after.partition)
        {
            Some(known) => *known = after,
            None => positions.push(after),
        }
    }
    positions
}
