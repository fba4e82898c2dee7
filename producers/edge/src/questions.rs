//! Questions, answered from the history view.

use std::sync::Arc;

use tidings_domain::{Change, Code, ConversationId, Event, EventRow, Timestamp};
use tidings_views::history::ListedConversation;
use tidings_wire::frames::{ChangeItem, ListItem, OutcomeItem, Question, ServerFrame};
use uuid::Uuid;

use crate::answer::Refusal;
use crate::freshness::Age;
use crate::outcome;
use crate::peer::Peer;
use crate::shared::Shared;
use crate::socket::Socket;
use crate::view::Unavailable;

/// `changes` stops short of its limit at about this many bytes of events, so
/// that no answer fills an outbox; `more` then says that it did.
const MAX_CHANGES_BYTES: usize = 512 * 1024;

/// What happened in a conversation since an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// A contiguous run, oldest first.
    pub events: Vec<EventRow>,
    /// The conversation's head.
    pub last_seq: u64,
    /// Whether there are more after these.
    pub more: bool,
}

/// A page of a user's conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// Latest activity first.
    pub conversations: Vec<ListedConversation>,
    /// Where the next page goes on; none at the end.
    pub next_cursor: Option<String>,
}

impl From<Unavailable> for Refusal {
    fn from(Unavailable: Unavailable) -> Self {
        Code::Unavailable.into()
    }
}

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
            let changes = changes(shared, peer, conversation_id, after, limit).await?;
            let frame = ServerFrame::Changes {
                id,
                conversation_id,
                events: changes.events.iter().map(ChangeItem::of).collect(),
                last_seq: changes.last_seq,
                more: changes.more,
            };
            frame.to_json()
        }
        Question::List { limit, cursor } => {
            let page = list(shared, peer, limit, cursor.as_deref()).await?;
            let now = crate::clock::now();
            let conversations = page.conversations.iter().map(|listed| {
                ListItem::of(
                    &listed.conversation,
                    &listed.member,
                    listed.last_message.as_ref(),
                    now,
                )
            });
            let frame = ServerFrame::Conversations {
                id,
                conversations: conversations.collect(),
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
        Question::History { .. } | Question::Members { .. } | Question::Search => {
            return Err(Code::Unsupported.into());
        }
    })
}

/// `sync`.
pub(crate) async fn changes(
    shared: &Shared,
    peer: &Peer,
    conversation_id: ConversationId,
    after: u64,
    limit: usize,
) -> Result<Changes, Refusal> {
    let partition = shared.partition_of(conversation_id);
    let position = shared.progress.position(partition);
    shared
        .freshness
        .reached(&[(partition, position)], Age::Recent)
        .await?;
    let (tenant, user) = (&peer.tenant, &peer.user);
    let view = &shared.view;
    let conversation = view
        .ask(|view| view.conversation(tenant, conversation_id))
        .await?;
    let conversation = conversation.ok_or(Code::NotFound)?;
    let member = view
        .ask(|view| view.member(tenant, conversation_id, user))
        .await?;
    member
        .and_then(|member| member.role)
        .ok_or(Code::NotAMember)?;
    let mut events = view
        .ask(|view| view.events(tenant, conversation_id, after, limit))
        .await?;
    // The view may have taken in more between the two questions.
    let last_seq = conversation
        .last_seq
        .max(events.last().map_or(0, |row| row.seq));
    events.truncate(contiguous(&events, after));
    let reached = events.last().map_or(after, |event| event.seq);
    Ok(Changes {
        events,
        last_seq,
        more: reached < last_seq,
    })
}

/// How many of the rows are the run of events right after `after`, of bounded
/// size: a batch that the view is writing may be seen in part.
fn contiguous(rows: &[EventRow], after: u64) -> usize {
    let mut bytes = 0;
    (after + 1..)
        .zip(rows)
        .take_while(|(seq, row)| row.seq == *seq)
        .take_while(|(_, row)| {
            let fits = bytes < MAX_CHANGES_BYTES;
            bytes += weight(&row.event);
            fits
        })
        .count()
}

