//! What must be known of the past before a command can go to the log: the
//! facts of the message it is about, what a forward copies, and whether a
//! command sent again was decided longer ago than the sequencer remembers.

use std::sync::Arc;
use std::time::Duration;

use tidings_domain::{
    Code, Command, CommandBody, DEDUPE_WINDOW_MS, EDIT_WINDOW_MS, First, MessageId,
};
use tidings_wire::Topic;
use tokio::time::Instant;

use crate::facts::{self, About, Facts};
use crate::freshness::Age;
use crate::lanes::Waiting;
use crate::shared::Shared;
use crate::view::Unavailable;

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
pub(crate) fn at_hand(shared: &Shared, waiting: Waiting) -> AtHand {
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
    if waiting.copied.is_some() {
        return AtHand::Unresolved(waiting);
    }
    let Some(about) = about(&waiting.command) else {
        return AtHand::Found(Found::Go(waiting));
    };
    match facts::at_hand(shared, about) {
        Some(facts) => AtHand::Found(with_facts(waiting, facts)),
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
    if let Some(copied) = &waiting.copied {
        return match copied.content(shared).await {
            Ok((content, from)) => {
                waiting.command.body = CommandBody::Send {
                    content,
                    reply_to: None,
                    thread: None,
                    forwarded_from: Some(from),
                };
                Found::Go(waiting)
            }
            Err(code) => Found::Refused(waiting, code),
        };
    }
    let Some(about) = about(&waiting.command) else {
        return Found::Go(waiting);
    };
    let facts = facts::find(shared, about).await;
    with_facts(waiting, facts)
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
    let since = shared.clock.now().minus_ms(REMEMBERED_MS);
    let ask = move || log.offset_at(Topic::MessageDelivered, partition, since.0);
    let offset = shared.blocking.call(ask).await?;
    let offset = offset.map_err(|_| Unavailable)?;
    shared
        .remembered
        .lock()
        .insert(partition, (Instant::now(), offset));
    Ok(offset)
}

/// The message that must be there for this command to go to the log.
fn about(command: &Command) -> Option<About<'_>> {
    let message_id: MessageId = match &command.body {
        CommandBody::Send { reply_to, .. } => (*reply_to)?,
        CommandBody::Edit { message_id, .. }
        | CommandBody::Delete { message_id, .. }
        | CommandBody::React { message_id, .. } => *message_id,
        CommandBody::Create { .. } | CommandBody::Read { .. } | CommandBody::Update(_) => {
            return None;
        }
    };
    Some(About {
        tenant: &command.tenant,
        conversation_id: command.conversation_id,
        message_id,
    })
}

/// Puts what was found about its message into a command.
fn with_facts(mut waiting: Waiting, facts: Result<Facts, Code>) -> Found {
    let facts = match facts {
        Ok(facts) => facts,
        Err(code) => return Found::Refused(waiting, code),
    };
    let command = &mut waiting.command;
    match &mut command.body {
        CommandBody::Send { thread, .. } => *thread = Some(facts.thread),
        CommandBody::Edit {
            author, posted_at, ..
        } => {
            // Whether they are still a member, and whose message it is, the
            // sequencer says; the time it need not be bothered with.
            let is_late = command.at.minus_ms(EDIT_WINDOW_MS) > facts.at;
            if is_late && facts.by == command.sender {
                return Found::Refused(waiting, Code::EditWindowClosed);
            }
            *author = Some(facts.by);
            *posted_at = Some(facts.at);
        }
        CommandBody::Delete { author, .. } => *author = Some(facts.by),
        CommandBody::React { .. }
        | CommandBody::Create { .. }
        | CommandBody::Read { .. }
        | CommandBody::Update(_) => {}
    }
    Found::Go(waiting)
}
