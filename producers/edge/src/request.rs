use tidings_domain::{Code, CommandBody, Content, ConversationId, Kind, TempId, UserId};
use tidings_wire::frames::Request;

use crate::answer::Refusal;
use crate::peer::Peer;

/// What the sequencer is to decide of a request that makes one command. What
/// must be [looked up](crate::lookup) first is left open.
pub(crate) fn resolve(
    peer: &Peer,
    temp_id: &TempId,
    request: Request,
) -> Result<(ConversationId, CommandBody), Refusal> {
    match request.command() {
        Ok(command) => Ok(command),
        Err(Request::Create {
            kind,
            title,
            members,
        }) => create(peer, temp_id, kind, title, members),
        Err(_) => {
            let message = "type: a forward makes a command for each message and target";
            Err(Refusal::new(Code::Invalid, message))
        }
    }
}

fn create(
    peer: &Peer,
    temp_id: &TempId,
    kind: Kind,
    title: Option<String>,
    members: Vec<UserId>,
) -> Result<(ConversationId, CommandBody), Refusal> {
    let members = others(&peer.user, members);
    let id = match (kind, members.as_slice()) {
        (Kind::Direct, [other]) => ConversationId::of_direct(&peer.tenant, &peer.user, other),
        (Kind::Direct, _) => {
            let message = "members: a direct conversation has exactly one other member";
            return Err(Refusal::new(Code::Invalid, message));
        }
        (Kind::Group | Kind::Channel, _) => {
            ConversationId::of_created(&peer.tenant, &peer.user, temp_id)
        }
    };
    let body = CommandBody::Create {
        kind,
        title,
        members,
    };
    Ok((id, body))
}

/// The members other than the sender, each once.
fn others(sender: &UserId, mut members: Vec<UserId>) -> Vec<UserId> {
    members.sort();
    members.dedup();
    members.retain(|user| user != sender);
    members
}

/// A post whose content is [looked up](crate::lookup) before it goes anywhere.
pub(crate) fn copy() -> CommandBody {
    CommandBody::Send {
        content: Content::default(),
        reply_to: None,
        thread: None,
        forwarded_from: None,
    }
}
