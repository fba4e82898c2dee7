//! Questions, answered from the history view.

use std::sync::Arc;

use tidings_domain::{
    Change, Code, Content, ConversationId, ConversationRow, EditRow, Event, EventRow, Kind,
    MemberRow, MessageId, MessageRow, Tenant, Timestamp, UserId,
};
use tidings_views::history::ListedConversation;
use uuid::Uuid;

use crate::answer::Refusal;
use crate::freshness::Age;
use crate::peer::Peer;
use crate::shared::Shared;
use crate::view::Unavailable;

/// Answers stop short of their limit at about this many bytes, so that none
/// fills an outbox, and say where they go on.
const MAX_ANSWER_BYTES: usize = 512 * 1024;
/// About how many bytes an item takes without what is of any length.
const ITEM_BYTES: usize = 256;
/// About how many bytes a member's name takes, with what stands around it.
const NAME_BYTES: usize = 48;

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

/// A page of a conversation's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Newest first.
    pub messages: Vec<MessageRow>,
    /// The `no` before which the next page begins; none at the end.
    pub next_before: Option<u64>,
}

/// A page of a user's conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// Latest activity first.
    pub conversations: Vec<ListedConversation>,
    /// Where the next page goes on; none at the end.
    pub next_cursor: Option<String>,
}

/// A page of a conversation's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPage {
    /// By user id.
    pub members: Vec<MemberRow>,
    /// Where the next page goes on; none at the end.
    pub next_cursor: Option<String>,
}

impl From<Unavailable> for Refusal {
    fn from(Unavailable: Unavailable) -> Self {
        Code::Unavailable.into()
    }
}

/// Waits until the view reflects what this edge has read of a conversation.
async fn fresh(shared: &Shared, id: ConversationId) -> Result<(), Unavailable> {
    let partition = shared.partition_of(id);
    let position = shared.progress.position_of(partition, id);
    let wanted = [(partition, position)];
    shared.freshness.reached(&wanted, Age::Recent).await
}

/// As [`fresh`], of all conversations.
pub(crate) async fn fresh_everywhere(shared: &Shared) -> Result<(), Unavailable> {
    let positions: Vec<_> = (0..shared.partitions)
        .map(|partition| (partition, shared.progress.position(partition)))
        .collect();
    shared.freshness.reached(&positions, Age::Recent).await
}

/// The conversation and the user's place in it, as fresh as what this edge has
/// read.
///
/// # Errors
/// `not_found`, of another tenant's too; `not_a_member`.
pub(crate) async fn member_of(
    shared: &Shared,
    peer: &Peer,
    id: ConversationId,
) -> Result<(ConversationRow, MemberRow), Refusal> {
    fresh(shared, id).await?;
    let (tenant, user, view) = (&peer.tenant, &peer.user, &shared.view);
    let conversation = view.ask(|view| view.conversation(tenant, id)).await?;
    let conversation = conversation.ok_or(Code::NotFound)?;
    let member = view.ask(|view| view.member(tenant, id, user)).await?;
    let member = member
        .filter(|member| member.role.is_some())
        .ok_or(Code::NotAMember)?;
    Ok((conversation, member))
}

/// `sync`.
pub(crate) async fn changes(
    shared: &Shared,
    peer: &Peer,
    id: ConversationId,
    after: u64,
    limit: usize,
) -> Result<Changes, Refusal> {
    let (conversation, _) = member_of(shared, peer, id).await?;
    let tenant = &peer.tenant;
    let mut events = shared
        .view
        .ask(|view| view.events(tenant, id, after, limit))
        .await?;
    // The view may have taken in more between the two questions, and that the
    // user is a member no more: what is newer is for the next question.
    let last_seq = conversation.last_seq;
    events.retain(|row| row.seq <= last_seq);
    events.truncate(contiguous(&events, after));
    let reached = events.last().map_or(after, |event| event.seq);
    Ok(Changes {
        events,
        last_seq,
        more: reached < last_seq,
    })
}

