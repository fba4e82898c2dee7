use std::collections::BTreeMap;
use std::str::FromStr;

use tidings_log::LogReader;
use tidings_wire::Topic;

use super::ResetError;
use crate::replay::Bound;

/// Where a projection is to go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// From the same place of every partition, or of one.
    Bound(Bound, Option<i32>),
    /// From these offsets, by partition.
    Offsets(BTreeMap<i32, i64>),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            return text.parse().map(|bound| Self::Bound(bound, None));
        }
        let mut offsets = BTreeMap::new();
        for part in text.split(',') {
            let read = part.split_once('=').and_then(|(partition, offset)| {
                let partition = partition.parse().ok().filter(|it: &i32| *it >= 0)?;
                let offset = offset.parse().ok().filter(|it: &i64| *it >= 0)?;
                Some((partition, offset))
            });
            let Some((partition, offset)) = read else {
                return Err(format!(
                    "{part:?}: expected PARTITION=OFFSET, such as 0=120 or 0=120,3=88"
                ));
            };
            if offsets.insert(partition, offset).is_some() {
                return Err(format!("partition {partition} stands there twice"));
            }
        }
        Ok(Self::Offsets(offsets))
    }
}

impl Target {
    /// Only of this partition.
    ///
    /// # Errors
    /// Where it names partitions itself.
    pub fn only(self, partition: i32) -> Result<Self, String> {
        match self {
            Self::Bound(bound, _) => Ok(Self::Bound(bound, Some(partition))),
            Self::Offsets(_) => Err("--to names partitions already".to_owned()),
        }
    }

    /// The offset of each partition that is meant.
    pub(super) fn offsets(&self, log: &dyn LogReader) -> Result<BTreeMap<i32, i64>, ResetError> {
        let count = log.partitions();
        let known = |partition: i32| match (0..count).contains(&partition) {
            true => Ok(partition),
            false => Err(ResetError::Target(format!(
                "no partition {partition}: message.delivered has 0 to {}",
                count - 1
            ))),
        };
        let topic = Topic::MessageDelivered;
        match self {
            Self::Bound(bound, only) => {
                let partitions = match only {
                    Some(only) => known(*only).map(|only| only..only + 1)?,
                    None => 0..count,
                };
                let at = |partition| Ok((partition, bound.offset(log, topic, partition)?));
                partitions.map(at).collect()
            }
            Self::Offsets(offsets) => {
                for (partition, offset) in offsets {
                    let (low, high) = log.watermarks(topic, known(*partition)?)?;
                    if !(low..=high).contains(offset) {
                        return Err(ResetError::Target(format!(
                            "no offset {offset} in partition {partition}: it has {low} to {high}"
                        )));
                    }
                }
                Ok(offsets.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        let end = Target::Bound(Bound::End, None);
        assert_eq!("end".parse(), Ok(end.clone()));
        assert_eq!(end.only(3), Ok(Target::Bound(Bound::End, Some(3))));
        let offsets = Target::Offsets(BTreeMap::from([(0, 120), (3, 88)]));
        assert_eq!("0=120,3=88".parse(), Ok(offsets.clone()));
        assert!(offsets.only(1).is_err());
        for text in ["", "0=", "0=1,0=2", "-1=3", "1=-3", "0=1,", "monday"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
