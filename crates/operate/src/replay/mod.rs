//! Replays: a range of a topic, given again to somebody else.
//!
//! | module | what it is |
//! |---|---|
//! | `range` | which offsets of which partitions |
//! | `owner` | who owned a partition at an offset, for the reader's rule |
//! | `records` | a file of records, byte for byte |
//! | `topic` | another topic, for a downstream team |

mod owner;
mod range;
mod records;
mod topic;

pub use owner::owner_at;
pub use range::{Bound, Range, Span};
pub use records::{RecordsReader, RecordsWriter};
pub use topic::{TopicError, TopicSink};

use tidings_log::{LogError, LogReader, read_range};
use tidings_wire::{DeliveredStream, Judged, Stored, Topic};

/// Which records of a range are given.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only those with this key.
    pub key: Option<String>,
    /// Only what counts by the reader's rule: no void decisions, no claims.
    /// Only of `message.delivered`.
    pub valid_only: bool,
}

/// Gives the records of a range to `each`, partition by partition, in order.
/// `passed` is told after each record how far its partition is, given or not.
///
/// # Errors
/// [`LogError`], or whatever `each` returns.
pub fn replay<E: From<LogError>>(
    log: &dyn LogReader,
    range: &Range,
    selection: &Selection,
    mut passed: impl FnMut(),
    mut each: impl FnMut(&Stored) -> Result<(), E>,
) -> Result<(), E> {
    let is_judged = selection.valid_only && range.topic == Topic::MessageDelivered;
    for span in &range.spans {
        if span.from >= span.to {
            continue;
        }
        let mut stream = DeliveredStream::default();
        if is_judged {
            let current = owner_at(log, span.partition, span.from).map_err(E::from)?;
            stream.resume(span.partition, current);
        }
        read_range::<E>(
            log,
            range.topic,
            span.partition,
            span.from,
            span.to,
            |stored| {
                let counts = !is_judged || matches!(stream.judge(&stored), Ok(Judged::Valid(_)));
                let key = selection.key.as_deref().map(str::as_bytes);
                let has_key = key.is_none() || stored.record.key.as_deref() == key;
                if counts && has_key {
                    each(&stored)?;
                }
                passed();
                Ok(())
            },
        )?;
    }
    Ok(())
}
