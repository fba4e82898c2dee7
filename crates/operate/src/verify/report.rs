use std::collections::{BTreeMap, BTreeSet};

use tidings_views::Position;
use tidings_views::audit::Flaw;

use super::{Difference, What};

/// What a comparison found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The view.
    pub view: &'static str,
    /// Valid decisions that were folded.
    pub decisions: u64,
    /// Records that cannot be read; the projection put them among its dead
    /// letters.
    pub unreadable: u64,
    /// Decisions that do not follow on those before; likewise.
    pub refused: u64,
    /// Documents of the view, by kind.
    pub documents: BTreeMap<&'static str, u64>,
    /// What is wrong of the store besides documents.
    pub flaws: Vec<Flaw>,
    /// How many of these are left.
    pub flaws_left: usize,
    /// Positions that are wrong.
    pub positions: Vec<WrongPosition>,
    /// Partitions of which the view has documents, but no position.
    pub lost_positions: Vec<i32>,
    /// How many documents are wrong, by kind.
    pub found: BTreeMap<&'static str, Found>,
    /// The first of them, at most [`KEPT`](Self::KEPT).
    pub differences: Vec<Difference>,
    /// How many wrong documents were put right.
    pub repaired: u64,
    /// How many wrong documents are left.
    pub left: u64,
    /// The partitions of which the view has documents.
    pub(super) partitions: BTreeSet<i32>,
}

/// How many documents of a kind are wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Not there.
    pub missing: u64,
    /// There, and should not be.
    pub extra: u64,
    /// There, and other than they should be.
    pub different: u64,
}

/// A position that is not what the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongPosition {
    /// The partition.
    pub partition: i32,
    /// What is stored.
    pub stored: Position,
    /// What is right.
    pub right: Position,
    /// Whether it was put right.
    pub is_mended: bool,
}

impl Report {
    /// How many differences a report keeps.
    pub const KEPT: usize = 1_000;

    pub(super) fn new(view: &'static str) -> Self {
        Self {
            view,
            decisions: 0,
            unreadable: 0,
            refused: 0,
            documents: BTreeMap::new(),
            flaws: Vec::new(),
            flaws_left: 0,
            positions: Vec::new(),
            lost_positions: Vec::new(),
            found: BTreeMap::new(),
            differences: Vec::new(),
            repaired: 0,
            left: 0,
            partitions: BTreeSet::new(),
        }
    }

    pub(super) fn count(&mut self, difference: &Difference) {
        let found = self.found.entry(difference.kind).or_default();
        match difference.what {
            What::Missing => found.missing += 1,
            What::Extra => found.extra += 1,
            What::Different => found.different += 1,
        }
        self.left += 1;
        if self.differences.len() < Self::KEPT {
            self.differences.push(difference.clone());
        }
    }

    /// How many documents were found wrong.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        let found = self.found.values();
        found.map(|it| it.missing + it.extra + it.different).sum()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.flaws.is_empty()
            && self.positions.is_empty()
            && self.lost_positions.is_empty()
            && self.wrong() == 0
    }

    /// Whether nothing is wrong any more.
    #[must_use]
    pub fn is_right_now(&self) -> bool {
        self.flaws_left == 0
            && self.positions.iter().all(|wrong| wrong.is_mended)
            && self.lost_positions.is_empty()
            && self.left == 0
    }
}
