use tidings_domain::Timestamp;
use tidings_wire::{Topic, parse_time};

use super::{Letter, LetterId};

/// Which letters are meant: those for which all of it is so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    consumers: Vec<String>,
    topics: Vec<Topic>,
    conversations: Vec<String>,
    causes: Vec<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    ids: Vec<LetterId>,
}

/// A filter that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFilter(String);

impl Filter {
    /// Adds a condition, `NAME=VALUE`. Of several of one name, one is enough;
    /// of `since` and `until` the last counts.
    ///
    /// # Errors
    /// [`BadFilter`].
    pub fn add(&mut self, condition: &str) -> Result<(), BadFilter> {
        let bad = |why: &str| BadFilter(format!("{condition:?}: {why}"));
        let Some((name, value)) = condition.split_once('=') else {
            return Err(bad(
                "expected NAME=VALUE, with consumer, topic, conversation, cause, since, until or \
                 letter as NAME",
            ));
        };
        let time = || {
            let why = "expected a time such as 2004-11-15T12:18:00Z";
            parse_time(value).map(Some).ok_or_else(|| bad(why))
        };
        if value.is_empty() {
            return Err(bad("nothing stands after the ="));
        }
        match name {
            "consumer" => {
                let known = Topic::DEAD.iter().any(|topic| consumer_of(*topic) == value);
                if !known {
                    return Err(bad("expected sequencer, history, search or cache"));
                }
                self.consumers.push(value.to_owned());
            }
            "topic" => {
                let topic = Topic::parse(value).ok_or_else(|| bad("there is no such topic"))?;
                self.topics.push(topic);
            }
            "conversation" => self.conversations.push(value.to_owned()),
            "cause" => self.causes.push(value.to_lowercase()),
            "since" => self.since = time()?,
            "until" => self.until = time()?,
            "letter" => {
                let id = value.parse().map_err(|why: String| bad(&why))?;
                self.ids.push(id);
            }
            _ => {
                return Err(bad(
                    "the NAME is one of consumer, topic, conversation, cause, since, until, letter",
                ));
            }
        }
        Ok(())
    }

    /// Adds one letter.
    pub fn add_letter(&mut self, id: LetterId) {
        self.ids.push(id);
    }

    /// Whether all letters are meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The topics in which letters may be that are meant.
    #[must_use]
    pub fn dead_topics(&self) -> Vec<Topic> {
        let is_meant = |topic: &Topic| {
            let consumer = consumer_of(*topic);
            (self.consumers.is_empty() || self.consumers.iter().any(|name| name == consumer))
                && (self.ids.is_empty() || self.ids.iter().any(|id| id.topic == *topic))
        };
        Topic::DEAD.into_iter().filter(is_meant).collect()
    }

    /// Whether a letter is meant.
    #[must_use]
    pub fn takes(&self, letter: &Letter) -> bool {
        let any =
            |wanted: &[String], found: &str| wanted.is_empty() || wanted.iter().any(|w| w == found);
        let cause = || letter.cause.to_lowercase();
        let from = letter.origin.map(|origin| origin.topic);
        any(&self.consumers, consumer_of(letter.id.topic))
            && any(
                &self.conversations,
                letter.conversation().unwrap_or_default(),
            )
            && (self.topics.is_empty() || from.is_some_and(|from| self.topics.contains(&from)))
            && (self.causes.is_empty() || self.causes.iter().any(|part| cause().contains(part)))
            && self.since.is_none_or(|since| letter.at >= since)
            && self.until.is_none_or(|until| letter.at < until)
            && (self.ids.is_empty() || self.ids.contains(&letter.id))
    }
}

/// Whose letters a topic holds.
pub(super) fn consumer_of(topic: Topic) -> &'static str {
    topic.name().strip_prefix("dead.").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_wire::{Headers, Record, Stored, names};

    fn letter(cause: &str, key: &str) -> Letter {
        let mut headers = Headers::default();
        headers.push(names::DEAD_TOPIC, "message.delivered");
        headers.push(names::DEAD_PARTITION, "3");
        headers.push(names::DEAD_OFFSET, "7");
        headers.push(names::DEAD_ERROR, cause.to_owned());
        Letter::from(Stored {
            topic: Topic::DeadHistory,
            partition: 3,
            offset: 17,
            record: Record {
                key: Some(key.to_owned().into()),
                value: None,
                headers,
                timestamp: Timestamp(1_100_520_000_000),
            },
        })
    }

    #[test]
    fn all_conditions_must_hold() {
        let letter = letter("schema id 9 is not known to the registry", "c1");
        let cases: [(&[&str], bool); 12] = [
            (&[], true),
            (&["consumer=history"], true),
            (&["consumer=search"], false),
            (&["consumer=search", "consumer=history"], true),
            (&["topic=message.delivered", "conversation=c1"], true),
            (&["topic=message.sent"], false),
            (&["cause=Schema ID 9"], true),
            (&["cause=truncated"], false),
            (
                &["since=2004-11-15T12:00:00Z", "until=2004-11-15T12:00:01Z"],
                true,
            ),
            (&["until=2004-11-15T12:00:00Z"], false),
            (&["letter=dead.history/3/17"], true),
            (&["letter=dead.history/3/18"], false),
        ];
        for (conditions, expected) in cases {
            let mut filter = Filter::default();
            for condition in conditions {
                filter.add(condition).unwrap();
            }
            assert_eq!(filter.takes(&letter), expected, "{conditions:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let cases = [
            ("history", "NAME=VALUE"),
            ("kind=x", "one of consumer"),
            ("cause=", "nothing stands"),
            ("consumer=edge", "sequencer, history"),
            ("topic=message.snet", "no such topic"),
            ("since=monday", "2004-11-15"),
            ("letter=3", "dead.history/3/17"),
        ];
        for (condition, expected) in cases {
            let error = Filter::default().add(condition).unwrap_err().to_string();
            assert!(error.contains(expected), "{condition}: {error}");
        }
    }

    #[test]
    fn only_topics_that_may_have_them_are_read() {
        let mut filter = Filter::default();
        assert_eq!(filter.dead_topics(), Topic::DEAD);
        filter.add("consumer=history").unwrap();
        assert_eq!(filter.dead_topics(), [Topic::DeadHistory]);
    }
}
