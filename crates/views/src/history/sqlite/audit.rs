//! The tables of the history view, row by row.

use async_trait::async_trait;
use rusqlite::types::Value as Column;
use rusqlite::{Row, params_from_iter};
use tidings_domain::{
    CommandKey, ConversationId, EventRow, FirstOutcome, HiddenRow, MessageId, OutcomeRow, Rows,
    Timestamp,
};

use super::{SqliteHistory, read, row, schema, write};
use crate::audit::sqlite::{Sort, Table, get, scan};
use crate::audit::{
    Audit, EachPage, Flaw, HistoryAudit, HistoryDocument, OutcomeKeeping, OutcomeSort, Part,
    Replacement, StoredDocument,
};
use crate::generation::Generations;
use crate::sqlite_file::Scoped;
use crate::{Position, StoreError};

const KINDS: &[&str] = &[
    "events",
    "messages",
    "edits",
    "hidden",
    "conversations",
    "members",
    "outcomes",
];

/// The columns stand in the order in which `row` reads and `write` binds them.
static TABLES: [Table; 7] = [
    Table {
        kind: "events",
        name: "history_events",
        columns: &[
            "conversation_id",
            "seq",
            "tenant",
            "at",
            "sender",
            "temp_id",
            "no",
            "event",
            "withheld",
        ],
        joined: &[],
        key: &[(0, Sort::Id), (1, Sort::Number)],
        separator: ':',
        version: None,
    },
    Table {
        kind: "messages",
        name: "history_messages",
        columns: &[
            "message_id",
            "conversation_id",
            "tenant",
            "no",
            "seq",
            "rev",
            "sender",
            "at",
            "content",
            "reply_to",
            "thread",
            "forwarded_from",
            "edited_at",
            "deleted",
            "reactions",
            "replies",
        ],
        joined: &[],
        key: &[(0, Sort::Id)],
        separator: ':',
        version: None,
    },
    Table {
        kind: "edits",
        name: "history_edits",
        columns: &[
            "message_id",
            "seq",
            "conversation_id",
            "tenant",
            "at",
            "content",
        ],
        joined: &[],
        key: &[(0, Sort::Id), (1, Sort::Number)],
        separator: ':',
        version: None,
    },
    Table {
        kind: "hidden",
        name: "history_hidden",
        columns: &["tenant", "user_id", "message_id", "conversation_id"],
        joined: &[],
        key: &[(0, Sort::Text), (1, Sort::Text), (2, Sort::Id)],
        separator: '/',
        version: None,
    },
    Table {
        kind: "conversations",
        name: "history_conversations",
        columns: &[
            "conversation_id",
            "tenant",
            "kind",
            "title",
            "closed",
            "created_at",
            "last_at",
            "last_seq",
            "last_no",
            "last_message_id",
        ],
        joined: &[],
        key: &[(0, Sort::Id)],
        separator: ':',
        version: None,
    },
    Table {
        kind: "members",
        name: "history_members",
        columns: &[
            "conversation_id",
            "user_id",
            "tenant",
            "role",
            "read_no",
            "rev",
            "archived",
            "muted",
            "muted_until",
            "settings_rev",
        ],
        joined: &[],
        key: &[(0, Sort::Id), (1, Sort::Text)],
        separator: ':',
        version: None,
    },
    Table {
        kind: "outcomes",
        name: "history_outcomes",
        columns: &[
            "conversation_id",
            "sender",
            "temp_id",
            "tenant",
            "at",
            "seq",
            "no",
            "code",
            "message_id",
        ],
        joined: &[],
        key: &[
            (0, Sort::Id),
            (3, Sort::Text),
            (1, Sort::Text),
            (2, Sort::Text),
        ],
        separator: '/',
        version: None,
    },
];

/// Outcomes of each sort: see [`OutcomeKeeping::EachSort`]. `id` is the
/// command's key, with its sort behind it.
static EACH_OUTCOME: [Table; 1] = [Table {
    kind: "outcomes",
    name: "truth_outcomes",
    columns: &[
        "conversation_id",
        "sender",
        "temp_id",
        "tenant",
        "at",
        "seq",
        "no",
        "code",
        "message_id",
        "id",
    ],
    joined: &[],
    key: &[(9, Sort::Text)],
    separator: '/',
    version: None,
}];

const MAKE_EACH_OUTCOME: &str = "CREATE TABLE IF NOT EXISTS truth_outcomes (
    id TEXT NOT NULL PRIMARY KEY,
    conversation_id BLOB NOT NULL,
    sender TEXT NOT NULL,
    temp_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    at INTEGER NOT NULL,
    seq INTEGER,
    no INTEGER,
    code TEXT,
    message_id BLOB
) STRICT, WITHOUT ROWID";

