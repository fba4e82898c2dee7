use std::fmt;

use uuid::Uuid;

/// How many claims of a partition came before, roughly: each claim takes the
/// highest epoch it can see, plus one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name a claim gives its writer: a fresh UUID per claim, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(pub Uuid);

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Who may write decisions into a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ownership {
    /// The epoch of the claim that made them the owner.
    pub epoch: Epoch,
    /// The owner that claim named.
    pub owner: OwnerId,
}

/// The rule by which every reader of `message.delivered` tells the decisions
/// that count from those that do not. One per partition; records must be given
/// in log order.
///
/// A claim with a higher epoch makes its writer the owner; of equal epochs the
/// first in the log wins; a decision counts only if it names the current
/// owner. So what a paused old owner still appends behind a newer claim is
/// void, for every reader alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReaderRule {
    current: Option<Ownership>,
}

/// What the rule says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A claim that made its writer the owner.
    Claimed,
    /// A claim that came too late and changes nothing.
    ClaimLost,
    /// A decision that counts.
    Valid,
    /// A decision of somebody who is not the owner: as if it were not there.
    Void,
}

impl ReaderRule {
    /// Goes on from a position at which `current` was the owner.
    #[must_use]
    pub fn resume(current: Option<Ownership>) -> Self {
        Self { current }
    }

    /// Takes in a claim.
    pub fn claim(&mut self, by: Ownership) -> Verdict {
        match self.current {
            Some(current) if by.epoch <= current.epoch => Verdict::ClaimLost,
            _ => {
                self.current = Some(by);
                Verdict::Claimed
            }
        }
    }

    /// Judges a decision.
    #[must_use]
    pub fn decision(&self, by: Ownership) -> Verdict {
        if self.current == Some(by) {
            Verdict::Valid
        } else {
            Verdict::Void
        }
    }

    /// The owner at this point of the log.
    #[must_use]
    pub fn current(&self) -> Option<Ownership> {
        self.current
    }

    /// The epoch a new claim must take.
    #[must_use]
    pub fn next_epoch(&self) -> Epoch {
        Epoch(self.current.map_or(1, |current| current.epoch.0 + 1))
    }
}
