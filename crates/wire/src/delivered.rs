use std::fmt;
use std::str::FromStr;

use tidings_domain::{
    ConversationId, Decision, Digest, Epoch, OwnerId, Ownership, ReaderRule, TempId, Tenant,
    Timestamp, UserId, Verdict,
};
use uuid::Uuid;

use crate::{DecodeError, Record, Stored, Topic, names};

/// The command a decision is about: its topic and offset, in the decision's
/// own partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Input {
    /// The command topic.
    pub topic: Topic,
    /// The command's offset.
    pub offset: i64,
}

impl Input {
    /// `ce_id` of whatever is made of this command: UUIDv5 of its topic,
    /// partition and offset, so the same if it is ever decided again.
    #[must_use]
    pub fn event_id(self, partition: i32) -> Uuid {
        let name = format!("{}/{partition}/{}", self.topic, self.offset);
        Uuid::new_v5(&tidings_domain::NAMESPACE, name.as_bytes())
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.topic, self.offset)
    }
}

impl FromStr for Input {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (topic, offset) = text.split_once('@').ok_or(())?;
        let topic = Topic::parse(topic).ok_or(())?;
        let offset: i64 = offset.parse().map_err(|_| ())?;
        // There is one after it, where whoever reads this goes on.
        if !(0..i64::MAX).contains(&offset) {
            return Err(());
        }
        Ok(Self { topic, offset })
    }
}

/// A record of `message.delivered` by its headers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// A claim.
    Claim(Ownership),
    /// A decision, or the marker of a dead command.
    Decided(Marked),
}

/// What the headers of a decision say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Who wrote it.
    pub by: Ownership,
    /// Of which command.
    pub input: Input,
    /// The digest of the partition's state after it.
    pub digest: Digest,
}

/// A decision's record, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are decisions; boxing them costs more"
)]
pub enum DeliveredBody {
    /// A decision.
    Decision(Decision),
    /// The command went to the dead letters; the fields are those that could
    /// be read from its headers and key.
    Dead {
        /// The tenant, if known.
        tenant: Option<Tenant>,
        /// The conversation, if the key was one.
        conversation_id: Option<ConversationId>,
        /// The sender, if known.
        sender: Option<UserId>,
        /// The sender's id of it, if known.
        temp_id: Option<TempId>,
        /// When it was given up.
        at: Timestamp,
    },
}

/// Reads the headers of a record of `message.delivered`.
///
/// # Errors
/// [`DecodeError::Malformed`] where one is missing or cannot be read.
pub fn delivered_header(record: &Record) -> Result<Delivered, DecodeError> {
    let (mut epoch, mut owner, mut input, mut digest) = (None, None, None, None);
    for (name, value) in record.headers.iter() {
        let text = || std::str::from_utf8(value).ok();
        match name {
            names::CE_EPOCH => epoch = text().and_then(epoch_of),
            names::CE_OWNER => owner = text().and_then(|t| Uuid::try_parse(t).ok()).map(OwnerId),
            names::CE_INPUT => input = text().and_then(|t| t.parse::<Input>().ok()),
            names::CE_DIGEST => digest = text().and_then(Digest::parse),
            _ => {}
        }
    }
    let missing = |name: &str| DecodeError::Malformed(format!("header {name} missing or bad"));
    let by = Ownership {
        epoch: epoch.ok_or_else(|| missing(names::CE_EPOCH))?,
        owner: owner.ok_or_else(|| missing(names::CE_OWNER))?,
    };
    if record.value.is_none() {
        return Ok(Delivered::Claim(by));
    }
    Ok(Delivered::Decided(Marked {
        by,
        input: input.ok_or_else(|| missing(names::CE_INPUT))?,
        digest: digest.ok_or_else(|| missing(names::CE_DIGEST))?,
    }))
}

/// An epoch that snapshots can keep, as a signed number, and to which the next
/// owner can add one.
fn epoch_of(text: &str) -> Option<Epoch> {
    let epoch: i64 = text.parse().ok()?;
    (0..i64::MAX)
        .contains(&epoch)
        .then_some(Epoch(epoch.cast_unsigned()))
}

/// What a reader is to make of a record of `message.delivered`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// A claim; whether it made its writer the owner.
    Claim(Verdict),
    /// A decision that counts.
    Valid(Marked),
    /// A decision that does not.
    Void,
}

/// The reader's rule for all partitions of `message.delivered`.
#[derive(Clone, Debug, Default)]
pub struct DeliveredStream {
    rules: std::collections::HashMap<i32, ReaderRule>,
}

impl DeliveredStream {
    /// Goes on in `partition` from a position at which `current` was the owner.
    pub fn resume(&mut self, partition: i32, current: Option<Ownership>) {
        self.rules.insert(partition, ReaderRule::resume(current));
    }

    /// Forgets a partition.
    pub fn drop_partition(&mut self, partition: i32) {
        self.rules.remove(&partition);
    }

    /// Judges the next record of a partition. Records must come in log order.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] where the headers cannot be read.
    pub fn judge(&mut self, stored: &Stored) -> Result<Judged, DecodeError> {
        let header = delivered_header(&stored.record)?;
        let rule = self.rules.entry(stored.partition).or_default();
        Ok(match header {
            Delivered::Claim(by) => Judged::Claim(rule.claim(by)),
            Delivered::Decided(marked) => match rule.decision(marked.by) {
                Verdict::Valid => Judged::Valid(marked),
                _ => Judged::Void,
            },
        })
    }

    /// The owner of a partition at this point of the log.
    #[must_use]
    pub fn current(&self, partition: i32) -> Option<Ownership> {
        self.rules.get(&partition).and_then(ReaderRule::current)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_domain::{Epoch, OwnerId, Ownership, Timestamp};
    use uuid::Uuid;

    use super::{Delivered, Input, delivered_header};
    use crate::{Codec, Record, Topic, names};

    #[test]
    fn an_epoch_beyond_what_snapshots_keep_is_no_claim() {
        let owner = OwnerId(Uuid::from_u128(1));
        let claim = |epoch: &str| -> Record {
            let by = Ownership {
                epoch: Epoch(1),
                owner,
            };
            let mut record = Codec::claim(by, Timestamp(0));
            let epoch = Bytes::copy_from_slice(epoch.as_bytes());
            record.headers.set(names::CE_EPOCH, epoch);
            record
        };
        let by = Ownership {
            epoch: Epoch(i64::MAX.unsigned_abs() - 1),
            owner,
        };
        let last = claim("9223372036854775806");
        assert_eq!(delivered_header(&last).ok(), Some(Delivered::Claim(by)));
        for forged in ["9223372036854775807", "18446744073709551615", "-1", ""] {
            assert!(delivered_header(&claim(forged)).is_err(), "{forged}");
        }
    }

    #[test]
    fn there_is_an_offset_after_every_input() {
        let topic = Topic::MessageSent;
        let input = Input {
            topic,
            offset: 4_711,
        };
        assert_eq!("message.sent@4711".parse(), Ok(input));
        for forged in [
            "message.sent@-1",
            "message.sent@9223372036854775807",
            "message.sent",
            "nowhere@1",
        ] {
            assert_eq!(forged.parse::<Input>(), Err(()), "{forged}");
        }
    }
}
