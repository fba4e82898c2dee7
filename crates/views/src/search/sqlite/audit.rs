//! The tables of the search view, row by row.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use rusqlite::types::Value as Column;
use rusqlite::{OptionalExtension, Row, params};
use serde_json::Value;
use tidings_domain::{ConversationId, Decision, MessageId, Tenant, Timestamp, UserId};

use super::read::{self, conversation_hit, id, parsed};
use super::{AT_ONCE, SqliteSearch, schema, write};
use crate::audit::sqlite::{PAGE, Sort, Table, columns, get, scan};
use crate::audit::{
    Audit, EachPage, Flaw, Part, Raw, Replacement, SearchAudit, SearchDocument, StoredDocument,
};
use crate::generation::Generations;
use crate::search::{ConversationDocument, MemberDocument, MessageDocument};
use crate::sqlite_file::Scoped;
use crate::{Position, StoreError};
use tidings_query::words::{folded, indexed};

const KINDS: &[&str] = &["messages", "conversations", "members", "users"];

static TABLES: [Table; 4] = [
    Table {
        kind: "messages",
        name: "search_messages",
        columns: &[
            "message_id",
            "conversation_id",
            "tenant",
            "no",
            "sender",
            "at",
            "text",
            "has_attachment",
            "version",
        ],
        joined: &[(
            "hidden_for",
            "(SELECT json_group_array(user_id) FROM (SELECT user_id FROM search_hidden h \
             WHERE h.message_id = t.message_id ORDER BY user_id))",
        )],
        key: &[(0, Sort::Id)],
        separator: '/',
        version: Some(8),
    },
    Table {
        kind: "conversations",
        name: "search_conversations",
        columns: &[
            "conversation_id",
            "kind",
            "title",
            "created_at",
            "tenant",
            "version",
        ],
        joined: &[],
        key: &[(0, Sort::Id)],
        separator: '/',
        version: Some(5),
    },
    Table {
        kind: "members",
        name: "search_members",
        columns: &[
            "conversation_id",
            "folded",
            "user_id",
            "is_present",
            "version",
        ],
        joined: &[],
        key: &[(0, Sort::Id), (2, Sort::Text)],
        separator: '/',
        version: Some(4),
    },
    Table {
        kind: "users",
        name: "search_users",
        columns: &["tenant", "folded", "user_id"],
        joined: &[],
        key: &[(0, Sort::Text), (2, Sort::Text)],
        separator: '/',
        version: None,
    },
];

/// Whose a conversation is: the table of members does not say.
const MAKE_TENANTS: &str = "CREATE TABLE IF NOT EXISTS truth_tenants (
    conversation_id BLOB NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL
) STRICT, WITHOUT ROWID";

fn table(kind: &str) -> Result<&'static Table, StoreError> {
    Table::of(&TABLES, kind)
        .ok_or_else(|| StoreError::Fatal(format!("the search view has no {kind}")))
}

fn document(
    connection: &Scoped<'_>,
    kind: &str,
    row: &Row<'_>,
) -> rusqlite::Result<SearchDocument> {
    Ok(match kind {
        "messages" => SearchDocument::Message(MessageDocument {
            message_id: MessageId(id(row, 0)?),
            conversation_id: ConversationId(id(row, 1)?),
            tenant: parsed(row, 2, Tenant::parse)?,
            no: row.get::<_, i64>(3)?.cast_unsigned(),
            by: parsed(row, 4, UserId::parse)?,
            at: Timestamp(row.get(5)?),
            text: row.get(6)?,
            has_attachment: row.get(7)?,
            version: row.get(8)?,
            hidden_for: read::hidden_for(connection, MessageId(id(row, 0)?))?,
        }),
        "conversations" => {
            let hit = conversation_hit(row)?;
            SearchDocument::Conversation(ConversationDocument {
                conversation_id: hit.conversation_id,
                tenant: parsed(row, 4, Tenant::parse)?,
                kind: hit.kind,
                title: hit.title,
                created_at: hit.created_at,
                version: row.get(5)?,
            })
        }
        "members" => {
            let conversation_id = ConversationId(id(row, 0)?);
            let tenant = connection
                .prepare_cached("SELECT tenant FROM truth_tenants WHERE conversation_id = ?1")?
                .query_row([conversation_id.0.as_bytes()], |row| {
                    parsed(row, 0, Tenant::parse)
                })?;
            SearchDocument::Member(MemberDocument {
                conversation_id,
                user_id: parsed(row, 2, UserId::parse)?,
                tenant,
                is_present: row.get(3)?,
                version: row.get(4)?,
            })
        }
        _ => SearchDocument::User(
            parsed(row, 0, Tenant::parse)?,
            parsed(row, 2, UserId::parse)?,
        ),
    })
}

