use std::fmt;
use std::str::FromStr;

use tidings_domain::Timestamp;
use tidings_wire::{Headers, Record, Stored, Topic, names};

/// Where a letter stands: `dead.history/3/17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId {
    /// Its topic, one of [`Topic::DEAD`].
    pub topic: Topic,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

impl FromStr for LetterId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/');
        let id = (|| {
            let topic = Topic::parse(parts.next()?).filter(|topic| Topic::DEAD.contains(topic))?;
            let partition = parts.next()?.parse().ok().filter(|at| *at >= 0)?;
            let offset = parts.next()?.parse().ok().filter(|at| *at >= 0)?;
            parts.next().is_none().then_some(Self {
                topic,
                partition,
                offset,
            })
        })();
        id.ok_or_else(|| "expected a letter's place, such as dead.history/3/17".to_owned())
    }
}

/// Where the record stood that became a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// A dead letter.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Where it stands.
    pub id: LetterId,
    /// Where it came from; none: somebody else wrote it.
    pub origin: Option<Origin>,
    /// Who could not use it.
    pub consumer: String,
    /// Why.
    pub cause: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up.
    pub at: Timestamp,
    /// The record, as it came.
    pub record: Record,
}

/// The headers that a letter has besides those of its record.
const OWN: [&str; 6] = [
    names::DEAD_TOPIC,
    names::DEAD_PARTITION,
    names::DEAD_OFFSET,
    names::DEAD_ERROR,
    names::DEAD_CONSUMER,
    names::DEAD_ATTEMPTS,
];

impl Letter {
    /// Its key as text: the conversation, where the record had a key.
    #[must_use]
    pub fn conversation(&self) -> Option<&str> {
        std::str::from_utf8(self.record.key.as_deref()?).ok()
    }
}

impl From<Stored> for Letter {
    fn from(stored: Stored) -> Self {
        let Stored {
            topic,
            partition,
            offset,
            record,
        } = stored;
        let headers = &record.headers;
        let text = |name| headers.text(name).unwrap_or_default();
        let origin = (|| {
            Some(Origin {
                topic: Topic::parse(text(names::DEAD_TOPIC))?,
                partition: text(names::DEAD_PARTITION).parse().ok()?,
                offset: text(names::DEAD_OFFSET).parse().ok()?,
            })
        })();
        Self {
            id: LetterId {
                topic,
                partition,
                offset,
            },
            origin,
            consumer: text(names::DEAD_CONSUMER).to_owned(),
            cause: text(names::DEAD_ERROR).to_owned(),
            attempts: text(names::DEAD_ATTEMPTS).parse().unwrap_or_default(),
            at: record.timestamp,
            record: Record {
                headers: without_own(headers),
                ..record
            },
        }
    }
}

/// The headers of the record as it came: the last of each of a letter's own
/// was added when it became one.
fn without_own(headers: &Headers) -> Headers {
    let all: Vec<_> = headers.iter().collect();
    let is_own = |index: usize| {
        let name = all[index].0;
        OWN.contains(&name) && all[index + 1..].iter().all(|(later, _)| *later != name)
    };
    let mut kept = Headers::with_capacity(all.len());
    for (index, (name, value)) in all.iter().enumerate() {
        if !is_own(index) {
            kept.push_read(name, (*value).clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_wire::Codec;

    #[test]
    fn a_letter_gives_back_what_it_was_made_of() {
        let mut headers = Headers::default();
        headers.push(names::TENANT, "acme");
        // Somebody sent a letter of an earlier time as a command.
        headers.push(names::DEAD_ERROR, "an older one");
        let stored = Stored {
            topic: Topic::MessageSent,
            partition: 3,
            offset: 17,
            record: Record {
                key: Some("k".into()),
                value: Some(vec![1, 2].into()),
                headers,
                timestamp: Timestamp(5),
            },
        };
        let record = Codec::dead_letter(&stored, "sequencer", "bad", 2);
        let letter = Letter::from(Stored {
            topic: Topic::DeadSequencer,
            partition: 3,
            offset: 0,
            record,
        });
        assert_eq!(letter.id.to_string(), "dead.sequencer/3/0");
        assert_eq!(letter.origin.unwrap().to_string(), "message.sent/3/17");
        assert_eq!((&*letter.cause, &*letter.consumer), ("bad", "sequencer"));
        assert_eq!(letter.attempts, 2);
        assert_eq!(letter.record.headers, stored.record.headers);
        assert_eq!(letter.record.value, stored.record.value);
        assert_eq!(letter.conversation(), Some("k"));
    }

    #[test]
    fn places_are_read_and_written() {
        let id: LetterId = "dead.cache/0/9".parse().unwrap();
        assert_eq!(id.to_string(), "dead.cache/0/9");
        for text in [
            "",
            "dead.cache",
            "message.sent/0/9",
            "dead.cache/-1/9",
            "dead.cache/0/9/1",
        ] {
            assert!(text.parse::<LetterId>().is_err(), "{text}");
        }
    }
}
