use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tidings_domain::Timestamp;
use tidings_log::{LogError, LogReader};
use tidings_wire::{Topic, parse_time};

/// Where a range begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// At the first record there is.
    Beginning,
    /// After the last record there is now.
    End,
    /// At this offset of each partition.
    Offset(i64),
    /// At the first record that is not older.
    Time(Timestamp),
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "beginning" => return Ok(Self::Beginning),
            "end" => return Ok(Self::End),
            _ => {}
        }
        if let Ok(offset) = text.parse::<i64>()
            && offset >= 0
        {
            return Ok(Self::Offset(offset));
        }
        parse_time(text).map(Self::Time).ok_or_else(|| {
            "expected `beginning`, `end`, an offset, or a time such as 2004-11-15T12:18:00Z"
                .to_owned()
        })
    }
}

impl Bound {
    /// The offset it stands for, of those there are.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn offset(
        self,
        log: &dyn LogReader,
        topic: Topic,
        partition: i32,
    ) -> Result<i64, LogError> {
        let (low, high) = log.watermarks(topic, partition)?;
        let offset = match self {
            Self::Beginning => low,
            Self::End => high,
            Self::Offset(offset) => offset,
            Self::Time(at) => log.offset_at(topic, partition, at.0)?,
        };
        Ok(offset.clamp(low, high))
    }
}

/// Offsets of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The offset after the last.
    pub to: i64,
}

/// A range of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The topic.
    pub topic: Topic,
    /// Its offsets, by partition.
    pub spans: Vec<Span>,
}

impl Range {
    /// The range between two bounds, in one partition or all.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn find(
        log: &dyn LogReader,
        topic: Topic,
        partition: Option<i32>,
        from: Bound,
        to: Bound,
    ) -> Result<Self, LogError> {
        let partitions = match partition {
            Some(partition) => partition..partition + 1,
            None => 0..log.partitions(),
        };
        let span = |partition| {
            let to = to.offset(log, topic, partition)?;
            let from = from.offset(log, topic, partition)?;
            Ok(Span {
                partition,
                from: from.min(to),
                to,
            })
        };
        let spans = partitions.map(span).collect::<Result<_, LogError>>()?;
        Ok(Self { topic, spans })
    }

    /// How many offsets it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        let lengths = self.spans.iter().map(|span| span.to - span.from);
        lengths.map(|length| length.max(0).cast_unsigned()).sum()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Leaves out what comes before the record after this one, in the order of
    /// [`replay`](super::replay).
    pub fn go_on_after(&mut self, partition: i32, offset: i64) {
        for span in &mut self.spans {
            match span.partition.cmp(&partition) {
                std::cmp::Ordering::Less => span.from = span.to,
                std::cmp::Ordering::Equal => span.from = span.from.max(offset + 1),
                std::cmp::Ordering::Greater => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read() {
        assert_eq!("beginning".parse(), Ok(Bound::Beginning));
        assert_eq!("end".parse(), Ok(Bound::End));
        assert_eq!("12".parse(), Ok(Bound::Offset(12)));
        let time = Timestamp(1_100_520_000_000);
        assert_eq!("2004-11-15T12:00:00Z".parse(), Ok(Bound::Time(time)));
        for text in ["", "-1", "monday", "2004-11-15"] {
            assert!(text.parse::<Bound>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_goes_on_where_it_was() {
        let span = |partition, from, to| Span {
            partition,
            from,
            to,
        };
        let mut range = Range {
            topic: Topic::MessageDelivered,
            spans: vec![span(0, 0, 10), span(1, 5, 10), span(2, 0, 10)],
        };
        assert_eq!(range.len(), 25);
        range.go_on_after(1, 7);
        let expected = [span(0, 10, 10), span(1, 8, 10), span(2, 0, 10)];
        assert_eq!(range.spans, expected);
        assert_eq!(range.len(), 12);
    }
}
