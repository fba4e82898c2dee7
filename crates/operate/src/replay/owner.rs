use tidings_domain::{Ownership, ReaderRule};
use tidings_log::{LogError, LogReader, read_range};
use tidings_wire::{Delivered, Topic, delivered_header};

/// Who owned a partition of `message.delivered` before its record at `offset`,
/// by the reader's rule. Reads from the last mark before it, or from the
/// beginning.
///
/// # Errors
/// [`LogError`].
pub fn owner_at(
    log: &dyn LogReader,
    partition: i32,
    offset: i64,
) -> Result<Option<Ownership>, LogError> {
    let mark = log.mark(partition)?.filter(|mark| mark.offset <= offset);
    let (from, current) = mark.map_or((0, None), |mark| (mark.offset, mark.current));
    let mut rule = ReaderRule::resume(current);
    let topic = Topic::MessageDelivered;
    read_range::<LogError>(log, topic, partition, from, offset, |stored| {
        if let Ok(Delivered::Claim(by)) = delivered_header(&stored.record) {
            rule.claim(by);
        }
        Ok(())
    })?;
    Ok(rule.current())
}
