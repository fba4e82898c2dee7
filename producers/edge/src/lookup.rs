//! What must be known of the past before a command can go to the log: the
//! thread of the message it replies to, and whether a command sent again was
//! decided longer ago than the sequencer remembers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_domain::{Code, Command, CommandBody, CommandKey, DEDUPE_WINDOW_MS, First, MessageId};
use tidings_wire::Topic;

use crate::clock;
use crate::freshness::Age;
use crate::lanes::Waiting;
use crate::outcome::{undecided_commands, undecided_from};
use crate::shared::Shared;
use crate::view::Unavailable;

/// How long a reply waits for the decision of the message it replies to.
const DECISION_TIMEOUT: Duration = Duration::from_secs(5);
/// The sequencer remembers a command for the dedupe window; the edge relies on
/// a minute less, for clocks that differ.
pub(crate) const REMEMBERED_MS: i64 = DEDUPE_WINDOW_MS - 60_000;
/// For how long the offset of that time is used; less than that minute.
const REMEMBERED_AGE: Duration = Duration::from_secs(10);

/// What was found out about a command.
pub(crate) enum Found {
    /// It may go to the log.
    Go(Waiting),
    /// It is refused.
    Refused(Waiting, Code),
    /// It was decided before.
    Decided(Waiting, First),
}

/// What is known of a command without waiting.
pub(crate) enum AtHand {
    /// All that is needed.
    Found(Found),
    /// Too little: it must be [looked up](look_up).
    Unresolved(Waiting),
}

/// Finds what is needed without waiting.
pub(crate) fn at_hand(shared: &Shared, mut waiting: Waiting) -> AtHand {
    if waiting.retry {
        if let Some(recent) = shared.recent.get(waiting.key) {
            let first = First {
                outcome: recent.outcome,
                at: recent.at,
            };
            return AtHand::Found(Found::Decided(waiting, first));
        }
        if may_be_forgotten(shared, &waiting) {
            return AtHand::Unresolved(waiting);
        }
    }
    let Some(reply_to) = open_reply(&waiting.command) else {
        return AtHand::Found(Found::Go(waiting));
    };
    match recent_thread(shared, &waiting.command, reply_to) {
        Some(Ok(thread)) => {
            set_thread(&mut waiting.command, thread);
            AtHand::Found(Found::Go(waiting))
        }
        Some(Err(code)) => AtHand::Found(Found::Refused(waiting, code)),
        None => AtHand::Unresolved(waiting),
    }
}

/// Finds what is needed, asking the view.
pub(crate) async fn look_up(shared: &Arc<Shared>, mut waiting: Waiting) -> Found {
    if waiting.retry && may_be_forgotten(shared, &waiting) {
        match first_decision(shared, &waiting).await {
            Ok(Some(first)) => return Found::Decided(waiting, first),
            Ok(None) => {}
            // It might be decided a second time: better not now.
            Err(Unavailable) => return Found::Refused(waiting, Code::Unavailable),
        }
    }
    let Some(reply_to) = open_reply(&waiting.command) else {
        return Found::Go(waiting);
    };
    match thread_of(shared, &waiting.command, reply_to).await {
        Ok(thread) => {
            set_thread(&mut waiting.command, thread);
            Found::Go(waiting)
        }
        Err(code) => Found::Refused(waiting, code),
    }
}

/// Whether the sequencer may have decided this command and forgotten it. A
/// create it knows for ever, by the conversation; and what is undecided it
/// cannot have forgotten.
fn may_be_forgotten(shared: &Shared, waiting: &Waiting) -> bool {
    let is_create = matches!(waiting.command.body, CommandBody::Create { .. });
    !is_create && !shared.inflight.contains(waiting.key)
}

/// The first decision of a command, if it was decided longer ago than the
/// sequencer remembers.
///
/// A view that lags behind will do, as long as it knows all that the sequencer
/// may have forgotten.
async fn first_decision(
    shared: &Arc<Shared>,
    waiting: &Waiting,
) -> Result<Option<First>, Unavailable> {
    let command = &waiting.command;
    let partition = shared.partition_of(command.conversation_id);
    let remembered_from = remembered_from(shared, partition).await?;
    shared
        .freshness
        .reached(&[(partition, remembered_from)], Age::Recent)
        .await?;
    let row = shared
        .view
        .ask(|view| {
            let Command {
                tenant,
                conversation_id,
                sender,
                temp_id,
                ..
            } = command;
            view.outcome(tenant, *conversation_id, sender, temp_id)
        })
        .await?;
    Ok(row.map(|row| First {
        outcome: row.outcome,
        at: row.at,
    }))
}