impl SqliteSearch {
    pub(crate) async fn prepare_tenants(&self) -> Result<(), StoreError> {
        self.run(|connection| connection.execute_batch(MAKE_TENANTS))
            .await
    }

    /// Keeps whose the conversations of these decisions are.
    pub(crate) async fn keep_tenants(&self, decisions: &[&Decision]) -> Result<(), StoreError> {
        let events = decisions.iter().filter(|it| it.seq().is_some());
        let mut tenants: Vec<_> = events
            .map(|it| (it.conversation_id, it.tenant.as_str().to_owned()))
            .collect();
        tenants.dedup();
        if tenants.is_empty() {
            return Ok(());
        }
        self.run(move |connection| {
            let mut keep = connection.prepare_cached(
                "INSERT INTO truth_tenants (conversation_id, tenant) VALUES (?1, ?2) \
                 ON CONFLICT DO NOTHING",
            )?;
            for (id, tenant) in &tenants {
                keep.execute(params![id.0.as_bytes(), tenant])?;
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn scan_documents(
        &self,
        kind: &'static str,
        each: &mut (dyn FnMut(Vec<SearchDocument>) -> Result<(), StoreError> + Send),
    ) -> Result<(), StoreError> {
        let table = table(kind)?;
        let mut after: Option<Vec<Column>> = None;
        loop {
            let from = after.take();
            let page = self.read(move |connection| {
                table.rows(connection, &Part::default(), from.as_deref(), PAGE, |row| {
                    let columns = columns(row)?;
                    let key = table.key.iter().map(|(at, _)| columns[*at].clone());
                    Ok((document(connection, kind, row)?, key.collect::<Vec<_>>()))
                })
            });
            let page = page.await?;
            let is_last = page.len() < PAGE;
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
        keys: &[String],
    ) -> Result<Vec<SearchDocument>, StoreError> {
        let (table, keys) = (table(kind)?, keys.to_vec());
        self.read(move |connection| {
            table.get(connection, &keys, |row| document(connection, kind, row))
        })
        .await
    }
}

/// What became of a row with words: its number before and after, and the text
/// that its words are to be of.
struct Numbered {
    words: &'static str,
    before: Option<i64>,
    after: Option<(i64, Option<String>)>,
}

/// Puts documents in the place of others, and their words.
fn replace(connection: &Scoped<'_>, replacements: &[Replacement]) -> rusqlite::Result<usize> {
    let (mut done, mut numbered) = (0, Vec::new());
    for replacement in replacements {
        let table = replacement.kind().and_then(|kind| Table::of(&TABLES, kind));
        let Some(table) = table else { continue };
        let (words, text_at) = match table.kind {
            "messages" => ("search_words", 6),
            "conversations" => ("search_titles", 2),
            _ => {
                done += usize::from(table.replace(connection, replacement)?);
                continue;
            }
        };
        let before = match row_of(replacement.seen.as_ref()) {
            Some(row) => number_of(connection, table, row)?,
            None => None,
        };
        if !table.replace(connection, replacement)? {
            continue;
        }
        done += 1;
        let after = match row_of(replacement.new.as_ref()) {
            Some(row) => {
                let text = match &row[text_at] {
                    Column::Text(text) => Some(text.clone()),
                    _ => None,
                };
                number_of(connection, table, row)?.map(|number| (number, text))
            }
            None => None,
        };
        if table.kind == "messages" {
            replace_hidden(connection, replacement)?;
        }
        numbered.push(Numbered {
            words,
            before,
            after,
        });
    }
    for words in ["search_words", "search_titles"] {
        let of_table = numbered.iter().filter(|it| it.words == words);
        replace_words(connection, words, &of_table.collect::<Vec<_>>())?;
    }
    Ok(done)
}

fn row_of(document: Option<&StoredDocument>) -> Option<&Vec<Column>> {
    match &document?.raw {
        Raw::Columns(row) => Some(row),
        _ => None,
    }
}

fn number_of(
    connection: &Scoped<'_>,
    table: &Table,
    row: &[Column],
) -> rusqlite::Result<Option<i64>> {
    let select = format!(
        "SELECT number FROM {} WHERE {}",
        table.name,
        table.has_key()
    );
    connection
        .prepare_cached(&select)?
        .query_row([row[0].clone()], |row| row.get(0))
        .optional()
}

fn replace_hidden(connection: &Scoped<'_>, replacement: &Replacement) -> rusqlite::Result<()> {
    let rows = [&replacement.seen, &replacement.new];
    for row in rows.into_iter().filter_map(|it| row_of(it.as_ref())) {
        connection
            .prepare_cached("DELETE FROM search_hidden WHERE message_id = ?1")?
            .execute([&row[0]])?;
    }
    let Some(new) = &replacement.new else {
        return Ok(());
    };
    let users = new.fields.get("hidden_for").and_then(Value::as_array);
    let users = users.into_iter().flatten().filter_map(Value::as_str);
    let mut hide = connection
        .prepare_cached("INSERT INTO search_hidden (message_id, user_id) VALUES (?1, ?2)")?;
    for user in users {
        if let Some(row) = row_of(Some(new)) {
            hide.execute(params![row[0], user])?;
        }
    }
    Ok(())
}

/// Takes out what a word table has of these rows, and puts in the words of
/// their texts. Which words it has, the table itself says: they need not be
/// those of the text that stood beside it.
fn replace_words(
    connection: &Scoped<'_>,
    table: &str,
    numbered: &[&Numbered],
) -> rusqlite::Result<()> {
    let after = numbered.iter().filter_map(|it| it.after.as_ref());
    let numbers = numbered.iter().filter_map(|it| it.before);
    let numbers: BTreeSet<i64> = numbers
        .chain(after.clone().map(|(number, _)| *number))
        .collect();
    if numbers.is_empty() {
        return Ok(());
    }
    for (number, words) in words_of(connection, table, &numbers)? {
        let delete =
            format!("INSERT INTO {table} ({table}, rowid, words) VALUES ('delete', ?1, ?2)");
        connection
            .prepare_cached(&delete)?
            .execute(params![number, words.join(" ")])?;
    }
    let insert = format!("INSERT INTO {table} (rowid, words) VALUES (?1, ?2)");
    let mut insert = connection.prepare_cached(&insert)?;
    for (number, text) in after {
        if let Some(text) = text {
            insert.execute(params![number, indexed(text)])?;
        }
    }
    Ok(())
}

/// The words that a word table has of some rows, in their order.
fn words_of(
    connection: &Scoped<'_>,
    table: &str,
    numbers: &BTreeSet<i64>,
) -> rusqlite::Result<BTreeMap<i64, Vec<String>>> {
    vocabulary(connection, table)?;
    let mut found: BTreeMap<i64, Vec<(i64, String)>> = BTreeMap::new();
    let mut select =
        connection.prepare_cached(&format!("SELECT doc, offset, term FROM temp.{table}_all"))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let number = row.get(0)?;
        if numbers.contains(&number) {
            let word = (row.get(1)?, row.get(2)?);
            found.entry(number).or_default().push(word);
        }
    }
    let sorted = found.into_iter().map(|(number, mut words)| {
        words.sort_unstable();
        (number, words.into_iter().map(|(_, word)| word).collect())
    });
    Ok(sorted.collect())
}

/// Makes the words of a word table readable: each with its row and place.
fn vocabulary(connection: &Scoped<'_>, table: &str) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.{table}_all USING fts5vocab('main', '{table}', \
         'instance')"
    ))
}

#[async_trait]
impl Audit for SqliteSearch {
    fn kinds(&self) -> &'static [&'static str] {
        KINDS
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.reached().await
    }

    async fn flaws(&self) -> Result<Vec<Flaw>, StoreError> {
        self.read(|connection| {
            let mut flaws = Vec::new();
            let tables = TABLES.iter().map(|table| table.name);
            let others = [
                "search_hidden",
                "search_words",
                "search_titles",
                "search_positions",
            ];
            for name in tables.chain(others) {
                if !connection.has(name)? {
                    flaws.push(Flaw::mendable(format!("{name} is not there")));
                }
            }
            Ok(flaws)
        })
        .await
    }

    async fn mend(&self) -> Result<(), StoreError> {
        self.run(schema::prepare).await
    }

    async fn scan(
        &self,
        kind: &'static str,
        part: &Part,
        each: EachPage<'_>,
    ) -> Result<(), StoreError> {
        scan(&self.database, self.tables, table(kind)?, part, each).await
    }

    async fn get(
        &self,
        kind: &'static str,
        keys: &[String],
    ) -> Result<Vec<StoredDocument>, StoreError> {
        get(&self.database, self.tables, table(kind)?, keys).await
    }

    async fn replace(&self, replacements: &[Replacement]) -> Result<usize, StoreError> {
        let mut replaced = 0;
        for chunk in replacements.chunks(AT_ONCE) {
            let chunk = chunk.to_vec();
            replaced += self
                .run(move |connection| replace(connection, &chunk))
                .await?;
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
                "DELETE FROM search_positions WHERE partition = ?1",
                [to.partition],
            )?;
            write::positions(connection, &[to])?;
            Ok(true)
        })
        .await
    }
}

