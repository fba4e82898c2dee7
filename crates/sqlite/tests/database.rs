//! The writer thread's groups, and who may open the file.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::Mutex;
use rusqlite::Connection;
use tidings_sqlite::{Database, Done, Error, GroupWriter, Job, Priority, Written};

const DEADLINE: Duration = Duration::from_secs(20);

fn opened() -> (tempfile::TempDir, Database) {
    let dir = tempfile::tempdir().expect("a folder");
    let database = Database::open(dir.path()).expect("opens");
    database
        .write(Priority::Log, |c| {
            c.execute_batch("CREATE TABLE t (x INTEGER PRIMARY KEY)")
        })
        .expect("makes a table");
    (dir, database)
}

fn insert(x: i64) -> Job {
    Box::new(move |c: &Connection| c.execute("INSERT INTO t VALUES (?1)", [x]).map(drop))
}

fn send_to(sender: &Sender<Result<(), Error>>) -> Done {
    let sender = sender.clone();
    Box::new(move |result| sender.send(result).expect("the test waits"))
}

fn stored(database: &Database) -> Vec<i64> {
    database
        .read(|c| {
            let mut select = c.prepare("SELECT x FROM t ORDER BY x")?;
            select.query_map([], |row| row.get(0))?.collect()
        })
        .expect("reads")
}

/// Holds the writer thread until the sender is dropped.
fn hold(database: &Database) -> Sender<()> {
    let (release, held) = bounded::<()>(0);
    let (running, runs) = bounded(1);
    let job: Job = Box::new(move |_| {
        running.send(()).expect("the test waits");
        held.recv().expect_err("is dropped");
        Ok(())
    });
    database.submit(
        Priority::Log,
        job,
        Box::new(|result| result.expect("commits")),
    );
    runs.recv_timeout(DEADLINE).expect("runs");
    release
}

/// No test can cut the power: this is what SQLite's promise hangs on.
#[test]
fn a_commit_is_synced() {
    let (_dir, database) = opened();
    let (found, settings) = bounded(1);
    database
        .write(Priority::Log, move |c| {
            let mode: String = c.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
            let synchronous: i64 = c.pragma_query_value(None, "synchronous", |row| row.get(0))?;
            found.send((mode, synchronous)).expect("the test waits");
            Ok(())
        })
        .expect("reads the settings");
    const FULL: i64 = 2;
    let settings = settings.recv().expect("the settings");
    assert_eq!(settings, ("wal".to_owned(), FULL));
}

#[test]
fn a_job_fails_alone() {
    let (_dir, database) = opened();
    let (ends, ended) = unbounded();
    let release = hold(&database);
    let twice: Job = Box::new(|c| {
        c.execute("INSERT INTO t VALUES (3)", [])?;
        c.execute("INSERT INTO t VALUES (1)", []).map(drop)
    });
    for job in [insert(1), twice, insert(2)] {
        database.submit(Priority::Log, job, send_to(&ends));
    }
    drop(release);
    let results: Vec<_> = (0..3)
        .map(|_| ended.recv_timeout(DEADLINE).expect("ends"))
        .collect();
    assert!(
        matches!(results[..], [Ok(()), Err(Error::Sql(_)), Ok(())]),
        "{results:?}"
    );
    assert_eq!(stored(&database), [1, 2]);
}

#[test]
fn a_panic_is_the_jobs_own() {
    let (_dir, database) = opened();
    let (ends, ended) = unbounded();
    let release = hold(&database);
    let panics: Job = Box::new(|c| {
        c.execute("INSERT INTO t VALUES (3)", [])?;
        panic!("on purpose");
    });
    database.submit(Priority::Log, insert(1), send_to(&ends));
    database.submit(Priority::Log, panics, send_to(&ends));
    let panics = Box::new(|_| panic!("on purpose"));
    database.submit(Priority::Log, insert(2), panics);
    database.submit(Priority::Log, insert(4), send_to(&ends));
    drop(release);
    let results: Vec<_> = (0..3)
        .map(|_| ended.recv_timeout(DEADLINE).expect("ends"))
        .collect();
    assert!(
        matches!(results[..], [Ok(()), Err(Error::Fatal(_)), Ok(())]),
        "{results:?}"
    );
    assert_eq!(stored(&database), [1, 2, 4]);
}

