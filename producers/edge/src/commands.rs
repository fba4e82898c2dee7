//! From a client's command to the log, and from a decision to its answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parking_lot::Mutex;
use tidings_domain::{
    Code, Command, CommandBody, CommandKey, ConversationId, First, MessageId, TempId, Timestamp,
};
use tidings_log::AppendError;
use tidings_service::traces::{self, Operation, Span, Work};
use tidings_wire::frames::Request;
use tidings_wire::{Topic, TraceParent};

use crate::answer::{self, Delivered, Refusal};
use crate::inflight::{Entry, EntryState};
use crate::lanes::{Room, Waiting};
use crate::limits::Limiter;
use crate::lookup::{self, AtHand, Found};
use crate::peer::{Peer, Reply};
use crate::request;
use crate::shared::Shared;

/// Takes a command from a client: refuses it, or puts it on its way.
pub(crate) fn submit(
    shared: &Arc<Shared>,
    reply: Reply,
    limiter: Option<&Limiter>,
    temp_id: TempId,
    retry: bool,
    request: Request,
) {
    let taken = Instant::now();
    shared.metrics.command(request.kind());
    let is_send = matches!(request, Request::Send { .. });
    let peer = reply.peer();
    let (conversation_id, body) = match request::resolve(peer, &temp_id, request) {
        Ok(resolved) => resolved,
        Err(refusal) => return reply.answer(&temp_id, Err(refusal)),
    };
    if is_send && let Some(Err(wait_ms)) = limiter.map(Limiter::take) {
        return reply.answer(&temp_id, Err(Refusal::rate_limited(wait_ms)));
    }
    let command = Command {
        tenant: peer.tenant.clone(),
        conversation_id,
        sender: peer.user.clone(),
        temp_id,
        at: shared.clock.now(),
        body,
    };
    let peer = Arc::clone(peer);
    let waiting = Waiting {
        key: command.key(),
        command,
        retry,
        taken,
        reply,
        copied: None,
    };
    match peer.lanes.push(waiting, room(shared)) {
        Ok(()) => advance(shared, &peer, conversation_id),
        Err(refused) => {
            let Waiting { command, reply, .. } = *refused;
            reply.answer(&command.temp_id, Err(Code::Busy.into()));
        }
    }
}

/// How many commands a peer may have under way.
pub(crate) fn room(shared: &Shared) -> Room {
    Room {
        waiting: shared.config.commands_waiting,
        undecided: shared.config.commands_in_flight,
    }
}

/// Sends on what may go in a lane. Any thread may call it, whenever something
/// in the lane has changed.
pub(crate) fn advance(shared: &Arc<Shared>, peer: &Arc<Peer>, id: ConversationId) {
    if !peer.lanes.start(id) {
        return;
    }
    while let Some(waiting) = peer.lanes.next(id) {
        match lookup::at_hand(shared, waiting) {
            AtHand::Found(found) => proceed(shared, found),
            AtHand::Unresolved(unresolved) => {
                peer.lanes.look_up(id);
                let task = look_up(Arc::clone(shared), Arc::clone(peer), unresolved);
                shared.runtime.spawn(task);
            }
        }
    }
}

/// Finds out about a command before the others in its lane may go.
async fn look_up(shared: Arc<Shared>, peer: Arc<Peer>, unresolved: Waiting) {
    let id = unresolved.command.conversation_id;
    let found = lookup::look_up(&shared, unresolved).await;
    proceed(&shared, found);
    peer.lanes.looked_up(id);
    advance(&shared, &peer, id);
}

/// Appends a command, or answers it with what was found.
fn proceed(shared: &Arc<Shared>, found: Found) {
    let (waiting, answer) = match found {
        Found::Go(waiting) => return append(shared, waiting),
        Found::Refused(waiting, code) => {
            let command = &waiting.command;
            if let Some(copied) = &waiting.copied {
                copied.refuse(&waiting.reply, &command.temp_id, code);
                let id = command.conversation_id;
                return release(shared, &waiting.reply, id, waiting.key);
            }
            let refusal = Refusal::new(code, refusal(command, code));
            (waiting, Err(refusal))
        }
        Found::Decided(waiting, first) => {
            let (command, key) = (&waiting.command, waiting.key);
            let message_id = message_id(command, key);
            let answer = answer::of_first(first, command.conversation_id, message_id);
            (waiting, answer)
        }
    };
    let Command {
        temp_id,
        conversation_id,
        ..
    } = &waiting.command;
    waiting.reply.answer(temp_id, answer);
    release(shared, &waiting.reply, *conversation_id, waiting.key);
}

fn refusal(command: &Command, code: Code) -> &'static str {
    match (&command.body, code) {
        (CommandBody::Send { .. }, Code::NotFound) => {
            "reply_to: there is no such message in this conversation."
        }
        (
            CommandBody::Edit { .. } | CommandBody::Delete { .. } | CommandBody::React { .. },
            Code::NotFound,
        ) => "message_id: there is no such message in this conversation.",
        _ => code.sentence(),
    }
}

