//! Reads of the edge's frames what a measurement needs, without parsing them.

use memchr::memmem;

/// The mark of a message of ours: its number, and when it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Numbered from 0.
    pub(super) number: u64,
    /// Nanoseconds since the run began.
    pub(super) due: u64,
}

/// What an edge says, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// A message of this connection is durable.
    Pending(Stamp),
    /// A message of this connection is decided, at this position.
    Delivered {
        stamp: Stamp,
        seq: u64,
        duplicate: bool,
    },
    /// A message of this connection was refused.
    Rejected {
        stamp: Option<Stamp>,
        code: &'a [u8],
    },
    /// An event, with its position; if it is a message of ours, which.
    Event { seq: u64, stamp: Option<Stamp> },
    /// Something else.
    Other,
}

/// Writes a stamp: as a `temp_id`, and at the start of a text.
pub(super) fn write(stamp: Stamp, into: &mut Vec<u8>) {
    use std::io::Write;
    // Writing to a Vec cannot fail.
    write!(into, "{}.{}", stamp.number, stamp.due).ok();
}

/// Reads a frame. The type is the first field of every frame of the edge.
pub(super) fn scan(frame: &[u8]) -> Said<'_> {
    let Some(rest) = frame.strip_prefix(br#"{"type":""#) else {
        return Said::Other;
    };
    read(rest).unwrap_or(Said::Other)
}

fn read(rest: &[u8]) -> Option<Said<'_>> {
    if rest.starts_with(b"event") {
        let seq = number(after(rest, br#""seq":"#)?)?.0;
        let stamp = after(rest, br#""text":""#).and_then(stamp);
        return Some(Said::Event { seq, stamp });
    }
    if rest.starts_with(b"pending") {
        return Some(Said::Pending(stamp(after(rest, br#""temp_id":""#)?)?));
    }
    if rest.starts_with(b"delivered") {
        let after_id = after(rest, br#""temp_id":""#)?;
        let seq = number(after(after_id, br#""seq":"#)?)?.0;
        let duplicate = memmem::find(after_id, br#""duplicate":true"#).is_some();
        return Some(Said::Delivered {
            stamp: stamp(after_id)?,
            seq,
            duplicate,
        });
    }
    if rest.starts_with(b"rejected") {
        let stamp = after(rest, br#""temp_id":""#).and_then(stamp);
        let code = after(rest, br#""code":""#)?;
        let end = memchr::memchr(b'"', code)?;
        return Some(Said::Rejected {
            stamp,
            code: &code[..end],
        });
    }
    None
}

fn after<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    memmem::find(bytes, name).map(|at| &bytes[at + name.len()..])
}

fn stamp(bytes: &[u8]) -> Option<Stamp> {
    let (number_, rest) = number(bytes)?;
    let (due, _) = number(rest.strip_prefix(b".")?)?;
    Some(Stamp {
        number: number_,
        due,
    })
}

/// A decimal number and what follows it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let digits = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (digits, rest) = bytes.split_at(digits);
    let add = |value: u64, digit: &u8| value.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    if digits.is_empty() {
        None
    } else {
        Some((digits.iter().try_fold(0, add)?, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_without_parsing() {
        let stamp = Stamp {
            number: 17,
            due: 4_200,
        };
        let mut written = Vec::new();
        write(stamp, &mut written);
        assert_eq!(written, b"17.4200");
        let cases: [(&str, Said<'_>); 8] = [
            (
                r#"{"type":"pending","temp_id":"17.4200","at":"…"}"#,
                Said::Pending(stamp),
            ),
            (
                r#"{"type":"delivered","temp_id":"17.4200","seq":9,"no":3}"#,
                Said::Delivered {
                    stamp,
                    seq: 9,
                    duplicate: false,
                },
            ),
            (
                r#"{"type":"delivered","temp_id":"17.4200","seq":9,"duplicate":true}"#,
                Said::Delivered {
                    stamp,
                    seq: 9,
                    duplicate: true,
                },
            ),
            (
                r#"{"type":"rejected","temp_id":"17.4200","code":"busy"}"#,
                Said::Rejected {
                    stamp: Some(stamp),
                    code: b"busy",
                },
            ),
            (
                r#"{"type":"event","seq":12,"event":{"content":{"text":"17.4200 xxx"}}}"#,
                Said::Event {
                    seq: 12,
                    stamp: Some(stamp),
                },
            ),
            (
                r#"{"type":"event","seq":1,"event":{"op":"create"}}"#,
                Said::Event {
                    seq: 1,
                    stamp: None,
                },
            ),
            (r#"{"type":"pong"}"#, Said::Other),
            (
                r#"{"type":"event","seq":99999999999999999999}"#,
                Said::Other,
            ),
        ];
        for (frame, said) in cases {
            assert_eq!(scan(frame.as_bytes()), said, "{frame}");
        }
    }
}
