//! Headers as one blob: for each its name and value, each with its length
//! before it as a LEB128 number.

use bytes::Bytes;
use tidings_wire::{Headers, Record};

/// What a record takes besides its key, value and headers, in Kafka's format
/// (the batch header, lengths, timestamp and offset deltas), in bytes.
const RECORD_OVERHEAD: usize = 80;

/// The largest record taken, as Kafka's `message.max.bytes` by default.
pub(super) const MAX_RECORD_BYTES: usize = 1_048_588;

/// The bytes that a record counts for, in limits of size and of memory.
pub(super) fn size(record: &Record) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    let field = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    field(&record.key) + field(&record.value) + headers + RECORD_OVERHEAD
}

/// Writes headers into `into`, which is emptied first.
pub(super) fn encode_headers(headers: &Headers, into: &mut Vec<u8>) {
    into.clear();
    for (name, value) in headers.iter() {
        for part in [name.as_bytes(), value] {
            put_length(part.len(), into);
            into.extend_from_slice(part);
        }
    }
}

/// Reads headers back; none where the bytes are not what was written.
pub(super) fn decode_headers(bytes: &[u8]) -> Option<Headers> {
    // One copy for all values.
    let mut rest = Bytes::copy_from_slice(bytes);
    // A command has 7 headers, a decision 10.
    let mut headers = Headers::with_capacity(if rest.is_empty() { 0 } else { 10 });
    while !rest.is_empty() {
        let name = take_part(&mut rest)?;
        let value = take_part(&mut rest)?;
        headers.push_read(std::str::from_utf8(&name).ok()?, value);
    }
    Some(headers)
}

fn put_length(mut length: usize, into: &mut Vec<u8>) {
    while length >= 0x80 {
        into.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    into.push(length as u8);
}

fn take_part(rest: &mut Bytes) -> Option<Bytes> {
    let mut length = 0_usize;
    for (i, byte) in rest.iter().enumerate().take(4) {
        length |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let end = (i + 1).checked_add(length)?;
            if end > rest.len() {
                return None;
            }
            let part = rest.slice(i + 1..end);
            *rest = rest.slice(end..);
            return Some(part);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidings_wire::names;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            pairs in prop::collection::vec((".{0,200}", prop::collection::vec(any::<u8>(), 0..300)), 0..6),
        ) {
            let mut headers = Headers::default();
            headers.push(names::TENANT, "acme".as_bytes());
            for (name, value) in pairs {
                headers.push_read(&name, Bytes::from(value));
            }
            let mut blob = vec![1, 2, 3];
            encode_headers(&headers, &mut blob);
            prop_assert_eq!(decode_headers(&blob), Some(headers));
        }

        #[test]
        fn what_is_broken_is_refused_quietly(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(headers) = decode_headers(&bytes) {
                prop_assert!(headers.iter().len() <= bytes.len());
            }
        }
    }
}