impl SearchAudit for SqliteSearch {
    fn encode(&self, document: &SearchDocument) -> Result<StoredDocument, StoreError> {
        let text = |text: &str| Column::Text(text.to_owned());
        let or_null = |value: Option<&str>| value.map_or(Column::Null, text);
        let blob = |id: uuid::Uuid| Column::Blob(id.as_bytes().to_vec());
        let (kind, row) = match document {
            SearchDocument::Message(message) => {
                let users: Vec<&str> = message.hidden_for.iter().map(UserId::as_str).collect();
                let users = serde_json::to_string(&users)
                    .map_err(|error| StoreError::Data(error.to_string()))?;
                let row = vec![
                    blob(message.message_id.0),
                    blob(message.conversation_id.0),
                    text(message.tenant.as_str()),
                    Column::Integer(message.no.cast_signed()),
                    text(message.by.as_str()),
                    Column::Integer(message.at.0),
                    or_null(message.text.as_deref()),
                    Column::Integer(message.has_attachment.into()),
                    Column::Integer(message.version),
                    Column::Text(users),
                ];
                ("messages", row)
            }
            SearchDocument::Conversation(conversation) => {
                let row = vec![
                    blob(conversation.conversation_id.0),
                    text(conversation.kind.as_str()),
                    or_null(conversation.title.as_deref()),
                    Column::Integer(conversation.created_at.0),
                    text(conversation.tenant.as_str()),
                    Column::Integer(conversation.version),
                ];
                ("conversations", row)
            }
            SearchDocument::Member(member) => {
                let row = vec![
                    blob(member.conversation_id.0),
                    Column::Text(folded(member.user_id.as_str())),
                    text(member.user_id.as_str()),
                    Column::Integer(member.is_present.into()),
                    Column::Integer(member.version),
                ];
                ("members", row)
            }
            SearchDocument::User(tenant, user) => {
                let row = vec![
                    text(tenant.as_str()),
                    Column::Text(folded(user.as_str())),
                    text(user.as_str()),
                ];
                ("users", row)
            }
        };
        Ok(table(kind)?.document(row))
    }
}
