//! Rows as the tables have them, by the columns' order in `schema`.

use rusqlite::Row;
use rusqlite::types::Type;
use tidings_domain::{
    Code, Content, ConversationId, ConversationRow, EditRow, Event, EventRow, FirstOutcome,
    ForwardedFrom, MemberRow, MessageId, MessageRow, Mute, Reaction, TempId, Tenant, Timestamp,
    UserId,
};
use uuid::Uuid;

use crate::history::document::{
    self, ContentDocument, EventDocument, ForwardedDocument, ReactionDocument, Unreadable,
};

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
    read_event_row(row, 6)
}

fn read_event_row(row: &Row<'_>, event_at: usize) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        conversation_id: ConversationId(required_id(row, 0)?),
        seq: unsigned(row, 1)?,
        tenant: tenant(row, 2)?,
        at: Timestamp(row.get(3)?),
        by: user_id(row, 4)?,
        temp_id: temp_id(row, 5)?,
        event: event(row, event_at)?,
        withheld: row.get(event_at + 1)?,
    })
}

/// An event whose `no` is selected too, before the event itself.
pub(super) fn event_row_with_no(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    read_event_row(row, 7)
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

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
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
