//! A mark as Kafka keeps it: the offset is a committed offset of the
//! sequencers' group, and the owner at that offset its metadata,
//! `<epoch> <owner>`, or nothing where nobody owned the partition yet.

use tidings_domain::{Epoch, OwnerId, Ownership};
use uuid::Uuid;

use crate::Mark;

pub(super) fn metadata(mark: Mark) -> String {
    mark.current
        .map(|by| format!("{} {}", by.epoch, by.owner))
        .unwrap_or_default()
}

/// None where the metadata is not ours: a mark must never be wrong, and with
/// none a reader only starts further back.
pub(super) fn read(offset: i64, metadata: &str) -> Option<Mark> {
    if metadata.is_empty() {
        return Some(Mark {
            offset,
            current: None,
        });
    }
    let ownership = || {
        let (epoch, owner) = metadata.split_once(' ')?;
        let epoch = Epoch(epoch.parse().ok()?);
        Some(Ownership {
            epoch,
            owner: OwnerId(Uuid::try_parse(owner).ok()?),
        })
    };
    let current = ownership();
    if current.is_none() {
        tracing::warn!(
            metadata,
            "a committed offset has metadata that is no owner: ignored"
        );
    }
    current.map(|current| Mark {
        offset,
        current: Some(current),
    })
}

#[cfg(test)]
mod tests {
    use super::{metadata, read};
    use crate::Mark;
    use tidings_domain::{Epoch, OwnerId, Ownership};
    use uuid::Uuid;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let by = Ownership {
            epoch: Epoch(7),
            owner: OwnerId(Uuid::from_u128(9)),
        };
        for current in [None, Some(by)] {
            let mark = Mark {
                offset: 42,
                current,
            };
            assert_eq!(read(42, &metadata(mark)), Some(mark));
        }
    }

    #[test]
    fn foreign_metadata_is_no_mark() {
        for text in [
            "7",
            "seven 00000000-0000-0000-0000-000000000009",
            "7 nobody",
        ] {
            assert_eq!(read(42, text), None, "{text}");
        }
    }
}
