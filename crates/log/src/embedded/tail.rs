use std::collections::VecDeque;
use std::sync::Arc;

use tidings_wire::Record;

use super::layout::Slot;

/// The latest durable records of every partition, in memory, so that those who
/// are at the head of the log never read the file. Bounded in bytes over all:
/// the oldest go first.
#[derive(Debug)]
pub(super) struct Tail {
    slots: Vec<Recent>,
    /// The slot and size of each record held, oldest first.
    order: VecDeque<(Slot, usize)>,
    bytes: usize,
    max_bytes: usize,
}

/// The records of one partition that are held.
#[derive(Debug, Default)]
struct Recent {
    /// The offset of the first one held, or of the next one to come.
    first: i64,
    records: VecDeque<Arc<Record>>,
}

impl Tail {
    /// Holds nothing yet of partitions whose next offsets are `next`.
    pub(super) fn new(next: &[i64], max_bytes: usize) -> Self {
        let slots = next
            .iter()
            .map(|&first| Recent {
                first,
                records: VecDeque::new(),
            })
            .collect();
        Self {
            slots,
            order: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// Adds the next record of a partition, which counts for `size` bytes.
    pub(super) fn push(&mut self, slot: Slot, record: Arc<Record>, size: usize) {
        self.slots[slot].records.push_back(record);
        self.order.push_back((slot, size));
        self.bytes += size;
        while self.bytes > self.max_bytes {
            let Some((oldest, size)) = self.order.pop_front() else {
                break;
            };
            let recent = &mut self.slots[oldest];
            recent.records.pop_front();
            recent.first += 1;
            self.bytes -= size;
        }
    }

    /// Forgets everything: the partitions' next offsets are now `next`.
    pub(super) fn reset(&mut self, next: &[i64]) {
        *self = Self::new(next, self.max_bytes);
    }

    /// The offset after the last durable record.
    pub(super) fn next(&self, slot: Slot) -> i64 {
        let recent = &self.slots[slot];
        recent.first + recent.records.len() as i64
    }

    /// Up to `max` records from offset `from` on, if all from there to the end
    /// are held.
    pub(super) fn read(
        &self,
        slot: Slot,
        from: i64,
        max: usize,
        into: &mut Vec<Arc<Record>>,
    ) -> bool {
        let recent = &self.slots[slot];
        let Ok(skip) = usize::try_from(from - recent.first) else {
            return false;
        };
        into.extend(recent.records.iter().skip(skip).take(max).cloned());
        true
    }
}

#[cfg(test)]
mod tests {
    use tidings_domain::Timestamp;
    use tidings_wire::Headers;

    use super::*;

    fn record(n: i64) -> Arc<Record> {
        let headers = Headers::default();
        Arc::new(Record {
            key: None,
            value: None,
            headers,
            timestamp: Timestamp(n),
        })
    }

    fn read(tail: &Tail, slot: Slot, from: i64) -> Option<Vec<i64>> {
        let mut records = Vec::new();
        tail.read(slot, from, 100, &mut records)
            .then(|| records.iter().map(|r| r.timestamp.0).collect())
    }

    #[test]
    fn the_oldest_go_first_whatever_their_partition() {
        let mut tail = Tail::new(&[5, 0], 30);
        assert_eq!(read(&tail, 0, 5), Some(vec![]));
        assert_eq!(read(&tail, 0, 4), None);
        tail.push(0, record(5), 10);
        tail.push(1, record(0), 10);
        tail.push(0, record(6), 10);
        assert_eq!(read(&tail, 0, 5), Some(vec![5, 6]));
        tail.push(1, record(1), 10);
        assert_eq!(read(&tail, 0, 5), None);
        assert_eq!(read(&tail, 0, 6), Some(vec![6]));
        assert_eq!(read(&tail, 1, 0), Some(vec![0, 1]));
        tail.push(0, record(7), 30);
        assert_eq!(read(&tail, 1, 1), None);
        assert_eq!(read(&tail, 0, 7), Some(vec![7]));
    }
}
