//! From a client's command to the log, and from a decision to its answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parking_lot::Mutex;
use tidings_domain::{
    Code, Command, CommandBody, CommandKey, ConversationId, First, FirstOutcome, Kind, MessageId,
    TempId, Update, UserId,
};
use tidings_log::AppendError;
use tidings_wire::frames::{Request, ServerFrame};
use tidings_wire::{Topic, TraceParent};

use crate::clock;
use crate::inflight::{Entry, EntryState};
use crate::lanes::{Room, Waiting};
use crate::lookup::{self, AtHand, Found};
use crate::shared::Shared;
use crate::socket::Socket;

/// Takes a command from a client: refuses it, or puts it on its way.
pub(crate) fn submit(
    shared: &Arc<Shared>,
    socket: &Arc<Socket>,
    temp_id: TempId,
    retry: bool,
    request: Request,
) {
    let taken = Instant::now();
    shared.metrics.command(request.kind());
    let is_send = matches!(request, Request::Send { .. });
    let (conversation_id, body) = match resolve(socket, &temp_id, request) {
        Ok(resolved) => resolved,
        Err((code, message)) => return socket.reject(&temp_id, code, message),
    };
    if is_send && let Some(Err(wait_ms)) = socket.limiter.as_ref().map(|limiter| limiter.take()) {
        return reject_rate(shared, socket, &temp_id, wait_ms);
    }
    let command = Command {
        tenant: socket.tenant.clone(),
        conversation_id,
        sender: socket.user.clone(),
        temp_id,
        at: clock::now(),
        body,
    };
    let temp_id = command.temp_id.clone();
    let waiting = Waiting {
        key: command.key(),
        command,
        retry,
        taken,
    };
    let room = Room {
        waiting: shared.config.commands_waiting,
        undecided: shared.config.commands_in_flight,
    };
    if socket.lanes.push(waiting, room) {
        advance(shared, socket, conversation_id);
    } else {
        socket.reject(&temp_id, Code::Busy, Code::Busy.sentence());
    }
}

/// What the sequencer is to decide, or why it is not asked.
fn resolve(
    socket: &Socket,
    temp_id: &TempId,
    request: Request,
) -> Result<(ConversationId, CommandBody), (Code, &'static str)> {
    match request {
        Request::Create {
            kind,
            title,
            members,
        } => {
            let members = others(&socket.user, members);
            let id = match (kind, members.as_slice()) {
                (Kind::Direct, [other]) => {
                    ConversationId::of_direct(&socket.tenant, &socket.user, other)
                }
                (Kind::Direct, _) => {
                    let message = "members: a direct conversation has exactly one other member";
                    return Err((Code::Invalid, message));
                }
                (Kind::Group | Kind::Channel, _) => {
                    ConversationId::of_created(&socket.tenant, &socket.user, temp_id)
                }
            };
            Ok((
                id,
                CommandBody::Create {
                    kind,
                    title,
                    members,
                },
            ))
        }
        Request::Send {
            conversation_id,
            content,
            reply_to,
        } => {
            let body = CommandBody::Send {
                content,
                reply_to,
                thread: None,
                forwarded_from: None,
            };
            Ok((conversation_id, body))
        }
        Request::Update {
            conversation_id,
            update,
        } if !is_own_setting(&update) => Ok((conversation_id, CommandBody::Update(update))),
        Request::Update { .. }
        | Request::Edit { .. }
        | Request::Delete { .. }
        | Request::React { .. }
        | Request::Forward { .. }
        | Request::Read { .. } => Err((Code::Unsupported, Code::Unsupported.sentence())),
    }
}

/// The members other than the sender, each once.
fn others(sender: &UserId, mut members: Vec<UserId>) -> Vec<UserId> {
    members.sort();
    members.dedup();
    members.retain(|user| user != sender);
    members
}

fn is_own_setting(update: &Update) -> bool {
    match update {
        Update::Archive | Update::Unarchive | Update::Mute { .. } | Update::Unmute => true,
        Update::AddMembers(_)
        | Update::RemoveMembers(_)
        | Update::Rename(_)
        | Update::SetRole { .. }
        | Update::Leave
        | Update::Close
        | Update::Reopen => false,
    }
}

fn reject_rate(shared: &Shared, socket: &Socket, temp_id: &TempId, wait_ms: u64) {
    shared.metrics.rejected(Code::RateLimited);
    let frame = ServerFrame::Rejected {
        temp_id,
        code: Code::RateLimited,
        message: Code::RateLimited.sentence(),
        retry: true,
        retry_after_ms: Some(wait_ms),
    };
    socket.send(frame.to_json());
}

/// Sends on what may go in a lane. Any thread may call it, whenever something
/// in the lane has changed.
pub(crate) fn advance(shared: &Arc<Shared>, socket: &Arc<Socket>, id: ConversationId) {
    if !socket.lanes.start(id) {
        return;
    }
    while let Some(waiting) = socket.lanes.next(id) {
        match lookup::at_hand(shared, waiting) {
            AtHand::Found(found) => proceed(shared, socket, found),
            AtHand::Unresolved(unresolved) => {
                socket.lanes.look_up(id);
                let task = look_up(Arc::clone(shared), Arc::clone(socket), unresolved);
                shared.runtime.spawn(task);
            }
        }
    }
}

