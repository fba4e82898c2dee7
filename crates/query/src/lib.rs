//! What somebody searches for. Pure: texts in, words and places out.
//!
//! * [`Query`] reads what is asked: words, phrases and prefixes.
//! * [`words`] says what a word is, for queries, texts and stores alike.
//! * [`snippet()`] shows where a text has what is searched for.
//! * [`fts5`] spells a query for SQLite.

pub mod fts5;
mod query;
mod snippet;
pub mod words;

pub use query::{Query, QueryError, Term};
pub use snippet::snippet;
