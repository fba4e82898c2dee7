//! Tables of the data folder's file, row by row and as they are.

use rusqlite::types::{Value as Column, ValueRef};
use rusqlite::{Row, params_from_iter};
use serde_json::{Map, Value};
use tidings_sqlite::Database;
use uuid::Uuid;

use super::{EachPage, Part, Raw, Replacement, StoredDocument};
use crate::StoreError;
use crate::sqlite_file::{Scoped, Tables, read};

/// Rows read at once.
pub(crate) const PAGE: usize = 1_000;
/// What a key begins with that is none of ours.
const FOREIGN: char = '?';

/// A table whose rows are documents.
pub(crate) struct Table {
    /// What its documents are called.
    pub(crate) kind: &'static str,
    /// Its name.
    pub(crate) name: &'static str,
    /// Its columns.
    pub(crate) columns: &'static [&'static str],
    /// Columns that are made of other tables: their names, and how to select
    /// them. They come after the others.
    pub(crate) joined: &'static [(&'static str, &'static str)],
    /// The columns of its key, by their place, in the key's order.
    pub(crate) key: &'static [(usize, Sort)],
    /// What stands between the parts of a written key.
    pub(crate) separator: char,
    /// The column that guards it, if that is no field of it.
    pub(crate) version: Option<usize>,
}

/// Gives out all rows of a table, where it is there, page by page.
pub(crate) async fn scan(
    database: &Database,
    tables: Tables,
    table: &'static Table,
    part: &Part,
    each: EachPage<'_>,
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let (from, part) = (after.take(), part.clone());
        let page = read(database, move |connection| {
            let connection = tables.on(connection);
            match connection.has(table.name)? {
                true => table.page(&connection, &part, from.as_deref()),
                false => Ok((Vec::new(), None)),
            }
        });
        let (documents, next) = page.await?;
        each(documents)?;
        match next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// The rows with these keys, where the table is there.
pub(crate) async fn get(
    database: &Database,
    tables: Tables,
    table: &'static Table,
    keys: &[String],
) -> Result<Vec<StoredDocument>, StoreError> {
    let keys = keys.to_vec();
    read(database, move |connection| {
        let connection = tables.on(connection);
        if !connection.has(table.name)? {
            return Ok(Vec::new());
        }
        let rows = table.get(&connection, &keys, columns)?;
        Ok(rows.into_iter().map(|row| table.document(row)).collect())
    })
    .await
}

/// What stands in a column of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Id,
    Number,
    Text,
}