const KEEP_OUTCOME: &str = "INSERT INTO truth_outcomes \
    (conversation_id, sender, temp_id, tenant, at, seq, no, code, message_id, id) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO NOTHING";

fn table(kind: &str, outcomes: OutcomeKeeping) -> Result<&'static Table, StoreError> {
    let tables: &[Table] = match (kind, outcomes) {
        ("outcomes", OutcomeKeeping::EachSort) => &EACH_OUTCOME,
        _ => &TABLES,
    };
    let table = tables.iter().find(|table| table.kind == kind);
    table.ok_or_else(|| StoreError::Fatal(format!("the history view has no {kind}")))
}

impl HistoryDocument {
    /// A row of a table, as `row` reads it.
    fn read(kind: &str, it: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(match kind {
            // One column more than it reads: `no` stands in the event too.
            "events" => Self::Event(row::event_row_with_no(it)?),
            "messages" => Self::Message(row::message_row(it)?),
            "edits" => Self::Edit(row::edit_row(it)?),
            "hidden" => Self::Hidden(hidden_row(it)?),
            "conversations" => Self::Conversation(row::conversation_row(it)?),
            "members" => Self::Member(row::member_row(it, 0)?),
            _ => Self::Outcome(outcome_row(it)?, sort_of(it)?),
        })
    }
}

pub(super) fn hidden_row(it: &Row<'_>) -> rusqlite::Result<HiddenRow> {
    Ok(HiddenRow {
        tenant: row::tenant(it, 0)?,
        user_id: row::user_id(it, 1)?,
        message_id: MessageId(row::required_id(it, 2)?),
        conversation_id: ConversationId(row::required_id(it, 3)?),
    })
}

pub(super) fn outcome_row(it: &Row<'_>) -> rusqlite::Result<OutcomeRow> {
    Ok(OutcomeRow {
        conversation_id: ConversationId(row::required_id(it, 0)?),
        by: row::user_id(it, 1)?,
        temp_id: row::temp_id(it, 2)?,
        tenant: row::tenant(it, 3)?,
        at: Timestamp(it.get(4)?),
        outcome: row::first_outcome(it, 5)?,
        message_id: row::optional_id(it, 8)?.map(MessageId),
    })
}

/// What an outcome was made of, where its id says so.
fn sort_of(it: &Row<'_>) -> rusqlite::Result<OutcomeSort> {
    const ID: usize = 9;
    if it.as_ref().column_count() <= ID {
        return Ok(OutcomeSort::Other);
    }
    Ok(match it.get_ref(ID)?.as_str()? {
        id if id.ends_with(":event") => OutcomeSort::OfEvent,
        id if id.ends_with(":own") => OutcomeSort::Own,
        _ => OutcomeSort::Other,
    })
}

/// The key of a command's outcome, with the outcome's sort behind it.
fn each_outcome_id(row: &OutcomeRow) -> String {
    let key = CommandKey::of(&row.tenant, row.conversation_id, &row.by, &row.temp_id).0;
    match row.outcome {
        FirstOutcome::Noted => format!("{key}:own"),
        _ => key.to_string(),
    }
}

fn event_outcome_id(row: &OutcomeRow) -> String {
    let key = CommandKey::of(&row.tenant, row.conversation_id, &row.by, &row.temp_id).0;
    format!("{key}:event")
}

/// The outcomes of rows, each with its id.
fn each_outcome(rows: &Rows) -> Vec<(String, OutcomeRow)> {
    let own = rows.outcomes.iter();
    let own = own.map(|row| (each_outcome_id(row), row.clone()));
    let events = rows.events.iter();
    let of_events = events
        .filter(|event| event.event.no().is_none())
        .map(EventRow::outcome)
        .map(|row| (event_outcome_id(&row), row));
    own.chain(of_events).collect()
}

impl SqliteHistory {
    pub(crate) async fn prepare_outcomes(&self) -> Result<(), StoreError> {
        self.run(|connection| connection.execute_batch(MAKE_EACH_OUTCOME))
            .await
    }

