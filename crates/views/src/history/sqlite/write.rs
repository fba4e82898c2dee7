use rusqlite::params_from_iter;
use rusqlite::types::Value;
use tidings_domain::{
    ConversationRow, DeleteScope, EditRow, EventRow, FirstOutcome, HiddenRow, MemberRow,
    MessageRow, OutcomeRow, Rows, Withheld,
};

use super::schema;
use crate::history::document::{
    ContentDocument, EventDocument, ForwardedDocument, kept, reactions,
};
use crate::history::{Position, StoreError};
use crate::sqlite_file::Scoped;

/// How many rows one job of the writer thread writes. The log's appends wait
/// behind a job, so it must stay in the low milliseconds.
pub(super) const ROWS_A_JOB: usize = 256;

/// Rows of one table, ready to be bound to its statement.
#[derive(Debug)]
struct Run {
    statement: &'static str,
    rows: Vec<Vec<Value>>,
}

/// What one job writes.
#[derive(Debug, Default)]
pub(super) struct Batch {
    runs: Vec<Run>,
    len: usize,
}

impl Batch {
    pub(super) fn write(&self, connection: &Scoped<'_>) -> rusqlite::Result<()> {
        for run in &self.runs {
            let mut statement = connection.prepare_cached(run.statement)?;
            for row in &run.rows {
                statement.execute(params_from_iter(row))?;
            }
        }
        Ok(())
    }
}

/// Rows and positions as jobs, in the order in which they must become durable.
pub(super) fn batches(rows: &Rows, positions: &[Position]) -> Result<Vec<Batch>, StoreError> {
    let mut batches = Batches::default();
    for event in &rows.events {
        batches.add(schema::INSERT_EVENT, event_values(event)?);
    }
    for edit in &rows.edits {
        batches.add(schema::INSERT_EDIT, edit_values(edit)?);
    }
    for outcome in &rows.outcomes {
        batches.add(schema::INSERT_OUTCOME, outcome_values(outcome));
    }
    for hidden in &rows.hidden {
        batches.add(schema::INSERT_HIDDEN, hidden_values(hidden));
    }
    for withheld in &rows.withheld {
        batches.withhold(withheld);
    }
    for message in rows.messages.values() {
        batches.add(schema::UPSERT_MESSAGE, message_values(message)?);
    }
    for member in rows.members.values() {
        batches.add(schema::UPSERT_MEMBER, member_values(member));
    }
    for conversation in rows.conversations.values() {
        batches.add(
            schema::UPSERT_CONVERSATION,
            conversation_values(conversation),
        );
    }
    for position in positions {
        batches.add(schema::UPSERT_POSITION, position_values(position));
    }
    Ok(batches.done)
}

#[derive(Default)]
struct Batches {
    done: Vec<Batch>,
}

impl Batches {
    fn withhold(&mut self, withheld: &Withheld) {
        let message_id = id(withheld.message_id.0);
        let is_purge = withheld.scope == DeleteScope::Purge;
        let statement = if is_purge {
            schema::PURGE_EVENTS
        } else {
            schema::WITHHOLD_EVENTS
        };
        let event = vec![
            id(withheld.conversation_id.0),
            integer(withheld.seq),
            message_id.clone(),
        ];
        self.add(statement, event);
        if is_purge {
            self.add(schema::PURGE_EDITS, vec![message_id]);
        }
    }

    fn add(&mut self, statement: &'static str, row: Vec<Value>) {
        if self.done.last().is_none_or(|batch| batch.len >= ROWS_A_JOB) {
            self.done.push(Batch::default());
        }
        let Some(batch) = self.done.last_mut() else {
            return;
        };
        batch.len += 1;
        match batch.runs.last_mut() {
            Some(run) if std::ptr::eq(run.statement, statement) => run.rows.push(row),
            _ => batch.runs.push(Run {
                statement,
                rows: vec![row],
            }),
        }
    }
}

/// SQLite's integers are signed. The numbers counted here start at 0 or 1 and
/// grow by one, so none is ever cut.
fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn id(id: uuid::Uuid) -> Value {
    Value::Blob(id.as_bytes().to_vec())
}

fn or_null<T>(value: Option<T>, bind: impl FnOnce(T) -> Value) -> Value {
    value.map_or(Value::Null, bind)
}

fn json(value: &impl serde::Serialize) -> Result<Value, StoreError> {
    serde_json::to_string(value)
        .map(Value::Text)
        .map_err(|error| StoreError::Data(error.to_string()))
}

