use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tidings_domain::{
    Code, Content, ConversationId, ConversationRow, EditRow, Epoch, Event, EventRow, FirstOutcome,
    ForwardedFrom, Kind, MemberRow, MessageId, MessageRow, Mute, OutcomeRow, OwnerId, Ownership,
    Reaction, TempId, Tenant, Timestamp, UserId,
};
use uuid::Uuid;

use super::schema;
use crate::history::document::{
    self, ContentDocument, EventDocument, ForwardedDocument, ReactionDocument, Unreadable,
};
use crate::history::{ConversationPage, ListedConversation, Position};

pub(super) fn positions(connection: &Connection) -> rusqlite::Result<Vec<Position>> {
    let mut statement = connection.prepare_cached(schema::POSITIONS)?;
    let rows = statement.query_map([], |row| {
        let epoch: Option<i64> = row.get(2)?;
        let owner = optional_id(row, 3)?;
        let current = epoch.zip(owner).map(|(epoch, owner)| Ownership {
            epoch: Epoch(epoch.cast_unsigned()),
            owner: OwnerId(owner),
        });
        Ok(Position {
            partition: row.get(0)?,
            offset: row.get(1)?,
            current,
        })
    })?;
    rows.collect()
}

pub(super) fn load_conversation(
    connection: &Connection,
    conversation_id: ConversationId,
) -> rusqlite::Result<Option<ConversationRow>> {
    connection
        .prepare_cached(schema::LOAD_CONVERSATION)?
        .query_row([conversation_id.0.as_bytes()], conversation_row)
        .optional()
}

pub(super) fn load_member(
    connection: &Connection,
    conversation_id: ConversationId,
    user_id: &UserId,
) -> rusqlite::Result<Option<MemberRow>> {
    connection
        .prepare_cached(schema::LOAD_MEMBER)?
        .query_row(
            params![conversation_id.0.as_bytes(), user_id.as_str()],
            |row| member_row(row, 0),
        )
        .optional()
}

pub(super) fn load_message(
    connection: &Connection,
    message_id: MessageId,
) -> rusqlite::Result<Option<MessageRow>> {
    connection
        .prepare_cached(schema::LOAD_MESSAGE)?
        .query_row([message_id.0.as_bytes()], message_row)
        .optional()
}

pub(super) fn events(
    connection: &Connection,
    tenant: &Tenant,
    conversation_id: ConversationId,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<EventRow>> {
    let mut statement = connection.prepare_cached(schema::EVENTS)?;
    let (after, limit) = (signed(after), signed(limit as u64));
    let rows = statement.query_map(
        params![conversation_id.0.as_bytes(), after, tenant.as_str(), limit],
        |row| event_row(row).map(EventRow::shown),
    )?;
    rows.collect()
}

pub(super) fn conversation(
    connection: &Connection,
    tenant: &Tenant,
    conversation_id: ConversationId,
) -> rusqlite::Result<Option<ConversationRow>> {
    connection
        .prepare_cached(schema::CONVERSATION)?
        .query_row(
            params![conversation_id.0.as_bytes(), tenant.as_str()],
            conversation_row,
        )
        .optional()
}

pub(super) fn member(
    connection: &Connection,
    tenant: &Tenant,
    conversation_id: ConversationId,
    user_id: &UserId,
) -> rusqlite::Result<Option<MemberRow>> {
    connection
        .prepare_cached(schema::MEMBER)?
        .query_row(
            params![
                conversation_id.0.as_bytes(),
                user_id.as_str(),
                tenant.as_str()
            ],
            |row| member_row(row, 0),
        )
        .optional()
}

pub(super) fn memberships(
    connection: &Connection,
    tenant: &Tenant,
    user_id: &UserId,
) -> rusqlite::Result<Vec<ConversationId>> {
    let mut statement = connection.prepare_cached(schema::MEMBERSHIPS)?;
    let rows = statement.query_map([tenant.as_str(), user_id.as_str()], |row| {
        Ok(ConversationId(required_id(row, 0)?))
    })?;
    rows.collect()
}

pub(super) fn members(
    connection: &Connection,
    tenant: &Tenant,
    conversation_id: ConversationId,
    after: Option<&UserId>,
    limit: usize,
) -> rusqlite::Result<Vec<MemberRow>> {
    let mut statement = connection.prepare_cached(schema::MEMBERS)?;
    // No id is empty, so all come after the empty text.
    let after = after.map_or("", UserId::as_str);
    let limit = signed(limit as u64);
    let rows = statement.query_map(
        params![conversation_id.0.as_bytes(), after, tenant.as_str(), limit],
        |row| member_row(row, 0),
    )?;
    rows.collect()
}

pub(super) fn unread(
    connection: &Connection,
    tenant: &Tenant,
    user_id: &UserId,
) -> rusqlite::Result<Vec<(ConversationId, u64)>> {
    let mut statement = connection.prepare_cached(schema::UNREAD)?;
    let rows = statement.query_map([tenant.as_str(), user_id.as_str()], |row| {
        Ok((ConversationId(required_id(row, 0)?), unsigned(row, 1)?))
    })?;
    rows.collect()
}

/// What a page of messages is asked for by.
pub(super) struct PageQuery<'a> {
    pub(super) conversation_id: ConversationId,
    pub(super) viewer: &'a UserId,
    pub(super) thread: Option<MessageId>,
    pub(super) before: Option<u64>,
    pub(super) limit: usize,
}

