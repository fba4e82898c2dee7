use std::collections::BTreeMap;

use tidings_domain::Verdict;
use tidings_log::LogReader;
use tidings_wire::{DeliveredStream, Judged, Topic};

use crate::log::SimulatedLog;
use crate::plan::PARTITIONS;

/// A client's way back: follows `message.delivered` by the reader's rule, and
/// remembers which records counted.
#[derive(Default)]
pub(crate) struct Reader {
    stream: DeliveredStream,
    next: [i64; PARTITIONS as usize],
    /// By partition and offset: whether the record is a decision that counts.
    pub(crate) judged: BTreeMap<(i32, i64), bool>,
    /// A record that was judged otherwise when it was read again.
    pub(crate) contradiction: Option<(i32, i64)>,
}

impl Reader {
    /// Reads on; says how much there was.
    pub(crate) fn read(&mut self, log: &SimulatedLog, most: usize) -> Result<usize, String> {
        let mut count = 0;
        for (partition, next) in (0..).zip(&mut self.next) {
            for stored in log.from(Topic::MessageDelivered, partition, *next, most) {
                let judged = self.stream.judge(&stored).map_err(|e| e.to_string())?;
                let counts = match judged {
                    Judged::Valid(_) => true,
                    Judged::Void | Judged::Claim(Verdict::Claimed | Verdict::ClaimLost) => false,
                    Judged::Claim(_) => return Err("a claim was judged as a decision".to_owned()),
                };
                let place = (partition, stored.offset);
                if self
                    .judged
                    .insert(place, counts)
                    .is_some_and(|known| known != counts)
                {
                    self.contradiction = Some(place);
                }
                *next = stored.offset + 1;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Begins again where the sequencers left their last marks.
    pub(crate) fn reconnect(&mut self, log: &SimulatedLog) -> Result<(), String> {
        self.stream = DeliveredStream::default();
        for (partition, next) in (0..).zip(&mut self.next) {
            let mark = log.mark(partition).map_err(|e| e.to_string())?;
            // What it has not read yet it must not jump over.
            let known = mark.filter(|mark| mark.offset <= *next);
            let (offset, current) = known.map_or((0, None), |mark| (mark.offset, mark.current));
            self.stream.resume(partition, current);
            *next = offset;
        }
        Ok(())
    }
}
