use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::Range;

use bytes::Bytes;
use tidings_domain::Timestamp;
use uuid::Uuid;

use crate::time::write_time;

/// The names of the headers that records carry.
pub mod names {
    /// CloudEvents: the event's id; of a decision the same if decided again.
    pub const CE_ID: &str = "ce_id";
    /// CloudEvents: what it is, such as `tidings.message.sent`.
    pub const CE_TYPE: &str = "ce_type";
    /// CloudEvents: who made it.
    pub const CE_SOURCE: &str = "ce_source";
    /// CloudEvents: when, RFC 3339.
    pub const CE_TIME: &str = "ce_time";
    /// CloudEvents: always `1.0`.
    pub const CE_SPECVERSION: &str = "ce_specversion";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
    /// The tenant.
    pub const TENANT: &str = "tenant";
    /// The epoch of the writer's claim.
    pub const CE_EPOCH: &str = "ce_epoch";
    /// The writer's name, from its claim.
    pub const CE_OWNER: &str = "ce_owner";
    /// The command decided: `message.sent@4711`.
    pub const CE_INPUT: &str = "ce_input";
    /// The digest of the partition's state after the decision.
    pub const CE_DIGEST: &str = "ce_digest";
    /// Dead letters: the topic it stood in.
    pub const DEAD_TOPIC: &str = "dead_topic";
    /// Dead letters: the partition it stood in.
    pub const DEAD_PARTITION: &str = "dead_partition";
    /// Dead letters: the offset it stood at.
    pub const DEAD_OFFSET: &str = "dead_offset";
    /// Dead letters: what was wrong with it.
    pub const DEAD_ERROR: &str = "dead_error";
    /// Dead letters: who could not use it.
    pub const DEAD_CONSUMER: &str = "dead_consumer";
    /// Dead letters: how often it was tried.
    pub const DEAD_ATTEMPTS: &str = "dead_attempts";

    /// A command that went back to its topic: the dead letter it was.
    pub const REDRIVEN_FROM: &str = "redriven_from";

    /// All of them, to be kept without a copy when read.
    pub(super) const KNOWN: [&str; 18] = [
        CE_ID,
        CE_TYPE,
        CE_SOURCE,
        CE_TIME,
        CE_SPECVERSION,
        TRACEPARENT,
        TENANT,
        CE_EPOCH,
        CE_OWNER,
        CE_INPUT,
        CE_DIGEST,
        DEAD_TOPIC,
        DEAD_PARTITION,
        DEAD_OFFSET,
        DEAD_ERROR,
        DEAD_CONSUMER,
        DEAD_ATTEMPTS,
        REDRIVEN_FROM,
    ];
}

/// A header's name; ours are kept without a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(Cow<'static, str>);

impl HeaderName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for HeaderName {
    fn from(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }
}

/// A record's headers, in order. Names may repeat; the last one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(HeaderName, Bytes)>);

impl Headers {
    /// No headers, with room for `count`.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// Adds one of our own headers.
    pub fn push(&mut self, name: &'static str, value: impl Into<Bytes>) {
        self.0.push((name.into(), value.into()));
    }

    /// Puts this value in the place of every other of that name.
    pub fn set(&mut self, name: &'static str, value: impl Into<Bytes>) {
        self.0.retain(|(known, _)| known.as_str() != name);
        self.push(name, value);
    }

    /// Adds a header read from a log, whatever its name.
    pub fn push_read(&mut self, name: &str, value: Bytes) {
        let known = names::KNOWN.into_iter().find(|known| *known == name);
        let name = known.map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed);
        self.0.push((HeaderName(name), value));
    }

    /// The bytes of a header.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0
            .iter()
            .rev()
            .find(|(n, _)| n.as_str() == name)
            .map(|(_, value)| value)
    }

    /// The text of a header, if it is there and is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// Builds headers whose texts share one allocation.
pub(crate) struct HeaderWriter {
    headers: Headers,
    /// The texts of all headers that are not constant, one after another.
    text: String,
    /// Which header has which part of it.
    parts: Vec<(usize, Range<usize>)>,
}