pub(super) fn page(
    connection: &Connection,
    tenant: &Tenant,
    query: &PageQuery<'_>,
) -> rusqlite::Result<Vec<MessageRow>> {
    let conversation = query.conversation_id.0.as_bytes();
    let before = query.before.map_or(i64::MAX, signed);
    let (tenant, viewer) = (tenant.as_str(), query.viewer.as_str());
    let limit = signed(query.limit as u64);
    let show = |row: &Row<'_>| message_row(row).map(MessageRow::shown);
    match query.thread {
        Some(thread) => {
            let thread = thread.0.as_bytes();
            let mut statement = connection.prepare_cached(schema::THREAD_PAGE)?;
            statement
                .query_map(
                    params![conversation, before, tenant, limit, viewer, thread],
                    show,
                )?
                .collect()
        }
        None => {
            let mut statement = connection.prepare_cached(schema::PAGE)?;
            statement
                .query_map(params![conversation, before, tenant, limit, viewer], show)?
                .collect()
        }
    }
}

pub(super) fn edits(
    connection: &Connection,
    tenant: &Tenant,
    message_id: MessageId,
) -> rusqlite::Result<Vec<EditRow>> {
    connection
        .prepare_cached(schema::EDITS)?
        .query_map(params![message_id.0.as_bytes(), tenant.as_str()], edit_row)?
        .collect()
}

pub(super) fn is_hidden(
    connection: &Connection,
    tenant: &Tenant,
    user_id: &UserId,
    message_id: MessageId,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(schema::IS_HIDDEN)?
        .exists(params![
            tenant.as_str(),
            user_id.as_str(),
            message_id.0.as_bytes()
        ])
}

/// The last message of a conversation that this user has not hidden.
fn last_message(
    connection: &Connection,
    tenant: &Tenant,
    viewer: &UserId,
    conversation: &ConversationRow,
) -> rusqlite::Result<Option<MessageRow>> {
    let Some(message_id) = conversation.last_message_id else {
        return Ok(None);
    };
    if !is_hidden(connection, tenant, viewer, message_id)? {
        return message(connection, tenant, message_id);
    }
    let query = PageQuery {
        conversation_id: conversation.conversation_id,
        viewer,
        thread: None,
        before: None,
        limit: 1,
    };
    Ok(page(connection, tenant, &query)?.pop())
}

pub(super) fn list(
    connection: &Connection,
    tenant: &Tenant,
    user_id: &UserId,
    kind: Option<Kind>,
    after: Option<(Timestamp, ConversationId)>,
    limit: usize,
) -> rusqlite::Result<ConversationPage> {
    let mut statement = connection.prepare_cached(schema::LIST)?;
    let (last_at, last_id) = (
        after.map(|(at, _)| at.0),
        after.map(|(_, id)| *id.0.as_bytes()),
    );
    // One more than asked for tells whether there is a next page.
    let rows = statement.query_map(
        params![
            tenant.as_str(),
            user_id.as_str(),
            last_at,
            last_id,
            signed(limit as u64) + 1,
            kind.map(Kind::as_str)
        ],
        |row| Ok((conversation_row(row)?, member_row(row, 10)?)),
    )?;
    let mut found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = found.len() > limit;
    found.truncate(limit);
    let mut conversations = Vec::with_capacity(found.len());
    for (conversation, member) in found {
        let last_message = last_message(connection, tenant, user_id, &conversation)?;
        conversations.push(ListedConversation {
            conversation,
            member,
            last_message,
        });
    }
    let next = conversations
        .last()
        .filter(|_| more)
        .map(|last| (last.conversation.last_at, last.conversation.conversation_id));
    Ok(ConversationPage {
        conversations,
        next,
    })
}