impl Table {
    pub(crate) fn of(tables: &'static [Self], kind: &str) -> Option<&'static Self> {
        tables.iter().find(|table| table.kind == kind)
    }

    pub(crate) fn select(&self) -> String {
        let joined = self.joined.iter().map(|(_, select)| *select);
        let columns: Vec<_> = self.columns.iter().copied().chain(joined).collect();
        format!("SELECT {} FROM {} t", columns.join(", "), self.name)
    }

    fn key_columns(&self) -> String {
        let columns: Vec<_> = self.key.iter().map(|(at, _)| self.columns[*at]).collect();
        columns.join(", ")
    }

    fn key_marks(&self) -> String {
        vec!["?"; self.key.len()].join(", ")
    }

    /// That a row is the one with this key.
    pub(crate) fn has_key(&self) -> String {
        format!("({}) = ({})", self.key_columns(), self.key_marks())
    }

    /// A row's key as it is written.
    fn key_text(&self, row: &[Column]) -> String {
        let mut key = String::new();
        for (index, (at, sort)) in self.key.iter().enumerate() {
            if index > 0 {
                key.push(self.separator);
            }
            match (sort, &row[*at]) {
                (Sort::Id, Column::Blob(bytes)) => match Uuid::from_slice(bytes) {
                    Ok(id) => key.push_str(&id.to_string()),
                    Err(_) => return self.foreign_key(row),
                },
                (Sort::Number, Column::Integer(number)) => key.push_str(&number.to_string()),
                (Sort::Text, Column::Text(text)) => key.push_str(text),
                _ => return self.foreign_key(row),
            }
        }
        // One that would be read back as another.
        if self.key_values(&key).as_ref() == Some(&self.key_of(row)) {
            key
        } else {
            self.foreign_key(row)
        }
    }

    fn key_of(&self, row: &[Column]) -> Vec<Column> {
        self.key.iter().map(|(at, _)| row[*at].clone()).collect()
    }

    /// A key that fits none of ours: each part's sort and bytes.
    fn foreign_key(&self, row: &[Column]) -> String {
        let parts = self.key.iter().map(|(at, _)| match &row[*at] {
            Column::Blob(bytes) => format!("b{}", hex(bytes)),
            Column::Text(text) => format!("t{}", hex(text.as_bytes())),
            Column::Integer(number) => format!("i{number}"),
            Column::Real(number) => format!("r{number}"),
            Column::Null => "n".to_owned(),
        });
        let parts: Vec<_> = parts.collect();
        format!("{FOREIGN}{}", parts.join("|"))
    }

    /// The columns of a written key.
    pub(crate) fn key_values(&self, key: &str) -> Option<Vec<Column>> {
        if let Some(foreign) = key.strip_prefix(FOREIGN) {
            return foreign.split('|').map(foreign_part).collect();
        }
        let parts: Vec<&str> = key.splitn(self.key.len(), self.separator).collect();
        if parts.len() != self.key.len() {
            return None;
        }
        let parts = self.key.iter().zip(parts);
        parts
            .map(|((_, sort), part)| {
                Some(match sort {
                    Sort::Id => Column::Blob(Uuid::try_parse(part).ok()?.as_bytes().to_vec()),
                    Sort::Number => Column::Integer(part.parse().ok()?),
                    Sort::Text => Column::Text(part.to_owned()),
                })
            })
            .collect()
    }

    /// A row as a document.
    pub(crate) fn document(&self, row: Vec<Column>) -> StoredDocument {
        let joined = self.joined.iter().map(|(name, _)| *name);
        let names = self.columns.iter().copied().chain(joined);
        let fields: Map<String, Value> = names
            .zip(&row)
            .enumerate()
            .filter(|(at, _)| Some(*at) != self.version)
            .map(|(_, (name, value))| (name.to_owned(), json(value)))
            .collect();
        let version = self.version.and_then(|at| match row[at] {
            Column::Integer(version) => Some(version),
            _ => None,
        });
        StoredDocument {
            kind: self.kind,
            key: self.key_text(&row),
            version,
            fields,
            raw: Raw::Columns(row),
        }
    }

    /// The rows after a key, in the order of the keys, at most so many.
    pub(crate) fn rows<T>(
        &self,
        connection: &Scoped<'_>,
        part: &Part,
        after: Option<&[Column]>,
        limit: usize,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let mut wheres = Vec::new();
        let mut values: Vec<Column> = Vec::new();
        if let Some(id) = part.conversation_id
            && self.columns.contains(&"conversation_id")
        {
            wheres.push("conversation_id = ?".to_owned());
            values.push(Column::Blob(id.0.as_bytes().to_vec()));
        }
        if let Some(tenant) = &part.tenant
            && self.columns.contains(&"tenant")
        {
            wheres.push("tenant = ?".to_owned());
            values.push(Column::Text(tenant.as_str().to_owned()));
        }
        if let Some(after) = after {
            wheres.push(format!("({}) > ({})", self.key_columns(), self.key_marks()));
            values.extend_from_slice(after);
        }
        let mut select = self.select();
        if !wheres.is_empty() {
            select.push_str(" WHERE ");
            select.push_str(&wheres.join(" AND "));
        }
        select.push_str(&format!(" ORDER BY {} LIMIT {limit}", self.key_columns()));
        connection
            .prepare_cached(&select)?
            .query_map(params_from_iter(values), |row| read(row))?
            .collect()
    }

    /// A page of documents, and where the next one begins.
    pub(crate) fn page(
        &self,
        connection: &Scoped<'_>,
        part: &Part,
        after: Option<&[Column]>,
    ) -> rusqlite::Result<(Vec<StoredDocument>, Option<Vec<Column>>)> {
        let rows = self.rows(connection, part, after, PAGE, columns)?;
        let next = (rows.len() == PAGE).then(|| self.key_of(&rows[PAGE - 1]));
        let documents = rows.into_iter().map(|row| self.document(row));
        Ok((documents.collect(), next))
    }

    /// The rows with these keys.
    pub(crate) fn get<T>(
        &self,
        connection: &Scoped<'_>,
        keys: &[String],
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let select = format!("{} WHERE {}", self.select(), self.has_key());
        let mut select = connection.prepare_cached(&select)?;
        let mut found = Vec::new();
        for key in keys {
            let Some(key) = self.key_values(key) else {
                continue;
            };
            for row in select.query_map(params_from_iter(key), |row| read(row))? {
                found.push(row?);
            }
        }
        Ok(found)
    }

    /// Whether a document stands as it was seen.
    pub(crate) fn is_as_seen(
        &self,
        connection: &Scoped<'_>,
        replacement: &Replacement,
    ) -> rusqlite::Result<bool> {
        let Some(key) = replacement.key() else {
            return Ok(false);
        };
        let found = self.get(connection, &[key.to_owned()], columns)?;
        let found = found.into_iter().next().map(|row| self.document(row));
        Ok(found == replacement.seen)
    }

    /// Puts a document in the place of the one that was seen.
    pub(crate) fn replace(
        &self,
        connection: &Scoped<'_>,
        replacement: &Replacement,
    ) -> rusqlite::Result<bool> {
        if !self.is_as_seen(connection, replacement)? {
            return Ok(false);
        }
        if let Some(seen) = &replacement.seen
            && let Some(key) = self.key_values(&seen.key)
        {
            let delete = format!("DELETE FROM {} WHERE {}", self.name, self.has_key());
            connection
                .prepare_cached(&delete)?
                .execute(params_from_iter(key))?;
        }
        if let Some(new) = &replacement.new
            && let Raw::Columns(row) = &new.raw
        {
            let marks = vec!["?"; self.columns.len()].join(", ");
            let columns = self.columns.join(", ");
            let insert = format!("INSERT INTO {} ({columns}) VALUES ({marks})", self.name);
            let row = row.iter().take(self.columns.len());
            connection
                .prepare_cached(&insert)?
                .execute(params_from_iter(row))?;
        }
        Ok(true)
    }
}

impl Replacement {
    /// The key of the document.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        let document = self.seen.as_ref().or(self.new.as_ref())?;
        Some(&document.key)
    }

