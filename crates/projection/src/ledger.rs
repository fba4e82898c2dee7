use std::cmp::Ordering;
use std::collections::BTreeMap;

use tidings_log::Mark;
use tidings_views::Position;

/// How far each of the projection's partitions is done: everything below, and
/// nothing from there on.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    next: BTreeMap<i32, Mark>,
}

/// Where a record stands, seen from how far its partition is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is the next one.
    Next,
    /// It is done already.
    Repeat,
    /// Records between are missing; the first of them is at this offset.
    Ahead(i64),
    /// Its partition is not the projection's.
    Foreign,
}

impl Place {
    /// Where a record at `offset` stands when the one at `next` is next.
    pub(crate) fn of(offset: i64, next: i64) -> Self {
        match offset.cmp(&next) {
            Ordering::Less => Self::Repeat,
            Ordering::Equal => Self::Next,
            Ordering::Greater => Self::Ahead(next),
        }
    }
}

impl Ledger {
    /// Takes in a partition from where its view stands.
    pub(crate) fn start(&mut self, position: Position) {
        let mark = Mark {
            offset: position.offset,
            current: position.current,
        };
        self.next.insert(position.partition, mark);
    }

    /// Forgets a partition that is not the projection's any more.
    pub(crate) fn drop_partition(&mut self, partition: i32) {
        self.next.remove(&partition);
    }

    /// The partitions that are the projection's.
    pub(crate) fn partitions(&self) -> Vec<i32> {
        self.next.keys().copied().collect()
    }

    /// Where they all stand.
    pub(crate) fn marks(&self) -> Vec<(i32, Mark)> {
        self.next
            .iter()
            .map(|(partition, mark)| (*partition, *mark))
            .collect()
    }

    /// Where a record stands.
    pub(crate) fn place(&self, partition: i32, offset: i64) -> Place {
        self.next
            .get(&partition)
            .map_or(Place::Foreign, |mark| Place::of(offset, mark.offset))
    }

    /// Everything below these positions is in the store, or durable among the
    /// dead letters. Never goes backwards.
    pub(crate) fn advance(&mut self, positions: &[Position]) {
        for position in positions {
            if let Some(mark) = self.next.get_mut(&position.partition)
                && position.offset > mark.offset
            {
                *mark = Mark {
                    offset: position.offset,
                    current: position.current,
                };
            }
        }
    }

    /// Whether the store has less than was written to it: it has lost data,
    /// or was put back to an earlier state.
    pub(crate) fn is_ahead_of(&self, stored: &[Position]) -> bool {
        let lost =
            |(partition, mark): (&i32, &Mark)| mark.offset > position_of(*partition, stored).offset;
        self.next.iter().any(lost)
    }
}

/// Where the store has a partition; one that it does not name is at its
/// beginning.
pub(crate) fn position_of(partition: i32, stored: &[Position]) -> Position {
    let beginning = Position {
        partition,
        offset: 0,
        current: None,
    };
    stored
        .iter()
        .find(|position| position.partition == partition)
        .copied()
        .unwrap_or(beginning)
}

#[cfg(test)]
mod tests {
    use super::{Ledger, Place, Position};

    fn at(partition: i32, offset: i64) -> Position {
        Position {
            partition,
            offset,
            current: None,
        }
    }

    fn started(positions: &[Position]) -> Ledger {
        let mut ledger = Ledger::default();
        for position in positions {
            ledger.start(*position);
        }
        ledger
    }

    #[test]
    fn only_the_next_record_of_an_own_partition_is_next() {
        let ledger = started(&[at(0, 5)]);
        assert_eq!(ledger.place(0, 4), Place::Repeat);
        assert_eq!(ledger.place(0, 5), Place::Next);
        assert_eq!(ledger.place(0, 6), Place::Ahead(5));
        assert_eq!(ledger.place(1, 0), Place::Foreign);
    }

    #[test]
    fn never_goes_backwards_nor_into_foreign_partitions() {
        let mut ledger = started(&[at(0, 5)]);
        ledger.advance(&[at(0, 9), at(0, 7), at(1, 3)]);
        assert_eq!(ledger.place(0, 9), Place::Next);
        assert_eq!(ledger.place(1, 3), Place::Foreign);
        ledger.drop_partition(0);
        assert_eq!(ledger.place(0, 9), Place::Foreign);
        assert!(ledger.partitions().is_empty());
    }

    #[test]
    fn sees_a_store_that_has_lost_data() {
        let ledger = started(&[at(0, 5), at(1, 0)]);
        assert!(!ledger.is_ahead_of(&[at(0, 5)]));
        assert!(
            !ledger.is_ahead_of(&[at(0, 8), at(1, 2), at(2, 0)]),
            "another one may be ahead"
        );
        assert!(ledger.is_ahead_of(&[at(0, 4)]));
        assert!(ledger.is_ahead_of(&[]));
    }
}
