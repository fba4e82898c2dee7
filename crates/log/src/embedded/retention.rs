//! Deletes commands and dead letters that have been kept for as long as their
//! topics promise. Decisions are kept for ever.

use tidings_wire::Topic;

use super::layout::Slot;
use super::maintenance::{Ended, Round};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// How many records a job deletes at most.
const AT_ONCE: i64 = 500;

/// How long a topic's records are kept, in milliseconds. None: for ever, or
/// as long as compaction leaves them.
fn kept_ms(topic: Topic) -> Option<i64> {
    match topic {
        Topic::MessageSent
        | Topic::MessageEdited
        | Topic::MessageDeleted
        | Topic::MessageReacted
        | Topic::MessageRead
        | Topic::ConversationUpdated => Some(7 * DAY_MS),
        Topic::DeadSequencer | Topic::DeadHistory | Topic::DeadSearch | Topic::DeadCache => {
            Some(30 * DAY_MS)
        }
        Topic::MessageDelivered | Topic::ConversationState | Topic::OperatorNotes => None,
    }
}

/// Goes through all partitions. Returns how many offsets were given up.
pub(super) fn run(round: &Round<'_>) -> Result<i64, Ended> {
    let layout = round.store.layout;
    let mut deleted = 0;
    for slot in layout.slots() {
        if let Some(kept_ms) = kept_ms(layout.of(slot).0) {
            deleted += delete_before(round, slot, round.now_ms.saturating_sub(kept_ms))?;
        }
    }
    Ok(deleted)
}

fn delete_before(round: &Round<'_>, slot: Slot, oldest_ms: i64) -> Result<i64, Ended> {
    let store = round.store;
    let Some(first) = store.first(slot)? else {
        return Ok(0);
    };
    // The last record stays: from it the next offset is known.
    let upto = store.offset_at(slot, oldest_ms)?.min(store.end(slot)? - 1);
    let mut at = first;
    while at < upto {
        at = upto.min(at + AT_ONCE);
        let delete = format!("DELETE FROM {} WHERE offset < ?1", store.layout.table(slot));
        round.write(move |c| c.prepare_cached(&delete)?.execute([at]).map(drop))?;
    }
    Ok((upto - first).max(0))
}
