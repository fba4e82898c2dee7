//! How fast a file takes the rows of a view.

use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tidings_sqlite::Database;

use super::{Scoped, Tables, read, run};
use crate::StoreError;
use crate::bulk::{BulkInserted, timed};

/// A row, and the table it is of.
type Row = (&'static str, Vec<Value>);

/// What else is to be written with a row.
pub(crate) type With = fn(&Scoped<'_>, &Row) -> rusqlite::Result<()>;

/// Copies the rows of these tables from one generation to another, which has
/// the same tables, by transactions of so many rows.
pub(crate) async fn bulk_insert(
    database: &Database,
    (from, to): (Tables, Tables),
    tables: &'static [&'static str],
    batch: usize,
    with: With,
) -> Result<BulkInserted, StoreError> {
    let rows = read(database, move |connection| {
        let mut rows: Vec<Row> = Vec::new();
        for table in tables {
            rows.extend(all(&from.on(connection), table)?);
        }
        Ok(rows)
    })
    .await?;
    let documents = rows.len();
    let batches = rows.chunks(batch.max(1)).map(<[_]>::to_vec).collect();
    let database = Arc::new(database.clone());
    let took = timed(batches, 1, |rows: Vec<Row>| {
        let database = Arc::clone(&database);
        async move {
            run(&database, move |connection| {
                insert(connection, to, &rows, with)
            })
            .await
        }
    })
    .await?;
    Ok(BulkInserted { documents, took })
}

fn all(connection: &Scoped<'_>, table: &'static str) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(&format!("SELECT * FROM {table}"))?;
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let values: rusqlite::Result<Vec<Value>> = (0..columns).map(|at| row.get(at)).collect();
        Ok((table, values?))
    })?;
    rows.collect()
}

fn insert(connection: &Connection, to: Tables, rows: &[Row], with: With) -> rusqlite::Result<()> {
    let connection = to.on(connection);
    for row in rows {
        let (table, values) = row;
        let marks = vec!["?"; values.len()].join(", ");
        connection
            .prepare_cached(&format!("INSERT INTO {table} VALUES ({marks})"))?
            .execute(params_from_iter(values))?;
        with(&connection, row)?;
    }
    Ok(())
}