/// How many of the rows are the run of events right after `after`: a batch
/// that the view is writing may be seen in part.
fn contiguous(rows: &[EventRow], after: u64) -> usize {
    let run = (after + 1..)
        .zip(rows)
        .take_while(|(seq, row)| row.seq == *seq)
        .count();
    fitting(rows[..run].iter().map(|row| event_bytes(&row.event)))
}

/// How many items of these sizes go into one answer: at least one.
fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    sizes
        .scan(0, |bytes, size| {
            let fits = *bytes < MAX_ANSWER_BYTES;
            *bytes += size;
            fits.then_some(())
        })
        .count()
}

/// About how many bytes an event takes in a frame.
fn event_bytes(event: &Event) -> usize {
    let variable = match event {
        Event::MessageSent { content, .. } | Event::MessageEdited { content, .. } => {
            content_bytes(content)
        }
        Event::ConversationUpdated(change) => match change {
            Change::Create { members, .. } => members.len() * NAME_BYTES,
            Change::AddMembers(users) | Change::RemoveMembers(users) => users.len() * NAME_BYTES,
            Change::Rename(title) => title.len(),
            Change::SetRole { .. } | Change::Leave | Change::Close | Change::Reopen => 0,
        },
        Event::MessageDeleted { .. } | Event::MessageReacted { .. } => 0,
    };
    ITEM_BYTES + variable
}

fn content_bytes(content: &Content) -> usize {
    let attachments = content.attachments.iter();
    let attachments: usize = attachments
        .map(|file| ITEM_BYTES + file.id.len() + file.name.len() + file.mime.len())
        .sum();
    content.text.len() + content.meta.as_ref().map_or(0, String::len) + attachments
}

fn message_bytes(row: &MessageRow) -> usize {
    let reactions = row.reactions.iter();
    let reactions: usize = reactions
        .map(|reaction| (reaction.by.len() + 1) * NAME_BYTES)
        .sum();
    ITEM_BYTES + row.content.as_ref().map_or(0, content_bytes) + reactions
}

/// `history`.
pub(crate) async fn page(
    shared: &Shared,
    peer: &Peer,
    id: ConversationId,
    thread: Option<MessageId>,
    before: Option<u64>,
    limit: usize,
) -> Result<Page, Refusal> {
    member_of(shared, peer, id).await?;
    let (tenant, user) = (&peer.tenant, &peer.user);
    // One more, to know whether this is the end.
    let mut messages = shared
        .view
        .ask(|view| view.page(tenant, id, user, thread, before, limit + 1))
        .await?;
    let fits = fitting(messages.iter().map(message_bytes)).min(limit);
    let more = fits < messages.len();
    messages.truncate(fits);
    let next_before = messages.last().filter(|_| more).map(|row| row.no);
    Ok(Page {
        messages,
        next_before,
    })
}

/// `list`.
pub(crate) async fn list(
    shared: &Shared,
    peer: &Peer,
    kind: Option<Kind>,
    limit: usize,
    cursor: Option<&str>,
) -> Result<ListPage, Refusal> {
    let after = match cursor {
        Some(cursor) => Some(parse_cursor(cursor).ok_or_else(bad_cursor)?),
        None => None,
    };
    fresh_everywhere(shared).await?;
    let (tenant, user) = (&peer.tenant, &peer.user);
    let page = shared
        .view
        .ask(|view| view.list(tenant, user, kind, after, limit))
        .await?;
    let (mut conversations, mut next) = (page.conversations, page.next);
    let sizes = conversations
        .iter()
        .map(|listed| ITEM_BYTES + listed.last_message.as_ref().map_or(0, message_bytes));
    let fits = fitting(sizes);
    if fits < conversations.len() {
        conversations.truncate(fits);
        next = conversations.last().map(|listed| {
            let last = &listed.conversation;
            (last.last_at, last.conversation_id)
        });
    }
    Ok(ListPage {
        conversations,
        next_cursor: next.map(format_cursor),
    })
}

