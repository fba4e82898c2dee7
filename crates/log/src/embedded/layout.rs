use rusqlite::{Connection, OptionalExtension};
use tidings_sqlite::Priority;
use tidings_wire::Topic;

use super::log_error;
use crate::LogError;

/// A partition of a topic, as an index into whatever is kept for each.
pub(super) type Slot = usize;

/// The most partitions a topic may have. Each is a table of its own in the one
/// file, and every connection reads the names of all.
const MAX_PARTITIONS: i32 = 256;

/// Which partitions there are, and the names of their tables.
///
/// Each partition of each topic has its own table, `message_delivered_3`, with
/// the offset as its key. Records then always go to the right edge of a tree,
/// which SQLite fills without moving what is there: 1.6 to 2 times the inserts
/// per second of one table for all with the partition in the key (measured with
/// 300-byte records over 24 partitions in groups of 100).
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    partitions: i32,
}

impl Layout {
    pub(super) fn partitions(self) -> i32 {
        self.partitions
    }

    /// The slot of a partition, if there is such a one.
    pub(super) fn slot(self, topic: Topic, partition: i32) -> Option<Slot> {
        if !(0..self.partitions).contains(&partition) {
            return None;
        }
        let topic = Topic::ALL.iter().position(|t| *t == topic)?;
        Some(topic * self.partitions as usize + partition as usize)
    }

    /// As [`slot`](Self::slot), for callers who may not ask for any other.
    pub(super) fn expect_slot(self, topic: Topic, partition: i32) -> Result<Slot, LogError> {
        self.slot(topic, partition).ok_or_else(|| {
            let count = self.partitions;
            LogError::Fatal(format!(
                "{topic} has {count} partitions, and no {partition}"
            ))
        })
    }

    /// The topic and partition of a slot.
    pub(super) fn of(self, slot: Slot) -> (Topic, i32) {
        let partitions = self.partitions as usize;
        (Topic::ALL[slot / partitions], (slot % partitions) as i32)
    }

    /// Every slot.
    pub(super) fn slots(self) -> std::ops::Range<Slot> {
        0..Topic::ALL.len() * self.partitions as usize
    }

    /// The table of a slot.
    pub(super) fn table(self, slot: Slot) -> String {
        let (topic, partition) = self.of(slot);
        format!("{}_{partition}", topic.name().replace('.', "_"))
    }

    /// Reads the layout of a file that a log was made in before.
    pub(super) fn read(database: &tidings_sqlite::Database) -> Result<Self, LogError> {
        let partitions = database.read(stored_partitions).map_err(log_error)?;
        match partitions {
            Some(partitions) => Ok(Self { partitions }),
            None => Err(LogError::Fatal("the file holds no log yet".to_owned())),
        }
    }

    /// Makes the tables, or makes sure that those of the file are for as many
    /// partitions.
    pub(super) fn prepare(
        database: &tidings_sqlite::Database,
        partitions: i32,
    ) -> Result<Self, LogError> {
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            let why = format!("{partitions} partitions: must be 1 to {MAX_PARTITIONS}");
            return Err(LogError::Fatal(why));
        }
        let layout = Self { partitions };
        let make = move |connection: &Connection| layout.make(connection);
        database.write(Priority::Log, make).map_err(log_error)?;
        let stored = Self::read(database)?.partitions;
        if stored != partitions {
            return Err(LogError::Fatal(format!(
                "the log was made with {stored} partitions and cannot be opened with {partitions}: \
                 a conversation would change its partition"
            )));
        }
        Ok(layout)
    }

    /// Runs in the writer thread's transaction: all of it is there or nothing.
    fn make(self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS log_layout (
                 only INTEGER PRIMARY KEY CHECK (only = 1), partitions INTEGER NOT NULL);
             CREATE TABLE IF NOT EXISTS log_marks (
                 partition INTEGER PRIMARY KEY, next INTEGER NOT NULL, epoch INTEGER, owner BLOB);
             CREATE TABLE IF NOT EXISTS log_progress (
                 consumer TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
                 next INTEGER NOT NULL, PRIMARY KEY (consumer, topic, partition)) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS log_compacted (
                 partition INTEGER PRIMARY KEY, upto INTEGER NOT NULL, kept INTEGER NOT NULL);",
        )?;
        let stored = stored_partitions(connection)?;
        if stored.is_some_and(|stored| stored != self.partitions) {
            return Ok(());
        }
        connection.execute(
            "INSERT OR IGNORE INTO log_layout VALUES (1, ?1)",
            [self.partitions],
        )?;
        for slot in self.slots() {
            let table = self.table(slot);
            connection.execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS {table} (
                     offset INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL,
                     key BLOB, value BLOB, headers BLOB NOT NULL);"
            ))?;
        }
        Ok(())
    }
}

fn stored_partitions(connection: &Connection) -> rusqlite::Result<Option<i32>> {
    let made = connection
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE name = 'log_layout'",
            [],
            |_| Ok(()),
        )
        .optional()?;
    if made.is_none() {
        return Ok(None);
    }
    connection
        .query_row("SELECT partitions FROM log_layout", [], |row| row.get(0))
        .optional()
}
