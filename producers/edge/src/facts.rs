//! What never changes about a message once it is posted, found wherever it is
//! told of: in what this edge has read lately, in the history view, or in the
//! log.

use std::sync::Arc;
use std::time::Duration;

use tidings_domain::{Code, CommandKey, ConversationId, MessageId, Tenant, Timestamp, UserId};
use tidings_wire::Topic;

use crate::freshness::Age;
use crate::outcome::{undecided_commands, undecided_from};
use crate::shared::Shared;
use crate::view::Unavailable;

/// How long to wait for the decision of a message that is not decided yet.
const DECISION_TIMEOUT: Duration = Duration::from_secs(5);

/// Which message is asked about, and where it must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) conversation_id: ConversationId,
    pub(crate) message_id: MessageId,
}

/// What never changes about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Who wrote it.
    pub(crate) by: UserId,
    /// When it was decided.
    pub(crate) at: Timestamp,
    /// The thread of whatever replies to it.
    pub(crate) thread: MessageId,
}

impl About<'_> {
    fn key(&self) -> CommandKey {
        CommandKey(self.message_id.0)
    }
}

/// The facts of a message that was decided lately; `not_found` if what was
/// decided is no message of this conversation.
pub(crate) fn at_hand(shared: &Shared, about: About<'_>) -> Option<Result<Facts, Code>> {
    let recent = shared.recent.get(about.key())?;
    let is_here = recent.conversation_id == about.conversation_id && recent.tenant == *about.tenant;
    let facts = recent.facts(about.key()).filter(|_| is_here);
    Some(facts.ok_or(Code::NotFound))
}

/// The facts of a message, wherever it is told of.
///
/// Another edge may have told its client of a message, decided or only
/// durable, that this one has not read of yet: only what is neither in the
/// view nor anywhere in the log is not found.
pub(crate) async fn find(shared: &Arc<Shared>, about: About<'_>) -> Result<Facts, Code> {
    if let Some(recent) = at_hand(shared, about) {
        return recent;
    }
    if shared.inflight.contains(about.key()) {
        return decided(shared, about).await;
    }
    if let Some(facts) = stored(shared, about).await? {
        return Ok(facts);
    }
    let partition = shared.partition_of(about.conversation_id);
    // The order matters: what is decided after this is in the part that was
    // undecided, what was decided before it is read before the view is asked.
    let undecided = undecided_from(shared, &[partition]).await?;
    read_to_end(shared, partition).await?;
    if let Some(recent) = at_hand(shared, about) {
        return recent;
    }
    let position = shared.progress.position(partition);
    let wanted = [(partition, position)];
    shared.freshness.reached(&wanted, Age::Now).await?;
    if let Some(facts) = stored(shared, about).await? {
        return Ok(facts);
    }
    let searching = {
        let (shared, id, key) = (Arc::clone(shared), about.conversation_id, about.key());
        move || undecided_commands(&shared, &undecided, &[id], &[key])
    };
    match shared.blocking.call(searching).await? {
        Ok(found) if found.is_empty() => Err(Code::NotFound),
        Ok(_) => decided(shared, about).await,
        Err(error) => {
            tracing::warn!(%error, "cannot search for a message");
            Err(Code::Unavailable)
        }
    }
}

async fn stored(shared: &Arc<Shared>, about: About<'_>) -> Result<Option<Facts>, Unavailable> {
    let row = shared
        .view
        .ask(|view| view.message(about.tenant, about.message_id))
        .await?;
    Ok(row
        .filter(|row| row.conversation_id == about.conversation_id)
        .map(|row| Facts {
            by: row.by,
            at: row.at,
            thread: row.thread.unwrap_or(row.message_id),
        }))
}

/// The facts of a message that is in the log and may not be decided yet.
async fn decided(shared: &Arc<Shared>, about: About<'_>) -> Result<Facts, Code> {
    let decided = shared.progress.wait_for(|| at_hand(shared, about));
    match tokio::time::timeout(DECISION_TIMEOUT, decided).await {
        Ok(decided) => decided,
        // One that was sent again is decided as a repetition of what the view
        // knows.
        Err(_) => stored(shared, about).await?.ok_or(Code::Unavailable),
    }
}

/// Waits until this edge has read all decisions that are in the log now.
async fn read_to_end(shared: &Arc<Shared>, partition: i32) -> Result<(), Code> {
    let log = Arc::clone(&shared.log);
    let ask = move || log.watermarks(Topic::MessageDelivered, partition);
    let Ok((_, end)) = shared.blocking.call(ask).await? else {
        return Err(Code::Unavailable);
    };
    let progress = &shared.progress;
    let read = progress.wait_for(|| (progress.next(partition) >= end).then_some(()));
    let read = tokio::time::timeout(DECISION_TIMEOUT, read).await;
    read.map_err(|_| Code::Unavailable)
}