/// `members`.
pub(crate) async fn members(
    shared: &Shared,
    peer: &Peer,
    id: ConversationId,
    limit: usize,
    cursor: Option<&str>,
) -> Result<MemberPage, Refusal> {
    let after = match cursor {
        Some(cursor) => Some(UserId::parse(cursor).map_err(|_| bad_cursor())?),
        None => None,
    };
    member_of(shared, peer, id).await?;
    let (tenant, after) = (&peer.tenant, after.as_ref());
    let mut members = shared
        .view
        .ask(|view| view.members(tenant, id, after, limit + 1))
        .await?;
    let more = limit < members.len();
    members.truncate(limit);
    let last = members.last().filter(|_| more);
    Ok(MemberPage {
        next_cursor: last.map(|member| member.user_id.to_string()),
        members,
    })
}

/// A message, as the user may see it, and the user's place in its
/// conversation.
pub(crate) async fn message(
    shared: &Arc<Shared>,
    peer: &Peer,
    message_id: MessageId,
) -> Result<(MessageRow, MemberRow), Refusal> {
    let (tenant, user, view) = (&peer.tenant, &peer.user, &shared.view);
    let id = conversation_of(shared, tenant, message_id).await?;
    let (_, member) = member_of(shared, peer, id).await?;
    // Only now it is certain that the view has seen what this edge has.
    let row = view.ask(|view| view.message(tenant, message_id)).await?;
    let row = row.ok_or(Code::NotFound)?;
    let ids = std::slice::from_ref(&row.message_id);
    let hidden = view.ask(|view| view.hidden(tenant, user, ids)).await?;
    if hidden.is_empty() {
        Ok((row, member))
    } else {
        Err(Code::NotFound.into())
    }
}

/// The conversation of a message of the tenant, whoever may see it.
pub(crate) async fn conversation_of(
    shared: &Shared,
    tenant: &Tenant,
    message_id: MessageId,
) -> Result<ConversationId, Refusal> {
    let key = tidings_domain::CommandKey(message_id.0);
    let recent = shared.recent.get(key);
    if let Some(recent) = recent.filter(|recent| recent.tenant == *tenant) {
        return Ok(recent.conversation_id);
    }
    let ask = || shared.view.ask(|view| view.message(tenant, message_id));
    if let Some(row) = ask().await? {
        return Ok(row.conversation_id);
    }
    // It may be in any partition, and the view behind in that one.
    let positions: Vec<_> = (0..shared.partitions)
        .map(|partition| (partition, shared.progress.position(partition)))
        .collect();
    shared.freshness.reached(&positions, Age::Recent).await?;
    Ok(ask().await?.ok_or(Code::NotFound)?.conversation_id)
}

/// The earlier texts of a message, oldest first.
pub(crate) async fn edits(
    shared: &Arc<Shared>,
    peer: &Peer,
    message_id: MessageId,
) -> Result<(MessageRow, Vec<EditRow>), Refusal> {
    let (row, _) = message(shared, peer, message_id).await?;
    let tenant = &peer.tenant;
    let edits = shared.view.ask(|view| view.edits(tenant, message_id));
    let edits = edits.await?;
    Ok((row, edits))
}

/// How many messages the user has not read, by conversation.
pub(crate) async fn unread(
    shared: &Shared,
    peer: &Peer,
) -> Result<Vec<(ConversationId, u64)>, Refusal> {
    fresh_everywhere(shared).await?;
    let (tenant, user) = (&peer.tenant, &peer.user);
    Ok(shared.view.ask(|view| view.unread(tenant, user)).await?)
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
    use tidings_domain::TempId;

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
        let large = [row(1, MAX_ANSWER_BYTES), row(2, 1)];
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