/// Log jobs go before view jobs, and a group takes one view job only.
#[test]
fn views_take_turns() {
    let (_dir, database) = opened();
    let release = hold(&database);
    let order = Arc::new(Mutex::new(Vec::new()));
    let (ends, ended) = unbounded();
    let submit = |priority, name: &'static str| {
        let (jobs, dones, ends) = (Arc::clone(&order), Arc::clone(&order), ends.clone());
        let job: Job = Box::new(move |_| {
            jobs.lock().push(name);
            Ok(())
        });
        let done: Done = Box::new(move |result| {
            dones.lock().push("done");
            ends.send(result).expect("the test waits");
        });
        database.submit(priority, job, done);
    };
    submit(Priority::View, "view 1");
    submit(Priority::View, "view 2");
    submit(Priority::Log, "log 1");
    submit(Priority::Log, "log 2");
    drop(release);
    (0..4).for_each(|_| {
        ended
            .recv_timeout(DEADLINE)
            .expect("ends")
            .expect("commits");
    });
    let expected = [
        "log 1", "log 2", "view 1", "done", "done", "done", "view 2", "done",
    ];
    assert_eq!(*order.lock(), expected);
}

/// What waits is bounded: log jobs are refused, view submitters wait.
#[test]
fn a_full_queue_refuses_or_waits() {
    let (_dir, database) = opened();
    let release = hold(&database);
    let (ends, ended) = unbounded();
    for x in 0..5_000 {
        database.submit(Priority::Log, insert(x), send_to(&ends));
    }
    let refused = ended.recv_timeout(DEADLINE).expect("ends");
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");

    let (view_ends, view_ended) = unbounded();
    let (submitted, submits) = unbounded();
    let views = {
        let database = database.clone();
        std::thread::spawn(move || {
            for x in 10_000..10_100 {
                database.submit(Priority::View, insert(x), send_to(&view_ends));
                submitted.send(()).expect("the test counts");
            }
        })
    };
    // Some go in; then the submitter stands still.
    submits.recv_timeout(DEADLINE).expect("is taken in");
    assert!(!views.is_finished());
    assert!(submits.len() < 99);
    drop(release);
    views.join().expect("no panic");
    for _ in 0..100 {
        view_ended
            .recv_timeout(DEADLINE)
            .expect("ends")
            .expect("commits");
    }
    let results: Vec<_> = (1..5_000)
        .map(|_| ended.recv_timeout(DEADLINE).expect("ends"))
        .collect();
    let taken = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(stored(&database).len(), taken + 100);
}

/// Adds what it is sent, and remembers what is durable.
struct Adder {
    waiting: Receiver<i64>,
    log: Sender<String>,
    loaded: Option<i64>,
}

impl GroupWriter for Adder {
    fn load(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let count = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?;
        self.loaded = Some(count);
        self.log
            .send(format!("loaded {count}"))
            .expect("the test listens");
        Ok(())
    }

    fn write(&mut self, connection: &Connection) -> rusqlite::Result<Written> {
        let Ok(x) = self.waiting.try_recv() else {
            return Ok(Written::Nothing);
        };
        assert!(self.loaded.is_some(), "it writes only after it has loaded");
        connection.execute("INSERT INTO t VALUES (?1)", [x])?;
        Ok(if self.waiting.is_empty() {
            Written::All
        } else {
            Written::Some
        })
    }

    fn committed(&mut self) {
        self.log
            .send("committed".to_owned())
            .expect("the test listens");
    }

    fn failed(&mut self, _error: &Error) {
        self.loaded = None;
        self.log
            .send("failed".to_owned())
            .expect("the test listens");
    }
}