pub(super) fn message(
    connection: &Connection,
    tenant: &Tenant,
    message_id: MessageId,
) -> rusqlite::Result<Option<MessageRow>> {
    connection
        .prepare_cached(schema::MESSAGE)?
        .query_row(params![message_id.0.as_bytes(), tenant.as_str()], |row| {
            message_row(row).map(MessageRow::shown)
        })
        .optional()
}

/// The event of a command that sent no message.
pub(super) fn event_of_command(
    connection: &Connection,
    tenant: &Tenant,
    conversation_id: ConversationId,
    sender: &UserId,
    temp_id: &TempId,
) -> rusqlite::Result<Option<EventRow>> {
    let conversation = conversation_id.0.as_bytes();
    connection
        .prepare_cached(schema::EVENT_OF_COMMAND)?
        .query_row(
            params![
                conversation,
                sender.as_str(),
                temp_id.as_str(),
                tenant.as_str()
            ],
            event_row,
        )
        .optional()
}

/// The outcome of a command that made no event.
pub(super) fn outcome(
    connection: &Connection,
    tenant: &Tenant,
    conversation_id: ConversationId,
    sender: &UserId,
    temp_id: &TempId,
) -> rusqlite::Result<Option<OutcomeRow>> {
    let conversation = conversation_id.0.as_bytes();
    connection
        .prepare_cached(schema::OUTCOME)?
        .query_row(
            params![
                conversation,
                sender.as_str(),
                temp_id.as_str(),
                tenant.as_str()
            ],
            |row| {
                Ok(OutcomeRow {
                    tenant: tenant.clone(),
                    conversation_id,
                    by: sender.clone(),
                    temp_id: temp_id.clone(),
                    at: Timestamp(row.get(0)?),
                    outcome: first_outcome(row, 1)?,
                    message_id: optional_id(row, 4)?.map(MessageId),
                })
            },
        )
        .optional()
}

/// Columns `seq, no, code` from `column` on.
pub(super) fn first_outcome(row: &Row<'_>, column: usize) -> rusqlite::Result<FirstOutcome> {
    let seq: Option<i64> = row.get(column)?;
    let no: Option<i64> = row.get(column + 1)?;
    let code: Option<String> = row.get(column + 2)?;
    match (seq, code) {
        (Some(seq), _) => Ok(FirstOutcome::Accepted {
            seq: seq.cast_unsigned(),
            no: no.map(i64::cast_unsigned),
        }),
        (None, None) => Ok(FirstOutcome::Noted),
        (None, Some(code)) => Code::parse(&code)
            .map(FirstOutcome::Rejected)
            .ok_or_else(|| unreadable(column + 2, Unreadable("code"))),
    }
}

pub(super) fn event_row(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        conversation_id: ConversationId(required_id(row, 0)?),
        seq: unsigned(row, 1)?,
        tenant: tenant(row, 2)?,
        at: Timestamp(row.get(3)?),
        by: user_id(row, 4)?,
        temp_id: temp_id(row, 5)?,
        event: event(row, 6)?,
        withheld: row.get(7)?,
    })
}

pub(super) fn edit_row(row: &Row<'_>) -> rusqlite::Result<EditRow> {
    Ok(EditRow {
        message_id: MessageId(required_id(row, 0)?),
        seq: unsigned(row, 1)?,
        conversation_id: ConversationId(required_id(row, 2)?),
        tenant: tenant(row, 3)?,
        at: Timestamp(row.get(4)?),
        content: content(row, 5)?.unwrap_or_default(),
    })
}

