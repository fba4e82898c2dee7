use std::fmt;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tidings_domain::Timestamp;
use tidings_wire::{Headers, Record};

/// The length of a frame's length, in bytes.
pub(super) const LENGTH: usize = 4;

/// The digest of a partition's records up to an offset; see the module's docs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain([u8; 32]);

impl Chain {
    /// Goes on with a frame, its length included.
    pub(super) fn add(&mut self, frame: &[u8]) {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(frame);
        self.0 = hash.finalize().into();
    }

    /// Reads a digest as [`Display`](fmt::Display) writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Writes a record's frame into `into`, which is emptied first.
pub(super) fn encode(offset: i64, record: &Record, into: &mut Vec<u8>) {
    into.clear();
    into.extend_from_slice(&[0; LENGTH]);
    into.extend_from_slice(&offset.to_be_bytes());
    into.extend_from_slice(&record.timestamp.0.to_be_bytes());
    for part in [&record.key, &record.value] {
        match part {
            Some(part) => put(part, into),
            None => into.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
    let headers = record.headers.iter();
    into.extend_from_slice(&length(headers.len()).to_be_bytes());
    for (name, value) in headers {
        put(name.as_bytes(), into);
        put(value, into);
    }
    let rest = length(into.len() - LENGTH);
    into[..LENGTH].copy_from_slice(&rest.to_be_bytes());
}

fn put(part: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(&length(part.len()).to_be_bytes());
    into.extend_from_slice(part);
}

/// Records are at most a few megabytes.
fn length(length: usize) -> i32 {
    i32::try_from(length).expect("no record is as large as that")
}

/// The offset and record of a frame without its length; none where it is none.
pub(super) fn decode(frame: Bytes) -> Option<(i64, Record)> {
    let mut rest = frame;
    let offset = i64::from_be_bytes(take(&mut rest, 8)?.as_ref().try_into().ok()?);
    let timestamp = i64::from_be_bytes(take(&mut rest, 8)?.as_ref().try_into().ok()?);
    let key = take_part(&mut rest)?;
    let value = take_part(&mut rest)?;
    let count = take_length(&mut rest)?;
    // What is claimed may be anything; what is there is at least 8 bytes each.
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= rest.len() / 8)?;
    let mut headers = Headers::with_capacity(count);
    for _ in 0..count {
        let name = take_part(&mut rest)??;
        let value = take_part(&mut rest)??;
        headers.push_read(std::str::from_utf8(&name).ok()?, value);
    }
    let record = Record {
        key,
        value,
        headers,
        timestamp: Timestamp(timestamp),
    };
    rest.is_empty().then_some((offset, record))
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= rest.len()).then(|| rest.split_to(length))
}

fn take_length(rest: &mut Bytes) -> Option<i32> {
    Some(i32::from_be_bytes(take(rest, 4)?.as_ref().try_into().ok()?))
}

fn take_part(rest: &mut Bytes) -> Option<Option<Bytes>> {
    match take_length(rest)? {
        -1 => Some(None),
        length => Some(Some(take(rest, usize::try_from(length).ok()?)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: Option<&'static str>, value: Option<&'static str>) -> Record {
        let mut headers = Headers::default();
        headers.push("tenant", "acme");
        headers.push_read("any ✓", Bytes::new());
        Record {
            key: key.map(Bytes::from),
            value: value.map(Bytes::from),
            headers,
            timestamp: Timestamp(-7),
        }
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        for record in [
            record(Some("k"), Some("v")),
            record(Some(""), None),
            record(None, Some("")),
            Record {
                headers: Headers::default(),
                ..record(None, None)
            },
        ] {
            let mut frame = Vec::new();
            encode(i64::MAX, &record, &mut frame);
            let rest = Bytes::from(frame).slice(LENGTH..);
            assert_eq!(decode(rest), Some((i64::MAX, record)));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let mut frame = Vec::new();
        encode(3, &record(Some("k"), Some("v")), &mut frame);
        let whole = Bytes::from(frame).slice(LENGTH..);
        for length in 0..whole.len() {
            assert_eq!(decode(whole.slice(..length)), None, "{length}");
        }
        let mut longer = whole.to_vec();
        longer.push(0);
        assert_eq!(decode(longer.into()), None);
    }

    #[test]
    fn a_chain_depends_on_every_frame_and_their_order() {
        let chain = |frames: &[&[u8]]| {
            let mut chain = Chain::default();
            frames.iter().for_each(|frame| chain.add(frame));
            chain
        };
        let all = [
            chain(&[]),
            chain(&[b"a"]),
            chain(&[b"a", b"b"]),
            chain(&[b"b", b"a"]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert_eq!(Chain::parse(&one.to_string()), Some(*one));
            assert!(all[i + 1..].iter().all(|other| other != one));
        }
        assert_eq!(Chain::parse("00"), None);
        assert_eq!(Chain::parse(&"zz".repeat(32)), None);
    }
}