/// Finds out about a command before the others in its lane may go.
async fn look_up(shared: Arc<Shared>, socket: Arc<Socket>, unresolved: Waiting) {
    let id = unresolved.command.conversation_id;
    let found = lookup::look_up(&shared, unresolved).await;
    proceed(&shared, &socket, found);
    socket.lanes.looked_up(id);
    advance(&shared, &socket, id);
}

/// Appends a command, or answers it with what was found.
fn proceed(shared: &Arc<Shared>, socket: &Arc<Socket>, found: Found) {
    match found {
        Found::Go(waiting) => append(shared, socket, waiting),
        Found::Refused(waiting, code) => {
            let command = &waiting.command;
            socket.reject(&command.temp_id, code, refusal(command, code));
            release(shared, socket, command.conversation_id, waiting.key);
        }
        Found::Decided(waiting, first) => {
            let command = &waiting.command;
            let id = command.conversation_id;
            let message_id = message_id(command, waiting.key);
            answer_first(socket, &command.temp_id, id, message_id, first);
            release(shared, socket, id, waiting.key);
        }
    }
}

fn refusal(command: &Command, code: Code) -> &'static str {
    match (&command.body, code) {
        (
            CommandBody::Send {
                reply_to: Some(_), ..
            },
            Code::NotFound,
        ) => "reply_to: there is no such message in this conversation.",
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

fn append(shared: &Arc<Shared>, socket: &Arc<Socket>, waiting: Waiting) {
    let Waiting {
        command,
        key,
        taken,
        ..
    } = waiting;
    let topic = Topic::of_command(&command);
    let id = command.conversation_id;
    // The same command, sent again, is the same trace.
    let span = socket.session_id.as_u64_pair().1 | 1;
    let trace = TraceParent::new(key.0.as_u128() | 1, span, false)
        .expect("neither id is zero, as one bit is set");
    let record = match shared.codec.encode_command(&command, trace) {
        Ok(record) => record,
        Err(error) => {
            tracing::error!(session_id = %socket.session_id, conversation_id = %id, %error,
                "a command cannot be written");
            socket.reject(&command.temp_id, Code::Invalid, Code::Invalid.sentence());
            return release(shared, socket, id, key);
        }
    };
    let partition = shared.partition_of(id);
    let entry = Arc::new(Entry {
        socket: Arc::clone(socket),
        key,
        conversation_id: id,
        message_id: message_id(&command, key),
        temp_id: command.temp_id,
        topic,
        partition,
        at: command.at,
        taken,
        state: Mutex::new(EntryState::Appending),
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
    let socket = &entry.socket;
    tracing::debug!(session_id = %socket.session_id, conversation_id = %entry.conversation_id,
        %error, "a command was not appended");
    let code = match error {
        AppendError::Saturated => Code::Busy,
        AppendError::TooLarge => Code::TooLarge,
        AppendError::Unavailable(_) => Code::Unavailable,
    };
    entry.fail(|| socket.reject(&entry.temp_id, code, code.sentence()));
    release(shared, socket, entry.conversation_id, entry.key);
}

/// What a decision says to whoever sent the command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// Decided now.
    Accepted {
        seq: u64,
        no: Option<u64>,
        at: tidings_domain::Timestamp,
    },
    /// Refused now.
    Rejected(Code),
    /// Decided before.
    Duplicate(First),
}

/// Tells a command's socket what was decided, and sends on what waited for it.
pub(crate) fn settle(shared: &Arc<Shared>, entry: &Entry, answer: Answer) {
    let (socket, id) = (&entry.socket, entry.conversation_id);
    entry.answer(&shared.metrics, || {
        shared
            .metrics
            .delivered_seconds
            .record(entry.taken.elapsed());
        match answer {
            Answer::Accepted { seq, no, at } => {
                let frame = ServerFrame::Delivered {
                    temp_id: &entry.temp_id,
                    conversation_id: id,
                    message_id: entry.message_id,
                    seq,
                    no,
                    at,
                    duplicate: false,
                };
                socket.send(frame.to_json());
            }
            Answer::Rejected(code) => socket.reject(&entry.temp_id, code, code.sentence()),
            Answer::Duplicate(first) => {
                answer_first(socket, &entry.temp_id, id, entry.message_id, first);
            }
        }
    });
    release(shared, socket, id, entry.key);
}

/// A command has its last answer: whatever waited for it may go.
fn release(shared: &Arc<Shared>, socket: &Arc<Socket>, id: ConversationId, key: CommandKey) {
    socket.lanes.release(id, key);
    if shared.draining.load(Ordering::Acquire) {
        // It may have been the last one its socket waits for.
        socket.outbox.drain();
    }
    advance(shared, socket, id);
}

/// Answers with a decision that was made before.
fn answer_first(
    socket: &Socket,
    temp_id: &TempId,
    conversation_id: ConversationId,
    message_id: Option<MessageId>,
    first: First,
) {
    match first.outcome {
        FirstOutcome::Accepted { seq, no } => {
            let frame = ServerFrame::Delivered {
                temp_id,
                conversation_id,
                message_id,
                seq,
                no,
                at: first.at,
                duplicate: true,
            };
            socket.send(frame.to_json());
        }
        FirstOutcome::Rejected(code) => socket.reject(temp_id, code, code.sentence()),
    }
}
