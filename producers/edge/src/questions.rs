//! `sync` and `list`, answered from the history view.

use std::sync::Arc;

use tidings_domain::{Code, ConversationId, EventRow, Timestamp};
use tidings_wire::frames::{ChangeItem, EventJson, ListItem, ServerFrame};
use uuid::Uuid;

use crate::freshness::Age;
use crate::outcome;
use crate::shared::Shared;
use crate::socket::{OpenQuestion, Socket};
use crate::view::Unavailable;

/// `changes` stops short of its limit at about this many bytes of events, so
/// that no answer fills an outbox; `more` then says that it did.
const MAX_CHANGES_BYTES: usize = 512 * 1024;

/// A question, to be answered once.
#[derive(Debug)]
pub(crate) enum Question {
    Sync {
        conversation_id: ConversationId,
        after: u64,
        limit: usize,
    },
    List {
        limit: usize,
        cursor: Option<String>,
    },
    Outcome(Vec<(ConversationId, tidings_domain::TempId)>),
}

/// Why a question cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) Code, pub(crate) &'static str);

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self(code, code.sentence())
    }
}

impl From<Unavailable> for Refusal {
    fn from(Unavailable: Unavailable) -> Self {
        Code::Unavailable.into()
    }
}

/// Answers a question in a task of its own, so that the socket's commands do
/// not wait for it.
pub(crate) fn ask(shared: &Arc<Shared>, socket: &Arc<Socket>, id: String, question: Question) {
    let Some(open) = socket.start_question(shared.config.questions_in_flight) else {
        return socket.error(Some(&id), Code::Busy, Code::Busy.sentence());
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let OpenQuestion(socket) = &open;
        let answer = match question {
            Question::Sync {
                conversation_id,
                after,
                limit,
            } => sync(&shared, socket, &id, conversation_id, after, limit).await,
            Question::List { limit, cursor } => list(&shared, socket, &id, limit, cursor).await,
            Question::Outcome(commands) => outcome::answer(&shared, socket, &id, commands).await,
        };
        match answer {
            Ok(frame) => socket.send(frame),
            Err(Refusal(code, message)) => socket.error(Some(&id), code, message),
        }
    });
}

async fn sync(
    shared: &Shared,
    socket: &Socket,
    id: &str,
    conversation_id: ConversationId,
    after: u64,
    limit: usize,
) -> Result<String, Refusal> {
    let partition = shared.partition_of(conversation_id);
    let position = shared.progress.position(partition);
    shared
        .freshness
        .reached(&[(partition, position)], Age::Recent)
        .await?;
    let (tenant, user) = (&socket.tenant, &socket.user);
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
    let rows = view
        .ask(|view| view.events(tenant, conversation_id, after, limit))
        .await?;
    let events = contiguous(&rows, after);
    let reached = events.last().map_or(after, |event| event.seq);
    // The view may have taken in more between the two questions.
    let last_seq = conversation
        .last_seq
        .max(rows.last().map_or(0, |row| row.seq));
    let frame = ServerFrame::Changes {
        id,
        conversation_id,
        events,
        last_seq,
        more: reached < last_seq,
    };
    Ok(frame.to_json())
}

/// The run of events right after `after`: a batch that the view is writing may
/// be seen in part.
fn contiguous(rows: &[EventRow], after: u64) -> Vec<ChangeItem<'_>> {
    let mut bytes = 0;
    (after + 1..)
        .zip(rows)
        .take_while(|(seq, row)| row.seq == *seq)
        .map(|(seq, row)| ChangeItem {
            seq,
            at: row.at,
            by: &row.by,
            event: EventJson::of(&row.event),
        })
        .take_while(|item| {
            let fits = bytes < MAX_CHANGES_BYTES;
            bytes += item.event.as_str().len();
            fits
        })
        .collect()
}

async fn list(
    shared: &Shared,
    socket: &Socket,
    id: &str,
    limit: usize,
    cursor: Option<String>,
) -> Result<String, Refusal> {
    const BAD_CURSOR: Refusal = Refusal(Code::Invalid, "cursor: is none that a page gave");
    let after = match cursor {
        Some(cursor) => Some(parse_cursor(&cursor).ok_or(BAD_CURSOR)?),
        None => None,
    };
    let positions: Vec<_> = (0..shared.partitions)
        .map(|partition| (partition, shared.progress.position(partition)))
        .collect();
    shared.freshness.reached(&positions, Age::Recent).await?;
    let (tenant, user) = (&socket.tenant, &socket.user);
    let page = shared
        .view
        .ask(|view| view.list(tenant, user, after, limit))
        .await?;
    let conversations = page.conversations.iter().map(|listed| {
        ListItem::of(
            &listed.conversation,
            &listed.member,
            listed.last_message.as_ref(),
        )
    });
    let frame = ServerFrame::Conversations {
        id,
        conversations: conversations.collect(),
        next_cursor: page.next.map(format_cursor),
    };
    Ok(frame.to_json())
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
    use tidings_domain::{Change, Event, TempId, Tenant, UserId};

    fn row(seq: u64, title_bytes: usize) -> EventRow {
        EventRow {
            tenant: Tenant::parse("t").unwrap(),
            conversation_id: ConversationId(Uuid::nil()),
            seq,
            at: Timestamp(0),
            by: UserId::parse("u").unwrap(),
            temp_id: TempId::parse("x").unwrap(),
            event: Event::ConversationUpdated(Change::Rename("x".repeat(title_bytes))),
        }
    }

    #[test]
    fn changes_are_a_contiguous_run_of_bounded_size() {
        let seqs = |rows: &[EventRow], after| {
            contiguous(rows, after)
                .iter()
                .map(|item| item.seq)
                .collect::<Vec<_>>()
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
