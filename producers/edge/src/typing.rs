//! Who types: told to the other members, here and on other edges, and kept
//! nowhere.

use std::sync::Arc;

use tidings_domain::{Code, ConversationId};
use tidings_signals::Typing;
use tidings_wire::frames::ServerFrame;

use crate::shared::Shared;
use crate::socket::Socket;

/// How often a user may say that they type or stopped, in a minute; as many
/// may come at once.
const PER_MINUTE: u32 = 120;

/// A socket says that its user types, or stopped.
pub(crate) fn typed(shared: &Arc<Shared>, socket: &Arc<Socket>, id: ConversationId, on: bool) {
    let (tenant, user) = (&socket.peer.tenant, &socket.peer.user);
    let limiter = shared.typing.of(tenant, user, PER_MINUTE);
    if limiter.is_some_and(|limiter| limiter.take().is_err()) {
        return refuse(socket, Code::RateLimited);
    }
    let here = shared.hub.user(tenant, user);
    if here.is_some_and(|here| here.belongs_to(id)) {
        return pass_on(shared, socket, id, on);
    }
    // Not known here as a member: the view may know better, or say why not.
    let open = match socket
        .peer
        .start_question(shared.config.questions_in_flight)
    {
        Ok(open) => open,
        Err(refusal) => return refuse(socket, refusal.code),
    };
    let (shared, socket) = (Arc::clone(shared), Arc::clone(socket));
    tokio::spawn(async move {
        match is_member(&shared, &socket, id).await {
            Ok(()) => pass_on(&shared, &socket, id, on),
            Err(code) => refuse(&socket, code),
        }
        drop(open);
    });
}

async fn is_member(shared: &Shared, socket: &Socket, id: ConversationId) -> Result<(), Code> {
    let (tenant, user) = (&socket.peer.tenant, &socket.peer.user);
    let view = &shared.view;
    let conversation = view.ask(|view| view.conversation(tenant, id)).await?;
    conversation.ok_or(Code::NotFound)?;
    let member = view.ask(|view| view.member(tenant, id, user)).await?;
    let role = member.and_then(|member| member.role);
    role.map(drop).ok_or(Code::NotAMember)
}

fn refuse(socket: &Socket, code: Code) {
    socket.error(None, code, code.sentence());
}

fn pass_on(shared: &Shared, socket: &Socket, id: ConversationId, on: bool) {
    let typing = Typing {
        tenant: socket.peer.tenant.clone(),
        conversation_id: id,
        by: socket.peer.user.clone(),
        on,
    };
    tell(shared, &typing);
    shared.signals.typing(typing);
}

/// Tells the members whose sockets are here, but whoever types.
pub(crate) fn tell(shared: &Shared, typing: &Typing) {
    let frame = ServerFrame::Typing {
        conversation_id: typing.conversation_id,
        by: &typing.by,
        on: typing.on,
    };
    let (id, frame) = (typing.conversation_id, frame.to_json().into());
    let members_of = std::slice::from_ref(&id);
    shared
        .hub
        .tell_sharers(&typing.tenant, &typing.by, members_of, &frame);
}
