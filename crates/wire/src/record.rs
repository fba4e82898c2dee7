use bytes::Bytes;
use tidings_domain::Timestamp;

use crate::{Headers, Topic};

/// A record to be appended to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key; a conversation id wherever there is one.
    pub key: Option<Bytes>,
    /// The value; none: a claim, or in a compacted topic a deletion.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Headers,
    /// When it was made.
    pub timestamp: Timestamp,
}

/// A record as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// In which topic.
    pub topic: Topic,
    /// In which partition.
    pub partition: i32,
    /// At which offset.
    pub offset: i64,
    /// The record.
    pub record: Record,
}
