//! Commands and questions without a socket: the same code as a socket's,
//! answered by values instead of frames.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tidings_domain::{
    ConversationId, ConversationRow, EditRow, Kind, MemberRow, MessageId, MessageRow, TempId,
    Tenant, UserId,
};
use tidings_service::auth::Claims;
use tidings_wire::frames::{OutcomeState, Request, Search};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::answer::{Answer, Delivered, Pending, Refusal};
use crate::commands;
use crate::forward::{self, ForwardRequest};
use crate::limits::{Allowance, Limiter};
use crate::metrics::Metrics;
use crate::outcome;
use crate::peer::{Call, Peer, Reply};
use crate::questions::{self, Changes, ListPage, MemberPage, Page};
use crate::search::{self, SearchPage, Suggestion};
use crate::shared::Shared;

/// A user who sends commands and asks questions without a socket, made by
/// [`Edge::caller`](crate::Edge::caller).
///
/// The user is in no conversation's audience by this: events go to sockets
/// only. The callers of one user share their lanes, so a command that follows
/// the `pending` of another in the same conversation is decided after it.
#[derive(Clone)]
pub struct Caller {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    limiter: Option<Arc<Limiter>>,
}

impl Caller {
    pub(crate) fn new(shared: Arc<Shared>, claims: Claims) -> Self {
        let limits = &shared.config.limits;
        let per_minute = claims.rate.unwrap_or(limits.messages_per_minute);
        let limiter = shared.limits.of(&claims.tenant, &claims.user, per_minute);
        let peer = shared
            .callers
            .peer(claims.tenant, claims.user, &shared.metrics);
        Self {
            shared,
            peer,
            limiter,
        }
    }