pub(super) fn event_values(row: &EventRow) -> Result<Vec<Value>, StoreError> {
    Ok(vec![
        id(row.conversation_id.0),
        integer(row.seq),
        text(row.tenant.as_str()),
        Value::Integer(row.at.0),
        text(row.by.as_str()),
        text(row.temp_id.as_str()),
        or_null(row.event.no(), integer),
        json(&EventDocument::from(&row.event))?,
        Value::Integer(row.withheld.into()),
    ])
}

pub(super) fn edit_values(row: &EditRow) -> Result<Vec<Value>, StoreError> {
    Ok(vec![
        id(row.message_id.0),
        integer(row.seq),
        id(row.conversation_id.0),
        text(row.tenant.as_str()),
        Value::Integer(row.at.0),
        match kept(&row.content) {
            Some(content) => json(&content)?,
            None => Value::Null,
        },
    ])
}

pub(super) fn hidden_values(row: &HiddenRow) -> Vec<Value> {
    vec![
        text(row.tenant.as_str()),
        text(row.user_id.as_str()),
        id(row.message_id.0),
        id(row.conversation_id.0),
    ]
}

pub(super) fn message_values(row: &MessageRow) -> Result<Vec<Value>, StoreError> {
    let forwarded_from = match &row.forwarded_from {
        Some(from) => json(&ForwardedDocument::from(from))?,
        None => Value::Null,
    };
    let content = match &row.content {
        Some(content) => json(&ContentDocument::from(content))?,
        None => Value::Null,
    };
    let reactions = match row.reactions.as_slice() {
        [] => Value::Null,
        some => json(&reactions(some))?,
    };
    Ok(vec![
        id(row.message_id.0),
        id(row.conversation_id.0),
        text(row.tenant.as_str()),
        integer(row.no),
        integer(row.seq),
        integer(row.rev),
        text(row.by.as_str()),
        Value::Integer(row.at.0),
        content,
        or_null(row.reply_to, |message| id(message.0)),
        or_null(row.thread, |message| id(message.0)),
        forwarded_from,
        or_null(row.edited_at, |at| Value::Integer(at.0)),
        or_null(row.deleted, |scope| text(scope.as_str())),
        reactions,
        integer(row.replies),
    ])
}

pub(super) fn outcome_values(row: &OutcomeRow) -> Vec<Value> {
    let (seq, no, code) = match row.outcome {
        FirstOutcome::Accepted { seq, no } => (integer(seq), or_null(no, integer), Value::Null),
        FirstOutcome::Noted => (Value::Null, Value::Null, Value::Null),
        FirstOutcome::Rejected(code) => (Value::Null, Value::Null, text(code.as_str())),
    };
    vec![
        id(row.conversation_id.0),
        text(row.by.as_str()),
        text(row.temp_id.as_str()),
        text(row.tenant.as_str()),
        Value::Integer(row.at.0),
        seq,
        no,
        code,
        or_null(row.message_id, |message| id(message.0)),
    ]
}

pub(super) fn member_values(row: &MemberRow) -> Vec<Value> {
    vec![
        id(row.conversation_id.0),
        text(row.user_id.as_str()),
        text(row.tenant.as_str()),
        or_null(row.role, |role| text(role.as_str())),
        integer(row.read_no),
        integer(row.rev),
        Value::Integer(row.archived.into()),
        Value::Integer(row.muted.is_some().into()),
        or_null(row.muted.and_then(|mute| mute.until), |until| {
            Value::Integer(until.0)
        }),
        Value::Integer(row.settings_rev),
    ]
}

pub(super) fn conversation_values(row: &ConversationRow) -> Vec<Value> {
    vec![
        id(row.conversation_id.0),
        text(row.tenant.as_str()),
        text(row.kind.as_str()),
        or_null(row.title.as_deref(), text),
        Value::Integer(i64::from(row.closed)),
        Value::Integer(row.created_at.0),
        Value::Integer(row.last_at.0),
        integer(row.last_seq),
        integer(row.last_no),
        or_null(row.last_message_id, |message| id(message.0)),
    ]
}

pub(super) fn position_values(position: &Position) -> Vec<Value> {
    vec![
        Value::Integer(position.partition.into()),
        Value::Integer(position.offset),
        or_null(position.current, |current| integer(current.epoch.0)),
        or_null(position.current, |current| id(current.owner.0)),
    ]
}
