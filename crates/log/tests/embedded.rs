//! The log in SQLite: what every log must do, and what only this one can.

mod conformance;

use std::sync::Arc;

use tidings_log::embedded::EmbeddedLog;
use tidings_sqlite::Database;

#[test]
fn conforms() {
    let dir = tempfile::tempdir().expect("a folder");
    conformance::run(&|| {
        let database = Database::open(dir.path()).expect("opens");
        Arc::new(EmbeddedLog::open(database, conformance::PARTITIONS).expect("opens the log"))
    });
}
