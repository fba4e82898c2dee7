use std::collections::BTreeMap;

use super::report::Latencies;
use super::scan::{Said, Stamp};

/// Counts what comes back. Pure: it is told the time.
pub(super) struct Meter {
    /// Messages due from here on are measured, in nanoseconds of the run.
    measured_from: u64,
    /// Decisions up to here count for the achieved rate.
    measured_to: u64,
    /// How many others each group has.
    others: Vec<u64>,
    /// Which messages are decided.
    decided: Vec<bool>,
    pub(super) pending: Latencies,
    pub(super) delivered: Latencies,
    pub(super) received: Latencies,
    pub(super) delivered_count: u64,
    pub(super) delivered_in_time: u64,
    pub(super) rejected_count: u64,
    pub(super) received_count: u64,
    pub(super) received_expected: u64,
    pub(super) duplicated: u64,
    pub(super) out_of_order: u64,
    pub(super) causes: BTreeMap<String, u64>,
}

/// Which of a group's conversations a message goes to: each in turn, when every
/// connection has sent one.
pub(super) fn conversation_of(number: u64, connections: usize, conversations: usize) -> usize {
    let turn = usize::try_from(number).unwrap_or(usize::MAX) / connections;
    turn % conversations
}

/// How far a connection has seen each conversation of its group.
#[derive(Debug)]
pub(super) struct Seen {
    connections: usize,
    conversations: Vec<Conversation>,
}

impl Seen {
    pub(super) fn new(connections: usize, conversations: usize) -> Self {
        Self {
            connections,
            conversations: vec![Conversation::default(); conversations],
        }
    }

    /// What has been seen of a message's conversation; of an event without
    /// one, where there are several, it is not known.
    fn of(&mut self, stamp: Option<Stamp>) -> Option<&mut Conversation> {
        let count = self.conversations.len();
        let at = match stamp {
            Some(stamp) => conversation_of(stamp.number, self.connections, count),
            None if count == 1 => 0,
            None => return None,
        };
        self.conversations.get_mut(at)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Conversation {
    /// The highest seq so far; none before the first.
    highest: Option<u64>,
    /// How many below it have not come.
    gaps: u64,
}

impl Meter {
    pub(super) fn new(measured_from: u64, measured_to: u64, others: Vec<u64>) -> Self {
        Self {
            measured_from,
            measured_to,
            others,
            decided: Vec::new(),
            pending: Latencies::new(),
            delivered: Latencies::new(),
            received: Latencies::new(),
            delivered_count: 0,
            delivered_in_time: 0,
            rejected_count: 0,
            received_count: 0,
            received_expected: 0,
            duplicated: 0,
            out_of_order: 0,
            causes: BTreeMap::new(),
        }
    }

    /// Takes what a connection of a group was told; whether that decided a
    /// message of its own.
    pub(super) fn take(&mut self, said: Said<'_>, now: u64, group: usize, seen: &mut Seen) -> bool {
        match said {
            Said::Pending(stamp) => {
                if stamp.due >= self.measured_from {
                    self.pending.record_nanos(now.saturating_sub(stamp.due));
                }
                false
            }
            Said::Delivered {
                stamp,
                seq,
                duplicate,
            } => {
                self.pass(seq, seen.of(Some(stamp)));
                self.duplicated += u64::from(duplicate);
                if !self.decide(stamp) {
                    return false;
                }
                self.delivered_count += 1;
                self.received_expected += self.others[group];
                if stamp.due >= self.measured_from {
                    self.delivered.record_nanos(now.saturating_sub(stamp.due));
                }
                if (self.measured_from..self.measured_to).contains(&now) {
                    self.delivered_in_time += 1;
                }
                true
            }
            Said::Rejected { stamp, code } => {
                self.fault(&String::from_utf8_lossy(code));
                let decided = stamp.is_some_and(|stamp| self.decide(stamp));
                self.rejected_count += u64::from(decided);
                decided
            }
            Said::Event { seq, stamp } => {
                self.pass(seq, seen.of(stamp));
                if let Some(stamp) = stamp {
                    self.received_count += 1;
                    if stamp.due >= self.measured_from {
                        self.received.record_nanos(now.saturating_sub(stamp.due));
                    }
                }
                false
            }
            Said::Other => false,
        }
    }

    /// Counts something that went wrong.
    pub(super) fn fault(&mut self, cause: &str) {
        *self.causes.entry(cause.to_owned()).or_default() += 1;
    }

    fn decide(&mut self, stamp: Stamp) -> bool {
        let index = usize::try_from(stamp.number).unwrap_or(usize::MAX);
        if index >= self.decided.len() {
            self.decided.resize(index + 1, false);
        }
        let first = !std::mem::replace(&mut self.decided[index], true);
        self.duplicated += u64::from(!first);
        first
    }

    /// Events and own decisions of a conversation come in seq order.
    fn pass(&mut self, seq: u64, seen: Option<&mut Conversation>) {
        let Some(seen) = seen else {
            return;
        };
        match seen.highest {
            Some(highest) if seq <= highest => {
                if seen.gaps > 0 {
                    seen.gaps -= 1;
                    self.out_of_order += 1;
                } else {
                    self.duplicated += 1;
                }
            }
            Some(highest) => {
                seen.gaps += seq - highest - 1;
                seen.highest = Some(seq);
            }
            None => seen.highest = Some(seq),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, number: u64) -> Said<'static> {
        Said::Event {
            seq,
            stamp: Some(Stamp { number, due: 10 }),
        }
    }

    #[test]
    fn repeats_and_swaps_are_told_apart() {
        let mut meter = Meter::new(0, 1_000, vec![1]);
        let mut seen = Seen::new(1, 1);
        for seq in [1, 2, 4, 3, 5, 5] {
            meter.take(event(seq, seq), 20, 0, &mut seen);
        }
        assert_eq!(
            (meter.received_count, meter.out_of_order, meter.duplicated),
            (6, 1, 1)
        );
    }

    #[test]
    fn each_conversation_of_a_group_has_an_order_of_its_own() {
        let mut meter = Meter::new(0, 1_000, vec![1]);
        let mut seen = Seen::new(10, 2);
        // Of the first ten, of the next ten, and of the third.
        for (number, seq) in [(0, 5), (10, 3), (20, 6), (11, 4), (21, 6)] {
            meter.take(event(seq, number), 20, 0, &mut seen);
        }
        assert_eq!((meter.out_of_order, meter.duplicated), (0, 1));
    }

    #[test]
    fn a_message_is_decided_once_and_measured_from_when_it_was_due() {
        let mut meter = Meter::new(100, 1_000, vec![9]);
        let mut seen = Seen::new(1, 1);
        let delivered = |number, due, seq| {
            let stamp = Stamp { number, due };
            Said::Delivered {
                stamp,
                seq,
                duplicate: false,
            }
        };
        // Due in the warm-up, decided in the measured time.
        assert!(meter.take(delivered(0, 50, 1), 120, 0, &mut seen));
        assert!(meter.take(delivered(1, 200, 2), 5_200, 0, &mut seen));
        assert!(!meter.take(delivered(1, 200, 2), 5_300, 0, &mut seen));
        assert_eq!((meter.delivered_count, meter.delivered_in_time), (2, 1));
        assert_eq!(meter.received_expected, 18);
        assert_eq!(meter.duplicated, 2);
        assert_eq!(meter.delivered.percentiles().count, 1);
    }
}