#[test]
fn a_group_writer_reads_again_what_a_failed_group_left() {
    let (_dir, database) = opened();
    let (add, waiting) = unbounded();
    let (log, told) = unbounded();
    let adder = || Adder {
        waiting: waiting.clone(),
        log: log.clone(),
        loaded: None,
    };
    database.attach(Box::new(adder())).expect("attaches");
    assert!(
        matches!(database.attach(Box::new(adder())), Err(Error::Fatal(_))),
        "only one"
    );
    let expect = |lines: &[&str]| {
        for line in lines {
            assert_eq!(told.recv_timeout(DEADLINE).expect("is told"), *line);
        }
    };
    let add = |x| {
        add.send(x).expect("the adder lives");
        database.wake();
    };
    add(1);
    expect(&["loaded 0", "committed"]);
    // A second 1 breaks the group; all that was in it is undone.
    add(1);
    expect(&["failed", "loaded 1"]);
    add(2);
    expect(&["committed"]);
    assert_eq!(stored(&database), [1, 2]);
    drop(database);
    assert!(told.is_empty());
}

#[test]
fn the_last_handle_finishes_what_waits() {
    let (dir, database) = opened();
    let release = hold(&database);
    let (ends, ended) = unbounded();
    for x in 0..100 {
        database.submit(Priority::Log, insert(x), send_to(&ends));
    }
    for x in 100..110 {
        database.submit(Priority::View, insert(x), send_to(&ends));
    }
    drop(release);
    drop(database);
    assert_eq!(ended.try_iter().filter(Result::is_ok).count(), 110);
    assert!(
        !dir.path().join("tidings.sqlite-wal").exists(),
        "all is in the file"
    );
    let database = Database::open(dir.path()).expect("opens again");
    assert_eq!(stored(&database), (0..110).collect::<Vec<_>>());
}

/// The write-ahead log stays bounded, however much is written.
#[test]
fn the_write_ahead_log_does_not_grow_for_ever() {
    let dir = tempfile::tempdir().expect("a folder");
    let database = Database::open(dir.path()).expect("opens");
    let make = "CREATE TABLE blobs (x INTEGER PRIMARY KEY, b BLOB)";
    database
        .write(Priority::Log, move |c| c.execute_batch(make))
        .expect("makes a table");
    // 400 MiB in all, over and over the same rows.
    let insert = "INSERT OR REPLACE INTO blobs VALUES (?1, zeroblob(1048576))";
    for n in 0..400 {
        let write = move |c: &Connection| c.prepare_cached(insert)?.execute([n % 16]).map(drop);
        database.write(Priority::Log, write).expect("writes");
    }
    let wal = std::fs::metadata(dir.path().join("tidings.sqlite-wal")).expect("is there");
    assert!(wal.len() < 300 << 20, "{} bytes", wal.len());
}

#[test]
fn one_process_writes_and_others_read() {
    let (dir, database) = opened();
    let refused = Database::open(dir.path()).expect_err("is in use");
    let message = refused.to_string();
    assert!(
        message.contains(&std::process::id().to_string()),
        "{message}"
    );
    assert!(message.contains("stop it"), "{message}");

    let reader = Database::open_read_only(dir.path()).expect("opens");
    database
        .write(Priority::Log, |c| insert(7)(c))
        .expect("writes");
    assert_eq!(stored(&reader), [7]);
    let refused = reader.write(Priority::Log, |c| insert(8)(c));
    assert!(matches!(refused, Err(Error::Fatal(_))), "{refused:?}");
    let refused = reader.read(|c| c.execute("DELETE FROM t", []));
    assert!(refused.is_err());
    let refused = database.read(|c| c.execute("DELETE FROM t", []));
    assert!(refused.is_err(), "read connections cannot write");
    assert_eq!(stored(&database), [7]);
}

#[test]
fn what_is_no_database_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let missing = Database::open_read_only(dir.path())
        .expect_err("is not there")
        .to_string();
    assert!(missing.contains("there is no"), "{missing}");
    std::fs::write(dir.path().join("tidings.sqlite"), vec![b'x'; 10_000]).expect("writes");
    let broken = Database::open(dir.path()).expect_err("is no database");
    assert!(matches!(broken, Error::Fatal(_)), "{broken:?}");
}