/// As [`Command::message_id`], without deriving the key again.
fn message_id(command: &Command, key: CommandKey) -> Option<MessageId> {
    match command.body {
        CommandBody::Send { .. } => Some(key.message_id()),
        _ => command.message_id(),
    }
}

fn append(shared: &Arc<Shared>, waiting: Waiting) {
    let Waiting {
        command,
        key,
        taken,
        reply,
        ..
    } = waiting;
    let topic = Topic::of_command(&command);
    let id = command.conversation_id;
    let partition = shared.partition_of(id);
    let work = Work {
        part: "edge",
        operation: Operation::Send,
        topic: topic.name(),
        partition,
        since: taken,
    };
    let span = traces::begin(key.0.as_u128(), &work);
    let recorded = span.as_ref().map(Span::ids).and_then(TraceParent::sampled);
    let trace = recorded.unwrap_or_else(|| {
        // The same command, sent again, is the same trace.
        let span = reply.peer().id.as_u64_pair().1 | 1;
        TraceParent::new(key.0.as_u128() | 1, span, false)
            .expect("neither id is zero, as one bit is set")
    });
    let record = match shared.codec.encode_command(&command, trace) {
        Ok(record) => record,
        Err(error) => {
            tracing::error!(session_id = %reply.peer().id, conversation_id = %id, %error,
                "a command cannot be written");
            reply.answer(&command.temp_id, Err(Code::Invalid.into()));
            return release(shared, &reply, id, key);
        }
    };
    let entry = Arc::new(Entry {
        reply,
        key,
        conversation_id: id,
        message_id: message_id(&command, key),
        temp_id: command.temp_id,
        topic,
        partition,
        at: command.at,
        taken,
        state: Mutex::new(EntryState::Appending),
        span,
    });
    shared.inflight.insert(Arc::clone(&entry));
    let appended = Arc::clone(shared);
    let done = move |result| match result {
        Ok(offset) => entry.durable(offset, &appended.metrics),
        Err(error) => failed(&appended, &entry, &error),
    };
    shared.log.append(topic, partition, record, Box::new(done));
}

/// A command did not get into the log, or is not known to be there.
fn failed(shared: &Arc<Shared>, entry: &Arc<Entry>, error: &AppendError) {
    if !shared.inflight.remove(entry) {
        // Decided already, or its socket is gone.
        return;
    }
    let reply = &entry.reply;
    tracing::debug!(session_id = %reply.peer().id, conversation_id = %entry.conversation_id,
        %error, "a command was not appended");
    let code = match error {
        AppendError::Saturated => Code::Busy,
        AppendError::TooLarge => Code::TooLarge,
        AppendError::Unavailable(_) => Code::Unavailable,
    };
    entry.fail(|| reply.answer(&entry.temp_id, Err(code.into())));
    release(shared, reply, entry.conversation_id, entry.key);
}

/// What a decision says to whoever sent the command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decided {
    /// Accepted now.
    Accepted {
        seq: u64,
        no: Option<u64>,
        at: Timestamp,
    },
    /// Accepted now, without an event.
    Noted { at: Timestamp },
    /// Refused now.
    Rejected(Code),
    /// Decided before.
    Duplicate(First),
}

impl Decided {
    /// As metrics and traces call it.
    fn name(&self) -> &'static str {
        match self {
            Self::Accepted { .. } | Self::Noted { .. } => "accepted",
            Self::Rejected(_) => "rejected",
            Self::Duplicate(_) => "duplicate",
        }
    }
}

/// Tells whoever sent a command what was decided, and sends on what waited for
/// it.
pub(crate) fn settle(shared: &Arc<Shared>, entry: &Entry, decided: Decided) {
    let id = entry.conversation_id;
    entry.answer(&shared.metrics, || {
        shared
            .metrics
            .delivered_seconds
            .record(entry.taken.elapsed());
        if let Some(span) = &entry.span {
            span.note("tidings.outcome", decided.name());
        }
        let delivered = |seq, no, at| Delivered {
            conversation_id: id,
            message_id: entry.message_id,
            seq,
            no,
            at,
            duplicate: false,
        };
        let answer = match decided {
            Decided::Accepted { seq, no, at } => Ok(delivered(Some(seq), no, at)),
            Decided::Noted { at } => Ok(delivered(None, None, at)),
            Decided::Rejected(code) => Err(code.into()),
            Decided::Duplicate(first) => answer::of_first(first, id, entry.message_id),
        };
        entry.reply.answer(&entry.temp_id, answer);
    });
    release(shared, &entry.reply, id, entry.key);
}

/// A command has its last answer: whatever waited for it may go.
fn release(shared: &Arc<Shared>, reply: &Reply, id: ConversationId, key: CommandKey) {
    let peer = reply.peer();
    peer.lanes.release(id, key);
    if shared.draining.load(Ordering::Acquire)
        && let Some(socket) = reply.socket()
    {
        // It may have been the last one its socket waits for.
        socket.outbox.drain();
    }
    advance(shared, peer, id);
}
