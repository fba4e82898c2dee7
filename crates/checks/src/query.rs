//! What is searched for: queries, and the filters beside them.

use std::cell::RefCell;

use rusqlite::Connection;
use tidings_domain::UserId;
use tidings_query::words::{folded, indexed, words};
use tidings_query::{Query, QueryError, fts5, snippet};
use tidings_wire::frames::{search_from, search_in, search_to};
use tidings_wire::{format_time, parse_time};

/// The longest text of a message.
const MAX_TEXT_BYTES: usize = 16_384;

thread_local! {
    /// A table as the search view has it, with a row at most.
    static TABLE: RefCell<Connection> = RefCell::new(table());
}

fn table() -> Connection {
    let connection = Connection::open_in_memory().expect("SQLite opens in memory");
    let arguments = fts5::TABLE;
    connection
        .execute_batch(&format!(
            "CREATE VIRTUAL TABLE found USING fts5({arguments})"
        ))
        .expect("the table's arguments are FTS5's");
    connection
}

/// A query, and behind a line feed the text it is looked for in. Whatever is
/// asked is a query or one of the errors there are; SQLite takes what is made
/// of it, and finds the text exactly when the words are there; the snippet is
/// a piece of the text with nothing in it that a browser would run.
///
/// # Panics
/// Where that does not hold.
pub fn check(data: &[u8]) {
    let data = String::from_utf8_lossy(data);
    let (asked, text) = data.split_once('\n').unwrap_or((&*data, ""));
    filters(asked);
    splits(text);
    let query = match Query::parse(asked) {
        Ok(query) => query,
        Err(error) => return refused(asked, error),
    };
    assert_eq!(query.text(), asked.trim());
    assert!(query.text().len() <= Query::MAX_BYTES);
    let count: usize = query.terms().iter().map(|term| term.words.len()).sum();
    assert!(count <= Query::MAX_TERMS);
    assert!(query.terms().iter().all(|term| !term.words.is_empty()));
    assert_eq!(query.has_words(), words(asked).next().is_some());
    assert_eq!(query.clone().with_words().is_ok(), query.has_words());
    if let Some(prefix) = query.id_prefix() {
        assert!(UserId::parse(&prefix).is_ok() && folded(&prefix) == prefix);
    }
    let end = text.floor_char_boundary(MAX_TEXT_BYTES);
    let text = &text[..end];
    let unfinished = query.clone().unfinished();
    assert_eq!(unfinished.has_words(), query.has_words());
    for query in [&query, &unfinished] {
        found(query, text);
        shown(query, text);
    }
    // Whoever goes on typing finds no less.
    assert!(query.marks(text).is_none() || unfinished.marks(text).is_some());
}

fn refused(asked: &str, error: QueryError) {
    let asked = asked.trim();
    match error {
        QueryError::Empty => assert!(asked.is_empty()),
        QueryError::TooLong => {
            assert!(asked.len() > Query::MAX_BYTES || words(asked).count() > Query::MAX_TERMS);
        }
        QueryError::NoWord => panic!("only `with_words` says so"),
    }
    assert!(!error.to_string().is_empty());
}

/// Whether SQLite finds the text by the query, as `Query::marks` does.
fn found(query: &Query, text: &str) {
    let Some(expression) = fts5::expression(query) else {
        assert!(!query.has_words());
        return;
    };
    let by_sqlite: bool = TABLE.with_borrow(|table| {
        let words = indexed(text);
        let add = "INSERT INTO found (rowid, words) VALUES (1, ?1)";
        let mut add = table.prepare_cached(add).expect("SQL");
        add.execute([&words]).expect("a text is indexed");
        let ask = "SELECT count(*) > 0 FROM found WHERE found MATCH ?1";
        let mut ask = table.prepare_cached(ask).expect("SQL");
        let found = ask.query_row([&expression], |row| row.get(0));
        let remove = "INSERT INTO found (found, rowid, words) VALUES ('delete', 1, ?1)";
        let mut remove = table.prepare_cached(remove).expect("SQL");
        remove.execute([&words]).expect("it is taken out");
        found.expect("whatever is asked, SQLite takes what is made of it")
    });
    assert_eq!(by_sqlite, query.marks(text).is_some(), "{expression}");
}

fn shown(query: &Query, text: &str) {
    if let Some(marks) = query.marks(text) {
        let mut end = 0;
        for mark in marks {
            assert!(end <= mark.start && mark.start < mark.end);
            end = mark.end;
            assert!(text.is_char_boundary(mark.start) && text.is_char_boundary(end));
        }
    }
    let shown = snippet(query, text);
    assert_eq!(
        shown.matches("<em>").count(),
        shown.matches("</em>").count()
    );
    let plain = shown.replace("<em>", "").replace("</em>", "");
    assert!(!plain.contains(['<', '>', '"', '\'']));
    let plain = plain
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&");
    let plain = plain.strip_prefix("\u{2026} ").unwrap_or(&plain);
    let is_piece =
        text.contains(plain) || text.contains(plain.strip_suffix(" \u{2026}").unwrap_or(plain));
    assert!(is_piece, "{shown:?} is not of the text");
}

/// Words are found again in the text that is indexed.
fn splits(text: &str) {
    let indexed = indexed(text);
    let again: Vec<String> = words(&indexed).map(|(_, word)| word).collect();
    let once: Vec<String> = words(text).map(|(_, word)| word).collect();
    assert_eq!(again, once);
    for (range, word) in words(text) {
        assert_eq!(folded(&text[range]), word);
    }
}

/// The beginning of a time is not after its end, and a time that is written
/// anew is the same.
fn filters(text: &str) {
    if let Ok(within) = search_in(text) {
        assert_eq!(within.as_str(), text);
    }
    match (search_from(text), search_to(text)) {
        (Ok(from), Ok(to)) => {
            assert!(from <= to);
            for at in [from, to] {
                assert_eq!(parse_time(&format_time(at)), Some(at));
            }
        }
        (Err(from), Err(to)) => assert!((from.field, to.field) == ("from", "to")),
        other => panic!("one of the two is a time: {other:?}"),
    }
}