impl HeaderWriter {
    /// The constant headers of a CloudEvent.
    pub(crate) fn cloud_event(kind: &'static str, source: &'static str) -> Self {
        const USUAL_HEADERS: usize = 11;
        let mut writer = Self::from(Headers::with_capacity(USUAL_HEADERS));
        writer.constant(names::CE_SPECVERSION, "1.0");
        writer.constant(names::CE_TYPE, kind);
        writer.constant(names::CE_SOURCE, source);
        writer
    }

    pub(crate) fn constant(&mut self, name: &'static str, value: &'static str) {
        self.bytes(name, Bytes::from_static(value.as_bytes()));
    }

    pub(crate) fn bytes(&mut self, name: &'static str, value: Bytes) {
        self.headers.push(name, value);
    }

    pub(crate) fn text(&mut self, name: &'static str, value: &str) {
        self.part(name, |text| text.push_str(value));
    }

    pub(crate) fn uuid(&mut self, name: &'static str, value: Uuid) {
        let mut buffer = Uuid::encode_buffer();
        self.text(name, value.hyphenated().encode_lower(&mut buffer));
    }

    pub(crate) fn time(&mut self, name: &'static str, value: Timestamp) {
        self.part(name, |text| write_time(text, value));
    }

    pub(crate) fn display(&mut self, name: &'static str, value: impl fmt::Display) {
        self.part(name, |text| {
            write!(text, "{value}").expect("a String takes any text");
        });
    }

    fn part(&mut self, name: &'static str, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        self.parts
            .push((self.headers.0.len(), start..self.text.len()));
        self.headers.push(name, Bytes::new());
    }

    pub(crate) fn finish(mut self) -> Headers {
        let text = Bytes::from(self.text);
        for (header, part) in self.parts {
            self.headers.0[header].1 = text.slice(part);
        }
        self.headers
    }
}

/// Goes on after these headers.
impl From<Headers> for HeaderWriter {
    fn from(headers: Headers) -> Self {
        const USUAL_TEXT_BYTES: usize = 256;
        const USUAL_PARTS: usize = 8;
        Self {
            headers,
            text: String::with_capacity(USUAL_TEXT_BYTES),
            parts: Vec::with_capacity(USUAL_PARTS),
        }
    }
}

/// A W3C `traceparent`: `00-<trace id>-<parent id>-<flags>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: u128,
    parent_id: u64,
    sampled: bool,
}

impl TraceParent {
    /// A trace of these ids; neither may be zero.
    #[must_use]
    pub fn new(trace_id: u128, parent_id: u64, sampled: bool) -> Option<Self> {
        (trace_id != 0 && parent_id != 0).then_some(Self {
            trace_id,
            parent_id,
            sampled,
        })
    }

    /// The ids of the trace, and of the span that the reader's own is a child
    /// of.
    #[must_use]
    pub fn ids(self) -> (u128, u64) {
        (self.trace_id, self.parent_id)
    }

    /// A trace that is recorded.
    #[must_use]
    pub fn sampled((trace_id, parent_id): (u128, u64)) -> Option<Self> {
        Self::new(trace_id, parent_id, true)
    }

    /// The trace a record belongs to, if it is one that is recorded.
    #[must_use]
    pub fn sampled_in(headers: &Headers) -> Option<Self> {
        Self::parse(headers.text(names::TRACEPARENT)?).filter(|trace| trace.sampled)
    }

    /// Reads a header of version 00, in lower case as the standard wants it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Numbers are read with a sign, too.
        let is_allowed = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b) || b == b'-';
        if !text.bytes().all(is_allowed) {
            return None;
        }
        let mut parts = text.split('-');
        let (version, trace, parent, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != "00"
            || trace.len() != 32
            || parent.len() != 16
            || flags.len() != 2
            || parts.next().is_some()
        {
            return None;
        }
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Self::new(
            u128::from_str_radix(trace, 16).ok()?,
            u64::from_str_radix(parent, 16).ok()?,
            flags & 1 == 1,
        )
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(
            f,
            "00-{:032x}-{:016x}-{flags:02x}",
            self.trace_id, self.parent_id
        )
    }
}

#[cfg(test)]
mod tests {
    use super::TraceParent;

    #[test]
    fn a_traceparent_is_read_as_the_standard_has_it() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = TraceParent::parse(text).expect("the standard's example");
        assert_eq!(trace.to_string(), text);
        for wrong in [
            "",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        ] {
            assert_eq!(TraceParent::parse(wrong), None, "{wrong}");
        }
    }
}
