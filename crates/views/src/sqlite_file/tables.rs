use std::borrow::Cow;

#[cfg(any(test, feature = "testing"))]
use rusqlite::Statement;
use rusqlite::{CachedStatement, Connection, Params, Row};

use crate::generation::Generation;

/// The tables of one generation of a view. Statements name those of the first
/// generation; those of another have its number after the view's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tables {
    /// What the names of all tables and indexes of the view begin with.
    prefix: &'static str,
    pub(crate) generation: Generation,
}

/// A connection on which statements are about one generation.
pub(crate) struct Scoped<'c> {
    connection: &'c Connection,
    tables: Tables,
}

impl Tables {
    pub(crate) fn first(prefix: &'static str) -> Self {
        Self {
            prefix,
            generation: Generation::FIRST,
        }
    }

    pub(crate) fn of(self, generation: Generation) -> Self {
        Self { generation, ..self }
    }

    pub(crate) fn on(self, connection: &Connection) -> Scoped<'_> {
        Scoped {
            connection,
            tables: self,
        }
    }

    /// Names of the first generation's tables, as they are in this one.
    fn statement<'a>(&self, sql: &'a str) -> Cow<'a, str> {
        match self.generation {
            Generation::FIRST => Cow::Borrowed(sql),
            Generation(number) => {
                let own = format!("{}g{number}_", self.prefix);
                Cow::Owned(sql.replace(self.prefix, &own))
            }
        }
    }
}

impl Scoped<'_> {
    /// How a table or index of the first generation is called in this one.
    pub(crate) fn name(&self, name: &str) -> String {
        self.tables.statement(name).into_owned()
    }

    /// Whether there is such a table or index.
    pub(crate) fn has(&self, name: &str) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = ?1")?
            .exists([self.name(name)])
    }

    pub(crate) fn prepare_cached(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(&self.tables.statement(sql))
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn prepare(&self, sql: &str) -> rusqlite::Result<Statement<'_>> {
        self.connection.prepare(&self.tables.statement(sql))
    }

    pub(crate) fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.connection.execute(&self.tables.statement(sql), params)
    }

    pub(crate) fn execute_batch(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.execute_batch(&self.tables.statement(sql))
    }

    pub(crate) fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.connection
            .query_row(&self.tables.statement(sql), params, map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_has_names_of_its_own() {
        let tables = Tables::first("history_");
        let sql = "CREATE INDEX history_by_no ON history_events (no)";
        assert_eq!(tables.statement(sql), sql);
        assert_eq!(
            tables.of(Generation(2)).statement(sql),
            "CREATE INDEX history_g2_by_no ON history_g2_events (no)"
        );
    }
}