    /// The kind of the document.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        let document = self.seen.as_ref().or(self.new.as_ref())?;
        Some(document.kind)
    }
}

/// All columns of a row.
pub(crate) fn columns(row: &Row<'_>) -> rusqlite::Result<Vec<Column>> {
    let count = row.as_ref().column_count();
    (0..count)
        .map(|at| {
            Ok(match row.get_ref(at)? {
                // Whatever was put there by hand.
                ValueRef::Text(text) => Column::Text(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Null => Column::Null,
                ValueRef::Integer(number) => Column::Integer(number),
                ValueRef::Real(number) => Column::Real(number),
                ValueRef::Blob(bytes) => Column::Blob(bytes.to_vec()),
            })
        })
        .collect()
}

/// A column as a field: an id as its text, JSON as what it says.
fn json(column: &Column) -> Value {
    match column {
        Column::Null => Value::Null,
        Column::Integer(number) => (*number).into(),
        Column::Real(number) => (*number).into(),
        Column::Blob(bytes) => match Uuid::from_slice(bytes) {
            Ok(id) => id.to_string().into(),
            Err(_) => hex(bytes).into(),
        },
        Column::Text(text) if text.starts_with(['{', '[']) => {
            serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())
        }
        Column::Text(text) => text.as_str().into(),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}

fn foreign_part(part: &str) -> Option<Column> {
    let rest = part.get(1..)?;
    Some(match part.as_bytes().first()? {
        b'b' => Column::Blob(unhex(rest)?),
        b't' => Column::Text(String::from_utf8(unhex(rest)?).ok()?),
        b'i' => Column::Integer(rest.parse().ok()?),
        b'r' => Column::Real(rest.parse().ok()?),
        _ => Column::Null,
    })
}