    /// The tenant of the token.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.peer.tenant
    }

    /// The user of the token.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.peer.user
    }

    /// How many messages the user may still send right now; none where there
    /// is no limit.
    #[must_use]
    pub fn allowance(&self) -> Option<Allowance> {
        self.limiter.as_ref().map(|limiter| limiter.allowance())
    }

    /// Sends a command on its way. `retry` says that it was, or may have been,
    /// sent before: then it is not decided twice, however long ago that was.
    ///
    /// The command goes its way whether or not anybody waits for its answers.
    /// A forward makes many commands, and is sent by
    /// [`forward`](Self::forward); here it is `invalid`.
    #[must_use]
    pub fn submit(&self, temp_id: TempId, retry: bool, request: Request) -> Submission {
        let (submission, reply) = self.call();
        let limiter = self.limiter.as_deref();
        commands::submit(&self.shared, reply, limiter, temp_id, retry, request);
        submission
    }

    /// Sends a forward on its way: a command for each message and target,
    /// target by target, named `<temp_id>/1`, `<temp_id>/2` … If it is refused
    /// as a whole, each of them is refused so.
    ///
    /// # Errors
    /// Where it is refused before anything is looked up.
    pub fn forward(
        &self,
        temp_id: TempId,
        retry: bool,
        from: ConversationId,
        message_ids: Vec<MessageId>,
        to: Vec<ConversationId>,
    ) -> Result<Vec<(TempId, Submission)>, Refusal> {
        let request = ForwardRequest {
            temp_id,
            retry,
            from,
            message_ids,
            to,
        };
        let limiter = self.limiter.as_deref();
        let mut submissions = Vec::new();
        let reply = |temp_id: &TempId| {
            let (submission, reply) = self.call();
            submissions.push((temp_id.clone(), submission));
            reply
        };
        forward::submit(&self.shared, &self.peer, limiter, request, reply)?;
        Ok(submissions)
    }

    fn call(&self) -> (Submission, Reply) {
        let (tell_pending, pending) = oneshot::channel();
        let (tell_answer, answer) = oneshot::channel();
        let call = Call::new(Arc::clone(&self.peer), tell_pending, tell_answer);
        let submission = Submission {
            pending: Some(pending),
            answer,
        };
        (submission, Reply::Call(Box::new(call)))
    }

    /// `sync`: the events of a conversation after `after`, oldest first.
    ///
    /// # Errors
    /// A [`Refusal`], as of every question.
    pub async fn changes(
        &self,
        conversation_id: ConversationId,
        after: u64,
        limit: usize,
    ) -> Result<Changes, Refusal> {
        let _open = self.start()?;
        questions::changes(&self.shared, &self.peer, conversation_id, after, limit).await
    }

    /// `history`: the messages of a conversation before the one with the `no`
    /// `before`, newest first; with `thread`, only that thread's replies.
    ///
    /// # Errors
    /// A [`Refusal`], as of every question.
    pub async fn page(
        &self,
        conversation_id: ConversationId,
        thread: Option<MessageId>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page, Refusal> {
        let _open = self.start()?;
        let id = conversation_id;
        questions::page(&self.shared, &self.peer, id, thread, before, limit).await
    }

    /// `list`: the own conversations, of one kind if it is given, latest
    /// activity first.
    ///
    /// # Errors
    /// A [`Refusal`], as of every question.
    pub async fn list(
        &self,
        kind: Option<Kind>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<ListPage, Refusal> {
        let _open = self.start()?;
        questions::list(&self.shared, &self.peer, kind, limit, cursor).await
    }

    /// A conversation of the user's, and the user's place in it.
    ///
    /// # Errors
    /// A [`Refusal`], as of every question.
    pub async fn conversation(
        &self,
        conversation_id: ConversationId,
    ) -> Result<(ConversationRow, MemberRow), Refusal> {
        let _open = self.start()?;
        questions::member_of(&self.shared, &self.peer, conversation_id).await
    }

    /// `members`: who belongs to a conversation, by user id.
    ///
    /// # Errors
    /// A [`Refusal`], as of every question.
    pub async fn members(
        &self,
        conversation_id: ConversationId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<MemberPage, Refusal> {
        let _open = self.start()?;
        let id = conversation_id;
        questions::members(&self.shared, &self.peer, id, limit, cursor).await
    }

    /// A message, as the user may see it.
    ///
    /// # Errors
    /// A [`Refusal`], as of every question: `not_found` also of what the user
    /// has deleted for themselves.
    pub async fn message(&self, message_id: MessageId) -> Result<MessageRow, Refusal> {
        let _open = self.start()?;
        let (row, _) = questions::message(&self.shared, &self.peer, message_id).await?;
        Ok(row)
    }

    /// The conversation of a message. Whether the caller may see it is not
    /// said by this.
    ///
    /// # Errors
    /// A [`Refusal`], as of every question.
    pub async fn conversation_of(&self, message_id: MessageId) -> Result<ConversationId, Refusal> {
        let _open = self.start()?;
        questions::conversation_of(&self.shared, &self.peer.tenant, message_id).await
    }

    /// A message and its earlier texts, oldest first.
    ///
    /// # Errors
    /// As [`message`](Self::message).
    pub async fn edits(
        &self,
        message_id: MessageId,
    ) -> Result<(MessageRow, Vec<EditRow>), Refusal> {
        let _open = self.start()?;
        questions::edits(&self.shared, &self.peer, message_id).await
    }

    /// How many messages the user has not read, by conversation; those with
    /// none are left out.
    ///
    /// # Errors
    /// A [`Refusal`], as of every question.
    pub async fn unread(&self) -> Result<Vec<(ConversationId, u64)>, Refusal> {
        let _open = self.start()?;
        questions::unread(&self.shared, &self.peer).await
    }

    /// `outcome`: what became of commands, in the order asked.
    ///
    /// # Errors
    /// A [`Refusal`], as of every question.
    pub async fn outcomes(
        &self,
        commands: &[(ConversationId, TempId)],
    ) -> Result<Vec<OutcomeState>, Refusal> {
        let _open = self.start()?;
        outcome::states(&self.shared, &self.peer, commands).await
    }

    /// `search`: a page of messages, conversations, users, or of all three.
    ///
    /// # Errors
    /// A [`Refusal`], as of every question; `rate_limited` where the user has
    /// searched too often.
    pub async fn search(&self, search: &Search) -> Result<SearchPage, Refusal> {
        let _open = self.start()?;
        search::find(&self.shared, &self.peer, search).await
    }

    /// How what the user is typing may go on: as a search of before, the title
    /// of a conversation, or a user.
    ///
    /// # Errors
    /// A [`Refusal`], as of every question.
    pub async fn suggestions(&self, text: &str) -> Result<Vec<Suggestion>, Refusal> {
        let _open = self.start()?;
        search::suggest(&self.shared, &self.peer, text).await
    }

    /// What the user searched for last on this edge, at most ten, the last
    /// first.
    #[must_use]
    pub fn recent_searches(&self) -> Vec<String> {
        search::recent(&self.shared, &self.peer)
    }

    fn start(&self) -> Result<crate::peer::OpenQuestion, Refusal> {
        self.peer.start_question(self.shared.config.calls_in_flight)
    }
}

/// A command on its way.
pub struct Submission {
    pending: Option<oneshot::Receiver<Pending>>,
    answer: oneshot::Receiver<Answer>,
}

/// What was heard of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is durable, and will be decided.
    Pending(Pending),
    /// It has its last answer without having been `pending`: it was refused
    /// before it was durable, or decided before.
    Answered(Delivered),
}

impl Submission {
    /// Waits until the command is durable, or answered without.
    ///
    /// # Errors
    /// The refusal, if that is its answer.
    pub async fn pending(&mut self) -> Result<Heard, Refusal> {
        if let Some(pending) = self.pending.take()
            && let Ok(pending) = pending.await
        {
            return Ok(Heard::Pending(pending));
        }
        answered(&mut self.answer).await.map(Heard::Answered)
    }

    /// Waits for the last answer. There is no time limit: a command that is
    /// durable is decided as soon as a sequencer is there.
    ///
    /// # Errors
    /// The refusal, if that is its answer.
    pub async fn decision(mut self) -> Answer {
        answered(&mut self.answer).await
    }
}

async fn answered(answer: &mut oneshot::Receiver<Answer>) -> Answer {
    // An edge that is being dropped answers nothing more.
    let gone = |_| Err(tidings_domain::Code::Unavailable.into());
    answer.await.unwrap_or_else(gone)
}

/// The peers of all users who call, for as long as anybody holds them.
#[derive(Default)]
pub(crate) struct Callers {
    peers: Mutex<Peers>,
}

#[derive(Default)]
struct Peers {
    by_user: HashMap<(Tenant, UserId), Weak<Peer>>,
    /// At how many to look for those that nobody holds.
    sweep_at: usize,
}

impl Callers {
    fn peer(&self, tenant: Tenant, user: UserId, metrics: &Arc<Metrics>) -> Arc<Peer> {
        const LEAST: usize = 1_024;
        let mut peers = self.peers.lock();
        if peers.by_user.len() >= peers.sweep_at {
            peers.by_user.retain(|_, peer| peer.strong_count() > 0);
            peers.sweep_at = (peers.by_user.len() * 2).max(LEAST);
        }
        let who = (tenant, user);
        if let Some(peer) = peers.by_user.get(&who).and_then(Weak::upgrade) {
            return peer;
        }
        let peer = Peer::new(Uuid::new_v4(), who.clone(), Arc::clone(metrics));
        let peer = Arc::new(peer);
        peers.by_user.insert(who, Arc::downgrade(&peer));
        peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_of_a_user_share_a_peer_for_as_long_as_one_is_there() {
        let (callers, metrics) = (Callers::default(), Arc::new(Metrics::new()));
        let peer = |tenant: &str| {
            let (tenant, user) = (Tenant::parse(tenant).unwrap(), UserId::parse("u").unwrap());
            callers.peer(tenant, user, &metrics)
        };
        let first = peer("t");
        assert!(Arc::ptr_eq(&first, &peer("t")));
        assert!(!Arc::ptr_eq(&first, &peer("x")));
        let id = first.id;
        drop(first);
        assert_ne!(peer("t").id, id);
    }
}