/// About how many bytes an event takes in a frame.
fn weight(event: &Event) -> usize {
    /// Of an event without what is of any length.
    const FRAME: usize = 256;
    /// Of a member of a new conversation.
    const MEMBER: usize = 48;
    let variable = match event {
        Event::MessageSent { content, .. } | Event::MessageEdited { content, .. } => {
            let attachments = content.attachments.iter();
            let attachments: usize = attachments
                .map(|file| FRAME + file.id.len() + file.name.len() + file.mime.len())
                .sum();
            content.text.len() + content.meta.as_ref().map_or(0, String::len) + attachments
        }
        Event::ConversationUpdated(change) => match change {
            Change::Create { members, .. } => members.len() * MEMBER,
            Change::AddMembers(users) | Change::RemoveMembers(users) => users.len() * MEMBER,
            Change::Rename(title) => title.len(),
            Change::SetRole { .. } | Change::Leave | Change::Close | Change::Reopen => 0,
        },
        Event::MessageDeleted { .. } | Event::MessageReacted { .. } => 0,
    };
    FRAME + variable
}

/// `list`.
pub(crate) async fn list(
    shared: &Shared,
    peer: &Peer,
    limit: usize,
    cursor: Option<&str>,
) -> Result<ListPage, Refusal> {
    let after = match cursor {
        Some(cursor) => Some(parse_cursor(cursor).ok_or_else(bad_cursor)?),
        None => None,
    };
    let positions: Vec<_> = (0..shared.partitions)
        .map(|partition| (partition, shared.progress.position(partition)))
        .collect();
    shared.freshness.reached(&positions, Age::Recent).await?;
    let (tenant, user) = (&peer.tenant, &peer.user);
    let page = shared
        .view
        .ask(|view| view.list(tenant, user, None, after, limit))
        .await?;
    Ok(ListPage {
        conversations: page.conversations,
        next_cursor: page.next.map(format_cursor),
    })
}

fn bad_cursor() -> Refusal {
    Refusal::new(Code::Invalid, "cursor: is none that a page gave")
}

fn format_cursor((at, id): (Timestamp, ConversationId)) -> String {
    format!("{:x}.{}", at.0, id.0.simple())
}

fn parse_cursor(cursor: &str) -> Option<(Timestamp, ConversationId)> {
    let (at, id) = cursor.split_once('.')?;
    let at = Timestamp(i64::from_str_radix(at, 16).ok()?);
    Some((at, ConversationId(Uuid::try_parse(id).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::{TempId, Tenant, UserId};

    fn row(seq: u64, title_bytes: usize) -> EventRow {
        EventRow {
            tenant: Tenant::parse("t").unwrap(),
            conversation_id: ConversationId(Uuid::nil()),
            seq,
            at: Timestamp(0),
            by: UserId::parse("u").unwrap(),
            temp_id: TempId::parse("x").unwrap(),
            event: Event::ConversationUpdated(Change::Rename("x".repeat(title_bytes))),
            withheld: false,
        }
    }

    #[test]
    fn changes_are_a_contiguous_run_of_bounded_size() {
        let seqs = |rows: &[EventRow], after| {
            let run = &rows[..contiguous(rows, after)];
            run.iter().map(|row| row.seq).collect::<Vec<_>>()
        };
        let gap = [row(3, 1), row(4, 1), row(6, 1)];
        assert_eq!(seqs(&gap, 2), [3, 4]);
        assert!(seqs(&gap, 1).is_empty());
        let large = [row(1, MAX_CHANGES_BYTES), row(2, 1)];
        assert_eq!(seqs(&large, 0), [1]);
    }

    #[test]
    fn cursors_are_read_back() {
        let place = (Timestamp(-5), ConversationId(Uuid::from_u128(7)));
        assert_eq!(
            parse_cursor(&format_cursor(place)),
            None,
            "times are never negative"
        );
        let place = (
            Timestamp(1_100_520_000_000),
            ConversationId(Uuid::from_u128(7)),
        );
        assert_eq!(parse_cursor(&format_cursor(place)), Some(place));
        assert_eq!(parse_cursor("1.2"), None);
        assert_eq!(parse_cursor("x"), None);
    }
}
