use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tidings_domain::{
    Code, Content, ConversationId, ConversationRow, Epoch, Event, EventRow, FirstOutcome,
    ForwardedFrom, MemberRow, MessageId, MessageRow, OutcomeRow, OwnerId, Ownership, TempId,
    Tenant, Timestamp, UserId,
};
use uuid::Uuid;

use super::schema;
use crate::history::document::{
    self, ContentDocument, EventDocument, ForwardedDocument, Unreadable,
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
        event_row,
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

pub(super) fn list(
    connection: &Connection,
    tenant: &Tenant,
    user_id: &UserId,
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
            signed(limit as u64) + 1
        ],
        |row| Ok((conversation_row(row)?, member_row(row, 10)?)),
    )?;
    let mut found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = found.len() > limit;
    found.truncate(limit);
    let mut conversations = Vec::with_capacity(found.len());
    for (conversation, member) in found {
        let last_message = match conversation.last_message_id {
            Some(message_id) => message(connection, tenant, message_id)?,
            None => None,
        };
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
        .query_row(
            params![message_id.0.as_bytes(), tenant.as_str()],
            message_row,
        )
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
        (None, code) => {
            let code = code.as_deref().and_then(Code::parse);
            code.map(FirstOutcome::Rejected)
                .ok_or_else(|| unreadable(column + 2, Unreadable("code")))
        }
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

fn content(row: &Row<'_>, column: usize) -> rusqlite::Result<Content> {
    let text = row.get_ref(column)?.as_str()?;
    let document: ContentDocument<'_> =
        serde_json::from_str(text).map_err(|error| unreadable(column, error))?;
    Ok(document.into())
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
