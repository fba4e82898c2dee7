//! Pieces of a sequencer's state to and from their records' values.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_domain::{
    Code, CommandKey, Epoch, First, FirstOutcome, Kind, OwnerId, Ownership, Role, Snapshot, Tenant,
    Timestamp, UserId,
};
use uuid::Uuid;

use super::avro::Avro;
use super::parts::{Blob, Id, Text, count, long, malformed, parse, required, text};
use super::{DecodeError, EncodeError};
use crate::{StateEntry, Topic};

#[derive(Serialize, Deserialize)]
#[serde(rename = "State")]
struct StateRow<'a> {
    as_of: i64,
    epoch: i64,
    owner: Id,
    head: Option<HeadRow<'a>>,
    member: Option<MemberRow<'a>>,
    window: Option<WindowRow>,
    checkpoint: Option<CheckpointRow<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Head")]
struct HeadRow<'a> {
    conversation_id: Id,
    tenant: Text<'a>,
    kind: Text<'a>,
    title: Option<Text<'a>>,
    closed: bool,
    last_seq: i64,
    last_no: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "StateMember")]
struct MemberRow<'a> {
    conversation_id: Id,
    user_id: Text<'a>,
    role: Text<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Window")]
struct WindowRow {
    chunk: i64,
    entries: Blob,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Checkpoint")]
struct CheckpointRow<'a> {
    next: Vec<NextRow<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "NextCommand")]
struct NextRow<'a> {
    topic: Text<'a>,
    offset: i64,
}

/// The framed value of an entry's record; none: the record deletes its key.
pub(super) fn encode(avro: &Avro, entry: &StateEntry) -> Result<Option<Bytes>, EncodeError> {
    let (as_of, by) = match entry {
        StateEntry::Piece { as_of, by, .. } => (*as_of, by),
        StateEntry::Checkpoint { upto, by, .. } => (*upto, by),
    };
    let mut row = StateRow {
        as_of,
        epoch: long(by.epoch.0),
        owner: Id(by.owner.0),
        head: None,
        member: None,
        window: None,
        checkpoint: None,
    };
    match entry {
        StateEntry::Piece {
            chunk, snapshot, ..
        } => match snapshot {
            Snapshot::Head {
                conversation_id,
                tenant,
                kind,
                title,
                closed,
                last_seq,
                last_no,
            } => {
                row.head = Some(HeadRow {
                    conversation_id: (*conversation_id).into(),
                    tenant: text(tenant.as_str()),
                    kind: text(kind.as_str()),
                    title: title.as_deref().map(text),
                    closed: *closed,
                    last_seq: long(*last_seq),
                    last_no: long(*last_no),
                });
            }
            Snapshot::Member { role: None, .. } => return Ok(None),
            Snapshot::Member {
                conversation_id,
                user_id,
                role: Some(role),
            } => {
                row.member = Some(MemberRow {
                    conversation_id: (*conversation_id).into(),
                    user_id: text(user_id.as_str()),
                    role: text(role.as_str()),
                });
            }
            Snapshot::Window(entries) => {
                let entries = Blob(window::encode(entries));
                row.window = Some(WindowRow {
                    chunk: long(*chunk),
                    entries,
                });
            }
        },
        StateEntry::Checkpoint { next, .. } => {
            let next = next.iter().map(|(topic, offset)| NextRow {
                topic: text(topic.name()),
                offset: *offset,
            });
            row.checkpoint = Some(CheckpointRow {
                next: next.collect(),
            });
        }
    }
    avro.write(Topic::ConversationState, &row).map(Some)
}

/// Reads the framed value of a record of `conversation.state`.
pub(super) fn decode(avro: &Avro, value: &[u8]) -> Result<StateEntry, DecodeError> {
    let row: StateRow<'_> = avro.read(Topic::ConversationState, value)?;
    let as_of = row.as_of;
    let by = Ownership {
        epoch: Epoch(count("epoch", row.epoch)?),
        owner: OwnerId(row.owner.0),
    };
    let piece = |chunk, snapshot| StateEntry::Piece {
        as_of,
        by,
        chunk,
        snapshot,
    };
    match (row.head, row.member, row.window, row.checkpoint) {
        (Some(head), None, None, None) => Ok(piece(0, head.snapshot()?)),
        (None, Some(member), None, None) => Ok(piece(0, member.snapshot()?)),
        (None, None, Some(chunk), None) => {
            let entries = window::decode(&chunk.entries.0)?;
            Ok(piece(
                count("window.chunk", chunk.chunk)?,
                Snapshot::Window(entries),
            ))
        }
        (None, None, None, Some(checkpoint)) => Ok(StateEntry::Checkpoint {
            upto: as_of,
            by,
            next: checkpoint.next()?,
        }),
        _ => Err(malformed(
            "not exactly one of head, member, window and checkpoint",
        )),
    }
}