/// The offset from which on the sequencer remembers every decision.
async fn remembered_from(shared: &Arc<Shared>, partition: i32) -> Result<i64, Unavailable> {
    if let Some((asked, offset)) = shared.remembered.lock().get(&partition)
        && asked.elapsed() < REMEMBERED_AGE
    {
        return Ok(*offset);
    }
    let log = Arc::clone(&shared.log);
    let since = clock::now().minus_ms(REMEMBERED_MS);
    let ask = move || log.offset_at(Topic::MessageDelivered, partition, since.0);
    let offset = tokio::task::spawn_blocking(ask)
        .await
        .map_err(|_| Unavailable)?;
    let offset = offset.map_err(|_| Unavailable)?;
    shared
        .remembered
        .lock()
        .insert(partition, (Instant::now(), offset));
    Ok(offset)
}

/// The message a send replies to, if its thread is not known yet.
fn open_reply(command: &Command) -> Option<MessageId> {
    match command.body {
        CommandBody::Send {
            reply_to,
            thread: None,
            ..
        } => reply_to,
        _ => None,
    }
}

fn set_thread(command: &mut Command, found: MessageId) {
    if let CommandBody::Send { thread, .. } = &mut command.body {
        *thread = Some(found);
    }
}

/// The thread of a reply, if the message it replies to was decided recently.
fn recent_thread(
    shared: &Shared,
    command: &Command,
    reply_to: MessageId,
) -> Option<Result<MessageId, Code>> {
    let key = CommandKey(reply_to.0);
    let recent = shared.recent.get(key)?;
    if recent.conversation_id != command.conversation_id {
        return Some(Err(Code::NotFound));
    }
    Some(recent.thread_of_replies(key).ok_or(Code::NotFound))
}

/// The thread of the message replied to, wherever it is told of.
///
/// Another edge may have told its client of a message, decided or only
/// durable, that this one has not read of yet: only what is neither in the
/// view nor anywhere in the log is not found.
async fn thread_of(
    shared: &Arc<Shared>,
    command: &Command,
    reply_to: MessageId,
) -> Result<MessageId, Code> {
    if shared.inflight.contains(CommandKey(reply_to.0)) {
        return decided_thread(shared, command, reply_to).await;
    }
    if let Some(thread) = stored_thread(shared, command, reply_to).await? {
        return Ok(thread);
    }
    let partition = shared.partition_of(command.conversation_id);
    // The order matters: what is decided after this is in the part that was
    // undecided, what was decided before it is read before the view is asked.
    let undecided = undecided_from(shared, &[partition]).await?;
    read_to_end(shared, partition).await?;
    if let Some(recent) = recent_thread(shared, command, reply_to) {
        return recent;
    }
    let position = shared.progress.position(partition);
    let wanted = [(partition, position)];
    shared.freshness.reached(&wanted, Age::Now).await?;
    if let Some(thread) = stored_thread(shared, command, reply_to).await? {
        return Ok(thread);
    }
    let searching = {
        let (shared, id, key) = (
            Arc::clone(shared),
            command.conversation_id,
            CommandKey(reply_to.0),
        );
        move || undecided_commands(&shared, &undecided, &[id], &[key])
    };
    let found = tokio::task::spawn_blocking(searching).await;
    match found.map_err(|_| Code::Unavailable)? {
        Ok(found) if found.is_empty() => Err(Code::NotFound),
        Ok(_) => decided_thread(shared, command, reply_to).await,
        Err(error) => {
            tracing::warn!(%error, "cannot search for the message replied to");
            Err(Code::Unavailable)
        }
    }
}

async fn stored_thread(
    shared: &Arc<Shared>,
    command: &Command,
    reply_to: MessageId,
) -> Result<Option<MessageId>, Unavailable> {
    let row = shared
        .view
        .ask(|view| view.message(&command.tenant, reply_to))
        .await?;
    Ok(row
        .filter(|row| row.conversation_id == command.conversation_id)
        .map(|row| row.thread.unwrap_or(row.message_id)))
}

/// The thread of a message that is in the log and may not be decided yet.
async fn decided_thread(
    shared: &Arc<Shared>,
    command: &Command,
    reply_to: MessageId,
) -> Result<MessageId, Code> {
    let mut batches = shared.progress.batches();
    let decided = async {
        loop {
            if let Some(recent) = recent_thread(shared, command, reply_to) {
                return recent;
            }
            if batches.changed().await.is_err() {
                return Err(Code::Unavailable);
            }
        }
    };
    let decided = tokio::time::timeout(DECISION_TIMEOUT, decided).await;
    decided.unwrap_or(Err(Code::Unavailable))
}

/// Waits until this edge has read all decisions that are in the log now.
async fn read_to_end(shared: &Arc<Shared>, partition: i32) -> Result<(), Code> {
    let log = Arc::clone(&shared.log);
    let ask = move || log.watermarks(Topic::MessageDelivered, partition);
    let asked = tokio::task::spawn_blocking(ask).await;
    let Ok(Ok((_, end))) = asked else {
        return Err(Code::Unavailable);
    };
    let mut batches = shared.progress.batches();
    let read = async {
        while shared.progress.next(partition) < end {
            batches.changed().await.map_err(|_| Code::Unavailable)?;
        }
        Ok(())
    };
    let read = tokio::time::timeout(DECISION_TIMEOUT, read).await;
    read.unwrap_or(Err(Code::Unavailable))
}
