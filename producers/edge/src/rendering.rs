//! A socket's questions, and the frames that answer them.

use std::sync::Arc;

use tidings_wire::frames::{
    ChangeItem, ListItem, MemberItem, OutcomeItem, PageMessage, Question, ServerFrame,
};

use crate::answer::Refusal;
use crate::load;
use crate::outcome;
use crate::peer::Peer;
use crate::questions;
use crate::search;
use crate::shared::Shared;
use crate::socket::Socket;

/// Answers a question in a task of its own, so that the socket's commands do
/// not wait for it.
pub(crate) fn ask(shared: &Arc<Shared>, socket: &Arc<Socket>, id: String, question: Question) {
    let most = shared.config.questions_in_flight;
    let open = match socket.peer.start_question(most) {
        Ok(open) => open,
        Err(refusal) => return socket.refuse(&id, &refusal),
    };
    let (shared, socket) = (Arc::clone(shared), Arc::clone(socket));
    tokio::spawn(async move {
        match frame(&shared, &socket.peer, &id, question).await {
            Ok(frame) => socket.send(frame),
            Err(refusal) => socket.refuse(&id, &refusal),
        }
        drop(open);
    });
}

/// The frame that answers a question.
async fn frame(
    shared: &Arc<Shared>,
    peer: &Peer,
    id: &str,
    question: Question,
) -> Result<String, Refusal> {
    Ok(match question {
        Question::Sync {
            conversation_id,
            after,
            limit,
        } => {
            load::before_answer(shared, peer).await?;
            let changes = questions::changes(shared, peer, conversation_id, after, limit).await?;
            let frame = ServerFrame::Changes {
                id,
                conversation_id,
                events: changes.events.iter().map(ChangeItem::of).collect(),
                last_seq: changes.last_seq,
                more: changes.more,
            };
            frame.to_json()
        }
        Question::History {
            conversation_id,
            before,
            thread,
            limit,
        } => {
            let page =
                questions::page(shared, peer, conversation_id, thread, before, limit).await?;
            let frame = ServerFrame::Page {
                id,
                conversation_id,
                messages: page.messages.iter().map(PageMessage::of).collect(),
                next_before: page.next_before,
            };
            frame.to_json()
        }
        Question::List { limit, cursor } => {
            load::before_answer(shared, peer).await?;
            let page = questions::list(shared, peer, None, limit, cursor.as_deref()).await?;
            let now = shared.clock.now();
            let conversations = page.conversations.iter().map(|listed| {
                let last_message = listed.last_message.as_ref();
                ListItem::of(&listed.conversation, &listed.member, last_message, now)
            });
            let frame = ServerFrame::Conversations {
                id,
                conversations: conversations.collect(),
                next_cursor: page.next_cursor,
            };
            frame.to_json()
        }
        Question::Members {
            conversation_id,
            limit,
            cursor,
        } => {
            let cursor = cursor.as_deref();
            let page = questions::members(shared, peer, conversation_id, limit, cursor).await?;
            let frame = ServerFrame::Members {
                id,
                conversation_id,
                members: page.members.iter().map(MemberItem::of).collect(),
                next_cursor: page.next_cursor,
            };
            frame.to_json()
        }
        Question::Outcome(commands) => {
            let states = outcome::states(shared, peer, &commands).await?;
            let outcomes = commands
                .iter()
                .zip(states)
                .map(|((_, temp_id), state)| OutcomeItem { temp_id, state });
            let frame = ServerFrame::Outcomes {
                id,
                outcomes: outcomes.collect(),
            };
            frame.to_json()
        }
        Question::Search(wanted) => {
            let page = search::find(shared, peer, &wanted).await?;
            search::frame(id, &page)
        }
    })
}