impl HeadRow<'_> {
    fn snapshot(self) -> Result<Snapshot, DecodeError> {
        Ok(Snapshot::Head {
            conversation_id: self.conversation_id.conversation(),
            tenant: Tenant::parse(&self.tenant)?,
            kind: parse("head.kind", &self.kind, Kind::parse)?,
            title: self.title.map(Text::into_owned),
            closed: self.closed,
            last_seq: count("head.last_seq", self.last_seq)?,
            last_no: count("head.last_no", self.last_no)?,
        })
    }
}

impl MemberRow<'_> {
    fn snapshot(self) -> Result<Snapshot, DecodeError> {
        Ok(Snapshot::Member {
            conversation_id: self.conversation_id.conversation(),
            user_id: UserId::parse(&self.user_id)?,
            role: Some(parse("member.role", &self.role, Role::parse)?),
        })
    }
}

impl CheckpointRow<'_> {
    fn next(self) -> Result<Vec<(Topic, i64)>, DecodeError> {
        let next = |row: NextRow<'_>| {
            Ok((
                parse("checkpoint.next.topic", &row.topic, Topic::parse)?,
                row.offset,
            ))
        };
        self.next.into_iter().map(next).collect()
    }
}

/// The fixed layout of a window chunk's entries, as the schema's doc tells it.
mod window {
    use super::{
        Code, CommandKey, DecodeError, First, FirstOutcome, Timestamp, Uuid, malformed, required,
    };

    const ENTRY_BYTES: usize = 42;
    const ACCEPTED: u8 = 0;
    const ACCEPTED_MESSAGE: u8 = 1;
    const REJECTED: u8 = 2;
    const NOTED: u8 = 3;

    pub(super) fn encode(entries: &[(CommandKey, First)]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
        for (key, first) in entries {
            let (kind, code, seq, no) = match first.outcome {
                FirstOutcome::Accepted { seq, no: None } => (ACCEPTED, 0, seq, 0),
                FirstOutcome::Accepted { seq, no: Some(no) } => (ACCEPTED_MESSAGE, 0, seq, no),
                FirstOutcome::Noted => (NOTED, 0, 0, 0),
                FirstOutcome::Rejected(code) => (REJECTED, code_number(code), 0, 0),
            };
            bytes.extend_from_slice(key.0.as_bytes());
            bytes.extend_from_slice(&[kind, code]);
            bytes.extend_from_slice(&first.at.0.to_be_bytes());
            bytes.extend_from_slice(&seq.to_be_bytes());
            bytes.extend_from_slice(&no.to_be_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Vec<(CommandKey, First)>, DecodeError> {
        let (entries, []) = bytes.as_chunks::<ENTRY_BYTES>() else {
            return Err(malformed("window.entries: not a whole number of entries"));
        };
        entries.iter().map(entry).collect()
    }

    fn entry(bytes: &[u8; ENTRY_BYTES]) -> Result<(CommandKey, First), DecodeError> {
        let key = CommandKey(Uuid::from_bytes(part(bytes, 0)));
        let [kind, code] = part(bytes, 16);
        let at = Timestamp(i64::from_be_bytes(part(bytes, 18)));
        let seq = u64::from_be_bytes(part(bytes, 26));
        let no = u64::from_be_bytes(part(bytes, 34));
        let outcome = match kind {
            ACCEPTED => FirstOutcome::Accepted { seq, no: None },
            ACCEPTED_MESSAGE => FirstOutcome::Accepted { seq, no: Some(no) },
            NOTED => FirstOutcome::Noted,
            REJECTED => {
                let known = Code::ALL
                    .into_iter()
                    .find(|known| code_number(*known) == code);
                FirstOutcome::Rejected(required("window.entries: a code", known)?)
            }
            _ => {
                return Err(malformed(
                    "window.entries: not an outcome this version knows",
                ));
            }
        };
        Ok((key, First { outcome, at }))
    }

    fn part<const N: usize>(bytes: &[u8; ENTRY_BYTES], from: usize) -> [u8; N] {
        std::array::from_fn(|i| bytes[from + i])
    }

    /// Stands in the log: never changed, never reused.
    fn code_number(code: Code) -> u8 {
        match code {
            Code::Invalid => 1,
            Code::TooLarge => 2,
            Code::RateLimited => 3,
            Code::NotFound => 4,
            Code::NotAMember => 5,
            Code::Forbidden => 6,
            Code::EditWindowClosed => 7,
            Code::Closed => 8,
            Code::TooMany => 9,
            Code::Busy => 10,
            Code::Unavailable => 11,
            Code::Unsupported => 12,
        }
    }
}
