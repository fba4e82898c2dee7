//! The socket protocol's frames (`tidings.v1`).
//!
//! * [`ClientFrame::parse`] reads what clients send, and says of what it
//!   cannot read how it is to be answered.
//! * [`ServerFrame`] is what clients are sent. An event's JSON is made once, as
//!   an [`EventJson`], and stands in every frame that tells of it.

mod client;
mod event;
mod fields;
mod page;
mod question;
mod request;
mod search;
mod server;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod written;

pub use client::{ClientFrame, FrameError, Request};
pub use event::EventJson;
pub use page::{ListItem, MemberItem, PageMessage};
pub use question::{MAX_HISTORY, MAX_LIST, MAX_MEMBERS, MAX_OUTCOMES, MAX_SYNC, Question};
pub use search::{HitItem, MAX_HITS, Results, Search, SearchIn, search_from, search_in, search_to};
pub use server::{ChangeItem, OutcomeItem, OutcomeState, OwnChange, ServerFrame, UNKNOWN_TYPE};

use std::fmt::Display;

use serde::Serializer;
use tidings_domain::Timestamp;

/// Writes an id, a code or a kind as the text it displays as.
fn text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn maybe_text<T: Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn time<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::format_time(*at))
}

fn maybe_time<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => time(at, serializer),
        None => serializer.serialize_none(),
    }
}

/// JSON of a value that always has one: no map keys but strings, no floats.
fn to_json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("frames hold only what JSON can say")
}