    /// Keeps the first outcome of each sort.
    pub(crate) async fn keep_outcomes(&self, rows: &Rows) -> Result<(), StoreError> {
        let outcomes: Vec<Vec<Column>> = each_outcome(rows)
            .into_iter()
            .map(|(id, row)| {
                let mut columns = write::outcome_values(&row);
                columns.push(Column::Text(id));
                columns
            })
            .collect();
        if outcomes.is_empty() {
            return Ok(());
        }
        self.run(move |connection| {
            let mut keep = connection.prepare_cached(KEEP_OUTCOME)?;
            for outcome in &outcomes {
                keep.execute(params_from_iter(outcome))?;
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn scan_documents(
        &self,
        kind: &'static str,
        outcomes: OutcomeKeeping,
        each: &mut (dyn FnMut(Vec<HistoryDocument>) -> Result<(), StoreError> + Send),
    ) -> Result<(), StoreError> {
        let table = table(kind, outcomes)?;
        let mut after: Option<Vec<Column>> = None;
        loop {
            let from = after.take();
            let page = self.read(move |connection| {
                table.rows(
                    connection,
                    &Part::default(),
                    from.as_deref(),
                    crate::audit::sqlite::PAGE,
                    |row| {
                        let columns = crate::audit::sqlite::columns(row)?;
                        let key = table.key.iter().map(|(at, _)| columns[*at].clone());
                        Ok((HistoryDocument::read(kind, row)?, key.collect::<Vec<_>>()))
                    },
                )
            });
            let page = page.await?;
            let is_last = page.len() < crate::audit::sqlite::PAGE;
            after = page.last().map(|(_, key)| key.clone());
            each(page.into_iter().map(|(document, _)| document).collect())?;
            if is_last {
                return Ok(());
            }
        }
    }

    pub(crate) async fn get_documents(
        &self,
        kind: &'static str,
        outcomes: OutcomeKeeping,
        keys: &[String],
    ) -> Result<Vec<HistoryDocument>, StoreError> {
        let (table, keys) = (table(kind, outcomes)?, keys.to_vec());
        self.read(move |connection| {
            table.get(connection, &keys, |row| HistoryDocument::read(kind, row))
        })
        .await
    }

    pub(crate) async fn touched(
        &self,
        rows: &Rows,
        outcomes: OutcomeKeeping,
    ) -> Result<Vec<(&'static str, String)>, StoreError> {
        let mut touched = Vec::new();
        for event in &rows.events {
            touched.push(("events", format!("{}:{}", event.conversation_id, event.seq)));
        }
        for edit in &rows.edits {
            touched.push(("edits", format!("{}:{}", edit.message_id, edit.seq)));
        }
        for row in &rows.hidden {
            let key = format!("{}/{}/{}", row.tenant, row.user_id, row.message_id);
            touched.push(("hidden", key));
        }
        for id in rows.messages.keys() {
            touched.push(("messages", id.to_string()));
        }
        for id in rows.conversations.keys() {
            touched.push(("conversations", id.to_string()));
        }
        for (id, user) in rows.members.keys() {
            touched.push(("members", format!("{id}:{user}")));
        }
        match outcomes {
            OutcomeKeeping::EachSort => {
                touched.extend(
                    each_outcome(rows)
                        .into_iter()
                        .map(|(id, _)| ("outcomes", id)),
                );
            }
            OutcomeKeeping::Counting => {
                touched.extend(rows.outcomes.iter().map(|row| {
                    let (id, tenant) = (row.conversation_id, &row.tenant);
                    let key = format!("{id}/{tenant}/{}/{}", row.by, row.temp_id);
                    ("outcomes", key)
                }));
            }
        }
        let withheld = rows.withheld.clone();
        let of_texts = self.read(move |connection| {
            let mut keys = Vec::new();
            let mut edits =
                connection.prepare_cached("SELECT seq FROM history_edits WHERE message_id = ?1")?;
            for withheld in &withheld {
                let (id, message) = (withheld.conversation_id, withheld.message_id);
                keys.push(("events", format!("{id}:{}", withheld.seq)));
                let seqs = edits.query_map([message.0.as_bytes()], |row| row.get::<_, i64>(0))?;
                for seq in seqs {
                    let seq = seq?;
                    keys.push(("events", format!("{id}:{seq}")));
                    keys.push(("edits", format!("{message}:{seq}")));
                }
            }
            Ok(keys)
        });
        touched.extend(of_texts.await?);
        Ok(touched)
    }
}

/// The stamp of the tables' version, if there is one.
fn stamp(connection: &Scoped<'_>) -> rusqlite::Result<Option<i64>> {
    if !connection.has("history_schema")? {
        return Ok(None);
    }
    connection.query_row("SELECT max(version) FROM history_schema", [], |row| {
        row.get(0)
    })
}

/// The indexes that searches of the tables need.
const INDEXES: [&str; 5] = [
    "history_events_by_command",
    "history_messages_by_no",
    "history_messages_by_thread",
    "history_hidden_by_conversation",
    "history_members_by_user",
];

#[async_trait]
impl Audit for SqliteHistory {
    fn kinds(&self) -> &'static [&'static str] {
        KINDS
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.reached().await
    }

    async fn flaws(&self) -> Result<Vec<Flaw>, StoreError> {
        self.read(|connection| {
            let mut flaws = Vec::new();
            let mut is_other = false;
            match stamp(connection)? {
                Some(schema::VERSION) => {}
                Some(other) => {
                    is_other = true;
                    flaws.push(Flaw {
                        message: format!(
                            "the tables are of version {other}, this is {}: they are built anew \
                             when `tidings dev` starts",
                            schema::VERSION
                        ),
                        is_mendable: false,
                    });
                }
                None => flaws.push(Flaw::mendable(
                    "the stamp of the tables' version is lost: at the next start all of them \
                     would be dropped and built anew",
                )),
            }
            if !is_other {
                let tables = TABLES.iter().map(|table| table.name);
                for name in tables.chain(["history_positions"]).chain(INDEXES) {
                    if !connection.has(name)? {
                        flaws.push(Flaw::mendable(format!("{name} is not there")));
                    }
                }
            }
            Ok(flaws)
        })
        .await
    }

    async fn mend(&self) -> Result<(), StoreError> {
        self.run(|connection| {
            connection.execute_batch(schema::STAMP)?;
            if stamp(connection)?.is_none() {
                connection.execute(
                    "INSERT INTO history_schema (version) VALUES (?1)",
                    [schema::VERSION],
                )?;
            }
            connection.execute_batch(schema::TABLES)
        })
        .await
    }

    async fn scan(
        &self,
        kind: &'static str,
        part: &Part,
        each: EachPage<'_>,
    ) -> Result<(), StoreError> {
        let table = table(kind, OutcomeKeeping::Counting)?;
        scan(&self.database, self.tables, table, part, each).await
    }

    async fn get(
        &self,
        kind: &'static str,
        keys: &[String],
    ) -> Result<Vec<StoredDocument>, StoreError> {
        get(
            &self.database,
            self.tables,
            table(kind, OutcomeKeeping::Counting)?,
            keys,
        )
        .await
    }

    async fn replace(&self, replacements: &[Replacement]) -> Result<usize, StoreError> {
        let mut replaced = 0;
        for chunk in replacements.chunks(write::ROWS_A_JOB) {
            let chunk = chunk.to_vec();
            let done = self.run(move |connection| {
                let mut done = 0;
                for replacement in &chunk {
                    let Some(table) = replacement.kind().and_then(|kind| Table::of(&TABLES, kind))
                    else {
                        continue;
                    };
                    if table.replace(connection, replacement)? {
                        done += 1;
                    }
                }
                Ok(done)
            });
            replaced += done.await?;
        }
        Ok(replaced)
    }

    async fn set_position(&self, seen: Option<Position>, to: Position) -> Result<bool, StoreError> {
        self.run(move |connection| {
            let all = read::positions(connection)?;
            let now = all.into_iter().find(|at| at.partition == to.partition);
            if now != seen {
                return Ok(false);
            }
            connection.execute(
                "DELETE FROM history_positions WHERE partition = ?1",
                [to.partition],
            )?;
            connection.execute(
                schema::UPSERT_POSITION,
                params_from_iter(write::position_values(&to)),
            )?;
            Ok(true)
        })
        .await
    }
}

impl HistoryAudit for SqliteHistory {
    fn outcomes(&self) -> OutcomeKeeping {
        OutcomeKeeping::Counting
    }

    fn encode(&self, document: &HistoryDocument) -> Result<StoredDocument, StoreError> {
        let (kind, columns) = match document {
            HistoryDocument::Event(row) => ("events", write::event_values(row)?),
            HistoryDocument::Message(row) => ("messages", write::message_values(row)?),
            HistoryDocument::Edit(row) => ("edits", write::edit_values(row)?),
            HistoryDocument::Hidden(row) => ("hidden", write::hidden_values(row)),
            HistoryDocument::Conversation(row) => {
                ("conversations", write::conversation_values(row))
            }
            HistoryDocument::Member(row) => ("members", write::member_values(row)),
            HistoryDocument::Outcome(row, _) => ("outcomes", write::outcome_values(row)),
        };
        Ok(table(kind, OutcomeKeeping::Counting)?.document(columns))
    }
}
