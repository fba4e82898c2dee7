use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rusqlite::{Connection, params};
use serde::Serialize;

use super::RawLoad;
use crate::bench::report::{Latencies, Percentiles, table};

/// How many rows a batch has.
const BATCH: usize = 256;
/// How many bare commits are timed at most.
const COMMITS: usize = 1_000;

/// SQLite in WAL mode with `synchronous=FULL`, one connection.
#[derive(Debug, Serialize)]
pub(in crate::bench) struct SqliteReport {
    /// The bytes of a command's row.
    command_bytes: usize,
    /// The bytes of a decision's row.
    decision_bytes: usize,
    /// Rows a commit.
    batch: usize,
    /// Rows a second, inserted in batches.
    insert_rate: f64,
    /// Messages a second through insert, read, insert of a copy, read: what a
    /// log does with a command and its decision.
    pub(in crate::bench) pipeline_rate: f64,
    /// A commit of one row.
    commit_ms: Percentiles,
}

impl SqliteReport {
    pub(super) fn describe(&self) -> String {
        let mut lines = vec![format!(
            "SQLite, rows of {} and {} bytes, {} a commit: {:.0} rows/s inserted, {:.0} messages/s \
             through insert, read, copy, read",
            self.command_bytes,
            self.decision_bytes,
            self.batch,
            self.insert_rate,
            self.pipeline_rate
        )];
        lines.extend(table(&[("commit", self.commit_ms)]));
        lines.join("\n")
    }
}

/// A folder that goes when it is done with.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "cannot remove {}", self.0.display());
        }
    }
}

pub(super) fn run(data: &Path, load: RawLoad) -> Result<SqliteReport> {
    let folder = data.join(format!("bench-raw-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let scratch = Scratch(folder);
    let mut connection = Connection::open(scratch.0.join("raw.sqlite"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE command (id INTEGER PRIMARY KEY, value BLOB NOT NULL);
         CREATE TABLE decision (id INTEGER PRIMARY KEY, value BLOB NOT NULL);",
    )?;

    // A third of the time each.
    let third = Duration::from_secs_f64(load.seconds / 3.0);
    let value = vec![b'x'; load.command_bytes()];
    let commit_ms = time_commits(&mut connection, &value, third)?;
    let insert_rate = rate(third, || {
        insert(
            &mut connection,
            "command",
            std::iter::repeat_n(&value, BATCH),
        )?;
        Ok(BATCH)
    })?;
    let (mut commands, mut decisions) = (last(&connection, "command")?, 0);
    let pipeline_rate = rate(third, || {
        insert(
            &mut connection,
            "command",
            std::iter::repeat_n(&value, BATCH),
        )?;
        let mut copies = read(&connection, "command", &mut commands)?;
        copies
            .iter_mut()
            .for_each(|copy| copy.resize(load.decision_bytes(), b'x'));
        insert(&mut connection, "decision", copies.iter())?;
        Ok(read(&connection, "decision", &mut decisions)?.len())
    })?;
    let (command_bytes, decision_bytes) = (load.command_bytes(), load.decision_bytes());
    Ok(SqliteReport {
        command_bytes,
        decision_bytes,
        batch: BATCH,
        insert_rate,
        pipeline_rate,
        commit_ms,
    })
}

/// Repeats for as long as told; how many a second were done.
fn rate(time: Duration, mut once: impl FnMut() -> Result<usize>) -> Result<f64> {
    let begun = Instant::now();
    let mut done = 0;
    while begun.elapsed() < time {
        done += once()?;
    }
    Ok(done as f64 / begun.elapsed().as_secs_f64())
}

fn time_commits(
    connection: &mut Connection,
    value: &Vec<u8>,
    time: Duration,
) -> Result<Percentiles> {
    let mut latencies = Latencies::new();
    let begun = Instant::now();
    for _ in 0..COMMITS {
        let start = Instant::now();
        insert(connection, "command", std::iter::once(value))?;
        latencies.record_nanos(u64::try_from(start.elapsed().as_nanos())?);
        if begun.elapsed() > time {
            break;
        }
    }
    Ok(latencies.percentiles())
}

fn insert<'a>(
    connection: &mut Connection,
    table: &str,
    values: impl Iterator<Item = &'a Vec<u8>>,
) -> Result<()> {
    let transaction = connection.transaction()?;
    {
        let sql = format!("INSERT INTO {table} (value) VALUES (?1)");
        let mut statement = transaction.prepare_cached(&sql)?;
        for value in values {
            statement.execute([value])?;
        }
    }
    Ok(transaction.commit()?)
}

fn last(connection: &Connection, table: &str) -> Result<i64> {
    let sql = format!("SELECT coalesce(max(id), 0) FROM {table}");
    Ok(connection.query_row(&sql, [], |row| row.get(0))?)
}

/// The values after `after`, which moves on.
fn read(connection: &Connection, table: &str, after: &mut i64) -> Result<Vec<Vec<u8>>> {
    let sql = format!("SELECT id, value FROM {table} WHERE id > ?1 ORDER BY id");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![*after])?;
    let mut values = Vec::with_capacity(BATCH);
    while let Some(row) = rows.next()? {
        *after = row.get(0)?;
        values.push(row.get(1)?);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let load = RawLoad {
            rate: 0.0,
            seconds: 0.3,
            text_bytes: 100,
        };
        let report = run(dir.path(), load).unwrap();
        assert!(report.insert_rate > 0.0 && report.pipeline_rate > 0.0);
        assert!(report.commit_ms.count > 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