pub(super) fn message_row(row: &Row<'_>) -> rusqlite::Result<MessageRow> {
    Ok(MessageRow {
        message_id: MessageId(required_id(row, 0)?),
        conversation_id: ConversationId(required_id(row, 1)?),
        tenant: tenant(row, 2)?,
        no: unsigned(row, 3)?,
        seq: unsigned(row, 4)?,
        rev: unsigned(row, 5)?,
        by: user_id(row, 6)?,
        at: Timestamp(row.get(7)?),
        content: content(row, 8)?,
        reply_to: optional_id(row, 9)?.map(MessageId),
        thread: optional_id(row, 10)?.map(MessageId),
        forwarded_from: forwarded_from(row, 11)?,
        edited_at: row.get::<_, Option<i64>>(12)?.map(Timestamp),
        deleted: row
            .get_ref(13)?
            .as_str_or_null()?
            .map(document::delete_scope)
            .transpose()
            .map_err(|error| unreadable(13, error))?,
        reactions: reactions(row, 14)?,
        replies: unsigned(row, 15)?,
    })
}

pub(super) fn conversation_row(row: &Row<'_>) -> rusqlite::Result<ConversationRow> {
    let kind: String = row.get(2)?;
    Ok(ConversationRow {
        conversation_id: ConversationId(required_id(row, 0)?),
        tenant: tenant(row, 1)?,
        kind: document::kind(&kind).map_err(|error| unreadable(2, error))?,
        title: row.get(3)?,
        closed: row.get(4)?,
        created_at: Timestamp(row.get(5)?),
        last_at: Timestamp(row.get(6)?),
        last_seq: unsigned(row, 7)?,
        last_no: unsigned(row, 8)?,
        last_message_id: optional_id(row, 9)?.map(MessageId),
    })
}

/// A member from column `first` on.
pub(super) fn member_row(row: &Row<'_>, first: usize) -> rusqlite::Result<MemberRow> {
    let role: Option<String> = row.get(first + 3)?;
    let role = role.as_deref().map(document::role).transpose();
    Ok(MemberRow {
        conversation_id: ConversationId(required_id(row, first)?),
        user_id: user_id(row, first + 1)?,
        tenant: tenant(row, first + 2)?,
        role: role.map_err(|error| unreadable(first + 3, error))?,
        read_no: unsigned(row, first + 4)?,
        rev: unsigned(row, first + 5)?,
        archived: row.get(first + 6)?,
        muted: row.get::<_, bool>(first + 7)?.then_some(Mute {
            until: row.get::<_, Option<i64>>(first + 8)?.map(Timestamp),
        }),
        settings_rev: row.get(first + 9)?,
    })
}

fn unreadable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX - 1)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

pub(super) fn required_id(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get::<_, [u8; 16]>(column).map(Uuid::from_bytes)
}

pub(super) fn optional_id(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Uuid>> {
    Ok(row
        .get::<_, Option<[u8; 16]>>(column)?
        .map(Uuid::from_bytes))
}

pub(super) fn tenant(row: &Row<'_>, column: usize) -> rusqlite::Result<Tenant> {
    Tenant::parse(row.get_ref(column)?.as_str()?).map_err(|error| unreadable(column, error))
}

pub(super) fn user_id(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    UserId::parse(row.get_ref(column)?.as_str()?).map_err(|error| unreadable(column, error))
}

pub(super) fn temp_id(row: &Row<'_>, column: usize) -> rusqlite::Result<TempId> {
    TempId::parse_stored(row.get_ref(column)?.as_str()?).map_err(|error| unreadable(column, error))
}

fn event(row: &Row<'_>, column: usize) -> rusqlite::Result<Event> {
    let text = row.get_ref(column)?.as_str()?;
    let document: EventDocument<'_> =
        serde_json::from_str(text).map_err(|error| unreadable(column, error))?;
    document
        .try_into()
        .map_err(|error: Unreadable| unreadable(column, error))
}

fn content(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Content>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else {
        return Ok(None);
    };
    let document: ContentDocument<'_> =
        serde_json::from_str(text).map_err(|error| unreadable(column, error))?;
    Ok(Some(document.into()))
}

fn reactions(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<Reaction>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else {
        return Ok(Vec::new());
    };
    let documents: Vec<ReactionDocument<'_>> =
        serde_json::from_str(text).map_err(|error| unreadable(column, error))?;
    document::read_reactions(documents).map_err(|error| unreadable(column, error))
}

fn forwarded_from(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<ForwardedFrom>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else {
        return Ok(None);
    };
    let document: ForwardedDocument<'_> =
        serde_json::from_str(text).map_err(|error| unreadable(column, error))?;
    document
        .try_into()
        .map(Some)
        .map_err(|error: Unreadable| unreadable(column, error))
}
