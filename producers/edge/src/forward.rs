//! `forward`: one request that makes a command for each message and target.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tidings_domain::{
    Code, Command, Content, ConversationId, ForwardedFrom, MessageId, TempId, UserId,
};
use tokio::sync::OnceCell;

use crate::answer::Refusal;
use crate::commands;
use crate::facts::{self, About};
use crate::freshness::Age;
use crate::lanes::Waiting;
use crate::limits::{Limited, Limiter};
use crate::peer::{Peer, Reply};
use crate::questions;
use crate::request;
use crate::shared::Shared;

/// What a client wants to have forwarded.
#[derive(Clone, Debug)]
pub(crate) struct ForwardRequest {
    /// The client's own id of it.
    pub(crate) temp_id: TempId,
    pub(crate) retry: bool,
    pub(crate) from: ConversationId,
    pub(crate) message_ids: Vec<MessageId>,
    pub(crate) to: Vec<ConversationId>,
}

/// A forward under way. Its messages are looked up once, for all the commands
/// that it makes.
pub(crate) struct Forward {
    temp_id: TempId,
    peer: Arc<Peer>,
    from: ConversationId,
    message_ids: Vec<MessageId>,
    sources: OnceCell<Result<Vec<Source>, Code>>,
    /// Whether its sender was told that it is refused.
    refused: AtomicBool,
}

/// A message to be copied.
#[derive(Clone, Debug)]
struct Source {
    by: UserId,
    content: Content,
}

/// Which message of a forward a command copies.
pub(crate) struct Copied {
    forward: Arc<Forward>,
    at: usize,
}

/// Puts the commands of a forward on their way, target by target, each with
/// its place in its target's lane. `reply` says where the answers to each go.
///
/// # Errors
/// Where the forward is refused as a whole, before anything is looked up.
pub(crate) fn submit(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    limiter: Option<&Limiter>,
    request: ForwardRequest,
    mut reply: impl FnMut(&TempId) -> Reply,
) -> Result<(), Refusal> {
    let (taken, at) = (Instant::now(), shared.clock.now());
    shared.metrics.command("forward");
    let ForwardRequest {
        temp_id,
        retry,
        from,
        message_ids,
        to,
    } = request;
    let copies = u32::try_from(message_ids.len() * to.len()).unwrap_or(u32::MAX);
    let copies = NonZeroU32::new(copies).ok_or(Code::Invalid)?;
    if let Some(limiter) = limiter {
        limiter.take_many(copies).map_err(too_much)?;
    }
    let forward = Arc::new(Forward {
        temp_id,
        peer: Arc::clone(peer),
        from,
        message_ids,
        sources: OnceCell::new(),
        refused: AtomicBool::new(false),
    });
    let messages = 0..forward.message_ids.len();
    let places = to
        .iter()
        .flat_map(|target| messages.clone().map(move |message| (*target, message)));
    let waiting = (1_usize..)
        .zip(places)
        .map(|(number, (conversation_id, message))| {
            let temp_id = TempId::parse_stored(&format!("{}/{number}", forward.temp_id))?;
            let reply = reply(&temp_id);
            let command = Command {
                tenant: peer.tenant.clone(),
                conversation_id,
                sender: peer.user.clone(),
                temp_id,
                at,
                body: request::copy(),
            };
            let copied = Copied {
                forward: Arc::clone(&forward),
                at: message,
            };
            Ok(Waiting {
                key: command.key(),
                command,
                retry,
                taken,
                reply,
                copied: Some(Box::new(copied)),
            })
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    let room = commands::room(shared);
    peer.lanes.push_all(waiting, room).map_err(|_| Code::Busy)?;
    for target in to {
        commands::advance(shared, peer, target);
    }
    Ok(())
}

fn too_much(limited: Limited) -> Refusal {
    match limited {
        Limited::For(wait_ms) => Refusal::rate_limited(wait_ms),
        Limited::Always => {
            let message = "This makes more messages than you may send in a minute.";
            Refusal::new(Code::TooMany, message)
        }
    }
}

impl Copied {
    /// What the command is to post, once all messages of the forward are found.
    pub(crate) async fn content(
        &self,
        shared: &Arc<Shared>,
    ) -> Result<(Content, ForwardedFrom), Code> {
        let forward = &*self.forward;
        let sources = forward
            .sources
            .get_or_init(|| find(shared, forward))
            .await
            .as_ref()
            .map_err(|code| *code)?;
        let Source { by, content } = &sources[self.at];
        let from = ForwardedFrom {
            conversation_id: forward.from,
            message_id: forward.message_ids[self.at],
            by: by.clone(),
        };
        Ok((content.clone(), from))
    }

    /// Answers a command that is not made because its forward is refused: a
    /// socket hears of it once, under the forward's own `temp_id`.
    pub(crate) fn refuse(&self, reply: &Reply, temp_id: &TempId, code: Code) {
        let forward = &*self.forward;
        let refusal = match code {
            Code::NotFound => Refusal::new(code, "There is no such conversation or message."),
            code => code.into(),
        };
        match reply {
            Reply::Socket(_) => {
                if !forward.refused.swap(true, Ordering::AcqRel) {
                    reply.answer(&forward.temp_id, Err(refusal));
                }
            }
            Reply::Call(_) => reply.answer(temp_id, Err(refusal)),
        }
    }
}

/// Finds all messages of a forward, as its sender may see them.
async fn find(shared: &Arc<Shared>, forward: &Forward) -> Result<Vec<Source>, Code> {
    let peer = &*forward.peer;
    questions::member_of(shared, peer, forward.from)
        .await
        .map_err(|refusal| refusal.code)?;
    let (tenant, user, ids) = (&peer.tenant, &peer.user, &forward.message_ids);
    let mut sources = Vec::with_capacity(ids.len());
    for message_id in ids {
        sources.push(source(shared, forward, *message_id).await?);
    }
    let hidden = shared
        .view
        .ask(|view| view.hidden(tenant, user, ids))
        .await?;
    if hidden.is_empty() {
        Ok(sources)
    } else {
        Err(Code::NotFound)
    }
}

async fn source(
    shared: &Arc<Shared>,
    forward: &Forward,
    message_id: MessageId,
) -> Result<Source, Code> {
    let tenant = &forward.peer.tenant;
    let stored = async || {
        let row = shared.view.ask(|view| view.message(tenant, message_id));
        let row = row.await?;
        Ok::<_, Code>(row.filter(|row| row.conversation_id == forward.from))
    };
    let row = match stored().await? {
        Some(row) => row,
        None => {
            // It may be newer than what the view was asked to have seen.
            let about = About {
                tenant,
                conversation_id: forward.from,
                message_id,
            };
            facts::find(shared, about).await?;
            let partition = shared.partition_of(forward.from);
            let position = shared.progress.position(partition);
            let wanted = [(partition, position)];
            shared.freshness.reached(&wanted, Age::Recent).await?;
            stored().await?.ok_or(Code::NotFound)?
        }
    };
    Ok(Source {
        by: row.by,
        content: row.content.ok_or(Code::NotFound)?,
    })
}
