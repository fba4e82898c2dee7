use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row, params};
use tidings_domain::{
    ConversationId, ConversationRow, EditRow, Epoch, EventRow, Kind, MemberRow, MessageId,
    MessageRow, OutcomeRow, OwnerId, Ownership, TempId, Tenant, Timestamp, UserId,
};

use super::row::{
    conversation_row, edit_row, event_row, first_outcome, member_row, message_row, optional_id,
    required_id, unsigned,
};
use super::schema;
use crate::history::{ConversationPage, ListedConversation, Position};
use crate::sqlite_file::Scoped;

pub(super) fn positions(connection: &Scoped<'_>) -> rusqlite::Result<Vec<Position>> {
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
    connection: &Scoped<'_>,
    conversation_id: ConversationId,
) -> rusqlite::Result<Option<ConversationRow>> {
    connection
        .prepare_cached(schema::LOAD_CONVERSATION)?
        .query_row([conversation_id.0.as_bytes()], conversation_row)
        .optional()
}

pub(super) fn load_member(
    connection: &Scoped<'_>,
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

/// Those of these messages that are there: of most that are posted, none.
pub(super) fn load_messages(
    connection: &Scoped<'_>,
    ids: impl IntoIterator<Item = MessageId>,
) -> rusqlite::Result<BTreeMap<MessageId, MessageRow>> {
    let mut statement = connection.prepare_cached(schema::LOAD_MESSAGE)?;
    let mut messages = BTreeMap::new();
    for id in ids {
        let row = statement.query_row([id.0.as_bytes()], message_row);
        if let Some(row) = row.optional()? {
            messages.insert(id, row);
        }
    }
    Ok(messages)
}

pub(super) fn events(
    connection: &Scoped<'_>,
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
    connection: &Scoped<'_>,
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
    connection: &Scoped<'_>,
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
    connection: &Scoped<'_>,
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
    connection: &Scoped<'_>,
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
    connection: &Scoped<'_>,
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
    connection: &Scoped<'_>,
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
    connection: &Scoped<'_>,
    tenant: &Tenant,
    message_id: MessageId,
) -> rusqlite::Result<Vec<EditRow>> {
    connection
        .prepare_cached(schema::EDITS)?
        .query_map(params![message_id.0.as_bytes(), tenant.as_str()], edit_row)?
        .collect()
}

pub(super) fn is_hidden(
    connection: &Scoped<'_>,
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

pub(super) fn hidden_in(
    connection: &Scoped<'_>,
    tenant: &Tenant,
    conversation_id: ConversationId,
    user_id: &UserId,
    limit: usize,
) -> rusqlite::Result<Vec<MessageId>> {
    let of_conversation = params![
        tenant.as_str(),
        user_id.as_str(),
        conversation_id.0.as_bytes(),
        signed(limit as u64)
    ];
    connection
        .prepare_cached(schema::HIDDEN_IN)?
        .query_map(of_conversation, |row| required_id(row, 0).map(MessageId))?
        .collect()
}

/// The last message of a conversation that this user has not hidden.
fn last_message(
    connection: &Scoped<'_>,
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
    connection: &Scoped<'_>,
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
    connection: &Scoped<'_>,
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
    connection: &Scoped<'_>,
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
    connection: &Scoped<'_>,
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

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX - 1)
}
